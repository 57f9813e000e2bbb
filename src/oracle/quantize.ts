// Block and element quantizers, one number at a time: the slow twin of assembly/quantize-*.ts and the place to read what a quantizer computes.
// OCP MX v1.0 section 6.3 and microxcaling 7bc4195 are special cases of the same few lines; the choices are fields of BlockQuantizer.
//
// All values are float32; every product and quotient here is by a power of two, so Math.fround can only matter at the ends of the range, where it
// does what float32 hardware does. What would surprise: under `torch-log2` a value just below a power of two counts as lying above it.
import { formats, grid, hasNegativeZero, type Format, type Grid } from '../numerics/formats.ts'
import type { BlockQuantizer, ElementRounding } from '../numerics/quantizer.ts'
import { UsageError } from '../errors.ts'
import { nanCode } from '../numerics/cast.ts'
import { decode, decodeScale, encode } from './codec.ts'
import { exponentOf, torchLog2, wordOf } from './float.ts'
import { roundMagnitude, roundMagnitudeAddHalf } from './round.ts'

const { fround } = Math
/** E8M0's NaN, and the scale exponent that stands for it. */
const NAN_SCALE = 255

/** Random bits of element i (flat index): an integer below 2^randomBits. */
export type RandomBits = (i: number) => number

type Rounder = Pick<BlockQuantizer, 'rounding' | 'exponent' | 'half' | 'zeroSign'>

/** x to the grid, beyond its maximum to `overflow`. Inf stays Inf; NaN stays NaN. `u`: random fraction in [0, 1) for stochastic rounding. */
function toGrid(x: number, { man, emin, max }: Grid, overflow: number, { rounding, exponent, half, zeroSign }: Rounder, u: number): number {
  if (!Number.isFinite(x)) return x
  const a = Math.abs(x)
  const p = a === 0 ? emin : Math.max(exponent === 'bits' ? exponentOf(a) : torchLog2(a), emin)
  const power = fround(2 ** p) // Inf for p = 128, which only torch-log2 reaches
  const t = fround(fround(a / power) * 2 ** man)
  const r = half === 'exact' ? roundMagnitude(t, rounding, u) : roundMagnitudeAddHalf(t, rounding, u)
  let y = fround(fround(r / 2 ** man) * power)
  if (y > max) y = overflow
  const negative = zeroSign === 'preserve' ? Object.is(x, -0) || x < 0 : zeroSign === 'torch' ? x < 0 : x < 0 && y !== 0
  return negative ? -y : y
}

/** NaN words rounded as if they were numbers of exponent 128 (microxcaling's compiled kernels): Inf, NaN, or -0 when the fraction overflows. */
function nanAsNumber(word: number, { manBits, rounding }: ElementRounding): number {
  const fraction = 1 + (word & 0x7fffff) / 2 ** 23
  const rounded = roundMagnitude(fraction * 2 ** manBits, rounding) / 2 ** manBits
  return rounded === 1 ? word >>> 31 ? -Infinity : Infinity : rounded === 2 ? -0 : NaN
}

/** Round each element by itself; see ElementRounding. */
export function roundElements(x: Float32Array, r: ElementRounding): Float32Array {
  if (r.expBits === 8 && r.manBits === 23) return x.slice()
  const emax = 2 ** (r.expBits - 1) - 1
  const target: Grid = { man: r.manBits, emin: 1 - emax, emax, max: (2 - 2 ** -r.manBits) * 2 ** emax }
  const words = new Uint32Array(x.buffer, x.byteOffset, x.length)
  return x.map((value, i) => {
    if (Number.isNaN(value) && r.nan === 'as-number') return nanAsNumber(words[i]!, r)
    if (r.subnormals === 'flush' && Math.abs(value) < 2 ** target.emin) value = r.zeroSign === 'preserve' && (value < 0 || Object.is(value, -0)) ? -0 : 0
    return toGrid(value, target, Infinity, r, 0)
  })
}

