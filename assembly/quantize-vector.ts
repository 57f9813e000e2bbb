// Four elements of an ordinary block at once. Where an element x has exponent e, e' = max(e, emin of the block) gives its quantum q = 2^(e' - man), and
//   nearest:      (|x| + c) - c with c = 1.5 * 2^23 q, whose unit in the last place is q, so that the addition rounds to nearest even;
//                 halves go away from zero if the last bit of |x| is set first: a tie has that bit clear, and nothing else can cross one;
//                 and toward zero if the odd word at or before |x| is taken;
//   toward zero:  the first, less q where it came out above |x|;
//   stochastic:   |x| truncated to q / 2^bits, plus random * q / 2^bits (both exact), truncated to q.
// Saturation is a minimum afterwards. "Ordinary" means that all these powers are normal numbers (is_ordinary in quantizer.ts).
import { Away, Even } from './bf16'
import { is_add_half, is_element, NEAREST_EVEN, NEAREST_ZERO, rounding_of, TOWARD_ZERO } from './quantize-modes'
import { amax_without_nan, emin, fake_quantize_element, man, mode } from './quantizer'

/** Vector constants. Loaded, not splatted: V8 rebuilds constants at every use in a loop. */
const CONSTANTS = memory.data<u32>([
  0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff,
  0x7f800000, 0x7f800000, 0x7f800000, 0x7f800000,
  1, 1, 1, 1,
  0x7fffff, 0x7fffff, 0x7fffff, 0x7fffff,
  0x7fffd3, 0x7fffd3, 0x7fffd3, 0x7fffd3,
], 16)
// @ts-ignore: decorator
@inline export function magnitude_mask(): v128 { return v128.load(CONSTANTS) }
// @ts-ignore: decorator
@inline export function exponent_mask(): v128 { return v128.load(CONSTANTS, 16) }
// @ts-ignore: decorator
@inline export function last_bit(): v128 { return v128.load(CONSTANTS, 32) }

/** How the vector path rounds. The ADD_HALF pair takes 0.5 - 2^-25 quanta up to one, as floor(fl(t + 0.5)) does. */
export const EVEN = 0, AWAY = 1, ZERO = 2, ADD_HALF_EVEN = 3, ADD_HALF_AWAY = 4, DOWN = 5
/** The same as types, with Even and Away of bf16.ts, and a zero's sign: loops are compiled for each, with no choice left inside. */
export class Zero {}
export class AddHalfEven {}
export class AddHalfAway {}
export class Down {}
export class Preserve {}
export class Torch {}
export class Positive {}
// @ts-ignore: decorator
@inline function adds_half<How>(): bool { return idof<How>() == idof<AddHalfEven>() || idof<How>() == idof<AddHalfAway>() }
// @ts-ignore: decorator
@inline export function how_of_mode(): i32 {
  const rounding = rounding_of(mode)
  return rounding == TOWARD_ZERO ? ZERO : rounding == NEAREST_ZERO ? DOWN : rounding == NEAREST_EVEN ? is_add_half(mode) ? ADD_HALF_EVEN : EVEN : is_add_half(mode) ? ADD_HALF_AWAY : AWAY
}

// Words that are constant during a call.
/** Turns e' into c. */
// @ts-ignore: decorator
@inline export function step_word(): i32 { return (23 - man) << 23 | 0x400000 }
/** From the word of a block's 2^emin to that of 0.5 - 2^-25 of its smallest quanta, the magnitude that ADD_HALF takes up. */
// @ts-ignore: decorator
@inline export function to_half(): i32 { return -((man + 1) << 23) - 1 }
/** A block's largest magnitude, as a word, that the division by its scale takes to zero: 2^-150 scale, 0 if there is none. */
export function tiny_word(lowestWord: i32): i32 {
  const e = (lowestWord >> 23) - emin - 127 // the scale is 2^e
  return select(0, select(1 << (e - 1), (e - 23) << 23, e < 24), e <= 0)
}

/** The same of four blocks: 2^(e - 1) as an integer while that is exact, and its place in the exponent field beyond. */
// @ts-ignore: decorator
@inline export function tiny_words(lowest: v128): v128 {
  const power = i32x4.min_s(i32x4.max_s(i32x4.sub(lowest, i32x4.splat((emin + 1) << 23)), i32x4.splat(0)), i32x4.splat((22 + 127) << 23))
  return i32x4.max_s(i32x4.trunc_sat_f32x4_s(power), i32x4.sub(lowest, i32x4.splat((emin + 150) << 23)))
}

/** The odd word at or before a: below a tie, and otherwise on the same side of all ties. */
// @ts-ignore: decorator
@inline export function before(a: v128, one: v128): v128 { return i32x4.max_s(v128.or(i32x4.sub(a, one), one), i32x4.splat(0)) }

