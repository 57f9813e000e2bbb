// The matrix units of src/numerics/mma.ts with BigInt, one output element at a time: slow, and meant to be read beside the algorithms of
// arXiv:2511.10909. A number is {n, q} = n 2^q with an integer n of either sign, so sums and products are exact and every loss is a visible call
// to truncate, floor or one of the output roundings.
//
// Open on hardware, chosen here: a sum of exactly zero is +0 whatever the signs of its terms (except in ftz-addmul, which is IEEE addition);
// a negative sum that rounds to zero is -0. NVIDIA's NaN is 0x7FFFFFFF (0x7FFF in f16); AMD's payload is not known, 0x7FC00000 stands for it.
import { formats, type FloatFormat, type FormatName } from '../numerics/formats.ts'
import type { MmaConfig, MmaModel } from '../numerics/mma.ts'

/** n 2^q. */
interface Dyadic { readonly n: bigint, readonly q: number }
/** A decoded operand. `exp` is Exp(x) of the paper: the exponent field minus the bias, and the format's minimum for subnormals and zero. */
interface Operand { readonly kind: 'finite' | 'inf' | 'nan', readonly negative: boolean, readonly value: Dyadic, readonly exp: number }

const zero: Dyadic = { n: 0n, q: 0 }
const abs = (n: bigint) => n < 0n ? -n : n
/** n 2^(q - at) as an integer, rounded toward zero. */
const truncatedUnits = ({ n, q }: Dyadic, at: number): bigint => q >= at ? n << BigInt(q - at) : n < 0n ? -(-n >> BigInt(at - q)) : n >> BigInt(at - q)
/** The same, rounded toward minus infinity (BigInt's >> does that). */
const flooredUnits = ({ n, q }: Dyadic, at: number): bigint => q >= at ? n << BigInt(q - at) : n >> BigInt(at - q)
/** x to a multiple of 2^at, toward zero. */
const truncate = (x: Dyadic, at: number): Dyadic => ({ n: truncatedUnits(x, at), q: at })
/** x to a multiple of 2^at, toward minus infinity. */
const floor = (x: Dyadic, at: number): Dyadic => ({ n: flooredUnits(x, at), q: at })
const multiply = (x: Dyadic, y: Dyadic): Dyadic => ({ n: x.n * y.n, q: x.q + y.q })
const add = (x: Dyadic, y: Dyadic): Dyadic => {
  const q = Math.min(x.q, y.q)
  return { n: truncatedUnits(x, q) + truncatedUnits(y, q), q }
}
const sum = (xs: readonly Dyadic[]): Dyadic => xs.reduce(add, zero)
/** floor(log2 |x|); x is not zero. */
const log2 = ({ n, q }: Dyadic): number => abs(n).toString(2).length - 1 + q

const FP32: FloatFormat = { kind: 'float', name: 'f32', bits: 32, expBits: 8, manBits: 23, bias: 127, max: (2 - 2 ** -23) * 2 ** 127, emax: 127, specials: 'ieee' }
const FP16: FloatFormat = formats.fp16

/** Decode a code of a floating-point format. tf32: a float32 word whose low 13 bits are dropped. */
function decode(name: FormatName | FloatFormat, code: number): Operand {
  const format = (typeof name === 'string' ? formats[name] : name) as FloatFormat
  if (format.name === 'tf32') code = code >>> 13
  const { expBits, manBits, bias, specials } = format
  const negative = (code >>> (expBits + manBits) & 1) === 1
  const field = code >>> manBits & 2 ** expBits - 1
  const fraction = code & 2 ** manBits - 1
  const top = field === 2 ** expBits - 1
  const kind = specials === 'ieee' && top ? fraction ? 'nan' : 'inf'
    : specials === 'nan-only' && top && fraction === 2 ** manBits - 1 ? 'nan'
    : specials === 'fnuz' && negative && field === 0 && fraction === 0 ? 'nan' : 'finite'
  const exp = Math.max(field, 1) - bias
  const significand = BigInt(field ? fraction + 2 ** manBits : fraction)
  return { kind, negative, value: { n: negative ? -significand : significand, q: exp - manBits }, exp }
}

/** A block scale as an operand: E8M0 is 2^(byte - 127), its exponent its own; UE4M3 is E4M3 without its sign. 255 and 0x7F are NaN. */
const decodeScale = (format: 'e8m0' | 'ue4m3', byte: number): Operand => format === 'ue4m3' ? decode('e4m3', byte & 0x7f)
  : { kind: byte === 255 ? 'nan' : 'finite', negative: false, value: { n: 1n, q: byte - 127 }, exp: byte - 127 }

