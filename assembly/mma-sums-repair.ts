// Single lanes of mma-sums.ts: those that fail a condition, from E, and whole steps by the plain kernel.
import { fdpa_full_step } from './mma-fdpa'
import { wordExp, wordSig } from './mma-operand'
import { isSpecial } from './mma-round'
import { COLUMNS, NONE, ROWS, largest, lastBytes, pow2, topsAfter } from './mma-sums-pack'
import { to_bits } from './mma-sums-tile'

/** The operands as mma_decode left them, their sizes, and the unit: set_operands. */
let wordsA: usize = 0, flagsA: usize = 0, wordsB: usize = 0, flagsB: usize = 0
let rowsA: i32 = 0, rowsB: i32 = 0, rowStride: i32 = 0, stepLength: i32 = 0, pointBits: i32 = 0, fractionBits: i32 = 0, floorExp: i32 = 0

/** What the functions of this file work on, until the next call. */
export function set_operands(a: usize, a_flags: usize, b: usize, b_flags: usize, M: i32, N: i32, stride: i32, step: i32, point: i32, fraction: i32, floor: i32): void {
  wordsA = a; flagsA = a_flags; wordsB = b; flagsB = b_flags
  rowsA = M; rowsB = N; rowStride = stride; stepLength = step; pointBits = point; fractionBits = fraction; floorExp = floor
}

/** Step s of the tile at (row, column) by the plain kernel. Returns whether an Inf or NaN is among the results. Lanes outside the matrix stay zero. */
export function plain(from: usize, to: usize, row: i32, column: i32, s: i32): bool {
  const k = s * stepLength, steps = rowStride / stepLength
  let special = false
  for (let r = 0; r < min(ROWS, rowsA - row); r++) {
    for (let j = 0; j < min(COLUMNS, rowsB - column); j++) {
      const lane = <usize>(r * COLUMNS + j) << 3, i = row + r, n = column + j
      const bits = fdpa_full_step(wordsA + (<usize>(i * rowStride + k) << 2), wordsB + (<usize>(n * rowStride + k) << 2),
        load<u8>(flagsA + <usize>(i * steps + s)) | load<u8>(flagsB + <usize>(n * steps + s)), stepLength, to_bits(load<f64>(from + lane)), pointBits, fractionBits, floorExp, 0)
      special = special || isSpecial(bits, false)
      store<f64>(to + lane, <f64>reinterpret<f32>(bits))
    }
  }
  return special
}

/** Does some k have last bits, of a in any row and of b in any column, whose product is below 2^cut? a, b: a panel's least last bits. */
export function any_below(a: usize, b: usize, cut: i32): bool {
  const limit = i16x8.splat(<i16>cut), end = a + lastBytes(stepLength)
  let any = i16x8.splat(0)
  do {
    any = v128.or(any, i16x8.lt_s(i16x8.add(v128.load(a), v128.load(b)), limit))
    a += 16
    b += 16
  } while (a != end)
  return v128.any_true(any)
}

/** The lanes with a product whose last bit is below 2^cut, a bit each. least: a panel's least last bits; last: those of its rows. */
export function lanes_below(leastA: usize, leastB: usize, lastA: usize, lastB: usize, cut: i32): u64 {
  const limit = i16x8.splat(<i16>cut), row = lastBytes(stepLength)
  let lanes: u64 = 0
  for (let p: usize = 0; p < row; p += 16) {
    for (let bits = i16x8.bitmask(i16x8.lt_s(i16x8.add(v128.load(leastA + p), v128.load(leastB + p)), limit)); bits; bits &= bits - 1) {
      const k = p + (<usize>ctz(bits) << 1), least = <i32>load<i16>(leastB + k)
      for (let r = 0; r < ROWS; r++) {
        const rest = cut - <i32>load<i16>(lastA + <usize>r * row + k)
        if (least >= rest) continue
        for (let j = 0; j < COLUMNS; j++) lanes |= <u64>(<i32>load<i16>(lastB + <usize>j * row + k) < rest) << (r * COLUMNS + j)
      }
    }
  }
  return lanes
}

