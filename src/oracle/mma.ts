// The matrix units of src/numerics/mma.ts, one output element at a time, meant to be read beside the algorithms of arXiv:2511.10909.
//
// Numbers are JavaScript numbers used as exact ones. Every operand, product and scaled product is a float64 without rounding (at most 24 significant
// bits, exponents within +-300). A sum of truncated terms is a sum of multiples of one power of two, below 2^49 of them (33 terms under 2^27 units in
// T-FDPA, four groups under 2^46 and c in GST-FDPA), so it has no rounding either. What is lost is lost in truncate(), floorTo() and the output roundings.
//
// Open on hardware, chosen here: a sum of exactly zero is +0 whatever the signs of its terms (except in ftz-addmul, which is IEEE addition);
// a negative sum that rounds to zero is -0. NVIDIA's NaN is 0x7FFFFFFF (0x7FFF in f16); AMD's payload is not known, 0x7FC00000 stands for it.
import { formats, type FloatFormat, type FormatName } from '../numerics/formats.ts'
import type { MmaConfig, MmaModel } from '../numerics/mma.ts'

/** One number of an operand. `exp` is Exp(x) of the paper: the exponent field minus the bias, the format's minimum for subnormals, and nothing for zero. */
interface Decoded { readonly value: number, readonly exp: number }

/** An operand along k, filled with zeros to whole steps, and its scales per block. */
export interface MmaRow {
  readonly value: Float64Array
  /** Exp(x); -Infinity for zero, which is never aligned by. */
  readonly exp: Float64Array
  readonly scale: readonly Decoded[]
}

/** 2^n, exactly, without a library power function. */
const powers = Float64Array.from({ length: 2047 }, (_, i) => i)
for (let i = 0; i < powers.length; i++) powers[i] = i < 1022 ? 0 : i === 1022 ? 1 : powers[i - 1]! * 2
for (let i = 1021; i >= 0; i--) powers[i] = powers[i + 1]! / 2
const pow2 = (n: number): number => n < -1022 ? 0 : powers[n + 1022]!

const view = new DataView(new ArrayBuffer(8))
/** floor(log2 |x|) of a normal float64. */
const log2 = (x: number): number => (view.setFloat64(0, x), (view.getUint16(0) >> 4 & 2047) - 1023)
const floatOf = (bits: number): number => (view.setUint32(0, bits), view.getFloat32(0))
const bitsOf = (x: number): number => (view.setFloat32(0, x), view.getUint32(0))

/** x to a multiple of 2^at, toward zero. */
const truncate = (x: number, at: number): number => Math.trunc(x * pow2(-at)) * pow2(at)
/** x to a multiple of 2^at, toward minus infinity. */
const floorTo = (x: number, at: number): number => Math.floor(x * pow2(-at)) * pow2(at)

/** A binary interchange format of an accumulator. */
interface Container { readonly bits: 16 | 32, readonly manBits: number, readonly emin: number, readonly emax: number, readonly infinity: number }
const FP32: Container = { bits: 32, manBits: 23, emin: -126, emax: 127, infinity: 0x7f800000 }
const FP16: Container = { bits: 16, manBits: 10, emin: -14, emax: 15, infinity: 0x7c00 }
const containerOf = (model: MmaModel): Container => model.accumulator === 'f16' ? FP16 : FP32

/** Decode a code of a floating-point format; tf32: a float32 word whose low 13 bits are dropped. */
function decodeCode(format: FloatFormat, code: number): Decoded {
  const { expBits, manBits, bias, specials } = format
  const negative = (code >>> (expBits + manBits) & 1) === 1
  const top = 2 ** expBits - 1
  const field = code >>> manBits & top
  const fraction = code & 2 ** manBits - 1
  const exp = Math.max(field, 1) - bias
  const magnitude = specials === 'ieee' && field === top ? fraction ? NaN : Infinity
    : specials === 'nan-only' && field === top && fraction === 2 ** manBits - 1 ? NaN
    : specials === 'fnuz' && negative && field === 0 && fraction === 0 ? NaN
    : (field ? fraction + 2 ** manBits : fraction) * pow2(exp - manBits)
  return { value: negative ? -magnitude : magnitude, exp: magnitude === 0 ? -Infinity : exp }
}

const tables = new Map<FormatName, Decoded[]>()
function decode(name: FormatName, code: number): Decoded {
  const format = formats[name] as FloatFormat
  if (name === 'tf32') return decodeCode(format, code >>> 13)
  let table = tables.get(name)
  if (!table) tables.set(name, table = Array.from({ length: 2 ** format.bits }, (_, c) => decodeCode(format, c)))
  return table[code]!
}

