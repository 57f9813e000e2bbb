// Rows in which every lane has a block of its own: what the kernels share whose blocks run across rows, or change inside one. The words that
// quantize_vector needs wait in scratch, one column each.
import { scratch } from './scratch'
import { is_element, zero_sign_of, ZERO_POSITIVE, ZERO_PRESERVE, ZERO_TORCH } from './quantize-modes'
import { ADD_HALF_AWAY, ADD_HALF_EVEN, AWAY, DOWN, EVEN, exponent_mask, last_bit, magnitude_mask, misreads, quantize_eight, quantize_vector, step_word, tiny_word, to_half, ZERO } from './quantize-vector'
import { amax_without_nan, emin, lowest_words, man, mode, ordinary_lanes, toLimit } from './quantizer'

/** Most columns at a time. */
export const WIDEST: i32 = 1024
/** Scratch: a row of maxima; at WORDS, four rows of words; from FREE on for the kernels themselves. */
export const WORDS: usize = WIDEST << 2, FREE: usize = WORDS * 5
/** The rows of words: of 2^emin first, then these byte offsets: of the largest magnitude, tiny_word, and all ones where the block is ordinary. */
export const LIMIT: usize = WIDEST << 2, TINY_WORD: usize = LIMIT * 2, ORDINARY: usize = LIMIT * 3

/**
 * maxima[c] = largest magnitude, as a word, of n rows in column c. The result has the low 16 bits set that any element has, where `bits` is true: zero says
 * that all are bf16 numbers, whose fractions are too short for the halves-by-adding defect to show.
 */
// @ts-ignore: decorator
@inline function maxima_of(maxima: usize, from: usize, n: i32, rowBytes: usize, w: i32, bits: bool): i32 {
  const magnitude = magnitude_mask()
  memory.fill(maxima, 0, <usize>w << 2)
  const wide = <usize>(w & ~3) << 2, all = <usize>w << 2
  let seen = i32x4.splat(0), low = 0
  let r = 0
  for (; r + 4 <= n; r += 4) {
    const p0 = from + <usize>r * rowBytes, p1 = p0 + rowBytes, p2 = p1 + rowBytes, p3 = p2 + rowBytes
    for (let c: usize = 0; c < wide; c += 16) {
      const x0 = v128.load(p0 + c), x1 = v128.load(p1 + c), x2 = v128.load(p2 + c), x3 = v128.load(p3 + c)
      const a = i32x4.max_s(v128.and(x0, magnitude), v128.and(x1, magnitude)), b = i32x4.max_s(v128.and(x2, magnitude), v128.and(x3, magnitude))
      if (bits) seen = v128.or(seen, v128.or(v128.or(x0, x1), v128.or(x2, x3)))
      v128.store(maxima + c, i32x4.max_s(v128.load(maxima + c), i32x4.max_s(a, b)))
    }
  }
  for (; r < n; r++) {
    const p = from + <usize>r * rowBytes
    for (let c: usize = 0; c < wide; c += 16) {
      const x = v128.load(p + c)
      if (bits) seen = v128.or(seen, x)
      v128.store(maxima + c, i32x4.max_s(v128.load(maxima + c), v128.and(x, magnitude)))
    }
  }
  for (let c = wide; c < all; c += 4) {
    let m = 0
    for (let p = from + c, stop = p + <usize>n * rowBytes; p < stop; p += rowBytes) {
      const x = load<i32>(p)
      m = max(m, x & 0x7fffffff)
      low |= x
    }
    store<i32>(maxima + c, m)
  }
  let dropped = 0
  if (is_element(mode)) for (let c: usize = 0; c < all; c += 4) if (load<i32>(maxima + c) > 0x7f800000) {
    store<i32>(maxima + c, amax_without_nan(from + c, n, rowBytes))
    dropped = 1
  }
  return bits ? (low | i32x4.extract_lane(seen, 0) | i32x4.extract_lane(seen, 1) | i32x4.extract_lane(seen, 2) | i32x4.extract_lane(seen, 3)) & 0xffff : dropped
}

/** True if the columns hold NaNs that do not count (is_element). */
export function column_maxima(maxima: usize, from: usize, n: i32, rowBytes: usize, w: i32): bool { return maxima_of(maxima, from, n, rowBytes, w, false) != 0 }
/** The same; returns the low 16 bits that occur in any word, 0 if all numbers are bf16. */
export function column_maxima_bits(maxima: usize, from: usize, n: i32, rowBytes: usize, w: i32): i32 { return maxima_of(maxima, from, n, rowBytes, w, true) }

