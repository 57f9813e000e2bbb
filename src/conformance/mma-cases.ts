// Inputs that make a matrix unit show its arithmetic, drawn from generators that provoke rounding, alignment, cancellation, subnormals, special values
// and the corners of the scales; uniformly random inputs would almost never do so. A draw is a small tile, D[M,N] = A[M,K] B[N,K]^T + C, whose rows share
// their structure, so that every pair of rows provokes; a single case is a tile of 1 x 1. A tile is a function of (configuration, seed, index, sizes).
import { formats, type FloatFormat, type FormatName } from '../numerics/formats.ts'
import type { MmaConfig } from '../numerics/mma.ts'
import { decodeRow, mmaElement, mmaRows } from '../oracle/mma.ts'
import { philox4x32 } from '../oracle/philox.ts'

export interface MmaTile {
  /** operands / accumulator, by generator. */
  readonly category: string
  /** Codes [M][K] and [N][K]. */
  readonly a: number[][]
  readonly b: number[][]
  /** Bits of the accumulators, [M][N]. */
  readonly c: number[][]
  /** Scale bytes per block of k, [M][...] and [N][...]; empty rows for an unscaled unit. */
  readonly scaleA: number[][]
  readonly scaleB: number[][]
}

/** 32 random bits at a time, counter-based. */
class Random {
  readonly #key: readonly [number, number]
  readonly #stream: number
  #block = 0
  #words: number[] = []
  constructor(seed: number, stream: number) {
    this.#key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0]
    this.#stream = stream
  }
  word(): number {
    if (this.#words.length === 0) this.#words = philox4x32([this.#block++, this.#stream, 0, 0], this.#key)
    return this.#words.pop()!
  }
  /** An integer in [0, n). */
  below(n: number): number { return this.word() % n }
  /** An integer in [low, high]. */
  between(low: number, high: number): number { return low + this.below(high - low + 1) }
  chance(oneIn: number): boolean { return this.below(oneIn) === 0 }
  pick<T>(xs: readonly T[]): T { return xs[this.below(xs.length)]! }
}

/** A format with the exponents from which to draw: all of them, or the part of a wide format in which sums of products neither overflow nor vanish. */
interface Drawn extends FloatFormat { readonly low: number, readonly high: number }
function drawn(f: FloatFormat, f16: boolean, whole: boolean): Drawn {
  const [least, most] = whole ? [-1000, 1000] : f16 ? [-8, 5] : [-60, 60]
  return { ...f, low: Math.max(-f.bias, least), high: Math.min(f.emax, most) }
}
const leastExp = (f: FloatFormat) => 1 - f.bias

/** Code of a number with exponent `exp` (clamped to the format; below the least one: subnormal), random sign and fraction. Never Inf or NaN. */
function near(f: FloatFormat, r: Random, exp: number): number {
  const { expBits, manBits, bias } = f
  const word = r.word()
  const sign = (word >>> 31) * 2 ** (expBits + manBits)
  const field = Math.min(Math.max(exp + bias, 0), f.emax + bias)
  const fractions = f.specials === 'nan-only' && field === 2 ** expBits - 1 ? 2 ** manBits - 1 : 2 ** manBits
  const code = sign + field * 2 ** manBits + (word & 0x7fffffff) % fractions
  return f.specials === 'fnuz' && code === sign ? 0 : code
}

/** Flip the sign of a finite code. */
const negate = (f: FloatFormat, code: number) => f.specials === 'fnuz' && code === 0 ? 0 : (code ^ 2 ** (f.bits - 1)) >>> 0

/** Codes of the special values of a format, if it has any. */
function specialCodes({ specials, expBits, manBits }: FloatFormat): number[] {
  const top = (2 ** expBits - 1) * 2 ** manBits, sign = 2 ** (expBits + manBits)
  return specials === 'ieee' ? [top, sign + top, top, sign + top, top + 1, sign + top + 2 ** (manBits - 1)]
    : specials === 'nan-only' ? [top + 2 ** manBits - 1] : specials === 'fnuz' ? [sign] : []
}

/** Draws one row of an operand. */
type Row = (f: Drawn, r: Random) => number[]
const times = (K: number, draw: (k: number) => number): number[] => Array.from({ length: K }, (_, k) => draw(k))

/** A generator fixes a structure along k (from `r`) and gives the rows of A and of B. F is the width that alignment keeps. */
const generators: Record<string, (K: number, F: number, r: Random) => [Row, Row]> = {
  /** Any finite code. */
  bits: K => Array(2).fill((f: Drawn, r: Random) => times(K, () => near(f, r, r.between(f.low, f.high)))) as [Row, Row],
  /** Exponents within a few binades, as in real tensors. */
  normal: K => Array(2).fill((f: Drawn, r: Random) => {
    const centre = r.between(Math.min(f.low + 2, f.high), f.high)
    return times(K, () => near(f, r, centre - Math.floor(Math.sqrt(r.below(26)))))
  }) as [Row, Row],
  /** One large product, the others near the last bit that alignment keeps; every other time the large one is cancelled by its neighbour, which leaves the rest. */
  align: (K, F, r) => {
    const big = r.below(K), other = big ^ 1, cancelled = r.chance(2) && other < K
    const down = times(K, k => k === big || !cancelled && r.chance(K) ? 0 : Math.max(0, F - r.between(-3, 6)))
    const split = down.map(n => r.between(0, n))
    const row = (share: (k: number) => number, partner: (f: Drawn, code: number) => number): Row => (f, r) => {
      const high = cancelled && f.expBits < 8 ? f.emax : f.high // what cancels cannot overflow
      const top = r.between(Math.max(leastExp(f), high - 2), high)
      const codes = times(K, k => near(f, r, Math.max(top - share(k), leastExp(f) - f.manBits)))
      if (cancelled) codes[other] = partner(f, codes[big]!)
      return codes
    }
    return [row(k => split[k]!, negate), row(k => down[k]! - split[k]!, (_, code) => code)]
  },
  /** Products that cancel in pairs, but for a few. */
  cancel: (K, _, r) => {
    const broken = times(K, () => r.below(5))
    const row = (second: (f: Drawn, code: number) => number): Row => (f, r) => {
      const codes: number[] = []
      for (let k = 0; k < K; k += 2) {
        const code = near(f, r, r.between(f.low, f.high))
        codes.push(code, broken[k] === 0 ? near(f, r, r.between(f.low, f.high)) : second(f, code))
      }
      return codes.slice(0, K)
    }
    return [row(negate), row((_, code) => code)]
  },
  subnormal: K => Array(2).fill((f: Drawn, r: Random) => times(K, () => near(f, r, r.chance(4) ? leastExp(f) + r.below(3) : -f.bias))) as [Row, Row],
  /** Almost all zeros, of either sign. */
  sparse: (K, _, r) => {
    const kept = times(K, () => r.below(3))
    return Array(2).fill((f: Drawn, r: Random) => times(K, k => kept[k] === 0 && !r.chance(3) ? near(f, r, r.between(f.low, f.high)) : r.chance(2) ? 0 : negate(f, 0))) as [Row, Row]
  },
  /** Largest values, mostly of one sign. */
  large: (K, _, r) => {
    const mixed = r.chance(3)
    const row: Row = (f, r) => {
      const negative = r.chance(2)
      return times(K, () => { const code = near(f, r, f.high - r.below(2)); return mixed || code >= 2 ** (f.bits - 1) === negative ? code : negate(f, code) })
    }
    return [row, row]
  },
}
const kinds = Object.keys(generators)

const corners = ['plain', 'spread', 'any', 'low', 'plain', 'special', 'spread', 'high', 'plain', 'tiny'] as const

/** Scale bytes of a row: mostly such that products of the two stay representable, sometimes the corners. */
function scaleBytes(kind: 'e8m0' | 'ue4m3', count: number, r: Random, corner: typeof corners[number]): number[] {
  const centre = kind === 'e8m0' ? 127 + r.between(-12, 12) : 0x38
  return times(count, () => {
    if (corner === 'any') return kind === 'e8m0' ? r.between(0, 254) : r.between(0, 0x7e) + r.below(2) * 128 // the sign bit of UE4M3 must not matter
    if (corner === 'special' && r.chance(4)) return r.pick(kind === 'e8m0' ? [0, 254, 1, 255] : [0, 0x80, 1, 7, 0x7f, 0x7e, 0xff])
    if (corner === 'spread') return kind === 'e8m0' ? centre + r.between(-16, 16) : r.between(1, 0x7e)
    if (corner === 'low' && kind === 'e8m0') return r.between(46, 68) // products near the subnormals of FP32
    if (corner === 'high' && kind === 'e8m0') return r.between(180, 196) // products near its overflow
    if (corner === 'tiny') return kind === 'e8m0' ? r.between(0, 24) : r.between(0, 8)
    return kind === 'e8m0' ? centre + r.between(-3, 3) : Math.min(Math.max(centre + r.between(-20, 20), 1), 0x7e)
  })
}

/** Largest alignment exponent among the products of two rows, scales left out; far below any if all are zero. */
function topExponent(a: FloatFormat, b: FloatFormat, x: readonly number[], y: readonly number[]): number {
  const exp = (f: FloatFormat, code: number) => Math.max((code >>> f.manBits) % 2 ** f.expBits, 1) - f.bias
  const zero = (f: FloatFormat, code: number) => code % 2 ** (f.bits - 1) === 0
  return x.reduce((top, code, k) => zero(a, code) || zero(b, y[k]!) ? top : Math.max(top, exp(a, code) + exp(b, y[k]!)), -1000)
}

/** FP32 or FP16 bits of a number with exponent `exp`, clamped to the finite range; often with trailing zeros, which make ties. */
function accumulatorNear(f16: boolean, exp: number, r: Random): number {
  const [man, bias, top] = f16 ? [10, 15, 30] : [23, 127, 254]
  const field = Math.min(Math.max(exp + bias, 0), top)
  const fraction = r.word() % 2 ** man
  return r.below(2) * (f16 ? 0x8000 : 0x80000000) + field * 2 ** man + (r.chance(3) ? fraction : fraction & ~(2 ** r.between(0, man) - 1))
}

const flip = (f16: boolean, bits: number) => { const sign = f16 ? 0x8000 : 0x80000000; return bits < sign ? bits + sign : bits - sign }

/** What the unit makes of the first step's terms with the largest alignment exponent alone. */
function dominantSum(config: MmaConfig, x: readonly number[], y: readonly number[], scaleA: readonly number[], scaleB: readonly number[]): number {
  const { model, scale } = config
  const a = decodeRow(config, 'a', x, scaleA), b = decodeRow(config, 'b', y, scaleB)
  const exps = Array.from({ length: model.length }, (_, k) => {
    const g = scale ? Math.floor(k / scale.block) : 0
    const scales = scale ? a.scale[g]!.exp + b.scale[g]!.exp : 0, elements = a.exp[k]! + b.exp[k]!
    return model.group && elements > -Infinity ? scales : elements + scales
  })
  const top = Math.max(...exps)
  return mmaElement(config, x.slice(0, model.length).map((code, k) => exps[k] === top ? code : 0), y.slice(0, model.length), 0, scaleA, scaleB)
}

/** Generators of an accumulator, given the products' top exponent and the result that zero would give. */
const accumulators: Record<string, (f16: boolean, top: number, F: number, result: () => number, r: Random, dominant: () => number) => number> = {
  'zero': () => 0,
  'near': (f16, top, _, __, r) => accumulatorNear(f16, top + r.between(-4, 4), r),
  'below': (f16, top, F, _, r) => accumulatorNear(f16, top - r.between(2, F + 4), r),
  'above': (f16, top, F, _, r) => accumulatorNear(f16, top + r.between(4, F + 4), r),
  /** Minus what the products give: what is left is what the unit lost. */
  'opposite': (f16, _, __, result) => flip(f16, result()),
  /** Minus the terms that set the alignment: what is left is the rest, as it was cut. */
  'residue': (f16, _, __, ___, ____, dominant) => flip(f16, dominant()),
  /** A unit in the last place or so away from the products: halfway between two results, give or take. */
  'tie': (f16, _, __, result, r) => {
    const man = f16 ? 10 : 23
    return accumulatorNear(f16, Math.floor(result() % (f16 ? 0x8000 : 0x80000000) / 2 ** man) - (f16 ? 15 : 127) + r.between(man - 2, man + 2), r)
  },
  /** A few leading bits and the last one: what is cut off its end decides whether the sum borrows. */
  'sticky': (f16, top, F, _, r) => {
    const man = f16 ? 10 : 23
    const x = accumulatorNear(f16, top - r.between(-2, F), r), leading = r.between(0, 6)
    return x - x % 2 ** (man - leading) + 2 ** r.between(0, r.chance(2) ? 0 : man - leading - 1)
  },
  'bits': (f16, _, __, ___, r) => r.word() % (f16 ? 0x7c00 : 0x7f800000) + r.below(2) * (f16 ? 0x8000 : 0x80000000),
  'subnormal': (f16, _, __, ___, r) => accumulatorNear(f16, -200, r),
  'negative zero': f16 => f16 ? 0x8000 : 0x80000000,
  'special': (f16, _, __, ___, r) => r.pick(f16 ? [0x7c00, 0xfc00, 0x7c01, 0xfe05] : [0x7f800000, 0xff800000, 0x7f800001, 0xffc00005]),
}
const accumulatorOrder = ['zero', 'near', 'below', 'above', 'opposite', 'sticky', 'residue', 'tie', 'bits', 'subnormal', 'zero', 'negative zero', 'sticky', 'special']

/** f, computed once per index. */
function once<T>(f: (i: number) => T): (i: number) => T {
  const known: T[] = []
  return i => known[i] ??= f(i)
}

/** Tile `index` of the stream `seed`: M x N results, `steps` chained steps along k. */
export function mmaTile(config: MmaConfig, seed: number, index: number, M: number, N: number, steps: number): MmaTile {
  const { model, scale } = config
  const r = new Random(seed, index)
  const f16 = model.accumulator === 'f16', L = model.length, F = model.fraction || 30
  const whole = r.chance(8)
  const [fa, fb] = [config.a, config.b].map(f => drawn(formats[f] as FloatFormat, f16, whole)) as [Drawn, Drawn]
  const kind = kinds[index % kinds.length]!
  // Each step has its own structure, so that chains meet steps of different sizes.
  const rows = Array.from({ length: steps }, () => generators[kind]!(L, F, r))
  const a = Array.from({ length: M }, () => rows.flatMap(([row]) => row(fa, r)))
  const b = Array.from({ length: N }, () => rows.flatMap(([, row]) => row(fb, r)))
  const specials = index % 11 === 10
  if (specials) {
    for (const [f, side] of [[fa, a], [fb, b]] as const) {
      const codes = specialCodes(f)
      for (const row of side) if (codes.length && r.chance(3)) row[r.below(row.length)] = r.pick(codes)
    }
  }
  const corner = corners[Math.floor(index / kinds.length) % corners.length]!
  const scales = (count: number) => Array.from({ length: count }, () => scale ? scaleBytes(scale.format, Math.ceil(L * steps / scale.block), r, corner) : [])
  const scaleA = scales(M), scaleB = scales(N)
  const accumulator = accumulatorOrder[Math.floor(index / 3) % accumulatorOrder.length]!
  const words = config.a === 'tf32' ? (codes: number[]) => codes.map(code => (code * 8192 + (r.chance(2) ? r.below(8192) : 0)) >>> 0) : (codes: number[]) => codes
  const aCodes = a.map(words), bCodes = b.map(words) // tf32: float32 words; what lies below tf32 must not matter
  const [rowsA, rowsB] = [once(i => decodeRow(config, 'a', aCodes[i]!, scaleA[i]!)), once(j => decodeRow(config, 'b', bCodes[j]!, scaleB[j]!))]
  const c = a.map((x, i) => b.map((y, j) => {
    const top = () => topExponent(fa, fb, x, y) + (scale?.format === 'e8m0' ? scaleA[i]![0]! + scaleB[j]![0]! - 254 : 0)
    const result = () => mmaRows(config, rowsA(i), rowsB(j), 0)
    const needsTop = accumulator === 'near' || accumulator === 'below' || accumulator === 'above' || accumulator === 'sticky'
    return accumulators[accumulator]!(f16, needsTop ? top() : 0, F, result, r, () => dominantSum(config, aCodes[i]!, bCodes[j]!, scaleA[i]!, scaleB[j]!))
  }))
  return { category: `${kind}${specials ? '+specials' : ''}/${accumulator}`, a: aCodes, b: bCodes, c, scaleA, scaleB }
}

/** The operand formats and scales that tests and vectors go through: each format with itself, every other mixed pair, each kind of scale. */
export function configurationsOf(model: MmaConfig['model']): { a: FormatName, b: FormatName, scale: MmaConfig['scale'] }[] {
  const pairs = model.formats.flatMap((a, i) => model.formats.flatMap((b, j) => i === j || (i + j) % 2 === 1 ? [{ a, b }] : []))
  return pairs.flatMap(pair => (model.scales.length ? model.scales : [null]).map(scale => ({ ...pair, scale })))
}