/** A block scale: E8M0 is 2^(byte - 127), its exponent its own; UE4M3 is E4M3 without its sign. 255 and 0x7F are NaN. */
const decodeScale = (format: 'e8m0' | 'ue4m3', byte: number): Decoded => format === 'ue4m3' ? decode('e4m3', byte & 0x7f)
  : { value: byte === 255 ? NaN : pow2(byte - 127), exp: byte - 127 }

/** Decode one row of operand A (`side` 'a') or of operand B: codes along k, one per entry, and scale bytes per block where the configuration has scales. */
export function decodeRow({ model, scale, ...formatOf }: MmaConfig, side: 'a' | 'b', codes: ArrayLike<number>, scales?: ArrayLike<number>): MmaRow {
  const K = Math.ceil(codes.length / model.length) * model.length
  const value = new Float64Array(K), exp = new Float64Array(K).fill(-Infinity)
  for (let k = 0; k < codes.length; k++) {
    const x = decode(formatOf[side], codes[k]!)
    value[k] = x.value
    // FP8 in the FP16 pipe: an E4M3 subnormal is a normal FP16 number, so its exponent is its own.
    exp[k] = model.algorithm === 'split-fp8' && Number.isFinite(x.value) && x.value !== 0 ? Math.max(log2(x.value), FP16.emin) : x.exp
  }
  return { value, exp, scale: scale ? Array.from({ length: K / scale.block }, (_, g) => decodeScale(scale.format, scales![g] ?? 0)) : [] }
}

/** An accumulator's bits as a number, and Exp of it. */
const accumulatorValue = (container: Container, bits: number): number => container === FP32 ? floatOf(bits) : decode('fp16', bits).value
const accumulatorExp = (container: Container, c: number): number => c === 0 ? -Infinity : Math.max(log2(c), container.emin)

const nanBits = (model: MmaModel) => model.accumulator === 'f16' ? 0x7fff : model.rounding === 'rne-f32' ? 0x7fc00000 : 0x7fffffff
/** Inf or NaN as bits. */
const specialBits = (model: MmaModel, x: number): number => {
  const { bits, infinity } = containerOf(model)
  return Number.isNaN(x) ? nanBits(model) : x > 0 ? infinity : infinity + 2 ** (bits - 1)
}

/** x to `keep` fraction bits of the container, toward zero or to nearest even; subnormals kept; too large is Inf in either mode. Returns bits. */
function encode(x: number, container: Container, keep: number, nearest: boolean): number {
  const sign = x < 0 ? 2 ** (container.bits - 1) : 0
  const magnitude = Math.abs(x)
  if (magnitude === 0) return 0
  const quantum = Math.max(log2(magnitude), container.emin) - keep
  const exact = magnitude * pow2(-quantum) // in units of the last place
  let units = Math.floor(exact)
  const rest = exact - units
  if (nearest && (rest > 0.5 || rest === 0.5 && units % 2 === 1)) units++
  const rounded = units * pow2(quantum)
  if (rounded === 0) return sign
  const e = log2(rounded)
  if (e > container.emax) return sign + container.infinity
  const significand = rounded * pow2(container.manBits - Math.max(e, container.emin)) // with the implicit bit
  return sign + significand + (Math.max(e, container.emin) - container.emin) * 2 ** container.manBits // which adds one to the exponent field
}

/** rho of the paper. */
const round = (model: MmaModel, x: number): number => model.rounding === 'rz-f32' ? encode(x, FP32, 23, false)
  : model.rounding === 'rz-e8m13' ? encode(x, FP32, 13, false)
  : model.rounding === 'rne-f16' ? encode(x, FP16, 10, true) : encode(x, FP32, 23, true)

/** The products of one step, k = from, from + 1, ... */
function products({ length }: MmaModel, a: MmaRow, b: MmaRow, from: number): number[] {
  const p: number[] = []
  for (let k = from; k < from + length; k++) p.push(a.value[k]! * b.value[k]!)
  return p
}
/** Exp of the products: not renormalised; -Infinity for a zero product. */
function exponents({ length }: MmaModel, a: MmaRow, b: MmaRow, from: number): number[] {
  const e: number[] = []
  for (let k = from; k < from + length; k++) e.push(a.exp[k]! + b.exp[k]!)
  return e
}

