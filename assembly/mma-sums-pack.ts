// Operands of mma-sums.ts: panels of rows, one step of k after the other, as f64 values or as small integers, with what the conditions ask of every row.
//
// A significand of at most four bits is an odd number of at most four bits times a power of two, its last bit; L, the least last bit of a row, makes all its elements
// integers. A row's unit 2^q, q >= L, is the least for which x 2^-q fits i16 and the norm sqrt(sum of (x 2^-q)^2) is below 2^15.5: then a sum of products of a
// row and a column stays below 2^31, whatever its order (Cauchy and Schwarz). Elements whose last bit is at least 2^q make plane 0. Smaller ones, few or none in
// ordinary data, are below 2^(q + 3) and go to plane 1, in units of 2^(q - 10), as integers below 2^13; what is too small for that goes to plane 2 in the same way.
// 32 elements below 2^13 have a norm below 2^15.5 again, so that the planes of two operands may be multiplied in any combination. Three planes hold every row of FP8.
import { pow2 } from './mma-accumulators'
import { scratch } from './scratch'

/** Exponent of what does not exist: the last bit of zero, the largest of a row of zeros (negated). Sums of two fit i16. */
const NONE: i32 = 8192
/** Ratio of the units of one plane and the next, as an exponent. */
export const PLANE_STEP: i32 = 10
const PLANES: i32 = 3

// A panel of `width` rows, one step, as two records. Hot: elements, f64 [step][width] or (`integers`) plane 0 as i16 pairs [step / 2][width]; f64 unit and 2^H of each row,
// H its largest exponent (0 for a row of zeros); i16 least last bit of the panel at each k, of 8 k at least; info. Cold, after the hot records of all panels: planes 1 and 2,
// written where info says so.

// @ts-ignore: decorator
@inline
function elementBytes(step: i32, integers: bool): usize { return <usize>(integers ? 2 * step : 8 * step) }
/** Bytes of the least last bits. */
// @ts-ignore: decorator
@inline
function leastBytes(step: i32): usize { return <usize>(max(step, 8) << 1) }
/** Within a hot record: units, 2^H, least last bits, info. */
// @ts-ignore: decorator
@inline
export function unitsAt(width: i32, step: i32, integers: bool): usize { return elementBytes(step, integers) * <usize>width }
/** From the units. */
// @ts-ignore: decorator
@inline
export function topsAfter(width: i32): usize { return <usize>(width << 3) }
// @ts-ignore: decorator
@inline
export function leastAt(width: i32, step: i32, integers: bool): usize { return unitsAt(width, step, integers) + <usize>(width << 4) }
// @ts-ignore: decorator
@inline
export function infoAt(width: i32, step: i32, integers: bool): usize { return leastAt(width, step, integers) + leastBytes(step) }
/** In the info: i32 largest H (or SPECIAL), least L, number of planes; u8 first pair of plane 1 and of plane 2 that is not 0, and the one after the last. */
export const HIGH: usize = 0, LOW: usize = 4, PLANES_USED: usize = 8, FIRST_PAIR: usize = 12, END_PAIR: usize = 14
/** HIGH of a panel that holds Inf or NaN. */
const SPECIAL: i32 = 32000
/** Bytes of the records. */
// @ts-ignore: decorator
@inline
export function hotBytes(width: i32, step: i32, integers: bool): usize { return infoAt(width, step, integers) + 16 }
// @ts-ignore: decorator
@inline
export function coldBytes(width: i32, step: i32, integers: bool): usize { return integers ? planeAt(width, step, PLANES) : 0 }
/** Within a cold record: plane 1 or 2. */
// @ts-ignore: decorator
@inline
export function planeAt(width: i32, step: i32, plane: i32): usize { return <usize>(plane - 1) * elementBytes(step, true) * <usize>width }

/** The largest of four. */
// @ts-ignore: decorator
@inline
export function largest(x: v128): i32 {
  x = i32x4.max_s(x, v128.shuffle<i32>(x, x, 2, 3, 0, 1))
  return max(i32x4.extract_lane(x, 0), i32x4.extract_lane(x, 1))
}
// @ts-ignore: decorator
@inline
function largestOf8(x: v128): i32 { return largest(i32x4.max_s(i32x4.extend_low_i16x8_s(x), i32x4.extend_high_i16x8_s(x))) }

