// Sixteen elements of ordinary blocks to sixteen codes. |x| / q comes out of the rounding addition of quantize-vector.ts as an integer r, in the low bits of
// |x| + c; the code is r + ((e' - emin) << man), because each binade's first 2^man steps lie in the binades below.
import { Away, Even } from './bf16'
import { codeBits, FNUZ, INTEGER, kind, maxCode } from './codec'
import { TINY_WORD } from './quantize-lanes'
import { zero_sign_of, ZERO_POSITIVE, ZERO_TORCH } from './quantize-modes'
import { ADD_HALF_EVEN, AddHalfAway, AddHalfEven, AWAY, DOWN, Down, EVEN, exponent_mask, how_of_mode, last_bit, magnitude_mask, nudged, Preserve, step_word, to_half, Torch, ZERO, Zero } from './quantize-vector'
import { man, mode } from './quantizer'

/** The multiple r of q that |x| = a rounds to, in i32 lanes; words as for quantize_vector, `e`: exponent field in place, not below `lowest`. */
// @ts-ignore: decorator
@inline function multiple_of<How>(a: v128, e: v128, lowest: v128, toHalf: v128, step: v128, one: v128): v128 {
  const c = i32x4.add(e, step), near = nudged<How>(a, i32x4.add(lowest, toHalf), one), sum = f32x4.add(near, c)
  const r = i32x4.sub(sum, c) // sum and c have the same exponent, so the difference of the words counts in units of q
  if (idof<How>() == idof<Zero>()) return i32x4.add(r, f32x4.gt(f32x4.sub(sum, c), near))
  return r
}

/** A byte's value in every byte. */
// @ts-ignore: decorator
@inline export function bytes(value: i32): v128 { return i8x16.splat(<i8>value) }

// Byte constants of the format in use: bits that a negative number inverts, all ones for integers (whose two's complement is one more than the inversion),
// and the code that is too small for a sign: 0, or -1 where -0 exists.
// @ts-ignore: decorator
@inline export function inverted(): v128 { return bytes(kind == INTEGER ? (1 << codeBits) - 1 : 1 << (codeBits - 1)) }
// @ts-ignore: decorator
@inline export function integers(): v128 { return bytes(kind == INTEGER ? -1 : 0) }
// @ts-ignore: decorator
@inline function unsigned(): v128 { return bytes(kind == INTEGER || kind == FNUZ || zero_sign_of(mode) == ZERO_POSITIVE ? 0 : -1) }

/** What carries x's sign. */
// @ts-ignore: decorator
@inline function signed<Sign>(x: v128, a: v128, tiny: v128): v128 {
  if (idof<Sign>() == idof<Torch>()) return v128.and(x, i32x4.gt_s(a, tiny))
  return x
}

/** Code without sign in i32 lanes; may exceed the format's largest. */
// @ts-ignore: decorator
@inline export function code_of_four<How>(a: v128, lowest: v128, toHalf: v128, step: v128, shift: i32, exponent: v128, one: v128): v128 {
  const e = i32x4.max_s(v128.and(a, exponent), lowest)
  return i32x4.add(multiple_of<How>(a, e, lowest, toHalf, step, one), i32x4.shr_u(i32x4.sub(e, lowest), shift))
}

/** Sixteen codes with the signs of `signs`, and the middle fours of the order that `sixteen` has them in exchanged. */
// @ts-ignore: decorator
@inline export function with_signs(code: v128, signs: v128, invert: v128, integer: v128, least: v128, none: v128): v128 {
  const negative = v128.and(i8x16.gt_s(none, signs), i8x16.gt_s(code, least))
  const y = i8x16.sub(v128.xor(code, v128.and(negative, invert)), v128.and(negative, integer))
  return v128.shuffle<i32>(y, y, 0, 2, 1, 3)
}

/**
 * The codes of the 16 elements at `from`, `l` and `t` being their words of 2^emin and tiny words. (Of the four vectors the second and third change places: an engine
 * that makes 256-bit operations pairs the two operands of the last narrowing, and wants them side by side in memory.)
 */
// @ts-ignore: decorator
@inline function sixteen<How, Sign>(from: usize, l0: v128, l1: v128, l2: v128, l3: v128, t0: v128, t1: v128, t2: v128, t3: v128, toHalf: v128, step: v128, shift: i32, exponent: v128, magnitude: v128, one: v128, top: v128, invert: v128, integer: v128, least: v128, none: v128): v128 {
  const x0 = v128.load(from), x1 = v128.load(from, 16), x2 = v128.load(from, 32), x3 = v128.load(from, 48)
  const a0 = v128.and(x0, magnitude), a1 = v128.and(x1, magnitude), a2 = v128.and(x2, magnitude), a3 = v128.and(x3, magnitude)
  const c0 = code_of_four<How>(a0, l0, toHalf, step, shift, exponent, one), c1 = code_of_four<How>(a1, l1, toHalf, step, shift, exponent, one)
  const c2 = code_of_four<How>(a2, l2, toHalf, step, shift, exponent, one), c3 = code_of_four<How>(a3, l3, toHalf, step, shift, exponent, one)
  const code = i8x16.min_u(i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(c0, c2), i16x8.narrow_i32x4_s(c1, c3)), top)
  const s0 = signed<Sign>(x0, a0, t0), s1 = signed<Sign>(x1, a1, t1), s2 = signed<Sign>(x2, a2, t2), s3 = signed<Sign>(x3, a3, t3)
  const signs = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(s0, s2), i16x8.narrow_i32x4_s(s1, s3)) // saturated: signs stay
  return with_signs(code, signs, invert, integer, least, none)
}