/** floor(log2 |x|) of a normal f64. */
// @ts-ignore: decorator
@inline
export function log2(x: f64): i32 { return (<i32>(reinterpret<u64>(x) >> 52) & 2047) - 1023 }

/**
 * Lanes of a step again, from E. from, to: the tile's accumulators before and after; sums: f64, or i32 in units (`integers`); row, column: of the tile; fa, fb:
 * units of the panels; lastA, lastB: last bits; low: a bound on those of all products. Returns whether a result is Inf.
 */
export function repair(lanes: u64, from: usize, to: usize, sums: usize, integers: bool, fa: usize, fb: usize, lastA: usize, lastB: usize, low: i32,
  row: i32, column: i32, s: i32): bool {
  const last = lastBytes(stepLength), k = s * stepLength
  let special = false
  for (; lanes; lanes &= lanes - 1) {
    const at = <i32>ctz(lanes), r = at / COLUMNS, j = at % COLUMNS, lane = <usize>at << 3
    const ua = fa + (<usize>r << 3), ub = fb + (<usize>j << 3), la = lastA + <usize>r * last, lb = lastB + <usize>j * last
    const high = load<f64>(ua + topsAfter(ROWS)) * load<f64>(ub + topsAfter(COLUMNS))
    const c = load<f64>(from + lane)
    const x = wordsA + (<usize>((row + r) * rowStride + k) << 2), y = wordsB + (<usize>((column + j) * rowStride + k) << 2)
    let E = c == 0 ? i32.MIN_VALUE : max(log2(c), -126)
    if (abs(c) < high) E = max(E, top_exponent(x, y, stepLength))
    if (E < -1000) continue // all terms are zeros
    const cut = E - fractionBits, unit = pow2(cut)
    let sum = integers ? <f64>load<i32>(sums + (lane >> 1)) * load<f64>(ub) * load<f64>(ua) : load<f64>(sums + lane)
    // Beyond 45 binades sums of 32 products need not be exact in f64 before they are cut.
    sum = cut_sum(sum, x, y, la, lb, last, cut, high > pow2(low + 45))
    const d = reinterpret<f64>(reinterpret<u64>(trunc(c * pow2(-cut)) * unit + sum) & 0xffffffffe0000000)
    if (abs(d) >= pow2(128)) {
      special = true
      store<f64>(to + lane, copysign<f64>(Infinity, d))
    } else store<f64>(to + lane, d)
  }
  return special
}

const HIGH_HALVES = memory.data<i32>([-0x10000, -0x10000, -0x10000, -0x10000])

/** Largest exponent of the products of two rows of words. */
function top_exponent(a: usize, b: usize, step: i32): i32 {
  const mask = v128.load(HIGH_HALVES), end = a + (<usize>step << 2)
  let top = i32x4.splat(i32.MIN_VALUE)
  do {
    top = i32x4.max_s(top, i32x4.add(v128.and(v128.load(a), mask), v128.and(v128.load(b), mask)))
    a += 16
    b += 16
  } while (a != end)
  return largest(top) >> 16
}

/** `sum` of the products of two rows of words, each cut toward zero at 2^cut; from nothing if `all`, else only those change that lose bits. la, lb: their last bits. */
function cut_sum(sum: f64, a: usize, b: usize, la: usize, lb: usize, last: usize, cut: i32, all: bool): f64 {
  const limit = i16x8.splat(all ? <i16>(NONE >> 1) : <i16>cut), scale = pow2(-cut), unit = pow2(cut)
  if (all) sum = 0
  for (let p: usize = 0; p < last; p += 16) {
    for (let bits = i16x8.bitmask(i16x8.lt_s(i16x8.add(v128.load(la + p), v128.load(lb + p)), limit)); bits; bits &= bits - 1) {
      const k = (p << 1) + (<usize>ctz(bits) << 2), x = load<i32>(a + k), y = load<i32>(b + k)
      const product = <f64>(wordSig(x) * wordSig(y)) * pow2(wordExp(x) + wordExp(y) - pointBits), kept = trunc(product * scale) * unit
      sum += all ? kept : kept - product
    }
  }
  return sum
}