/** The special value that a sum of these products and c has, or null if all are finite. Inf * 0 and Inf - Inf are NaN. */
function special(a: readonly Operand[], b: readonly Operand[], c: Operand): 'nan' | 'inf' | '-inf' | null {
  let plus = c.kind === 'inf' && !c.negative, minus = c.kind === 'inf' && c.negative
  if (c.kind === 'nan') return 'nan'
  for (let k = 0; k < a.length; k++) {
    const x = a[k]!, y = b[k]!
    if (x.kind === 'nan' || y.kind === 'nan') return 'nan'
    if (x.kind === 'finite' && y.kind === 'finite') continue
    if (x.kind === 'finite' && x.value.n === 0n || y.kind === 'finite' && y.value.n === 0n) return 'nan'
    if (x.negative === y.negative) plus = true
    else minus = true
  }
  return plus && minus ? 'nan' : plus ? 'inf' : minus ? '-inf' : null
}

const nanBits = (model: MmaModel) => model.accumulator === 'f16' ? 0x7fff : model.rounding === 'rne-f32' ? 0x7fc00000 : 0x7fffffff
/** A special result as bits of the accumulator type. */
const specialBits = (model: MmaModel, s: 'nan' | 'inf' | '-inf'): number =>
  s === 'nan' ? nanBits(model) : model.accumulator === 'f16' ? s === 'inf' ? 0x7c00 : 0xfc00 : s === 'inf' ? 0x7f800000 : 0xff800000

/**
 * Output conversion: x to `keep` fraction bits of the container format (23 of FP32, 13 of FP32 for E8M13, 10 of FP16), toward zero or to
 * nearest even; subnormals kept; |x| too large becomes Inf in either mode. Returns bits.
 */
function encode(x: Dyadic, container: FloatFormat, keep: number, nearest: boolean): number {
  if (x.n === 0n) return 0
  const sign = x.n < 0n ? 2 ** (container.bits - 1) : 0
  const magnitude: Dyadic = { n: abs(x.n), q: x.q }
  const emin = 1 - container.bias
  const quantum = Math.max(log2(magnitude), emin) - keep
  let units = truncatedUnits(magnitude, quantum)
  if (nearest) {
    // Compare the discarded part with half a unit, both doubled: the tie goes to the even neighbour.
    const kept: Dyadic = { n: units, q: quantum }
    const rest = add(magnitude, { n: -kept.n, q: kept.q })
    const twice = add({ n: rest.n * 2n, q: rest.q }, { n: -1n, q: quantum }).n
    if (twice > 0n || twice === 0n && units % 2n === 1n) units++
  }
  if (units === 0n) return sign
  const e = log2({ n: units, q: quantum })
  if (e > container.emax) return sign + 2 ** (container.expBits + container.manBits) - 2 ** container.manBits
  const significand = Number(truncatedUnits({ n: units, q: quantum }, Math.max(e, emin) - container.manBits))
  return sign + (e < emin ? significand : significand + (e - emin) * 2 ** container.manBits) // the implicit bit adds one to the exponent field
}

/** rho of the paper. */
const round = (model: MmaModel, x: Dyadic): number => model.rounding === 'rz-f32' ? encode(x, FP32, 23, false)
  : model.rounding === 'rz-e8m13' ? encode(x, FP32, 13, false)
  : model.rounding === 'rne-f16' ? encode(x, FP16, 10, true) : encode(x, FP32, 23, true)

/** Truncated fused sum: each term toward zero to a multiple of 2^(e - F), then exactly. */
const fusedSum = (terms: readonly Dyadic[], e: number, F: number): Dyadic => sum(terms.map(t => truncate(t, e - F)))

const isZero = (x: Operand) => x.value.n === 0n
/** Exact products, and the exponents by which they are aligned; a zero product has none. */
const products = (a: readonly Operand[], b: readonly Operand[]) => a.map((x, k) => multiply(x.value, b[k]!.value))
const exponents = (a: readonly Operand[], b: readonly Operand[], shift = 0) => a.map((x, k) => isZero(x) || isZero(b[k]!) ? -Infinity : x.exp + b[k]!.exp + shift)