/** Does a block with this maximum hold an element whose significand exceeds the format's? */
const saturates = (amax: number, q: BlockQuantizer, { max, emax }: Grid): boolean =>
  amax > 0 && amax > fround(max / 2 ** emax * 2 ** floorLog2(amax, q))

const floorLog2 = (a: number, q: BlockQuantizer): number => q.exponent === 'bits' ? exponentOf(a) : torchLog2(a)

/** The exponent of a block's scale, in [-127, 127] for 8 scale bits, or NaN. `bump`: 0 or 1, added to the block's exponent. */
function scaleExponent(amax: number, q: BlockQuantizer, { man, emax, max }: Grid, bump: number): number {
  if (!Number.isFinite(amax)) return q.nonFinite === 'element' ? 127 : NaN
  const word = wordOf(amax)
  /** Exponent field of a word, 0 (read as -127) for subnormals. */
  const field = (w: number) => (w >>> 23) - 127
  let e: number
  switch (q.scaleRule) {
    case 'floor': e = (amax === 0 ? -126 : floorLog2(amax, q)) + bump - emax; break
    case 'ceil': e = field(word) + ((word & 0x7fffff) !== 0 ? 1 : 0) - emax; break
    case 'even': case 'even-1': {
      const rounded = word + 2 ** (22 - (q.scaleRule === 'even' ? man : 1))
      e = rounded < 0x7f800000 ? field(rounded) - emax : NaN
      break
    }
    case 'rceil': case 'rceil-divide': {
      const d = wordOf(q.scaleRule === 'rceil' ? fround(amax * fround(1 / max)) : fround(amax / max))
      e = field(d) + ((d & 0x7fffff) > (d < 0x00800000 ? 0x400000 : 0) ? 1 : 0)
      break
    }
  }
  const limit = 2 ** (q.scaleBits - 1) - 1
  return e > limit ? NaN : Math.max(e, -limit) // NaN stays NaN
}

/** Which block each element belongs to, for one axis or a tile over several. Blocks are numbered row-major over `blockShape`. */
export interface Blocking {
  readonly blockShape: readonly number[]
  readonly blockOf: Int32Array
  /** Per element: its place within its block along the last blocked axis together with everything but that axis' block number. Elements that share it meet in the as-released bump. */
  readonly columnOf: Int32Array
  readonly columns: number
}

/** Non-negative, sorted, distinct axes. Throws UsageError. */
export function resolveAxes(axes: number | readonly number[], rank: number): number[] {
  const list = (typeof axes === 'number' ? [axes] : [...axes]).map(a => {
    if (!Number.isInteger(a) || a < -rank || a >= rank) throw new UsageError(`axis must be an integer in [${-rank}, ${rank - 1}], got ${a}`)
    return a < 0 ? a + rank : a
  }).sort((a, b) => a - b)
  if (list.length === 0 || new Set(list).size < list.length) throw new UsageError(`axes must be distinct and at least one, got [${list}]`)
  return list
}

export function blocking(shape: readonly number[], axes: number | readonly number[], blockSize: number): Blocking {
  const blocked = resolveAxes(axes, shape.length), last = blocked.at(-1)!
  const length = (axis: number) => blockSize || Math.max(shape[axis]!, 1)
  const blockShape = shape.map((d, axis) => blocked.includes(axis) ? Math.ceil(d / length(axis)) : d)
  const columnShape = shape.map((d, axis) => axis === last ? length(axis) : d)
  const n = shape.reduce((a, b) => a * b, 1)
  const blockOf = new Int32Array(n), columnOf = new Int32Array(n)
  const at = shape.map(() => 0)
  for (let i = 0; i < n; i++) {
    blockOf[i] = at.reduce((k, c, axis) => k * blockShape[axis]! + (blocked.includes(axis) ? Math.floor(c / length(axis)) : c), 0)
    columnOf[i] = at.reduce((k, c, axis) => k * columnShape[axis]! + (axis === last ? c % length(axis) : c), 0)
    for (let axis = shape.length - 1; axis >= 0 && ++at[axis]! === shape[axis]; axis--) at[axis] = 0
  }
  return { blockShape, blockOf, columnOf, columns: columnShape.reduce((a, b) => a * b, 1) }
}

