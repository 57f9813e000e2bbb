// Operands of Blackwell's FP4 product (mma-fp4.ts) as panels of integers: four rows at a time, each lane of a vector a row, from the codes on.
//
// An E2M1 element times its scale's significand, shifted by how far the scale lies above the smallest of its row's four in a step, is a small integer (180 << 5 at
// most): what a panel holds, beside the power of two that all these integers of a row share. Rows whose scales spread by more than RANGE binades make their panel
// `grouped`: then each group of 16 has a power of its own. A group whose elements or scale are zero has no say in this, nor in the panel's bounds. For steps in which
// something is cut a panel also holds the groups' own powers, 2^(exponent of the scale), 0 of such a group.
import { COLUMNS } from './mma-accumulators'
import { HALVES, NIBBLE } from './mma-operand'
import { scratch } from './scratch'

/** A panel of `width` rows, one step: i16 pairs [32][width], f64 factors [4][width], f64 powers [4][width], then what is asked before computing: */
// @ts-ignore: decorator
@inline
export function panelBytes(width: i32): usize { return infoAt(width) + 64 }
// @ts-ignore: decorator
@inline
export function factorsAt(width: i32): usize { return <usize>(128 * width) }
// @ts-ignore: decorator
@inline
export function powersAt(width: i32): usize { return <usize>(160 * width) }
// @ts-ignore: decorator
@inline
export function infoAt(width: i32): usize { return <usize>(192 * width) }
/** Byte offsets there, i32 each: special (a NaN scale), grouped (the sums of 16 have different factors), least and largest scale exponent. */
export const SPECIAL: usize = 0, GROUPED: usize = 4, LOW: usize = 8, HIGH: usize = 12
/** LOW of a panel of zeros; -NONE is its HIGH. */
export const NONE: i32 = 32767

/** Spread of a row's scales up to which 64 products fit i32: 64 * (180 << 5)^2 < 2^31 (UE4M3), 64 * (12 << 8)^2 < 2^31 (E8M0). */
const RANGE_UE4M3: i32 = 5, RANGE_E8M0: i32 = 8

/** Scratch: elements of four rows, doubled, as pairs [32][4 rows] of i8; exponents and significands of their scales, i32 [4 groups][4 rows]; rows shorter than a step. */
const PAIRS_AT: usize = 0, EXPONENTS_AT: usize = 256, SIGNIFICANDS_AT: usize = 320, TAILS_AT: usize = 384

/** Codes of a row beyond the last. */
const ZEROS = memory.data(64, 16)
/** Where a group's scale stands in the four bytes of a step: byte g (blocks of 16) or g / 2 (blocks of 32) of each row, widened to i32. */
const SCALE_BYTES = memory.data<u8>([
  0, 255, 255, 255, 4, 255, 255, 255, 8, 255, 255, 255, 12, 255, 255, 255, 1, 255, 255, 255, 5, 255, 255, 255, 9, 255, 255, 255, 13, 255, 255, 255,
  2, 255, 255, 255, 6, 255, 255, 255, 10, 255, 255, 255, 14, 255, 255, 255, 3, 255, 255, 255, 7, 255, 255, 255, 11, 255, 255, 255, 15, 255, 255, 255,
])

/** The operand being packed. */
let codesAt: usize = 0, scalesAt: usize = 0
let nibbled: i32 = 0, rowCount: i32 = 0, length: i32 = 0, blockSize: i32 = 0

/**
 * Panels of `width` rows (4 for A, 16 for B) of E2M1 codes with their scales: packed[panel][ceil(K / 64)]; B's factors times 1.5 2^52. codes: a byte each, or two in a
 * byte with the even k in the low half (`nibbles`). scales: bytes [rows, ceil(K / block)], block 16 or 32; kind 0 is E8M0, 1 is UE4M3. Rows beyond `rows` and what
 * lies beyond K are zeros. Items: panels.
 */
