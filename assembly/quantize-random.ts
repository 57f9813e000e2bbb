// Fake-quantize with stochastic rounding: |x| is truncated to q / 2^bits, random * q / 2^bits is added, the sum is truncated to q. All steps but the last
// are exact, so the carry out of the discarded bits alone decides (PTX cvt.rs). Element i of the tensor takes bytes [i b, (i + 1) b) of the stream of
// Philox blocks 0, 1, 2, ..., b = 1 or 2 little-endian bytes: a function of (seed, stream, step, index), whatever the cut into items.
import { philox_x4 } from './philox'
import { random_bytes_of, zero_sign_of, ZERO_POSITIVE, ZERO_TORCH } from './quantize-modes'
import { all_ordinary, FREE, LIMIT, prepare_words, TINY_WORD, WORDS } from './quantize-lanes'
import { column_maxima } from './quantize-maxima'
import { amax_word, exponent_mask, magnitude_mask, step_word, tiny_word } from './quantize-vector'
import { emin, fake_quantize_element, is_flushed, is_ordinary, lowest_word, man, mode, prepare, scale_byte, toLimit } from './quantizer'
import { scratch } from './scratch'

/** Random bytes are made for at most so many elements at a time. */
const MOST: i32 = 1024

let seedLow: u32 = 0
let seedHigh: u32 = 0
let stream: u32 = 0
let stepLow: u32 = 0
let stepHigh: u32 = 0
export function prepare_random(low: u32, high: u32, stream_: u32, step: usize): void {
  seedLow = low
  seedHigh = high
  stream = stream_
  stepLow = load<u32>(step)
  stepHigh = load<u32>(step, 4)
}

/** Where the random bytes of elements [first, first + count), count <= MOST, lie after this call. */
function random_bytes(first: u32, count: i32): usize {
  const width = <u32>random_bytes_of(mode), begin = first * width, end = begin + <u32>count * width
  const buffer = scratch + FREE, firstBlock = begin >> 4 & ~3
  for (let block = firstBlock; block << 4 < end; block += 4) philox_x4(buffer + (<usize>(block - firstBlock) << 4), block, stream, stepLow, stepHigh, seedLow, seedHigh)
  return buffer + (begin - (firstBlock << 4))
}

/** Element k of the bytes at `random` as a fraction in [0, 1). */
// @ts-ignore: decorator
@inline function fraction_at(random: usize, k: usize): f32 {
  return random_bytes_of(mode) == 2 ? <f32>load<u16>(random + (k << 1)) / 65536 : <f32>load<u8>(random + k) / 256
}

/** The random fraction of one element. */
export function random_fraction(index: u32): f32 { return fraction_at(random_bytes(index, 1), 0) }

/** Four elements. `random`: integers below 2^bits; `fine`: bits in the exponent field. Other words as for quantize_vector. */
// @ts-ignore: decorator
@inline function round_random(x: v128, random: v128, sign: i32, lowest: v128, limit: v128, tiny: v128, step: v128, shift: v128, fine: v128, exponent: v128, magnitude: v128): v128 {
  const a = v128.and(x, magnitude)
  let negative = v128.xor(x, a)
  if (sign == ZERO_TORCH) negative = v128.and(negative, i32x4.gt_s(a, tiny))
  const e = i32x4.max_s(v128.and(a, exponent), lowest)
  const c = i32x4.add(e, step), q = i32x4.sub(e, shift), cFine = i32x4.sub(c, fine), qFine = i32x4.sub(q, fine)
  let t = f32x4.sub(f32x4.add(a, cFine), cFine)
  t = f32x4.sub(t, v128.and(f32x4.gt(t, a), qFine))
  t = f32x4.add(t, f32x4.mul(f32x4.convert_i32x4_s(random), qFine))
  let r = f32x4.sub(f32x4.add(t, c), c)
  r = f32x4.sub(r, v128.and(f32x4.gt(r, t), q))
  const y = v128.or(f32x4.pmin(r, limit), negative)
  return sign == ZERO_POSITIVE ? f32x4.add(y, f32x4.splat(0)) : y
}

/** `count` (a multiple of 4) elements whose blocks' words start at `words` and advance by `stride` (0 or 1) words per element. */
// @ts-ignore: decorator
@inline function sweep(to: usize, from: usize, count: i32, words: usize, stride: usize, random: usize, sign: i32): void {
  const exponent = exponent_mask(), magnitude = magnitude_mask()
  const step = i32x4.splat(step_word()), shift = i32x4.splat(man << 23)
  const wide = random_bytes_of(mode) == 2, fine = i32x4.splat((wide ? 16 : 8) << 23), low = i32x4.splat(0xff)
  for (let c: usize = 0, stop = <usize>count << 2; c < stop; c += 16) {
    const w = words + c * stride
    const bits = wide ? v128.load16x4_u(random + (c >> 1)) : v128.and(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_splat(random + (c >> 2)))), low)
    v128.store(to + c, round_random(v128.load(from + c), bits, sign, v128.load(w), v128.load(w, LIMIT), v128.load(w, TINY_WORD), step, shift, fine, exponent, magnitude))
  }
}
function quantize_random(to: usize, from: usize, count: i32, words: usize, stride: usize, random: usize): void {
  const sign = zero_sign_of(mode)
  if (sign == ZERO_POSITIVE) sweep(to, from, count, words, stride, random, ZERO_POSITIVE)
  else if (sign == ZERO_TORCH) sweep(to, from, count, words, stride, random, ZERO_TORCH)
  else sweep(to, from, count, words, stride, random, 0)
}

