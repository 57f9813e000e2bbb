// Operands of mma-sums.ts: panels of rows, one step of k after the other, as f64 values or as small integers, with what the conditions ask of every row.
//
// A significand of at most four bits times a power of two is an integer n = sig 2^s of some unit, that of the row's least exponent; s is the element's shift. Up to a shift
// of 11 n fits i16, and a sum of products fits i32, whatever its order, if the norms of row and column, sqrt(sum of n^2), have a product below 2^31 (Cauchy and Schwarz).
// Else n is split by s: low part sig 2^s where s < 8, high part sig 2^(s - 8) where not, the other one zero; 32 products of a part of one operand and n of the other, or of
// two parts, fit (15 2^7 15 2^11 32 < 2^31).
import { scratch } from './scratch'

/** Rows of a panel of A, columns of a panel of B. */
export const ROWS: i32 = 4, COLUMNS: i32 = 8
/** Panels of A in one item, 64 rows: they lie together, step by step. Panels of B lie one after the other. */
export const TALL: i32 = 16
/** L of a row of zeros, minus its H. Sums of two fit i16. */
export const NONE: i32 = 8192
/** Shifts up to which n fits i16, and up to which it splits. */
export const WIDEST_WHOLE: i32 = 11
const WIDEST: i32 = 15

// A panel of `width` rows, one step: elements; f64 2^H, 2^L and unit of each row; i16 exponents of last bits [width][at least 8]; info. Elements: f64
// [step][width], or (`integers`) three times i16 pairs [step / 2][width]: n, low part, high part.

// @ts-ignore: decorator
@inline
function elementBytes(step: i32, integers: bool): usize { return <usize>(integers ? 6 * step : 8 * step) }
/** Bytes of a panel and, within it, of its parts after the elements. */
// @ts-ignore: decorator
@inline
export function panelBytes(width: i32, step: i32, integers: bool): usize { return infoAt(width, step, integers) + 32 }
// @ts-ignore: decorator
@inline
export function factorsAt(width: i32, step: i32, integers: bool): usize { return elementBytes(step, integers) * <usize>width }
// @ts-ignore: decorator
@inline
export function infoAt(width: i32, step: i32, integers: bool): usize { return factorsAt(width, step, integers) + <usize>((24 + 2 * max(step, 8)) * width) }
/** From the factors, which begin with 2^H, in bytes a row: 2^L, unit, last bits. */
export const LOW_AT: i32 = 8, UNIT_AT: i32 = 16, LAST_AT: i32 = 24
/** Third `which` of the integers of a panel. */
// @ts-ignore: decorator
@inline
export function partAt(width: i32, step: i32, which: i32): usize { return <usize>(2 * step * width * which) }
/** In the info, i32: holds Inf or NaN, largest H, least L, largest shift; f64: largest sum of n^2. */
export const SPECIAL: usize = 0, HIGH: usize = 4, LOW: usize = 8, SPREAD: usize = 12, SQUARES: usize = 16

/** 2^n. */
// @ts-ignore: decorator
@inline
export function pow2(n: i32): f64 { return reinterpret<f64>(<u64>(n + 1023) << 52) }
// @ts-ignore: decorator
@inline
export function largest(x: v128): i32 {
  x = i32x4.max_s(x, v128.shuffle<i32>(x, x, 2, 3, 0, 1))
  return max(i32x4.extract_lane(x, 0), i32x4.extract_lane(x, 1))
}

/**
 * Panels of `width` rows from the words and flags of mma_decode, [rows, stride] and [rows, stride / step]: 4 rows for A, packed[panel / 16][step][panel % 16], or
 * 8 for B, packed[panel][step]. Items: panels.
 */
export function mma_pack_sums(packed: usize, words: usize, flags: usize, rows: i32, stride: i32, step: i32, man_bits: i32, width: i32, integers: i32, begin: i32, end: i32): void {
  const steps = stride / step, lastBits = <usize>max(step, 8) << 1, zeros = scratch
  for (let k = 0; k < step; k++) store<i32>(zeros + (<usize>k << 2), -NONE << 16)
  for (let panel = begin; panel < end; panel++) {
    for (let s = 0; s < steps; s++) {
      const place = width == ROWS ? panel / TALL * TALL * steps + s * TALL + panel % TALL : panel * steps + s
      const to = packed + <usize>place * panelBytes(width, step, integers != 0)
      const factors = to + factorsAt(width, step, integers != 0), info = to + infoAt(width, step, integers != 0)
      let special = 0, high = -NONE, low = NONE, spread = 0
      let squares: f64 = 0
      for (let r = 0; r < width; r++) {
        const row = panel * width + r
        let from = zeros
        if (row < rows) {
          from = words + (<usize>(row * stride + s * step) << 2)
          special |= <i32>load<u8>(flags + <usize>(row * steps + s))
        }
        const last = factors + <usize>(LAST_AT * width) + <usize>r * lastBits
        if (step < 8) v128.store(last, i16x8.splat(<i16>NONE))
        measure(from, step, man_bits, last)
        high = max(high, rowHigh)
        low = min(low, rowLow)
        const factor = factors + (<usize>r << 3)
        store<f64>(factor, rowHigh == -NONE ? 0 : pow2(rowHigh))
        store<f64>(factor + <usize>(LOW_AT * width), rowLow == NONE ? pow2(500) : pow2(rowLow))
        store<f64>(factor + <usize>(UNIT_AT * width), rowLeast == NONE ? 0 : pow2(rowLeast - man_bits))
        if (integers) {
          spread = max(spread, rowLeast == NONE ? 0 : rowHigh - rowLeast)
          squares = max(squares, pack_integers(from, step, to + (<usize>r << 2), width))
        } else pack_values(from, step, man_bits, to + (<usize>r << 3), width)
      }
      store<i32>(info, special, SPECIAL)
      store<i32>(info, high, HIGH)
      store<i32>(info, low, LOW)
      store<i32>(info, spread > WIDEST ? NONE : spread, SPREAD)
      store<f64>(info, squares, SQUARES)
    }
  }
}

