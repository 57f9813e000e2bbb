// Blocks to element codes (a byte each) and E8M0 scales, and back. |x| / q comes out of the rounding addition of quantize-vector.ts as an integer r, in the
// low bits of |x| + c; the code is r + ((e' - emin) << man), because each binade's first 2^man steps lie in the binades below.
import { power_of_two, value_of } from './bits'
import { code_of, codeBits, decode, FNUZ, INTEGER, kind, maxCode, nanPositive, prepare_codes } from './codec'
import { column_maxima, FREE, prepare_words, TINY_WORD, WORDS } from './quantize-lanes'
import { is_torch_log2, rounding_of, STOCHASTIC, TOWARD_ZERO, zero_sign_of, ZERO_POSITIVE, ZERO_TORCH } from './quantize-modes'
import { prepare_random, random_fraction } from './quantize-random'
import { ADD_HALF_AWAY, ADD_HALF_EVEN, amax_any, amax_word, AWAY, before, DOWN, EVEN, exponent_mask, horizontal_max, how_of_mode, last_bit, magnitude_mask, step_word, tiny_word, to_half, ZERO } from './quantize-vector'
import { emin, is_flushed, is_ordinary, lowest_word, man, mode, NAN_WORD, prepare, scale_byte, scaled_element } from './quantizer'
import { scratch } from './scratch'

/** The multiple r of q that |x| = a rounds to, in i32 lanes; words as for quantize_vector, `e`: exponent field in place, not below `lowest`. */
// @ts-ignore: decorator
@inline export function multiple_of(a: v128, e: v128, how: i32, lowest: v128, toHalf: v128, step: v128, one: v128): v128 {
  const c = i32x4.add(e, step)
  if (how == ADD_HALF_EVEN || how == ADD_HALF_AWAY) {
    const up = i32x4.eq(a, i32x4.add(lowest, toHalf))
    a = i32x4.sub(a, up)
    if (how == ADD_HALF_EVEN) a = i32x4.sub(a, up)
  }
  if (how == AWAY || how == ADD_HALF_AWAY) a = v128.or(a, one)
  if (how == DOWN) a = before(a, one)
  const sum = f32x4.add(a, c)
  const r = i32x4.sub(sum, c) // sum and c have the same exponent, so the difference of the words counts in units of q
  return how == ZERO ? i32x4.add(r, f32x4.gt(f32x4.sub(sum, c), a)) : r
}

/** A byte's value in every byte. */
// @ts-ignore: decorator
@inline export function bytes(value: i32): v128 { return i8x16.splat(<i8>value) }

/** -1 where the code takes x's sign. */
// @ts-ignore: decorator
@inline function signs_of(x: v128, a: v128, tiny: usize, torch: bool): v128 { return i32x4.shr_s(torch ? v128.and(x, i32x4.gt_s(a, v128.load(tiny))) : x, 31) }

/** Four i32 vectors to bytes, 0..255 and beyond saturated. */
// @ts-ignore: decorator
@inline export function narrow(a: v128, b: v128, c: v128, d: v128): v128 { return i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d)) }
/** Four i32 vectors of -1 and 0 to bytes. */
// @ts-ignore: decorator
@inline export function narrow_masks(a: v128, b: v128, c: v128, d: v128): v128 { return i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d)) }