/** The words of the blocks with these w maxima. True if all are ordinary. */
export function prepare_words(maxima: usize, words: usize, w: i32): bool {
  let all = i32x4.splat(-1)
  const lane = i32x4(0, 1, 2, 3)
  for (let c = 0; c < w; c += 4) {
    const at = <usize>c << 2, m = v128.load(maxima + at)
    const amax = v128.bitselect(f32x4.splat(1), m, i32x4.eq(m, i32x4.splat(0))) // a column of zeros may take any scale
    const ordinary = ordinary_lanes(amax)
    store_words(words + at, lowest_words(amax), ordinary)
    all = v128.and(all, v128.or(ordinary, i32x4.ge_s(i32x4.add(lane, i32x4.splat(c)), i32x4.splat(w))))
  }
  return v128.all_true<i32>(all)
}

/** The words of four blocks whose 2^emin have the words `lowest`. */
export function store_words(words: usize, lowest: v128, ordinary: v128): void {
  v128.store(words, lowest)
  v128.store(words, i32x4.add(lowest, i32x4.splat(toLimit)), LIMIT)
  v128.store(words, i32x4.splat(0), TINY_WORD)
  v128.store(words, ordinary, ORDINARY)
  if (v128.any_true(i32x4.gt_s(lowest, i32x4.splat((emin + 127) << 23)))) for (let k: usize = 0; k < 16; k += 4) store<i32>(words + k, tiny_word(load<i32>(words + k)), TINY_WORD)
}

/** Are the `count` <= 8 columns from `words` on all ordinary? */
// @ts-ignore: decorator
@inline export function all_ordinary(words: usize, count: i32): bool {
  if (count == 8) return v128.all_true<i32>(v128.and(v128.load(words, ORDINARY), v128.load(words, ORDINARY + 16)))
  for (let c: usize = 0, stop = <usize>count << 2; c < stop; c += 4) if (load<i32>(words + c, ORDINARY) == 0) return false
  return true
}

/** n rows of `count` columns (a multiple of 8), all ordinary; rounded as `how` says. */
// @ts-ignore: decorator
@inline function sweep(to: usize, from: usize, n: i32, rowBytes: usize, count: i32, words: usize, how: i32, sign: i32): void {
  const exponent = exponent_mask(), magnitude = magnitude_mask(), one = last_bit()
  const step = i32x4.splat(step_word()), shift = i32x4.splat(man << 23), toHalf = i32x4.splat(to_half())
  for (let r = 0; r < n; r++) {
    for (let c: usize = 0, stop = <usize>count << 2; c < stop; c += 32) {
      if (how == ZERO && sign == ZERO_TORCH && misreads(v128.load(from + c), v128.load(from + c, 16))) {
        quantize_eight(to + c, from + c, words + c, 4)
        continue
      }
      const w = words + c
      const low0 = v128.load(w), low1 = v128.load(w, 16)
      const y0 = quantize_vector(v128.load(from + c), how, sign, low0, v128.load(w, LIMIT), i32x4.add(low0, toHalf), v128.load(w, TINY_WORD), step, shift, exponent, magnitude, one)
      const y1 = quantize_vector(v128.load(from + c, 16), how, sign, low1, v128.load(w, LIMIT + 16), i32x4.add(low1, toHalf), v128.load(w, TINY_WORD + 16), step, shift, exponent, magnitude, one)
      v128.store(to + c, y0)
      v128.store(to + c, y1, 16)
    }
    from += rowBytes
    to += rowBytes
  }
}

/** Fake-quantize n rows of `count` columns whose blocks are all ordinary, their words at `words`, by the way `how`. */
export function quantize_ordinary(to: usize, from: usize, n: i32, rowBytes: usize, count: i32, words: usize, how: i32): void {
  const sign = zero_sign_of(mode)
  if (sign == ZERO_POSITIVE) {
    if (how == EVEN) sweep(to, from, n, rowBytes, count, words, EVEN, ZERO_POSITIVE)
    else if (how == AWAY) sweep(to, from, n, rowBytes, count, words, AWAY, ZERO_POSITIVE)
    else if (how == DOWN) sweep(to, from, n, rowBytes, count, words, DOWN, ZERO_POSITIVE)
    else sweep(to, from, n, rowBytes, count, words, ZERO, ZERO_POSITIVE)
  } else if (sign == ZERO_PRESERVE) {
    if (how == EVEN) sweep(to, from, n, rowBytes, count, words, EVEN, ZERO_PRESERVE)
    else if (how == AWAY) sweep(to, from, n, rowBytes, count, words, AWAY, ZERO_PRESERVE)
    else sweep(to, from, n, rowBytes, count, words, ZERO, ZERO_PRESERVE)
  } else {
    if (how == EVEN) sweep(to, from, n, rowBytes, count, words, EVEN, ZERO_TORCH)
    else if (how == AWAY) sweep(to, from, n, rowBytes, count, words, AWAY, ZERO_TORCH)
    else if (how == ZERO) sweep(to, from, n, rowBytes, count, words, ZERO, ZERO_TORCH)
    else if (how == ADD_HALF_EVEN) sweep(to, from, n, rowBytes, count, words, ADD_HALF_EVEN, ZERO_TORCH)
    else sweep(to, from, n, rowBytes, count, words, ADD_HALF_AWAY, ZERO_TORCH)
  }
}
