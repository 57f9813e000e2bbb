// Quantization in programs: checks shapes and choices, picks the kernel, emits the call. The arithmetic: src/oracle/quantize.ts and assembly/quantize*.ts.
import { UsageError } from '../errors.ts'
import { formats, grid, hasNegativeZero, type Format } from '../numerics/formats.ts'
import type { Arithmetic, BlockQuantizer, ElementRounding, Rounding, ScaleRule } from '../numerics/quantizer.ts'
import { size, type Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'

/** Elements that make a thread worth its while. */
export const WORTH = 4096

const roundings: readonly Rounding[] = ['nearest-even', 'nearest-away', 'toward-zero', 'stochastic', 'nearest-zero']
const scaleRules: readonly ScaleRule[] = ['floor', 'ceil', 'even', 'rceil', 'even-1', 'rceil-divide']
const zeroSigns: readonly Arithmetic['zeroSign'][] = ['preserve', 'torch', 'positive']

/** The choices as the kernels read them: assembly/quantize-modes.ts. */
function arithmeticBits(a: Arithmetic, rounding: Rounding): number {
  return roundings.indexOf(rounding) & 3 | roundings.indexOf(rounding) >> 2 << 17 | (a.exponent === 'torch-log2' ? 4 : 0) | (a.half === 'add-half' ? 8 : 0) | zeroSigns.indexOf(a.zeroSign) << 4
}

function blockBits(q: BlockQuantizer, format: Format): number {
  const zeroSign = q.zeroSign === 'preserve' && !hasNegativeZero(format) ? 'positive' : q.zeroSign
  return arithmeticBits({ ...q, zeroSign }, q.rounding) | (q.flushSubnormals ? 64 : 0) | ['none', 'intended', 'as-released'].indexOf(q.bump) << 7
    | (scaleRules.indexOf(q.scaleRule) & 3) << 9 | scaleRules.indexOf(q.scaleRule) >> 2 << 18 | (q.nonFinite === 'element' ? 0x80000 : 0) | q.scaleBits << 11 | (q.randomBits === 16 ? 0x10000 : 0)
}

/** Where stochastic rounding takes its bits: Philox under `seed` (64 bit), stream `stream`, at the u64 step counter that `stepPtr` points at. */
export interface RandomSource { readonly seed: bigint, readonly stream: number, readonly stepPtr: number }

function check(src: Tensor, dst: Tensor): void {
  if (src.shape.length !== dst.shape.length || src.shape.some((d, i) => d !== dst.shape[i])) throw new UsageError(`dst has shape [${dst.shape}], must have src's [${src.shape}]`)
}

/** [outer, axis, inner] extents of a shape round one axis, negative axes counted from the end. Throws UsageError. */
export function around(shape: readonly number[], axis: number): [outer: number, length: number, inner: number] {
  const at = axis < 0 ? axis + shape.length : axis
  if (!Number.isInteger(at) || at < 0 || at >= shape.length) throw new UsageError(`axis is ${axis}, must be in [${-shape.length}, ${shape.length - 1}] for shape [${shape}]`)
  return [size(shape.slice(0, at)), shape[at]!, size(shape.slice(at + 1))]
}

/** [outer, rows, columns] of a shape whose tiles lie over `axes`, which must be the last two. Throws UsageError. */
export function tiled(shape: readonly number[], axes: readonly [number, number]): [outer: number, rows: number, columns: number] {
  const rank = shape.length, [first, second] = axes.map(a => a < 0 ? a + rank : a)
  if (first !== rank - 2 || second !== rank - 1) throw new UsageError(`tiles must lie over the last two axes, got [${axes}] for shape [${shape}]`)
  const [outer, rows, columns] = around(shape, first)
  return [outer, rows, columns]
}

/** The choices of a cast, for the codec kernels. */
export const castChoices = (policy: { readonly rounding: Rounding }): number => arithmeticBits({ exponent: 'bits', half: 'exact', zeroSign: 'preserve', nan: 'propagate' }, policy.rounding) | 8 << 11

/** [man, emin, emax, max, choices]: how every block kernel is told what to do. Throws UsageError for impossible choices. */
export function quantizerChoices(q: BlockQuantizer): readonly [number, number, number, number, number] {
  checkQuantizer(q)
  const format = formats[q.format], { man, emin, emax, max } = grid(format)
  return [man, emin, emax, max, blockBits(q, format)]
}

/** [seed low, seed high, stream, step pointer]; zeros where nothing is random. Throws UsageError for stochastic rounding without a source. */
export function randomWords(q: { readonly rounding: Rounding }, random?: RandomSource): readonly [number, number, number, number] {
  if (q.rounding !== 'stochastic') return [0, 0, 0, 0]
  if (!random) throw new UsageError('rounding stochastic needs a random source')
  return [Number(random.seed & 0xffffffffn), Number(random.seed >> 32n & 0xffffffffn), random.stream, random.stepPtr]
}

function checkQuantizer(q: BlockQuantizer): void {
  if (!Number.isInteger(q.blockSize) || q.blockSize < 0) throw new UsageError(`blockSize must be an integer >= 0 (0: the whole axis), got ${q.blockSize}`)
  if (!Number.isInteger(q.scaleBits) || q.scaleBits < 2 || q.scaleBits > 8) throw new UsageError(`scaleBits must be an integer 2..8, got ${q.scaleBits}`)
  if (q.bump === 'as-released' && q.nonFinite === 'element') throw new UsageError('bump as-released goes with nonFinite poison, got element')
  if (q.bump !== 'none' && q.scaleRule !== 'floor') throw new UsageError(`bump ${q.bump} goes with scaleRule floor, got ${q.scaleRule}`)
}

/** Bytes read and written from which on a tensor is taken to come from memory; and the widest panel (assembly/quantize-lanes.ts). */
const LARGE = 32 << 20, WIDEST = 1024
/** Words of scratch that the as-released bump may fill with positions. */
const POSITIONS = 1 << 20

/**
 * Emit dst = src quantized in blocks along `axis` and dequantized, 2^s round(src / 2^s) with s of each block (OCP MX v1.0 section 6.3): what a GEMM panel holds.
 * f32 to f32 of the same shape, in place allowed; a negative axis counts from the end. Two axes: tiles of blockSize x blockSize. `random` is needed by stochastic
 * rounding, and by nothing else. Throws UsageError for a wrong shape, axis or combination of choices.
 */
export function fakeQuantize(p: Program, src: Tensor, dst: Tensor, axis: number | readonly [number, number], q: BlockQuantizer, random?: RandomSource): void {
  check(src, dst)
  const stochastic = q.rounding === 'stochastic'
  const choices = quantizerChoices(q), source = randomWords(q, random)
  if (typeof axis !== 'number') return emitTiles(p, src, dst, axis, q, choices, source)

  const [outer, length, inner] = around(src.shape, axis)
  const block = q.blockSize || Math.max(length, 1), blocks = Math.ceil(length / block)
  // With one block for the whole axis there is no block number to take the wrong maximum over, and the defect vanishes.
  const released = q.bump === 'as-released' && q.blockSize > 0
  if (q.bump === 'as-released' && !released) return fakeQuantize(p, src, dst, axis, { ...q, bump: 'intended' }, random)
  if (released && stochastic) throw new UsageError('bump as-released does not go with rounding stochastic')
  const worth = (elements: number) => Math.max(1, Math.ceil(WORTH / elements)), cost = { bytes: 8 * size(src.shape) }
  if (inner === 1) {
    const args = [dst.ptr, src.ptr, length, block, ...choices] as const
    if (stochastic) p.emit('fake_quantize_rows_random', [...args, ...source], outer * blocks, worth(block), cost)
    else if (!released) p.emit('fake_quantize_rows', [...args], outer * blocks, worth(block), cost)
    else {
      if (Math.min(block, length) > POSITIONS) throw new UsageError(`bump as-released takes blocks of at most ${POSITIONS}, got ${block}`)
      p.emit('fake_quantize_rows_released', [...args], outer, worth(length), cost)
    }
    return
  }
  // Wide panels make long sweeps; narrow ones where there would be too few to share out, or too many positions to keep.
  // Whole rows of tensors that no cache holds: memory in one order throughout is read and written faster than in any other.
  let panel = outer * blocks < 16 ? 64 : !released && cost.bytes >= LARGE && inner <= WIDEST ? inner : 512
  if (released) while (panel * Math.min(block, length) > POSITIONS) panel /= 2
  if (panel < 1) throw new UsageError(`bump as-released takes blocks of at most ${POSITIONS}, got ${block}`)
  const panels = Math.ceil(inner / panel), wide = Math.min(panel, inner)
  const args = [dst.ptr, src.ptr, length, inner, block, panel, ...choices] as const
  if (stochastic) p.emit('fake_quantize_columns_random', [...args, ...source], outer * blocks * panels, worth(block * wide), cost)
  else if (released) p.emit('fake_quantize_columns_released', [...args], outer * panels, worth(length * wide), cost)
  else p.emit('fake_quantize_columns', [...args], outer * blocks * panels, worth(block * wide), cost)
}

function emitTiles(p: Program, src: Tensor, dst: Tensor, axes: readonly [number, number], q: BlockQuantizer, choices: readonly [number, number, number, number, number], source: readonly [number, number, number, number]): void {
  const [outer] = around(src.shape, axes[0])
  const rank = src.shape.length, [first, second] = axes.map(a => a < 0 ? a + rank : a) as [number, number]
  const [, cols, inner] = around(src.shape, second)
  if (first >= second) throw new UsageError(`tile axes must be two different axes in order, got [${axes}]`)
  const rows = src.shape[first]!, mid = size(src.shape.slice(first + 1, second))
  const height = q.blockSize || Math.max(rows, 1), width = q.blockSize || Math.max(cols, 1)
  if (q.bump === 'as-released' && q.blockSize === 0) return fakeQuantize(p, src, dst, axes, { ...q, bump: 'intended' })
  if (q.bump === 'as-released' && height * width > POSITIONS) throw new UsageError(`bump as-released takes tiles of at most ${POSITIONS} elements, got ${height} x ${width}`)
  p.emit('fake_quantize_tiles', [dst.ptr, src.ptr, rows, mid, cols, inner, height, width, ...choices, ...source], outer * Math.ceil(rows / height) * mid * inner, Math.max(1, Math.ceil(WORTH / (height * cols))), { bytes: 8 * size(src.shape) })
}

/** Emit dst = each element of src rounded by itself. f32 to f32 of the same shape, in place allowed. Throws UsageError for a wrong shape or width. */
export function roundElements(p: Program, src: Tensor, dst: Tensor, r: ElementRounding): void {
  check(src, dst)
  if (!Number.isInteger(r.manBits) || r.manBits < 1 || r.manBits > 23) throw new UsageError(`manBits must be an integer 1..23, got ${r.manBits}`)
  const n = size(src.shape)
  if (r.expBits === 8 && r.manBits === 23) {
    if (src.ptr !== dst.ptr) p.emit('copy_f32', [dst.ptr, src.ptr], n, WORTH)
    return
  }
  const mode = arithmeticBits(r, r.rounding) | (r.subnormals === 'flush' ? 64 : 0) | (r.nan === 'as-number' ? 0x8000 : 0) | 8 << 11
  p.emit('round_elements', [dst.ptr, src.ptr, r.expBits, r.manBits, mode], n, WORTH, { bytes: 8 * n })
}