/** Codes of the 16 elements at `from`, whose words lie at `words` and advance by `next` (0 or 16) bytes per vector. */
// @ts-ignore: decorator
@inline function sixteen(from: usize, words: usize, next: usize, how: i32, torch: bool, toHalf: v128, step: v128, exponent: v128, magnitude: v128, one: v128, top: v128, integers: v128, signBit: v128, dropSign: v128, mask: v128): v128 {
  const x0 = v128.load(from), x1 = v128.load(from, 16), x2 = v128.load(from, 32), x3 = v128.load(from, 48)
  const a0 = v128.and(x0, magnitude), a1 = v128.and(x1, magnitude), a2 = v128.and(x2, magnitude), a3 = v128.and(x3, magnitude)
  const w1 = words + next, w2 = w1 + next, w3 = w2 + next
  const l0 = v128.load(words), l1 = v128.load(w1), l2 = v128.load(w2), l3 = v128.load(w3)
  const e0 = i32x4.max_s(v128.and(a0, exponent), l0), e1 = i32x4.max_s(v128.and(a1, exponent), l1), e2 = i32x4.max_s(v128.and(a2, exponent), l2), e3 = i32x4.max_s(v128.and(a3, exponent), l3)
  const binades = narrow(i32x4.shr_u(i32x4.sub(e0, l0), 23), i32x4.shr_u(i32x4.sub(e1, l1), 23), i32x4.shr_u(i32x4.sub(e2, l2), 23), i32x4.shr_u(i32x4.sub(e3, l3), 23))
  const multiples = narrow(
    multiple_of(a0, e0, how, l0, toHalf, step, one), multiple_of(a1, e1, how, l1, toHalf, step, one),
    multiple_of(a2, e2, how, l2, toHalf, step, one), multiple_of(a3, e3, how, l3, toHalf, step, one))
  const code = i8x16.min_u(i8x16.add_sat_u(multiples, i16x8.shl(binades, man)), top)
  const negative = narrow_masks(signs_of(x0, a0, words + TINY_WORD, torch), signs_of(x1, a1, w1 + TINY_WORD, torch), signs_of(x2, a2, w2 + TINY_WORD, torch), signs_of(x3, a3, w3 + TINY_WORD, torch))
  // A sign bit for floats; integers in two's complement, (code ^ s) - s for s = -1 or 0. No sign on a code 0 that is to stay positive.
  const s = v128.and(negative, integers), sign = v128.and(v128.andnot(negative, v128.and(dropSign, i8x16.eq(code, bytes(0)))), signBit)
  return v128.and(v128.or(i8x16.sub(v128.xor(code, s), s), sign), mask)
}

/** n (a multiple of 16) elements of ordinary blocks, whose words start at `words` and advance by `stride` (0 or 1) words per element. */
// @ts-ignore: decorator
@inline function sweep(to: usize, from: usize, n: i32, words: usize, stride: usize, how: i32, torch: bool): void {
  const exponent = exponent_mask(), magnitude = magnitude_mask(), one = last_bit(), step = i32x4.splat(step_word()), toHalf = i32x4.splat(to_half())
  const top = bytes(maxCode), integers = bytes(kind == INTEGER ? -1 : 0), signBit = bytes(kind == INTEGER ? 0 : 1 << (codeBits - 1)), mask = bytes((1 << codeBits) - 1)
  const dropSign = bytes(zero_sign_of(mode) == ZERO_POSITIVE || kind == FNUZ ? -1 : 0)
  for (const stop = from + (<usize>n << 2); from < stop; from += 64, to += 16) {
    v128.store(to, sixteen(from, words, stride << 4, how, torch, toHalf, step, exponent, magnitude, one, top, integers, signBit, dropSign, mask))
    words += stride << 6
  }
}

function sweep_all(to: usize, from: usize, n: i32, words: usize, stride: usize): void {
  const how = how_of_mode()
  if (zero_sign_of(mode) != ZERO_TORCH) {
    if (how == EVEN) sweep(to, from, n, words, stride, EVEN, false)
    else if (how == AWAY) sweep(to, from, n, words, stride, AWAY, false)
    else if (how == DOWN) sweep(to, from, n, words, stride, DOWN, false)
    else sweep(to, from, n, words, stride, ZERO, false)
  } else {
    if (how == EVEN) sweep(to, from, n, words, stride, EVEN, true)
    else if (how == AWAY) sweep(to, from, n, words, stride, AWAY, true)
    else if (how == ZERO) sweep(to, from, n, words, stride, ZERO, true)
    else if (how == ADD_HALF_EVEN) sweep(to, from, n, words, stride, ADD_HALF_EVEN, true)
    else sweep(to, from, n, words, stride, ADD_HALF_AWAY, true)
  }
}

