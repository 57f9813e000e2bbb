// Element codes and their blocks' scales back to values: the value of a code from its bits, sixteen at a time, times its block's scale, rounded to f32 once. A scale is
// 2^(byte - 127), or, of NVFP4, the number of an E4M3 byte times the tensor's decoding scale d, rounded to f32. Codes that are no numbers go one by one (codec.ts).
import { power_of_two, value_of } from './bits'
import { bytes } from './code-lanes'
import { codeBits, decode, FNUZ, INTEGER, kind, maxCode, prepare_codes } from './codec'
import { emin, man, NAN_WORD, prepare } from './quantizer'
import { scratch } from './scratch'

/** Are the scales E4M3, and d: set by prepare_scales at the start of each kernel call. */
let isE4m3: bool = false
let decoding: f32 = 1

/** `tensor` points at the tensor's scale, d or (`inverse`) 1 / d; 0: scales are E8M0. */
function prepare_scales(tensor: usize, inverse: i32): void {
  isE4m3 = tensor != 0
  if (isE4m3) decoding = inverse ? 1 / load<f32>(tensor) : load<f32>(tensor)
}

/** The scale of an E4M3 byte, whose sign is ignored. */
function e4m3_scale(byte: i32): f32 {
  const magnitude = byte & 0x7f
  return (magnitude == 0x7f ? value_of(NAN_WORD) : magnitude < 8 ? <f32>magnitude / 512 : value_of((magnitude + (120 << 3)) << 20)) * decoding
}

/** A block's scale. */
// @ts-ignore: decorator
@inline function scale_value(byte: i32): f32 { return isE4m3 ? e4m3_scale(byte) : byte == 255 ? value_of(NAN_WORD) : power_of_two(byte - 127) }

/** Unscaled values of 4 codes of a float format, none of them special, in i32 lanes. Below 2^emin: (1 + fraction) 2^emin - 2^emin. */
// @ts-ignore: decorator
@inline function floats_of(code: v128, mask: v128, left: i32, toSign: i32, toValue: v128, normal: v128, binade: v128, lowest: v128, signMask: v128): v128 {
  const a = v128.and(code, mask), sign = v128.and(i32x4.shl(code, toSign), signMask)
  const low = i32x4.lt_s(a, normal)
  const y = f32x4.sub(i32x4.add(i32x4.add(i32x4.shl(a, left), toValue), v128.and(low, binade)), v128.and(low, lowest))
  return v128.or(y, sign)
}

/** n (a multiple of 16) codes times scales: one for all (`stride` 0) or one each (1). */
// @ts-ignore: decorator
@inline function sweep_values(to: usize, from: usize, n: i32, scales: usize, stride: usize, integer: bool): void {
  const mask = i32x4.splat((1 << (codeBits - 1)) - 1), toValue = i32x4.splat((emin + 126) << 23), normal = i32x4.splat(1 << man), binade = i32x4.splat(0x800000)
  const lowest = f32x4.splat(power_of_two(emin)), signMask = i32x4.splat(0x80000000), toSign = 32 - codeBits, left = 23 - man
  const unit = f32x4.splat(power_of_two(-man)), top = bytes(maxCode), byteMask = bytes((1 << (codeBits - 1)) - 1), empty = bytes(kind == FNUZ ? -128 : 127), next = stride << 4
  for (const stop = from + <usize>n; from < stop; from += 16, to += 64) {
    const codes = v128.load(from), s1 = scales + next, s2 = s1 + next, s3 = s2 + next
    if (!integer && v128.any_true(v128.or(i8x16.gt_u(v128.and(codes, byteMask), top), i8x16.eq(codes, empty)))) {
      for (let i: usize = 0; i < 16; i++) store<f32>(to + (i << 2), decode(<i32>load<u8>(from + i)) * load<f32>(scales + i * (stride << 2)))
    } else {
      const low = i16x8.extend_low_i8x16_u(codes), high = i16x8.extend_high_i8x16_u(codes)
      const c0 = i32x4.extend_low_i16x8_u(low), c1 = i32x4.extend_high_i16x8_u(low), c2 = i32x4.extend_low_i16x8_u(high), c3 = i32x4.extend_high_i16x8_u(high)
      let y0: v128, y1: v128, y2: v128, y3: v128
      if (integer) {
        y0 = f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_s(i32x4.shl(c0, toSign), toSign)), unit)
        y1 = f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_s(i32x4.shl(c1, toSign), toSign)), unit)
        y2 = f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_s(i32x4.shl(c2, toSign), toSign)), unit)
        y3 = f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_s(i32x4.shl(c3, toSign), toSign)), unit)
      } else {
        y0 = floats_of(c0, mask, left, toSign, toValue, normal, binade, lowest, signMask)
        y1 = floats_of(c1, mask, left, toSign, toValue, normal, binade, lowest, signMask)
        y2 = floats_of(c2, mask, left, toSign, toValue, normal, binade, lowest, signMask)
        y3 = floats_of(c3, mask, left, toSign, toValue, normal, binade, lowest, signMask)
      }
      y0 = f32x4.mul(y0, v128.load(scales))
      y1 = f32x4.mul(y1, v128.load(s1))
      y2 = f32x4.mul(y2, v128.load(s2))
      y3 = f32x4.mul(y3, v128.load(s3))
      v128.store(to, y1, 16)
      v128.store(to, y0)
      v128.store(to, y3, 48)
      v128.store(to, y2, 32)
    }
    scales = s3 + next
  }
}