/** Is a sum of man + 1 significant bits and the random bits exact in float32? */
// @ts-ignore: decorator
@inline function has_room(): bool { return man + 1 + (random_bytes_of(mode) << 3) <= 24 }

/** As fake_quantize_rows, with stochastic rounding. `step` points at the u64 step counter. Items: blocks, row by row. */
export function fake_quantize_rows_random(dst: usize, src: usize, cols: i32, block: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, low: u32, high: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  prepare(man, emin, emax, max, choices)
  prepare_random(low, high, stream, step)
  const perRow = (cols + block - 1) / block, words = scratch + WORDS, room = has_room()
  // Items are consecutive in memory, so random bytes are made for many blocks at a time: elements [from made to madeEnd) have theirs at `bytes`.
  const lastRow = (end - 1) / perRow, stop = <u32>lastRow * <u32>cols + <u32>min((end - lastRow * perRow) * block, cols)
  let made: u32 = 0, madeEnd: u32 = 0, bytes: usize = 0
  for (let item = begin; item < end; item++) {
    const row = item / perRow, first = (item - row * perRow) * block
    const length = min(block, cols - first), index = <u32>row * <u32>cols + <u32>first, offset = <usize>index << 2
    const amax = amax_word(src + offset, length), m = amax == 0 ? 0x3f800000 : amax
    const vector = room && is_ordinary(m), byte = scale_byte(amax, 0), flushed = is_flushed(amax, 0)
    if (vector) {
      const word = lowest_word(m)
      v128.store(words, i32x4.splat(word))
      v128.store(words, i32x4.splat(word + toLimit), LIMIT)
      v128.store(words, i32x4.splat(tiny_word(word)), TINY_WORD)
    }
    for (let k = 0; k < length; k += MOST) {
      const n = min(MOST, length - k), from = src + offset + (<usize>k << 2), to = dst + offset + (<usize>k << 2)
      const at = index + <u32>k
      if (at < made || at + <u32>n > madeEnd) {
        made = at
        madeEnd = at + min(<u32>MOST, stop - at)
        bytes = random_bytes(at, <i32>(madeEnd - at))
      }
      const random = bytes + <usize>(at - made) * random_bytes_of(mode)
      const wide = vector ? n & ~3 : 0
      if (wide > 0) quantize_random(to, from, wide, words, 0, random)
      for (let i = <usize>wide; i < <usize>n; i++) {
        const x = load<f32>(from + (i << 2))
        store<f32>(to + (i << 2), fake_quantize_element(flushed ? x * 0 : x, vector ? (lowest_word(m) >> 23) - emin : byte, fraction_at(random, i)))
      }
    }
  }
}

/** As fake_quantize_columns, with stochastic rounding. Items: (outer, block of rows, panel of columns). */
export function fake_quantize_columns_random(dst: usize, src: usize, rows: i32, cols: i32, block: i32, panel: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, low: u32, high: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  prepare(man, emin, emax, max, choices)
  prepare_random(low, high, stream, step)
  const blocks = (rows + block - 1) / block, panels = (cols + panel - 1) / panel, rowBytes = <usize>cols << 2
  const maxima = scratch, words = scratch + WORDS, room = has_room()
  for (let item = begin; item < end; item++) {
    const slab = item / panels, outer = slab / blocks
    const column = (item - slab * panels) * panel, row = (slab - outer * blocks) * block
    const n = min(block, rows - row), w = min(panel, cols - column)
    let index = <u32>(outer * rows + row) * <u32>cols + <u32>column
    column_maxima(maxima, src + (<usize>index << 2), n, rowBytes, w)
    prepare_words(maxima, words, w)
    const vector = room && all_ordinary(words, w)
    const wide = vector ? w & ~3 : 0
    for (let r = 0; r < n; r++, index += cols) {
      const from = src + (<usize>index << 2), to = dst + (<usize>index << 2)
      const random = random_bytes(index, w)
      if (wide > 0) quantize_random(to, from, wide, words, 1, random)
      for (let i = <usize>wide; i < <usize>w; i++) {
        const amax = load<i32>(maxima + (i << 2)), x = load<f32>(from + (i << 2))
        store<f32>(to + (i << 2), fake_quantize_element(is_flushed(amax, 0) ? x * 0 : x, scale_byte(amax, 0), fraction_at(random, i)))
      }
    }
  }
}