/** Blocks `item`... of 32 while they last and are ordinary. Returns the first item not done. */
// @ts-ignore: decorator
@inline function run_of_32(to: usize, scales: usize, from: usize, item: i32, end: i32, how: i32, torch: bool): i32 {
  const words = scratch + WORDS
  const exponent = exponent_mask(), magnitude = magnitude_mask(), one = last_bit(), step = i32x4.splat(step_word()), toHalf = i32x4.splat(to_half())
  const top = bytes(maxCode), integers = bytes(kind == INTEGER ? -1 : 0), signBit = bytes(kind == INTEGER ? 0 : 1 << (codeBits - 1)), mask = bytes((1 << codeBits) - 1)
  const dropSign = bytes(zero_sign_of(mode) == ZERO_POSITIVE || kind == FNUZ ? -1 : 0)
  for (; item < end; item++, from += 128, to += 32) {
    let a = v128.and(v128.load(from), magnitude), b = v128.and(v128.load(from, 16), magnitude)
    a = i32x4.max_s(a, v128.and(v128.load(from, 32), magnitude))
    b = i32x4.max_s(b, v128.and(v128.load(from, 48), magnitude))
    a = i32x4.max_s(a, v128.and(v128.load(from, 64), magnitude))
    b = i32x4.max_s(b, v128.and(v128.load(from, 80), magnitude))
    a = i32x4.max_s(a, v128.and(v128.load(from, 96), magnitude))
    b = i32x4.max_s(b, v128.and(v128.load(from, 112), magnitude))
    const amax = i32x4.extract_lane(horizontal_max(i32x4.max_s(a, b)), 0)
    if (!is_ordinary(amax)) return item
    const word = lowest_word(amax)
    store<u8>(scales + <usize>item, <u8>((word >> 23) - emin))
    v128.store(words, i32x4.splat(word))
    if (torch) v128.store(words, i32x4.splat(tiny_word(word)), TINY_WORD)
    v128.store(to, sixteen(from, words, 0, how, torch, toHalf, step, exponent, magnitude, one, top, integers, signBit, dropSign, mask))
    v128.store(to, sixteen(from + 64, words, 0, how, torch, toHalf, step, exponent, magnitude, one, top, integers, signBit, dropSign, mask), 16)
  }
  return item
}

/** run_of_32 for the roundings in use; no item at all for the others. */
function run_of_blocks(to: usize, scales: usize, from: usize, item: i32, end: i32): i32 {
  const how = how_of_mode(), torch = zero_sign_of(mode) == ZERO_TORCH
  if (how == EVEN && !torch) return run_of_32(to, scales, from, item, end, EVEN, false)
  if (how == AWAY && !torch) return run_of_32(to, scales, from, item, end, AWAY, false)
  if (how == DOWN && !torch) return run_of_32(to, scales, from, item, end, DOWN, false)
  if (how == ADD_HALF_AWAY && torch) return run_of_32(to, scales, from, item, end, ADD_HALF_AWAY, true)
  return item
}

/** Can the sweep follow the choices? Not random bits, and not truncation by torch's log2. */
// @ts-ignore: decorator
@inline function has_sweep(): bool { return rounding_of(mode) != STOCHASTIC && (rounding_of(mode) != TOWARD_ZERO || !is_torch_log2(mode)) }

/** n consecutive elements of ordinary blocks; the last n mod 16 go through scratch. */
function codes_row(to: usize, from: usize, n: i32, words: usize, stride: usize): void {
  const wide = n & ~15, rest = <usize>(n & 15), copy = scratch + FREE
  if (wide > 0) sweep_all(to, from, wide, words, stride)
  if (rest == 0) return
  memory.copy(copy, from + (<usize>wide << 2), rest << 2)
  sweep_all(copy + 64, copy, 16, words + <usize>wide * (stride << 2), stride)
  memory.copy(to + <usize>wide, copy + 64, rest)
}

/** The code of one element of a block with scale byte `byte`. `index`: its place in the tensor, for stochastic rounding. */
function code_each(x: f32, byte: i32, flushed: bool, index: u32): i32 {
  if (byte == 255 || x != x) return nanPositive
  return code_of(scaled_element(flushed ? x * 0 : x, byte, rounding_of(mode) == STOCHASTIC ? random_fraction(index) : 0))
}

/**
 * codes[i] = element code of src[i] [rows, cols], a byte each; scales[item] = E8M0 byte of each block of `block` along the columns' axis. The words from
 * `bits` on describe the codes (prepare_codes); seed, stream and step serve stochastic rounding. Items: blocks, row by row.
 */