/**
 * Panels of `width` rows (4 for A, 16 for B) from the words and flags of mma_decode, [rows, stride] and [rows, stride / step]: packed, hot records [panel][step], then
 * cold ones. `man_bits`: fraction bits of the elements, at most 3 where `integers`. Items: panels.
 */
export function mma_pack_sums(packed: usize, words: usize, flags: usize, rows: i32, stride: i32, step: i32, man_bits: i32, width: i32, integers: i32, begin: i32, end: i32): void {
  const whole = integers != 0, steps = stride / step, panels = (rows + width - 1) / width
  const hotSize = hotBytes(width, step, whole), coldSize = coldBytes(width, step, whole), leastSize = leastBytes(step)
  const zeros = scratch, last = scratch + 128, lines = scratch + 192 // a row of words; one of last bits; four of integers
  for (let k = 0; k < step; k++) store<i32>(zeros + (<usize>k << 2), -NONE << 16)
  for (let record = begin * steps; record < end * steps; record++) {
    const panel = record / steps, s = record - panel * steps
    const hot = packed + <usize>record * hotSize, cold = packed + <usize>(panels * steps) * hotSize + <usize>record * coldSize
    const units = hot + unitsAt(width, step, whole), leasts = hot + leastAt(width, step, whole), info = hot + infoAt(width, step, whole)
    let special = 0, high = -NONE, low = NONE
    for (let p: usize = 0; p < leastSize; p += 16) v128.store(leasts + p, i16x8.splat(<i16>NONE))
    store<i32>(info, 1, PLANES_USED)
    for (let r = 0; r < width; r++) {
      const row = panel * width + r, line = lines + <usize>(r & 3) * 64, factor = units + (<usize>r << 3)
      let from = zeros, unit = 0
      if (row < rows) {
        if (load<u8>(flags + <usize>(row * steps + s))) special = 1
        else from = words + (<usize>(row * stride + s * step) << 2)
      }
      if (whole) {
        measure_integers(from, step, man_bits, last)
        if (rowHigh != -NONE) unit = row_unit(from, step, man_bits)
        integer_line(from, last, step, unit, unit + 32, line)
        if (rowLow < unit) pack_planes(from, last, step, unit, cold, info, r, width)
      } else {
        measure_values(from, step, man_bits, last)
        pack_values(from, step, man_bits, hot + (<usize>r << 3), width)
      }
      for (let p: usize = 0; p < leastSize; p += 16) v128.store(leasts + p, i16x8.min_s(v128.load(leasts + p), v128.load(last + p)))
      high = max(high, rowHigh)
      low = min(low, rowLow)
      store<f64>(factor, pow2(unit))
      store<f64>(factor + topsAfter(width), rowHigh == -NONE ? 0 : pow2(rowHigh))
      if (whole && (r & 3) == 3) scatter_lines(lines, step, hot + (<usize>(r - 3) << 2), width)
    }
    store<i32>(info, special ? SPECIAL : high, HIGH)
    store<i32>(info, low, LOW)
  }
}

// ---- What a row holds ----

/** Of the row measured: its largest exponent and least last bit, -NONE and NONE if it is zero. */
let rowHigh: i32 = 0, rowLow: i32 = 0

/** Measure a row of f64 values, and write its last bits. */
function measure_values(from: usize, step: i32, man_bits: i32, last: usize): void {
  const zero = i32x4.splat(0), none = i32x4.splat(NONE), offset = i32x4.splat(man_bits + 127)
  let high = i32x4.neg(none), low = none
  if (step < 8) v128.store(last, i16x8.splat(<i16>NONE))
  for (const end = from + (<usize>step << 2); from != end; from += 16, last += 8) {
    const w = v128.load(from), exp = i32x4.shr_s(w, 16), sig = i32x4.shr_s(i32x4.shl(w, 16), 16), isZero = i32x4.eq(sig, zero)
    // sig & -sig as a float has the last bit's exponent.
    const bit = v128.and(i32x4.shr_s(f32x4.convert_i32x4_s(v128.and(sig, i32x4.neg(sig))), 23), i32x4.splat(255))
    const lastBit = v128.bitselect(none, i32x4.add(i32x4.sub(exp, offset), bit), isZero)
    high = i32x4.max_s(high, v128.bitselect(i32x4.neg(none), exp, isZero))
    low = i32x4.min_s(low, lastBit)
    v128.store64_lane(last, i16x8.narrow_i32x4_s(lastBit, lastBit), 0)
  }
  rowHigh = largest(high)
  rowLow = -largest(i32x4.neg(low))
}

