// Rows in which every lane has a block of its own: what the kernels share whose blocks run across rows, or change inside one. The words that
// quantize_vector needs wait in scratch, one column each.
import { Away, Even } from './bf16'
import { scratch } from './scratch'
import { zero_sign_of, ZERO_POSITIVE, ZERO_PRESERVE, ZERO_TORCH } from './quantize-modes'
import { ADD_HALF_EVEN, AddHalfAway, AddHalfEven, AWAY, DOWN, Down, EVEN, exponent_mask, last_bit, magnitude_mask, misreads, Positive, Preserve, quantize_eight, quantize_vector, step_word, tiny_words, to_half, Torch, ZERO, Zero } from './quantize-vector'
import { lowest_words, man, mode, ordinary_lanes, toLimit } from './quantizer'

/** Bytes from which on what a call reads is taken to come from memory. */
export const LARGE: usize = 16 << 20
/** Most columns at a time. */
export const WIDEST: i32 = 1024
/** Scratch: a row of maxima; at WORDS, four rows of words; from FREE on for the kernels themselves. */
export const WORDS: usize = WIDEST << 2, FREE: usize = WORDS * 5
/** The rows of words: of 2^emin first, then these byte offsets: of the largest magnitude, tiny_word, and all ones where the block is ordinary. */
export const LIMIT: usize = WIDEST << 2, TINY_WORD: usize = LIMIT * 2, ORDINARY: usize = LIMIT * 3

/** The words of the blocks with these maxima, eight columns at a time (up to the next multiple of eight after w). */
export function prepare_words(maxima: usize, words: usize, w: i32): void {
  write_words(maxima, words, w)
  if (zero_sign_of(mode) == ZERO_TORCH) write_tiny_words(words, w)
}

/** All but TINY_WORD. */
function write_words(maxima: usize, words: usize, w: i32): void {
  const one = f32x4.splat(1), none = i32x4.splat(0), limit = i32x4.splat(toLimit)
  for (const stop = maxima + (<usize>w << 2); maxima < stop; maxima += 32, words += 32) {
    const m0 = v128.load(maxima), m1 = v128.load(maxima, 16)
    // A column of zeros may take any scale.
    const a0 = v128.bitselect(one, m0, i32x4.eq(m0, none)), a1 = v128.bitselect(one, m1, i32x4.eq(m1, none))
    const low0 = lowest_words(a0), low1 = lowest_words(a1), limit0 = i32x4.add(low0, limit), limit1 = i32x4.add(low1, limit)
    const ordinary0 = ordinary_lanes(a0), ordinary1 = ordinary_lanes(a1)
    v128.store(words, low1, 16)
    v128.store(words, low0)
    v128.store(words, limit1, LIMIT + 16)
    v128.store(words, limit0, LIMIT)
    v128.store(words, ordinary1, ORDINARY + 16)
    v128.store(words, ordinary0, ORDINARY)
  }
}

function write_tiny_words(words: usize, w: i32): void {
  for (const stop = words + (<usize>w << 2); words < stop; words += 32) {
    const t0 = tiny_words(v128.load(words)), t1 = tiny_words(v128.load(words, 16))
    v128.store(words, t1, TINY_WORD + 16)
    v128.store(words, t0, TINY_WORD)
  }
}

/** The words of four ordinary blocks whose 2^emin have the words `lowest`. */
export function store_words(words: usize, lowest: v128): void {
  v128.store(words, lowest)
  v128.store(words, i32x4.add(lowest, i32x4.splat(toLimit)), LIMIT)
  v128.store(words, tiny_words(lowest), TINY_WORD)
}

/** Are these columns ordinary, all of them? */
export function all_ordinary(words: usize, count: i32): bool {
  let all = i32x4.splat(-1)
  const wide = <usize>(count & ~3) << 2
  for (let c: usize = 0; c < wide; c += 16) all = v128.and(all, v128.load(words + c, ORDINARY))
  for (let c = wide, stop = <usize>count << 2; c < stop; c += 4) if (load<i32>(words + c, ORDINARY) == 0) return false
  return v128.all_true<i32>(all)
}