export function quantize_codes_rows(codes: usize, scales: usize, src: usize, cols: i32, block: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, bits: i32, kind: i32, maxCode: i32, nan: i32, low: u32, high: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  prepare(man, emin, emax, max, choices)
  prepare_codes(bits, kind, maxCode, maxCode, nan, nan)
  if (rounding_of(mode) == STOCHASTIC) prepare_random(low, high, stream, step)
  const perRow = (cols + block - 1) / block, words = scratch + WORDS, vector = has_sweep()
  let row = begin / perRow, first = (begin - row * perRow) * block
  const whole = block == 32 && cols % 32 == 0 && vector
  for (let item = begin; item < end; item++) {
    if (whole) {
      item = run_of_blocks(codes + (<usize>item << 5), scales, src + (<usize>item << 7), item, end)
      if (item == end) break
      row = item / perRow
      first = (item - row * perRow) * block
    }
    const n = min(block, cols - first), index = <u32>row * <u32>cols + <u32>first, from = src + (<usize>index << 2), to = codes + <usize>index
    first += block
    if (first >= cols) { first = 0; row++ }
    const any = amax_any(from, n), amax = any > 0x7f800000 ? amax_word(from, n) : any, m = amax == 0 ? 0x3f800000 : amax
    if (vector && any <= 0x7f800000 && is_ordinary(m)) {
      const word = lowest_word(m)
      v128.store(words, i32x4.splat(word))
      v128.store(words, i32x4.splat(tiny_word(word)), TINY_WORD)
      store<u8>(scales + <usize>item, <u8>(amax == 0 ? scale_byte(0, 0) : (word >> 23) - emin))
      codes_row(to, from, n, words, 0)
    } else {
      const byte = scale_byte(amax, 0), flushed = is_flushed(amax, 0)
      store<u8>(scales + <usize>item, <u8>byte)
      for (let i = 0; i < n; i++) store<u8>(to + <usize>i, <u8>code_each(load<f32>(from + (<usize>i << 2)), byte, flushed, index + <u32>i))
    }
  }
}

/** The same for src [outer, rows, cols] with blocks down the rows; scales [outer, blocks, cols]. Items: (outer, block of rows, panel of columns). */
export function quantize_codes_columns(codes: usize, scales: usize, src: usize, rows: i32, cols: i32, block: i32, panel: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, bits: i32, kind: i32, maxCode: i32, nan: i32, low: u32, high: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  prepare(man, emin, emax, max, choices)
  prepare_codes(bits, kind, maxCode, maxCode, nan, nan)
  if (rounding_of(mode) == STOCHASTIC) prepare_random(low, high, stream, step)
  const blocks = (rows + block - 1) / block, panels = (cols + panel - 1) / panel
  const maxima = scratch, words = scratch + WORDS, vector = has_sweep()
  for (let item = begin; item < end; item++) {
    const slab = item / panels, outer = slab / blocks
    const column = (item - slab * panels) * panel, row = (slab - outer * blocks) * block
    const n = min(block, rows - row), w = min(panel, cols - column)
    let index = <u32>(outer * rows + row) * <u32>cols + <u32>column
    const nan = column_maxima(maxima, src + (<usize>index << 2), n, <usize>cols << 2, w)
    const ordinary = prepare_words(maxima, words, w) && vector && !nan, scale = scales + <usize>(slab * cols + column)
    for (let c = 0; c < w; c++) store<u8>(scale + <usize>c, <u8>scale_byte(load<i32>(maxima + (<usize>c << 2)), 0))
    for (let r = 0; r < n; r++, index += cols) {
      if (ordinary) codes_row(codes + <usize>index, src + (<usize>index << 2), w, words, 1)
      else for (let c = 0; c < w; c++) {
        const x = load<f32>(src + (<usize>(index + c) << 2)), amax = load<i32>(maxima + (<usize>c << 2))
        store<u8>(codes + <usize>(index + c), <u8>code_each(x, <i32>load<u8>(scale + <usize>c), is_flushed(amax, 0), index + <u32>c))
      }
    }
  }
}

/** The float of an E8M0 byte; NaN for 255. */
// @ts-ignore: decorator
@inline function scale_value(byte: i32): f32 { return byte == 255 ? value_of(NAN_WORD) : power_of_two(byte - 127) }

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
      v128.store(to, y0)
      v128.store(to, y1, 16)
      v128.store(to, y2, 32)
      v128.store(to, y3, 48)
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

/** dst[i] = value of codes[i] [rows, cols] times its block's scale: blocks of `block` along the columns' axis. Items: blocks, row by row. */
export function dequantize_rows(dst: usize, codes: usize, scales: usize, cols: i32, block: i32, man: i32, emin: i32, bits: i32, kind: i32, maxCode: i32, begin: i32, end: i32): void {
  prepare(man, emin, 0, 1, 0)
  prepare_codes(bits, kind, maxCode, 0, 0, 0)
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
export function dequantize_columns(dst: usize, codes: usize, scales: usize, rows: i32, cols: i32, block: i32, panel: i32, man: i32, emin: i32, bits: i32, kind: i32, maxCode: i32, begin: i32, end: i32): void {
  prepare(man, emin, 0, 1, 0)
  prepare_codes(bits, kind, maxCode, 0, 0, 0)
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