/** Algorithms 7 and 8. `scale` = the product of the block's two scales (a power of two), by which every product's exponent moves. */
function tFdpa(model: MmaModel, a: readonly Operand[], b: readonly Operand[], c: Operand, scale = 0): number {
  const s = special(a, b, c)
  if (s) return specialBits(model, s)
  const terms = [...products(a, b).map(p => ({ n: p.n, q: p.q + scale })), c.value]
  const E = Math.max(model.floor, ...exponents(a, b, scale), isZero(c) ? -Infinity : c.exp)
  return round(model, fusedSum(terms, E, model.fraction))
}

/** Algorithm 9. One scale per group and side. The size of a group's sum plays no part in the alignment; a group of zero products is not aligned by. */
function gstFdpa(model: MmaModel, a: readonly Operand[], b: readonly Operand[], c: Operand, scaleA: readonly Operand[], scaleB: readonly Operand[]): number {
  const s = scaleA.some(x => x.kind === 'nan') || scaleB.some(x => x.kind === 'nan') ? 'nan' : special(a, b, c)
  if (s) return specialBits(model, s)
  const G = model.group
  const terms = [c.value]
  let E = Math.max(model.floor, isZero(c) ? -Infinity : c.exp)
  scaleA.forEach((sa, g) => {
    const sb = scaleB[g]!
    const p = products(a.slice(g * G, g * G + G), b.slice(g * G, g * G + G))
    terms.push(multiply(sum(p), multiply(sa.value, sb.value)))
    if (!isZero(sa) && !isZero(sb) && p.some(x => x.n !== 0n)) E = Math.max(E, sa.exp + sb.exp)
  })
  return round(model, fusedSum(terms, E, model.fraction))
}

/** FP8 as the FP16 pipe sees it: a subnormal E4M3 number is a normal FP16 number, so its exponent is its own. */
const asFp16 = (x: Operand): Operand => isZero(x) ? x : { ...x, exp: Math.max(log2(x.value), 1 - FP16.bias) }

/** The emulated FP8 mma.sync: two T-FDPA steps of 16 from zero, then one IEEE addition of c in the accumulator's type, to nearest even. */
function splitFp8(model: MmaModel, a: readonly Operand[], b: readonly Operand[], c: Operand): number {
  const container = model.accumulator === 'f16' ? FP16 : FP32
  let t = decode(container, 0)
  for (const half of [0, 2]) {
    const pick = (xs: readonly Operand[]) => xs.filter((_, k) => (k & 2) === half).map(asFp16)
    t = decode(container, tFdpa(model, pick(a), pick(b), t))
  }
  const one = decode(container, container.bias * 2 ** container.manBits)
  const s = special([t], [one], c)
  if (s) return specialBits(model, s)
  if (isZero(t) && isZero(c) && t.negative && c.negative) return 2 ** (container.bits - 1)
  return encode(add(t.value, c.value), container, container.manBits, true)
}

/** Algorithm 6: one exact sum, one rounding. */
function eFdpa(model: MmaModel, a: readonly Operand[], b: readonly Operand[], c: Operand): number {
  const s = special(a, b, c)
  return s ? specialBits(model, s) : round(model, sum([...products(a, b), c.value]))
}

/** F2 of algorithms 10 and 11: fraction bits after the addition of c. */
const F2 = 31

/** Algorithms 10 and 11. Zero products carry no exponent; c always does (zero: the minimum). All floors are toward minus infinity. */
function trFdpa(model: MmaModel, a: readonly Operand[], b: readonly Operand[], c: Operand): number {
  const grouped = model.algorithm === 'gtr-fdpa', F = model.fraction
  const p = products(a, b)
  // A product of 2^128 or more is an infinity (not in the FP8 algorithm, where none is that large).
  const overflow = (k: number) => !grouped && p[k]!.n !== 0n && log2(p[k]!) >= 128 && a[k]!.kind === 'finite' && b[k]!.kind === 'finite'
  const s = special(a.map((x, k) => overflow(k) ? { ...x, kind: 'inf' } : x), b, c)
  if (s) return specialBits(model, s)
  const e = exponents(a, b)
  const fused = (wanted: (k: number) => boolean): { t: Dyadic, e: number } => {
    const top = Math.max(...e.filter((_, k) => wanted(k)))
    return top === -Infinity ? { t: zero, e: top } : { t: fusedSum(p.filter((_, k) => wanted(k)), top, F), e: top }
  }
  let dot = fused(() => true)
  if (grouped) {
    const even = fused(k => k % 2 === 0), odd = fused(k => k % 2 === 1)
    const top = Math.max(even.e, odd.e)
    dot = top === -Infinity ? even : { t: add(floor(even.t, top - F), floor(odd.t, top - F)), e: top }
  }
  const E = Math.max(dot.e, c.exp)
  const dropC = grouped && c.exp < E - F - 1
  const total = add(floor(dot.t, E - F2 - 1), dropC ? zero : floor(c.value, E - F))
  if (total.n === 0n) return 0
  return round(model, floor(total, Math.max(log2(total), -126) - F2))
}