/** By a number of four bits: its trailing zeros, and the number without them. An index outside a table gives 0, as in the upper bytes of 16-bit lanes. */
const TRAILING = memory.data<u8>([0, 0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0])
const ODD = memory.data<u8>([0, 1, 1, 3, 1, 5, 3, 7, 1, 9, 5, 11, 3, 13, 7, 15])
const UPPER_BYTES = memory.data<u16>([0xff00, 0xff00, 0xff00, 0xff00, 0xff00, 0xff00, 0xff00, 0xff00])

// @ts-ignore: decorator
@inline
function significands(w0: v128, w1: v128): v128 { return v128.shuffle<i16>(w0, w1, 0, 2, 4, 6, 8, 10, 12, 14) }
// @ts-ignore: decorator
@inline
function exponents(w0: v128, w1: v128): v128 { return v128.shuffle<i16>(w0, w1, 1, 3, 5, 7, 9, 11, 13, 15) }

/** The same of a row of integers. */
function measure_integers(from: usize, step: i32, man_bits: i32, last: usize): void {
  const none = i16x8.splat(<i16>NONE), least = i16x8.neg(none), offset = i16x8.splat(<i16>man_bits), trailing = v128.load(TRAILING), upper = v128.load(UPPER_BYTES)
  let high = least, low = none
  for (const end = from + (<usize>step << 2); from != end; from += 32, last += 16) {
    const w0 = v128.load(from), w1 = v128.load(from, 16)
    const sig = i16x8.abs(significands(w0, w1)), exp = exponents(w0, w1), isZero = i16x8.eq(sig, i16x8.splat(0))
    const lastBit = v128.bitselect(none, i16x8.add(i16x8.sub(exp, offset), v128.swizzle(trailing, v128.or(sig, upper))), isZero)
    high = i16x8.max_s(high, v128.bitselect(least, exp, isZero))
    low = i16x8.min_s(low, lastBit)
    v128.store(last, lastBit)
  }
  rowHigh = largestOf8(high)
  rowLow = -largestOf8(i16x8.neg(low))
}

/** 2^(7 - s) for s up to 7, and 1. */
const DOWN = memory.data<u8>([128, 64, 32, 16, 8, 4, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1])

/** Unit q of the row measured, by its L, the range of i16, and its norm, which is that of 32 of the largest elements if L is not far below them. */
function row_unit(from: usize, step: i32, man_bits: i32): i32 {
  if (rowLow >= rowHigh - man_bits - 9) return rowLow // 32 (15 2^9)^2 < 2^31
  const down = v128.load(DOWN), upper = v128.load(UPPER_BYTES), high = i16x8.splat(<i16>rowHigh), fifteen = i16x8.splat(15)
  let squares = i32x4.splat(0)
  for (const end = from + (<usize>step << 2); from != end; from += 32) {
    const w0 = v128.load(from), w1 = v128.load(from, 16)
    // |x| in units of 2^(high - man - 7); what is below a unit counts too much.
    const x = i16x8.mul(i16x8.abs(significands(w0, w1)), v128.swizzle(down, v128.or(i16x8.min_s(i16x8.sub(high, exponents(w0, w1)), fifteen), upper)))
    squares = i32x4.add(squares, i32x4.dot_i16x8_s(x, x))
  }
  squares = i32x4.add(squares, v128.shuffle<i32>(squares, squares, 2, 3, 0, 1))
  const sum = i32x4.extract_lane(squares, 0) + i32x4.extract_lane(squares, 1)
  // sum < 2^(32 - clz): it fits 31 bits after (clz - 1) / 2 binades up, or after as many down.
  return max(max(rowLow, rowHigh - 14), rowHigh - man_bits - 7 - (<i32>clz(sum) - 1 >> 1))
}