function values_row(to: usize, from: usize, n: i32, scales: usize, stride: usize): void {
  const wide = n & ~15
  if (kind == INTEGER) sweep_values(to, from, wide, scales, stride, true)
  else sweep_values(to, from, wide, scales, stride, false)
  for (let i = <usize>wide; i < <usize>n; i++) store<f32>(to + (i << 2), decode(<i32>load<u8>(from + i)) * load<f32>(scales + i * (stride << 2)))
}

/** dst[i] = value of codes[i] [rows, cols] times its block's scale (prepare_scales): blocks of `block` along the columns' axis. Items: blocks, row by row. */
export function dequantize_rows(dst: usize, codes: usize, scales: usize, tensor: usize, inverse: i32, cols: i32, block: i32, man: i32, emin: i32, bits: i32, kind: i32, maxCode: i32, begin: i32, end: i32): void {
  prepare(man, emin, 0, 1, 0)
  prepare_codes(bits, kind, maxCode, 0, 0, 0)
  prepare_scales(tensor, inverse)
  const perRow = (cols + block - 1) / block
  let row = begin / perRow, first = (begin - row * perRow) * block
  for (let item = begin; item < end; item++) {
    const index = <usize>row * <usize>cols + <usize>first, n = min(block, cols - first)
    first += block
    if (first >= cols) { first = 0; row++ }
    v128.store(scratch, f32x4.splat(scale_value(<i32>load<u8>(scales + <usize>item))))
    values_row(dst + (index << 2), codes + index, n, scratch, 0)
  }
}

/** The same for codes [outer, rows, cols] with blocks down the rows; scales [outer, blocks, cols]. Items: (outer, block of rows, panel of columns). */
export function dequantize_columns(dst: usize, codes: usize, scales: usize, tensor: usize, inverse: i32, rows: i32, cols: i32, block: i32, panel: i32, man: i32, emin: i32, bits: i32, kind: i32, maxCode: i32, begin: i32, end: i32): void {
  prepare(man, emin, 0, 1, 0)
  prepare_codes(bits, kind, maxCode, 0, 0, 0)
  prepare_scales(tensor, inverse)
  const blocks = (rows + block - 1) / block, panels = (cols + panel - 1) / panel
  for (let item = begin; item < end; item++) {
    const slab = item / panels, outer = slab / blocks
    const column = (item - slab * panels) * panel, row = (slab - outer * blocks) * block
    const n = min(block, rows - row), w = min(panel, cols - column)
    for (let c = 0; c < w; c++) store<f32>(scratch + (<usize>c << 2), scale_value(<i32>load<u8>(scales + <usize>(slab * cols + column + c))))
    for (let r = 0; r < n; r++) {
      const index = <usize>(outer * rows + row + r) * <usize>cols + <usize>column
      values_row(dst + (index << 2), codes + index, w, scratch, 1)
    }
  }
}