/** Inf or NaN: the IEEE sum of the terms, if one of them is not finite; null if all are. Overflow does not count, sums of finite terms are exact. */
function special(terms: readonly number[]): number | null {
  return terms.every(Number.isFinite) ? null : terms.reduce((s, x) => Number.isFinite(x) ? s : s + x, 0)
}

/** Truncated fused sum: each term toward zero to a multiple of 2^at, then exactly. */
function fusedSum(terms: readonly number[], at: number): number {
  let sum = 0
  for (const x of terms) sum += truncate(x, at)
  return sum
}
const largest = (xs: readonly number[]): number => {
  let top = -Infinity
  for (const x of xs) if (x > top) top = x
  return top
}

/** Algorithm 7: terms aligned at the largest exponent E, cut to F bits below it, added, rounded. */
function tFdpa(model: MmaModel, p: readonly number[], e: readonly number[], c: number): number {
  const terms = [...p, c]
  const s = special(terms)
  if (s !== null) return specialBits(model, s)
  const E = Math.max(model.floor, largest(e), accumulatorExp(containerOf(model), c))
  return round(model, fusedSum(terms, E - model.fraction))
}

/** Algorithm 8: the block's two scales multiply every product and move its exponent. */
function stFdpa(model: MmaModel, a: MmaRow, b: MmaRow, from: number, c: number): number {
  const sa = a.scale[from / model.length]!, sb = b.scale[from / model.length]!
  const scale = sa.value * sb.value, shift = sa.exp + sb.exp
  return tFdpa(model, products(model, a, b, from).map(x => x * scale), exponents(model, a, b, from).map(x => x + shift), c)
}

/** Algorithm 9. The size of a group's sum plays no part in the alignment, only its scales do; a group whose products are all zero is not aligned by. */
function gstFdpa({ model, scale }: MmaConfig, a: MmaRow, b: MmaRow, from: number, c: number): number {
  const G = model.group
  const p = products(model, a, b, from)
  const terms = [c]
  let E = Math.max(model.floor, accumulatorExp(FP32, c))
  for (let g = 0; g < model.length; g += G) {
    const block = Math.floor((from + g) / scale!.block)
    const sa = a.scale[block]!, sb = b.scale[block]!
    const group = p.slice(g, g + G)
    terms.push(group.reduce((s, x) => s + x, 0) * sa.value * sb.value)
    if (group.some(x => x !== 0)) E = Math.max(E, sa.exp + sb.exp) // a zero scale has exponent -Infinity
  }
  const s = special(terms)
  return s !== null ? specialBits(model, s) : round(model, fusedSum(terms, E - model.fraction))
}

/** The emulated FP8 mma.sync: two steps of algorithm 7 from zero, then one IEEE addition of c in the accumulator's type, to nearest even. */
function splitFp8(model: MmaModel, p: readonly number[], e: readonly number[], c: number): number {
  const container = containerOf(model)
  let t = 0
  for (const half of [0, 2]) {
    const pick = (xs: readonly number[]) => xs.filter((_, k) => (k & 2) === half)
    t = accumulatorValue(container, tFdpa(model, pick(p), pick(e), t))
  }
  const sum = t + c // a float32 sum rounded to float64 first rounds to float32 as if once (53 >= 2 * 24 + 2)
  if (!Number.isFinite(sum)) return specialBits(model, sum)
  return Object.is(sum, -0) ? 2 ** (container.bits - 1) : encode(sum, container, container.manBits, true)
}

/** Algorithm 6: one exact sum, one rounding. The terms span up to 600 bits, so this one is done in BigInt, in units of 2^-300. */
function eFdpa(model: MmaModel, p: readonly number[], c: number): number {
  const terms = [...p, c]
  const s = special(terms)
  if (s !== null) return specialBits(model, s)
  const units = (x: number) => x === 0 ? 0n : BigInt(x * pow2(52 - log2(x))) << BigInt(log2(x) + 300) >> 52n
  const sum = terms.reduce((t, x) => t + units(x), 0n)
  const magnitude = sum < 0n ? -sum : sum
  // 53 bits, the last one set if anything follows, round to the same float32 as the whole.
  const extra = BigInt(Math.max(magnitude.toString(2).length - 53, 0))
  const high = magnitude >> extra
  const odd = high << extra === magnitude ? high : high | 1n
  const x = Number(odd) * pow2(Number(extra) - 300)
  return round(model, sum < 0n ? -x : x)
}

/** F2 of algorithms 10 and 11: fraction bits after the addition of c. */
const F2 = 31