/** n (a multiple of 16) elements in columns, their words at `words`. */
function sweep_lanes<How, Sign>(to: usize, from: usize, n: i32, words: usize): void {
  const exponent = exponent_mask(), magnitude = magnitude_mask(), one = last_bit(), step = i32x4.splat(step_word()), toHalf = i32x4.splat(to_half()), shift = 23 - man
  const top = bytes(maxCode), invert = inverted(), integer = integers(), least = unsigned(), none = bytes(0)
  for (const stop = from + (<usize>n << 2); from < stop; from += 64, to += 16, words += 64) {
    v128.store(to, sixteen<How, Sign>(from, v128.load(words), v128.load(words, 16), v128.load(words, 32), v128.load(words, 48),
      v128.load(words, TINY_WORD), v128.load(words, TINY_WORD + 16), v128.load(words, TINY_WORD + 32), v128.load(words, TINY_WORD + 48),
      toHalf, step, shift, exponent, magnitude, one, top, invert, integer, least, none))
  }
}

/** n blocks of `size` (a multiple of 16) elements, their words at `words`. */
function sweep_blocks<How, Sign>(to: usize, from: usize, n: i32, size: i32, words: usize): void {
  const exponent = exponent_mask(), magnitude = magnitude_mask(), one = last_bit(), step = i32x4.splat(step_word()), toHalf = i32x4.splat(to_half()), shift = 23 - man
  const top = bytes(maxCode), invert = inverted(), integer = integers(), least = unsigned(), none = bytes(0)
  for (const last = words + (<usize>n << 2); words < last; words += 4) {
    const l = v128.load32_splat(words), t = v128.load32_splat(words + TINY_WORD)
    for (const stop = from + (<usize>size << 2); from < stop; from += 64, to += 16) {
      v128.store(to, sixteen<How, Sign>(from, l, l, l, l, t, t, t, t, toHalf, step, shift, exponent, magnitude, one, top, invert, integer, least, none))
    }
  }
}

/** Codes of n (a multiple of 16) elements of ordinary columns, by the rounding in use. */
export function codes_of_lanes(to: usize, from: usize, n: i32, words: usize): void {
  const how = how_of_mode()
  if (zero_sign_of(mode) != ZERO_TORCH) {
    if (how == EVEN) sweep_lanes<Even, Preserve>(to, from, n, words)
    else if (how == AWAY) sweep_lanes<Away, Preserve>(to, from, n, words)
    else if (how == DOWN) sweep_lanes<Down, Preserve>(to, from, n, words)
    else sweep_lanes<Zero, Preserve>(to, from, n, words)
  } else {
    if (how == EVEN) sweep_lanes<Even, Torch>(to, from, n, words)
    else if (how == AWAY) sweep_lanes<Away, Torch>(to, from, n, words)
    else if (how == ZERO) sweep_lanes<Zero, Torch>(to, from, n, words)
    else if (how == ADD_HALF_EVEN) sweep_lanes<AddHalfEven, Torch>(to, from, n, words)
    else sweep_lanes<AddHalfAway, Torch>(to, from, n, words)
  }
}

/** Codes of n ordinary blocks of `size` (a multiple of 16) elements, by the rounding in use. */
export function codes_of_blocks(to: usize, from: usize, n: i32, size: i32, words: usize): void {
  const how = how_of_mode()
  if (zero_sign_of(mode) != ZERO_TORCH) {
    if (how == EVEN) sweep_blocks<Even, Preserve>(to, from, n, size, words)
    else if (how == AWAY) sweep_blocks<Away, Preserve>(to, from, n, size, words)
    else if (how == DOWN) sweep_blocks<Down, Preserve>(to, from, n, size, words)
    else sweep_blocks<Zero, Preserve>(to, from, n, size, words)
  } else {
    if (how == EVEN) sweep_blocks<Even, Torch>(to, from, n, size, words)
    else if (how == AWAY) sweep_blocks<Away, Torch>(to, from, n, size, words)
    else if (how == ZERO) sweep_blocks<Zero, Torch>(to, from, n, size, words)
    else if (how == ADD_HALF_EVEN) sweep_blocks<AddHalfEven, Torch>(to, from, n, size, words)
    else sweep_blocks<AddHalfAway, Torch>(to, from, n, size, words)
  }
}