let rowHigh: i32 = 0, rowLow: i32 = 0, rowLeast: i32 = 0

/** Of a row: the exponents of all last bits (to `last`), their least, the largest and the least exponent. Zeros have none. */
function measure(from: usize, step: i32, man_bits: i32, last: usize): void {
  const zero = i32x4.splat(0), none = i32x4.splat(NONE), offset = i32x4.splat(man_bits + 127)
  let high = i32x4.neg(none), low = none, least = none
  for (const end = from + (<usize>step << 2); from != end; from += 16, last += 8) {
    const w = v128.load(from), exp = i32x4.shr_s(w, 16), sig = i32x4.shr_s(i32x4.shl(w, 16), 16), isZero = i32x4.eq(sig, zero)
    // sig & -sig as a float has the last bit's exponent.
    const bit = v128.and(i32x4.shr_s(f32x4.convert_i32x4_s(v128.and(sig, i32x4.neg(sig))), 23), i32x4.splat(255))
    const lastBit = v128.bitselect(none, i32x4.add(i32x4.sub(exp, offset), bit), isZero)
    high = i32x4.max_s(high, v128.bitselect(i32x4.neg(none), exp, isZero))
    least = i32x4.min_s(least, v128.bitselect(none, exp, isZero))
    low = i32x4.min_s(low, lastBit)
    v128.store64_lane(last, i16x8.narrow_i32x4_s(lastBit, lastBit), 0)
  }
  rowHigh = largest(high)
  rowLow = -largest(i32x4.neg(low))
  rowLeast = -largest(i32x4.neg(least))
}

/** A row's values into its column of a panel. */
function pack_values(from: usize, step: i32, man_bits: i32, to: usize, width: i32): void {
  const zero = i32x4.splat(0), bias = i32x4.splat(1023 - man_bits), stride = <usize>width << 3
  for (const end = from + (<usize>step << 2); from != end; from += 16) {
    const w = v128.load(from), sig = i32x4.shr_s(i32x4.shl(w, 16), 16)
    const field = i32x4.max_s(i32x4.add(i32x4.shr_s(w, 16), bias), zero) // of 2^(exp - man_bits); a zero's is 0
    const x = f64x2.mul(f64x2.convert_low_i32x4_s(sig), i64x2.shl(i64x2.extend_low_i32x4_u(field), 52))
    const y = f64x2.mul(f64x2.convert_low_i32x4_s(v128.shuffle<i32>(sig, sig, 2, 3, 0, 1)), i64x2.shl(i64x2.extend_high_i32x4_u(field), 52))
    v128.store64_lane(to, x, 0)
    v128.store64_lane(to + stride, x, 1)
    v128.store64_lane(to + 2 * stride, y, 0)
    v128.store64_lane(to + 3 * stride, y, 1)
    to += 4 * stride
  }
}

/** 2^s in a byte for shifts below 8, and 2^(s - 8) for those from 8 to 15. */
const LOW_POWERS = memory.data<u8>([1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0])
const HIGH_POWERS = memory.data<u8>([0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128])
const HIGH_BYTES = memory.data<u16>([0xff00, 0xff00, 0xff00, 0xff00, 0xff00, 0xff00, 0xff00, 0xff00])

/** A row's integers into its column of a panel; shifts are from rowLeast. Returns the sum of n^2, with less than 2^-18 of it in error. */
function pack_integers(from: usize, step: i32, to: usize, width: i32): f64 {
  let squares = f32x4.splat(0)
  const lows = v128.load(LOW_POWERS), highs = v128.load(HIGH_POWERS), outside = v128.load(HIGH_BYTES), least = i16x8.splat(<i16>rowLeast)
  const part = <usize>(2 * step * width), stride = <usize>width << 2
  for (const end = from + (<usize>step << 2); from != end; from += 32) {
    const w0 = v128.load(from), w1 = v128.load(from, 16)
    const sig = v128.shuffle<i16>(w0, w1, 0, 2, 4, 6, 8, 10, 12, 14)
    const shift = v128.or(i16x8.sub(v128.shuffle<i16>(w0, w1, 1, 3, 5, 7, 9, 11, 13, 15), least), outside) // an index outside the table gives 0
    const x = i16x8.mul(sig, v128.swizzle(lows, shift)), y = i16x8.mul(sig, v128.swizzle(highs, shift))
    const n = i16x8.add(x, i16x8.shl(y, 8))
    const n0 = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(n)), n1 = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(n))
    squares = f32x4.add(squares, f32x4.add(f32x4.mul(n0, n0), f32x4.mul(n1, n1)))
    scatter(to, stride, n)
    scatter(to + part, stride, x)
    scatter(to + 2 * part, stride, y)
    to += 4 * stride
  }
  return <f64>f32x4.extract_lane(squares, 0) + <f64>f32x4.extract_lane(squares, 1) + <f64>f32x4.extract_lane(squares, 2) + <f64>f32x4.extract_lane(squares, 3)
}

// @ts-ignore: decorator
@inline
function scatter(to: usize, stride: usize, x: v128): void {
  v128.store32_lane(to, x, 0)
  v128.store32_lane(to + stride, x, 1)
  v128.store32_lane(to + 2 * stride, x, 2)
  v128.store32_lane(to + 3 * stride, x, 3)
}