export function mma_pack_fp4(packed: usize, codes: usize, nibbles: i32, scales: usize, rows: i32, K: i32, block: i32, kind: i32, width: i32, begin: i32, end: i32): void {
  codesAt = codes; scalesAt = scales; nibbled = nibbles; rowCount = rows; length = K; blockSize = block
  const steps = (K + 63) >> 6
  const range = i32x4.splat(kind ? RANGE_UE4M3 : RANGE_E8M0), none = i32x4.splat(NONE), zero = i32x4.splat(0)
  // The high half of a factor 2^(unit - bias): an element is doubled, a significand of UE4M3 has 3 fraction bits.
  const bias = kind ? 4 : 1, exponent = i32x4.splat(1023 - bias + (width == COLUMNS ? 52 : 0)), half = i32x4.splat(width == COLUMNS ? 1 << 19 : 0)
  const stride = <usize>width << 2
  for (let panel = begin; panel < end; panel++) {
    for (let s = 0; s < steps; s++) {
      const to = packed + <usize>(panel * steps + s) * panelBytes(width)
      let special = zero, grouped = zero, low = none, high = i32x4.neg(none)
      for (let q = 0; q < width; q += 4) {
        const row = panel * width + q
        special = v128.or(special, decode_rows(row, s << 6, kind))
        let least = none, most = i32x4.neg(none)
        for (let g: usize = 0; g < 64; g += 16) {
          const e = v128.load(scratch + EXPONENTS_AT + g), counted = i32x4.ne(v128.load(scratch + SIGNIFICANDS_AT + g), zero)
          least = i32x4.min_s(least, v128.bitselect(e, none, counted))
          most = i32x4.max_s(most, v128.bitselect(e, i32x4.neg(none), counted))
        }
        low = i32x4.min_s(low, least)
        high = i32x4.max_s(high, most)
        const spread = i32x4.gt_s(i32x4.sub(most, least), range)
        grouped = v128.or(grouped, spread)
        least = v128.andnot(least, i32x4.eq(least, none))
        let column = to + (<usize>q << 2), factor = to + factorsAt(width) + (<usize>q << 3)
        for (let g: usize = 0; g < 64; g += 16) {
          const e = v128.load(scratch + EXPONENTS_AT + g), unit = v128.bitselect(e, least, spread)
          scale_group(column, stride, scratch + PAIRS_AT + (g << 2), e, unit, v128.load(scratch + SIGNIFICANDS_AT + g))
          const f = v128.or(i32x4.shl(i32x4.add(unit, exponent), 20), half), p = v128.and(i32x4.shl(i32x4.add(e, i32x4.splat(1023)), 20), i32x4.ne(v128.load(scratch + SIGNIFICANDS_AT + g), zero))
          v128.store(factor, v128.shuffle<i32>(zero, f, 2, 6, 3, 7), 16)
          v128.store(factor, v128.shuffle<i32>(zero, f, 0, 4, 1, 5))
          const power = factor + (<usize>width << 5)
          v128.store(power, v128.shuffle<i32>(zero, p, 2, 6, 3, 7), 16)
          v128.store(power, v128.shuffle<i32>(zero, p, 0, 4, 1, 5))
          column += stride << 3
          factor += stride << 1
        }
      }
      const info = to + infoAt(width)
      store<i32>(info, <i32>v128.any_true(special), SPECIAL)
      store<i32>(info, <i32>v128.any_true(grouped), GROUPED)
      low = i32x4.min_s(low, v128.shuffle<i32>(low, low, 2, 3, 0, 1))
      high = i32x4.max_s(high, v128.shuffle<i32>(high, high, 2, 3, 0, 1))
      store<i32>(info, min(i32x4.extract_lane(low, 0), i32x4.extract_lane(low, 1)), LOW)
      store<i32>(info, max(i32x4.extract_lane(high, 0), i32x4.extract_lane(high, 1)), HIGH)
    }
  }
}