/** How many columns from the first of w on are ordinary, in whole groups of `group`. */
export function ordinary_run(words: usize, w: i32, group: i32): i32 {
  let count = 0
  if (w < 32 && w % group == 0 && all_ordinary(words, w)) return w
  if (group < 32) while (count + 32 <= w && all_ordinary(words + (<usize>count << 2), 32)) count += 32
  while (count + group <= w && all_ordinary(words + (<usize>count << 2), group)) count += group
  return count
}

/** n rows of `count` columns (a multiple of 8), all ordinary. */
// @ts-ignore: decorator
@inline function sweep<How, Sign>(to: usize, from: usize, n: i32, rowBytes: usize, count: i32, words: usize): void {
  const exponent = exponent_mask(), magnitude = magnitude_mask(), one = last_bit()
  const step = i32x4.splat(step_word()), shift = i32x4.splat(man << 23), toHalf = i32x4.splat(to_half()), limit = i32x4.splat(toLimit)
  for (let r = 0; r < n; r++) {
    for (let c: usize = 0, stop = <usize>count << 2; c < stop; c += 32) {
      if (idof<How>() == idof<Zero>() && idof<Sign>() == idof<Torch>() && misreads(v128.load(from + c), v128.load(from + c, 16))) {
        quantize_eight(to + c, from + c, words + c, 4)
        continue
      }
      // Largest magnitudes are added up, not loaded, where that fits beside the other additions: words share the first-level cache with elements from memory.
      const w = words + c
      const low0 = v128.load(w), low1 = v128.load(w, 16)
      const y0 = quantize_vector<How, Sign>(v128.load(from + c), low0, idof<Sign>() == idof<Torch>() ? v128.load(w, LIMIT) : i32x4.add(low0, limit), i32x4.add(low0, toHalf), v128.load(w, TINY_WORD), step, shift, exponent, magnitude, one)
      const y1 = quantize_vector<How, Sign>(v128.load(from + c, 16), low1, idof<Sign>() == idof<Torch>() ? v128.load(w, LIMIT + 16) : i32x4.add(low1, limit), i32x4.add(low1, toHalf), v128.load(w, TINY_WORD + 16), step, shift, exponent, magnitude, one)
      v128.store(to + c, y1, 16)
      v128.store(to + c, y0)
    }
    from += rowBytes
    to += rowBytes
  }
}

/** Fake-quantize n rows of `count` columns whose blocks are all ordinary, their words at `words`, by the way `how`. */
export function quantize_ordinary(to: usize, from: usize, n: i32, rowBytes: usize, count: i32, words: usize, how: i32): void {
  const sign = zero_sign_of(mode)
  if (sign == ZERO_POSITIVE) {
    if (how == EVEN) sweep<Even, Positive>(to, from, n, rowBytes, count, words)
    else if (how == AWAY) sweep<Away, Positive>(to, from, n, rowBytes, count, words)
    else if (how == DOWN) sweep<Down, Positive>(to, from, n, rowBytes, count, words)
    else sweep<Zero, Positive>(to, from, n, rowBytes, count, words)
  } else if (sign == ZERO_PRESERVE) {
    if (how == EVEN) sweep<Even, Preserve>(to, from, n, rowBytes, count, words)
    else if (how == AWAY) sweep<Away, Preserve>(to, from, n, rowBytes, count, words)
    else sweep<Zero, Preserve>(to, from, n, rowBytes, count, words)
  } else {
    if (how == EVEN) sweep<Even, Torch>(to, from, n, rowBytes, count, words)
    else if (how == AWAY) sweep<Away, Torch>(to, from, n, rowBytes, count, words)
    else if (how == ZERO) sweep<Zero, Torch>(to, from, n, rowBytes, count, words)
    else if (how == ADD_HALF_EVEN) sweep<AddHalfEven, Torch>(to, from, n, rowBytes, count, words)
    else sweep<AddHalfAway, Torch>(to, from, n, rowBytes, count, words)
  }
}