// ---- Elements ----

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

/** A row's elements whose last bits are 2^unit or more, but below 2^limit, as i16 of that unit; zero for the others. */
function integer_line(from: usize, last: usize, step: i32, unit: i32, limit: i32, to: usize): void {
  const odds = v128.load(ODD), lows = v128.load(LOW_POWERS), highs = v128.load(HIGH_POWERS), upper = v128.load(UPPER_BYTES)
  const units = i16x8.splat(<i16>unit), limits = i16x8.splat(<i16>limit)
  for (const end = from + (<usize>step << 2); from != end; from += 32, last += 16, to += 16) {
    const sig = significands(v128.load(from), v128.load(from, 16)), bits = v128.load(last)
    const shift = v128.or(i16x8.sub(bits, units), upper), odd = v128.swizzle(odds, v128.or(i16x8.abs(sig), upper))
    const n = i16x8.add(i16x8.mul(odd, v128.swizzle(lows, shift)), i16x8.shl(i16x8.mul(odd, v128.swizzle(highs, shift)), 8))
    const sign = i16x8.shr_s(sig, 15)
    v128.store(to, v128.and(i16x8.sub(v128.xor(n, sign), sign), i16x8.lt_s(bits, limits)))
  }
}

/** The elements of row r whose last bits are below its unit, in planes 1 and 2. */
function pack_planes(from: usize, last: usize, step: i32, unit: i32, cold: usize, info: usize, r: i32, width: i32): void {
  const line = scratch + 448, pairs = step >> 1
  for (let plane = 1; rowLow < unit; plane++, unit -= PLANE_STEP) {
    const to = cold + planeAt(width, step, plane)
    if (plane == load<i32>(info, PLANES_USED)) {
      store<i32>(info, plane + 1, PLANES_USED)
      store<u8>(info + plane - 1, pairs, FIRST_PAIR)
      store<u8>(info + plane - 1, 0, END_PAIR)
      memory.fill(to, 0, elementBytes(step, true) * <usize>width)
    }
    integer_line(from, last, step, unit - PLANE_STEP, unit, line)
    let first = <i32>load<u8>(info + plane - 1, FIRST_PAIR), end = <i32>load<u8>(info + plane - 1, END_PAIR)
    for (let k = 0; k < pairs; k++) {
      const pair = load<i32>(line + (<usize>k << 2))
      if (!pair) continue
      store<i32>(to + (<usize>(k * width + r) << 2), pair)
      first = min(first, k)
      end = max(end, k + 1)
    }
    store<u8>(info + plane - 1, first, FIRST_PAIR)
    store<u8>(info + plane - 1, end, END_PAIR)
  }
}

/** Four rows of i16, 64 bytes apart, into their columns of a plane. */
function scatter_lines(from: usize, step: i32, to: usize, width: i32): void {
  const stride = <usize>width << 2
  for (const end = from + (<usize>step << 1); from != end; from += 16, to += 4 * stride) {
    const x0 = v128.load(from), x1 = v128.load(from, 64), x2 = v128.load(from, 128), x3 = v128.load(from, 192)
    const a = v128.shuffle<i32>(x0, x1, 0, 4, 1, 5), b = v128.shuffle<i32>(x2, x3, 0, 4, 1, 5), c = v128.shuffle<i32>(x0, x1, 2, 6, 3, 7), d = v128.shuffle<i32>(x2, x3, 2, 6, 3, 7)
    v128.store(to, v128.shuffle<i64>(a, b, 0, 2))
    v128.store(to + stride, v128.shuffle<i64>(a, b, 1, 3))
    v128.store(to + 2 * stride, v128.shuffle<i64>(c, d, 0, 2))
    v128.store(to + 3 * stride, v128.shuffle<i64>(c, d, 1, 3))
  }
}