export interface Quantized {
  /** The fake-quantized tensor: element code times scale, as f32. */
  readonly values: Float32Array
  /** Element codes, one each. Two's complement for integer formats. */
  readonly codes: Uint32Array
  /** E8M0 byte of each element's block: the same within a block, except under the as-released bump. */
  readonly elementScales: Uint8Array
  /** E8M0 byte per block, row-major over `blockShape`. Meaningless under the as-released bump. */
  readonly scales: Uint8Array
  readonly blockShape: readonly number[]
}

/**
 * Quantize x of `shape` in blocks along `axes` (one axis, or several for tiles). `random` gives the bits for stochastic rounding.
 * Throws UsageError for an axis out of range.
 */
export function quantize(x: Float32Array, shape: readonly number[], axes: number | readonly number[], q: BlockQuantizer, random?: RandomBits): Quantized {
  const format: Format = formats[q.format], target = grid(format)
  const rounder: Rounder = q.zeroSign === 'preserve' && !hasNegativeZero(format) ? { ...q, zeroSign: 'positive' } : q
  const { blockShape, blockOf, columnOf, columns } = blocking(shape, axes, q.blockSize)
  const blocks = blockShape.reduce((a, b) => a * b, 1)

  const amax = new Float32Array(blocks), columnMax = new Float32Array(columns)
  x.forEach((v, i) => {
    const a = q.nonFinite === 'element' && Number.isNaN(v) ? 0 : Math.abs(v), b = blockOf[i]!, c = columnOf[i]!
    if (!(a <= amax[b]!)) amax[b] = Number.isNaN(amax[b]!) ? NaN : a
    if (!(a <= columnMax[c]!)) columnMax[c] = Number.isNaN(columnMax[c]!) ? NaN : a
  })
  // With blockSize 0 there is no block number to take the wrong maximum over, and the defect vanishes.
  const released = q.bump === 'as-released' && q.blockSize > 0

  const values = new Float32Array(x.length), codes = new Uint32Array(x.length), elementScales = new Uint8Array(x.length), scales = new Uint8Array(blocks)
  x.forEach((v, i) => {
    const m = amax[blockOf[i]!]!
    const bump = q.bump === 'none' ? 0 : saturates(released ? columnMax[columnOf[i]!]! : m, q, target) ? 1 : 0
    const e = scaleExponent(m, q, target, bump)
    elementScales[i] = scales[blockOf[i]!] = Number.isNaN(e) ? NAN_SCALE : e + 127
    if (Number.isNaN(e)) {
      values[i] = NaN
      codes[i] = nanCode(format, q.nanCode)
      return
    }
    const isSubnormal = q.exponent === 'bits' ? m < 2 ** -126 : m > 0 && torchLog2(m) + bump <= -127
    if (q.flushSubnormals && isSubnormal && !Number.isNaN(v)) v = v < 0 || Object.is(v, -0) ? -0 : 0
    const scale = 2 ** e
    const scaled = fround(v / scale)
    const element = Math.abs(scaled) === Infinity ? Math.sign(scaled) * target.max : toGrid(scaled, target, target.max, rounder, random ? random(i) / 2 ** q.randomBits : 0)
    values[i] = fround(element * scale)
    codes[i] = encode(format, wordOf(element), { rounding: 'nearest-even', overflow: 'saturate', nan: q.nanCode })
  })
  return { values, codes, elementScales, scales, blockShape }
}

/** Element codes and the E8M0 byte of each element's block back to f32: fl(P * X); NaN where either is NaN. */
export function dequantize(codes: ArrayLike<number>, elementScales: ArrayLike<number>, format: Format): Float32Array {
  return Float32Array.from(codes, (code, i) => fround(decode(format, code) * decodeScale('e8m0', elementScales[i]!)))
}