/** Four rows from `row` on, the 64 k from k0 on: elements and scales into scratch, the significand zero where a group does not count. Returns lanes with a NaN scale. */
// @ts-ignore: decorator
@inline
function decode_rows(row: i32, k0: i32, kind: i32): v128 {
  const r0 = codes_of(row, 0, k0), r1 = codes_of(row, 1, k0), r2 = codes_of(row, 2, k0), r3 = codes_of(row, 3, k0)
  let bytes = i32x4.splat(<i32>scales_of(row, k0))
  bytes = i32x4.replace_lane(bytes, 1, scales_of(row + 1, k0))
  bytes = i32x4.replace_lane(bytes, 2, scales_of(row + 2, k0))
  bytes = i32x4.replace_lane(bytes, 3, scales_of(row + 3, k0))
  const zero = i32x4.splat(0), one = i32x4.splat(1), size: usize = nibbled ? 8 : 16
  let special = zero, at: usize = 0
  for (let g: usize = 0; g < 4; g++, at += size) {
    const x0 = doubled(r0 + at), x1 = doubled(r1 + at), x2 = doubled(r2 + at), x3 = doubled(r3 + at)
    const a = v128.shuffle<i16>(x0, x1, 0, 8, 1, 9, 2, 10, 3, 11), b = v128.shuffle<i16>(x2, x3, 0, 8, 1, 9, 2, 10, 3, 11)
    const c = v128.shuffle<i16>(x0, x1, 4, 12, 5, 13, 6, 14, 7, 15), d = v128.shuffle<i16>(x2, x3, 4, 12, 5, 13, 6, 14, 7, 15)
    const p0 = v128.shuffle<i32>(a, b, 0, 4, 1, 5), p1 = v128.shuffle<i32>(a, b, 2, 6, 3, 7), p2 = v128.shuffle<i32>(c, d, 0, 4, 1, 5), p3 = v128.shuffle<i32>(c, d, 2, 6, 3, 7)
    const pairs = scratch + PAIRS_AT + (g << 6)
    v128.store(pairs, p1, 16)
    v128.store(pairs, p0)
    v128.store(pairs, p3, 48)
    v128.store(pairs, p2, 32)
    let any = v128.or(v128.or(p0, p1), v128.or(p2, p3)) // two pairs of each row, 16 bits each
    any = i32x4.extend_low_i16x8_s(v128.or(any, v128.shuffle<i32>(any, any, 2, 3, 0, 1)))
    const byte = v128.swizzle(bytes, v128.load(SCALE_BYTES + ((blockSize == 16 ? g : g >> 1) << 4)))
    let exponent: v128, significand: v128, nan: v128
    if (kind) {
      const code = v128.and(byte, i32x4.splat(0x7f)), field = i32x4.max_s(i32x4.shr_u(code, 3), one)
      nan = i32x4.eq(code, i32x4.splat(0x7f))
      exponent = i32x4.sub(field, i32x4.splat(7))
      significand = i32x4.sub(code, i32x4.shl(i32x4.sub(field, one), 3)) // with the leading bit, unless the field is zero
    } else {
      nan = i32x4.eq(byte, i32x4.splat(255))
      exponent = i32x4.sub(byte, i32x4.splat(127))
      significand = one
    }
    special = v128.or(special, nan)
    v128.store(scratch + EXPONENTS_AT + (g << 4), exponent)
    v128.store(scratch + SIGNIFICANDS_AT + (g << 4), v128.andnot(significand, i32x4.eq(any, zero)))
  }
  return special
}

/** Where the codes of row + i from k0 on are; of a short last step, completed with zeros. */
function codes_of(row: i32, i: i32, k0: i32): usize {
  row += i
  if (row >= rowCount) return ZEROS
  const from = codesAt + <usize>row * <usize>(nibbled ? length >> 1 : length) + <usize>(nibbled ? k0 >> 1 : k0)
  if (k0 + 64 <= length) return from
  const to = scratch + TAILS_AT + (<usize>i << 6)
  memory.fill(to, 0, 64)
  memory.copy(to, from, <usize>(nibbled ? (length - k0) >> 1 : length - k0))
  return to
}

/** The scale bytes of a row from k0 on, four or two; zeros beyond the last. */
function scales_of(row: i32, k0: i32): u32 {
  if (row >= rowCount) return 0
  const blocks = (length + blockSize - 1) / blockSize, first = blockSize == 16 ? k0 >> 4 : k0 >> 5
  const from = scalesAt + <usize>row * <usize>blocks + <usize>first
  if (k0 + 64 <= length) return blockSize == 16 ? load<u32>(from) : <u32>load<u16>(from)
  let bytes: u32 = 0
  for (let i = first; i < blocks; i++) bytes |= <u32>load<u8>(from + <usize>(i - first)) << ((i - first) << 3)
  return bytes
}

/** Sixteen elements, i8, twice the value. */
// @ts-ignore: decorator
@inline
function doubled(codes: usize): v128 {
  let x: v128
  if (nibbled) {
    const pairs = v128.load64_zero(codes)
    x = v128.shuffle<i8>(v128.and(pairs, v128.load(NIBBLE)), i8x16.shr_u(pairs, 4), 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
  } else {
    x = v128.and(v128.load(codes), v128.load(NIBBLE))
  }
  return v128.swizzle(v128.load(HALVES), x)
}

/** Eight pairs of four rows, times significand 2^(exponent - unit), into their columns of a panel. */
// @ts-ignore: decorator
@inline
function scale_group(to: usize, stride: usize, pairs: usize, exponent: v128, unit: v128, significand: v128): void {
  // In f32: the shift moves the exponent, and adding 2^23 leaves the integer in the low bits.
  const shift = v128.and(i32x4.sub(exponent, unit), i32x4.ne(significand, i32x4.splat(0)))
  const moved = i32x4.add(f32x4.convert_i32x4_s(significand), i32x4.shl(shift, 23))
  const low = v128.and(f32x4.add(moved, f32x4.splat(8388608)), i32x4.splat(0xffff))
  const scale = v128.or(low, i32x4.shl(low, 16))
  for (let i = 0; i < 4; i++) {
    const x = v128.load(pairs)
    v128.store(to, i16x8.mul(i16x8.extend_low_i8x16_s(x), scale))
    v128.store(to + stride, i16x8.mul(i16x8.extend_high_i8x16_s(x), scale))
    pairs += 16
    to += stride << 1
  }
}
