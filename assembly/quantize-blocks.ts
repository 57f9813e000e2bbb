// Blocks on end, each with one exponent: values of n ordinary blocks whose words (quantize-lanes.ts) wait in memory, and of any part of one block.
import { Away, Even } from './bf16'
import { FREE, LIMIT, TINY_WORD, WORDS } from './quantize-lanes'
import { zero_sign_of, ZERO_POSITIVE, ZERO_PRESERVE } from './quantize-modes'
import { ADD_HALF_EVEN, AddHalfAway, AddHalfEven, AWAY, DOWN, Down, EVEN, exponent_mask, how_of_mode, last_bit, magnitude_mask, misreads, Positive, Preserve, quantize_eight, quantize_vector, step_word, tiny_word, to_half, Torch, ZERO, Zero } from './quantize-vector'
import { fake_quantize_element, is_flushed, is_ordinary, lowest_word, man, mode, scale_byte, toLimit } from './quantizer'
import { scratch } from './scratch'

/** n blocks of `size` (a multiple of 16) elements. */
function sweep<How, Sign>(to: usize, from: usize, n: i32, size: i32, words: usize): void {
  const exponent = exponent_mask(), magnitude = magnitude_mask(), one = last_bit()
  const step = i32x4.splat(step_word()), shift = i32x4.splat(man << 23), toHalf = i32x4.splat(to_half())
  for (const last = words + (<usize>n << 2); words < last; words += 4) {
    const lowest = v128.load32_splat(words), limit = v128.load32_splat(words + LIMIT), tiny = v128.load32_splat(words + TINY_WORD), half = i32x4.add(lowest, toHalf)
    for (const stop = from + (<usize>size << 2); from < stop; from += 64, to += 64) {
      if (idof<How>() == idof<Zero>() && idof<Sign>() == idof<Torch>() && (misreads(v128.load(from), v128.load(from, 16)) || misreads(v128.load(from, 32), v128.load(from, 48)))) {
        quantize_eight(to, from, words, 0)
        quantize_eight(to + 32, from + 32, words, 0)
        continue
      }
      const y0 = quantize_vector<How, Sign>(v128.load(from), lowest, limit, half, tiny, step, shift, exponent, magnitude, one)
      const y1 = quantize_vector<How, Sign>(v128.load(from, 16), lowest, limit, half, tiny, step, shift, exponent, magnitude, one)
      const y2 = quantize_vector<How, Sign>(v128.load(from, 32), lowest, limit, half, tiny, step, shift, exponent, magnitude, one)
      const y3 = quantize_vector<How, Sign>(v128.load(from, 48), lowest, limit, half, tiny, step, shift, exponent, magnitude, one)
      // Lower halves first, unlike elsewhere: the store that V8 then makes twice asks for the line early, 5 % of the time out of the cache.
      v128.store(to, y0)
      v128.store(to, y1, 16)
      v128.store(to, y2, 32)
      v128.store(to, y3, 48)
    }
  }
}

/** Fake-quantize n ordinary blocks of `size` (a multiple of 16) elements, their words at `words`. In place is allowed. */
export function quantize_blocks(to: usize, from: usize, n: i32, size: i32, words: usize): void {
  const how = how_of_mode(), sign = zero_sign_of(mode)
  if (sign == ZERO_POSITIVE) {
    if (how == EVEN) sweep<Even, Positive>(to, from, n, size, words)
    else if (how == AWAY) sweep<Away, Positive>(to, from, n, size, words)
    else if (how == DOWN) sweep<Down, Positive>(to, from, n, size, words)
    else sweep<Zero, Positive>(to, from, n, size, words)
  } else if (sign == ZERO_PRESERVE) {
    if (how == EVEN) sweep<Even, Preserve>(to, from, n, size, words)
    else if (how == AWAY) sweep<Away, Preserve>(to, from, n, size, words)
    else sweep<Zero, Preserve>(to, from, n, size, words)
  } else {
    if (how == EVEN) sweep<Even, Torch>(to, from, n, size, words)
    else if (how == AWAY) sweep<Away, Torch>(to, from, n, size, words)
    else if (how == ZERO) sweep<Zero, Torch>(to, from, n, size, words)
    else if (how == ADD_HALF_EVEN) sweep<AddHalfEven, Torch>(to, from, n, size, words)
    else sweep<AddHalfAway, Torch>(to, from, n, size, words)
  }
}

/** n consecutive elements of a block with maximum `amax`, whatever it is. The last n mod 16 of an ordinary one go through scratch. */
export function quantize_part(to: usize, from: usize, n: i32, amax: i32): void {
  const m = amax == 0 ? 0x3f800000 : amax // a block of zeros may take any scale
  if (is_ordinary(m)) {
    const words = scratch + WORDS, copy = scratch + FREE, lowest = lowest_word(m), wide = n & ~15, rest = <usize>(n & 15) << 2, done = <usize>wide << 2
    store<i32>(words, lowest)
    store<i32>(words, lowest + toLimit, LIMIT)
    store<i32>(words, tiny_word(lowest), TINY_WORD)
    if (wide > 0) quantize_blocks(to, from, 1, wide, words)
    if (rest == 0) return
    memory.copy(copy, from + done, rest)
    quantize_blocks(copy, copy, 1, 16, words)
    memory.copy(to + done, copy, rest)
    return
  }
  const byte = scale_byte(amax, 0), flushed = is_flushed(amax, 0)
  for (let i: usize = 0, end = <usize>n << 2; i < end; i += 4) {
    const x = load<f32>(from + i)
    store<f32>(to + i, fake_quantize_element(flushed ? x * 0 : x, byte, 0))
  }
}