/** The magnitude a, or one beside it that the addition of c rounds to nearest even as How rounds a. `half`: the word that the halves-by-adding defect takes up. */
// @ts-ignore: decorator
@inline export function nudged<How>(a: v128, half: v128, one: v128): v128 {
  if (adds_half<How>()) {
    const up = i32x4.eq(a, half) // one word up it is a tie, two words up it rounds up
    a = i32x4.sub(a, up)
    if (idof<How>() == idof<AddHalfEven>()) a = i32x4.sub(a, up)
  }
  if (idof<How>() == idof<Away>() || idof<How>() == idof<AddHalfAway>()) return v128.or(a, one)
  if (idof<How>() == idof<Down>()) return before(a, one)
  return a
}

/**
 * Quantize x. Words of its block: `lowest` of 2^emin, `limit` of the largest magnitude, `half` = lowest + to_half, `tiny` = tiny_word. `step`: step_word;
 * `shift`: man in the exponent field. How and Sign: the types above.
 */
// @ts-ignore: decorator
@inline export function quantize_vector<How, Sign>(x: v128, lowest: v128, limit: v128, half: v128, tiny: v128, step: v128, shift: v128, exponent: v128, magnitude: v128, one: v128): v128 {
  if (idof<Sign>() == idof<Positive>() && idof<How>() != idof<Zero>() && idof<How>() != idof<Down>()) {
    const c = i32x4.add(i32x4.max_s(v128.and(x, exponent), lowest), step)
    if (idof<How>() == idof<Away>()) x = v128.or(x, one)
    return f32x4.pmax(f32x4.pmin(f32x4.sub(f32x4.add(x, c), c), limit), f32x4.neg(limit))
  }
  let a = v128.and(x, magnitude)
  let negative = v128.xor(x, a)
  // torch takes the sign of x / scale, +0 for both zeros: an element that the division takes to -0 loses it.
  if (idof<Sign>() == idof<Torch>()) negative = v128.and(negative, i32x4.gt_s(a, tiny))
  const e = i32x4.max_s(v128.and(a, exponent), lowest)
  const c = i32x4.add(e, step)
  a = nudged<How>(a, half, one)
  let r = f32x4.sub(f32x4.add(a, c), c)
  if (idof<How>() == idof<Zero>()) r = f32x4.sub(r, v128.and(f32x4.gt(r, a), i32x4.sub(e, shift)))
  const y = v128.or(f32x4.pmin(r, limit), negative)
  if (idof<Sign>() == idof<Positive>()) return f32x4.add(y, f32x4.splat(0))
  return y
}

/** Has either vector a fraction so large that torch's log2 may read the next exponent? Only truncation can tell. */
// @ts-ignore: decorator
@inline export function misreads(x0: v128, x1: v128): bool {
  const fraction = v128.load(CONSTANTS, 48), safe = v128.load(CONSTANTS, 64)
  return v128.any_true(v128.or(i32x4.gt_s(v128.and(x0, fraction), safe), i32x4.gt_s(v128.and(x1, fraction), safe)))
}

/** Eight elements one by one; `lowest` points at the words of their blocks' 2^emin, `lowestStep` bytes apart. */
export function quantize_eight(to: usize, from: usize, lowest: usize, lowestStep: usize): void {
  for (let i: usize = 0; i < 8; i++) store<f32>(to + (i << 2), fake_quantize_element(load<f32>(from + (i << 2)), (load<i32>(lowest + i * lowestStep) >> 23) - emin, 0))
}

/** Largest of 4 words, in every lane. */
// @ts-ignore: decorator
@inline function horizontal_max(a: v128): v128 {
  a = i32x4.max_s(a, v128.shuffle<i32>(a, a, 2, 3, 0, 1))
  return i32x4.max_s(a, v128.shuffle<i32>(a, a, 1, 0, 3, 2))
}

/** Largest magnitude among n elements, as a word, NaN aside where elements stand alone (is_element). */
export function amax_word(src: usize, n: i32): i32 {
  const m = amax_any(src, n)
  return m > 0x7f800000 && is_element(mode) ? amax_without_nan(src, n, 4) : m
}

/** Largest magnitude among n elements, as a word; NaN is larger than Inf. */
export function amax_any(src: usize, n: i32): i32 {
  const mask = magnitude_mask()
  let a = i32x4.splat(0), b = a
  const end8 = src + (<usize>(n & ~7) << 2), end = src + (<usize>n << 2)
  while (src < end8) {
    a = i32x4.max_s(a, v128.and(v128.load(src), mask))
    b = i32x4.max_s(b, v128.and(v128.load(src, 16), mask))
    src += 32
  }
  let m = i32x4.extract_lane(horizontal_max(i32x4.max_s(a, b)), 0)
  for (; src < end; src += 4) m = max(m, load<i32>(src) & 0x7fffffff)
  return m
}