const view = new DataView(new ArrayBuffer(4))
const toFloat = (bits: number) => (view.setUint32(0, bits), view.getFloat32(0))
const fromFloat = (x: number) => (view.setFloat32(0, x), view.getUint32(0))
const numeric = (x: Operand): number => x.kind === 'nan' ? NaN : x.kind === 'inf' ? x.negative ? -Infinity : Infinity : Number(x.value.n) * 2 ** x.value.q * (isZero(x) && x.negative ? -1 : 1)

/**
 * Algorithm 2 over one pair or quartet of products. Operands that are subnormal in their own format become +0; a subnormal product or sum becomes a
 * zero of its sign. float32 operations: fround of a double operation rounds once, because a double carries more than 2 * 24 + 1 bits.
 */
function ftzAddmul(model: MmaModel, a: readonly Operand[], b: readonly Operand[], c: number, emin: number): number {
  const flush = (x: number) => Math.abs(x) < 2 ** -126 ? x * 0 : x
  const flushIn = (x: Operand) => { const v = numeric(x); return Math.abs(v) < 2 ** emin ? 0 : v }
  const plus = (x: number, y: number) => flush(Math.fround(x + y))
  const p = a.map((x, k) => flush(Math.fround(flushIn(x) * flushIn(b[k]!))))
  let s = plus(p[0]!, p[1]!)
  if (model.length === 4) s = plus(s, plus(p[2]!, p[3]!))
  const d = plus(c, s)
  return Number.isNaN(d) ? nanBits(model) : fromFloat(d)
}

/**
 * One output element of D = A B^T + C: codes `a` and `b` along k (one per entry, any length; a short last step is filled with zeros), `c` as bits of
 * the accumulator, scale bytes per block along k where the configuration has scales. Returns the bits of d.
 */
export function mmaElement(config: MmaConfig, a: ArrayLike<number>, b: ArrayLike<number>, c: number, scaleA?: ArrayLike<number>, scaleB?: ArrayLike<number>): number {
  const { model, scale } = config
  const accumulator = model.accumulator === 'f16' ? FP16 : FP32
  const L = model.length
  let d = c
  if (model.algorithm === 'ftz-addmul' && Math.abs(toFloat(c)) < 2 ** -126) d = 0 // only the first c loses its sign
  for (let k0 = 0; k0 < a.length; k0 += L) {
    const operands = (format: FormatName, codes: ArrayLike<number>) => Array.from({ length: L }, (_, i) => decode(format, k0 + i < codes.length ? codes[k0 + i]! : 0))
    const x = operands(config.a, a), y = operands(config.b, b)
    const z = decode(accumulator, d)
    const scaleAt = (bytes: ArrayLike<number>, k: number) => decodeScale(scale!.format, k < a.length ? bytes[Math.floor(k / scale!.block)]! : 0)
    switch (model.algorithm) {
      case 't-fdpa': d = tFdpa(model, x, y, z); break
      case 'st-fdpa': {
        const sa = scaleAt(scaleA!, k0), sb = scaleAt(scaleB!, k0)
        d = sa.kind === 'nan' || sb.kind === 'nan' ? nanBits(model) : tFdpa(model, x, y, z, sa.exp + sb.exp)
        break
      }
      case 'gst-fdpa': {
        const groups = (bytes: ArrayLike<number>) => Array.from({ length: L / model.group }, (_, g) => scaleAt(bytes, k0 + g * model.group))
        d = gstFdpa(model, x, y, z, groups(scaleA!), groups(scaleB!))
        break
      }
      case 'split-fp8': d = splitFp8(model, x, y, z); break
      case 'e-fdpa': d = eFdpa(model, x, y, z); break
      case 'tr-fdpa': case 'gtr-fdpa': d = trFdpa(model, x, y, z); break
      case 'ftz-addmul': d = ftzAddmul(model, x, y, toFloat(d), 1 - (formats[config.a] as FloatFormat).bias); break
    }
  }
  return d
}