/** Algorithms 10 and 11. Unlike in algorithm 7, c is added after the products have been summed, and a zero c has the least exponent of its type. */
function trFdpa(model: MmaModel, p: readonly number[], e: readonly number[], c: number): number {
  const grouped = model.algorithm === 'gtr-fdpa', F = model.fraction
  // A product of 2^128 or more is an infinity (in the FP8 formats none is that large).
  const s = special([...p.map(x => Math.abs(x) >= pow2(128) ? x * Infinity : x), c])
  if (s !== null) return specialBits(model, s)
  const fused = (terms: readonly number[], exps: readonly number[]) => {
    const top = largest(exps)
    return { sum: top === -Infinity ? 0 : fusedSum(terms, top - F), top }
  }
  const half = (xs: readonly number[], parity: number) => xs.filter((_, k) => k % 2 === parity)
  let { sum: dot, top } = fused(p, e)
  if (grouped && top !== -Infinity) {
    const even = fused(half(p, 0), half(e, 0)), odd = fused(half(p, 1), half(e, 1))
    dot = floorTo(even.sum, top - F) + floorTo(odd.sum, top - F)
  }
  const expC = Math.max(accumulatorExp(FP32, c), FP32.emin)
  const E = Math.max(top, expC)
  const forced = grouped && expC < E - F - 1 // c far below the products counts as zero
  const total = floorTo(dot, E - F2 - 1) + (forced ? 0 : floorTo(c, E - F))
  return total === 0 ? 0 : round(model, floorTo(total, Math.max(log2(total), FP32.emin) - F2))
}

/**
 * Algorithm 2 over one pair or quartet of products. Operands that are subnormal in their own format become +0; a subnormal product or sum becomes a
 * zero of its sign. Operations are float32: fround of a float64 operation rounds as if once, for the reason given in splitFp8.
 */
function ftzAddmul({ model, a: format }: MmaConfig, a: MmaRow, b: MmaRow, from: number, c: number): number {
  const smallest = pow2(1 - (formats[format] as FloatFormat).bias)
  const flush = (x: number) => Math.abs(x) < pow2(FP32.emin) ? x * 0 : x
  const operand = (x: number) => Math.abs(x) < smallest ? 0 : x
  const plus = (x: number, y: number) => flush(Math.fround(x + y))
  const p = Array.from({ length: model.length }, (_, i) => flush(Math.fround(operand(a.value[from + i]!) * operand(b.value[from + i]!))))
  let s = plus(p[0]!, p[1]!)
  if (model.length === 4) s = plus(s, plus(p[2]!, p[3]!))
  const d = plus(c, s)
  return Number.isNaN(d) ? nanBits(model) : bitsOf(d)
}

/** One output element from decoded rows: `c` as bits of the accumulator, steps `fromStep`..`toStep` (default all). Returns the bits of d. */
export function mmaRows(config: MmaConfig, a: MmaRow, b: MmaRow, c: number, fromStep = 0, toStep = a.value.length / config.model.length): number {
  const { model } = config
  const container = containerOf(model)
  let d = c
  if (model.algorithm === 'ftz-addmul' && Math.abs(floatOf(c)) < pow2(FP32.emin)) d = 0 // only the first c loses its sign
  for (let step = fromStep; step < toStep; step++) {
    const from = step * model.length
    const x = accumulatorValue(container, d)
    const p = () => products(model, a, b, from), e = () => exponents(model, a, b, from)
    switch (model.algorithm) {
      case 't-fdpa': d = tFdpa(model, p(), e(), x); break
      case 'st-fdpa': d = stFdpa(model, a, b, from, x); break
      case 'gst-fdpa': d = gstFdpa(config, a, b, from, x); break
      case 'split-fp8': d = splitFp8(model, p(), e(), x); break
      case 'e-fdpa': d = eFdpa(model, p(), x); break
      case 'tr-fdpa': case 'gtr-fdpa': d = trFdpa(model, p(), e(), x); break
      case 'ftz-addmul': d = ftzAddmul(config, a, b, from, x); break
    }
  }
  return d
}

/**
 * One output element of D = A B^T + C: codes `a` and `b` along k (one per entry, any length; a short last step is filled with zeros), `c` as bits of
 * the accumulator, scale bytes per block along k where the configuration has scales. Returns the bits of d.
 */
export const mmaElement = (config: MmaConfig, a: ArrayLike<number>, b: ArrayLike<number>, c: number, scaleA?: ArrayLike<number>, scaleB?: ArrayLike<number>): number =>
  mmaRows(config, decodeRow(config, 'a', a, scaleA), decodeRow(config, 'b', b, scaleB), c)
