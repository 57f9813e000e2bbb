// Round every element by itself to a float format with Inf (bf16, fp16, bfloatN, fpN): ElementRounding in src/numerics/quantizer.ts.
// With 8 exponent bits the format is the upper part of the float32 word, so rounding is an integer addition and a mask; the carry moves into the
// exponent, and from the largest numbers into Inf. With 5 it is the block quantizer's vector step with a fixed block, and Inf beyond the maximum.
import { Away, Even } from './bf16'
import { value_of, word_of } from './bits'
import { is_flush, is_nan_number, is_torch_log2, NEAREST_AWAY, NEAREST_EVEN, rounding_of, TOWARD_ZERO, zero_sign_of, ZERO_POSITIVE, ZERO_PRESERVE, ZERO_TORCH } from './quantize-modes'
import { ADD_HALF_EVEN, AddHalfAway, AddHalfEven, AWAY, EVEN, exponent_mask, how_of_mode, last_bit, magnitude_mask, Preserve, quantize_vector, step_word, to_half, Torch, ZERO, Zero } from './quantize-vector'
import { man, maximum, emin, mode, NAN_WORD, prepare, round_to_grid } from './quantizer'

const INFINITY: i32 = 0x7f800000

/** One element, every case. */
function round_element(x: f32): f32 {
  const word = word_of(x), a = word & 0x7fffffff
  if (a > INFINITY) {
    if (!is_nan_number(mode)) return value_of(NAN_WORD)
    // The payload rounded like a fraction: 1.0 makes Inf, 2.0 carries out of the exponent field and leaves -0.
    const unit: i32 = 1 << (23 - man), fraction = (a & 0x7fffff) | 0x800000
    const rounding = rounding_of(mode)
    const up = rounding == NEAREST_AWAY ? unit >> 1 : rounding == NEAREST_EVEN ? (unit >> 1) - 1 + (fraction >> (23 - man) & 1) : 0
    const rounded = (fraction + up) & -unit
    return rounded == 0x800000 ? value_of(word & 0x80000000 | INFINITY) : rounded == 0x1000000 ? value_of(0x80000000) : value_of(NAN_WORD)
  }
  if (is_flush(mode) && value_of(a) < value_of((emin + 127) << 23)) return zero_sign_of(mode) == ZERO_PRESERVE && word < 0 ? value_of(0x80000000) : 0
  return round_to_grid(x, man, emin, maximum, value_of(INFINITY), mode, 0)
}

function round_slow(to: usize, from: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 4) store<f32>(to + i, round_element(load<f32>(from + i)))
}

/** Words above this take the slow path: NaN, and under torch's log2 the numbers whose exponent reads 128. */
// @ts-ignore: decorator
@inline function ordinary_top(): i32 { return is_torch_log2(mode) ? 0x7f7fffd3 : INFINITY }

/** Can torch's log2, one too high within 44 words below a power of two, show in the result? Truncation tells, and so does a quantum below 88 words. */
// @ts-ignore: decorator
@inline function misreads(): bool { return is_torch_log2(mode) && (rounding_of(mode) == TOWARD_ZERO || man >= 17) }

/** True in lanes that need the slow path for another reason: fractions that torch's log2 misreads, subnormals to flush. */
// @ts-ignore: decorator
@inline function special(a: v128, fraction: v128, misread: v128, normal: v128): v128 {
  return v128.or(i32x4.gt_s(v128.and(a, fraction), misread), v128.andnot(i32x4.lt_s(a, normal), i32x4.eq(a, i32x4.splat(0))))
}

// @ts-ignore: decorator
@inline function bfloat(to: usize, from: usize, count: i32, rounding: i32, careful: bool): void {
  const unit: i32 = 1 << (23 - man)
  const magnitude = magnitude_mask(), one = last_bit(), mask = i32x4.splat(-unit), top = i32x4.splat(ordinary_top()), shift = 23 - man
  const add = i32x4.splat(rounding == NEAREST_AWAY ? unit >> 1 : (unit >> 1) - 1)
  const pre = f32x4.splat(zero_sign_of(mode) == ZERO_TORCH ? 0.0 : -0.0), post = f32x4.splat(zero_sign_of(mode) == ZERO_POSITIVE ? 0.0 : -0.0)
  const fraction = i32x4.splat(0x7fffff), misread = i32x4.splat(misreads() ? 0x7fffd3 : 0x7fffff), normal = i32x4.splat(is_flush(mode) ? 0x800000 : 0)
  const end = from + (<usize>(count & ~7) << 2)
  while (from < end) {
    const x0 = v128.load(from), x1 = v128.load(from, 16)
    const a0 = v128.and(x0, magnitude), a1 = v128.and(x1, magnitude)
    let slow = v128.or(i32x4.gt_s(a0, top), i32x4.gt_s(a1, top))
    if (careful) slow = v128.or(slow, v128.or(special(a0, fraction, misread, normal), special(a1, fraction, misread, normal)))
    if (v128.any_true(slow)) round_slow(to, from, 32)
    else {
      let y0 = f32x4.add(x0, pre), y1 = f32x4.add(x1, pre)
      if (rounding == NEAREST_EVEN) {
        y0 = i32x4.add(y0, v128.and(i32x4.shr_u(y0, shift), one))
        y1 = i32x4.add(y1, v128.and(i32x4.shr_u(y1, shift), one))
      }
      if (rounding != TOWARD_ZERO) {
        y0 = i32x4.add(y0, add)
        y1 = i32x4.add(y1, add)
      }
      y0 = f32x4.add(v128.and(y0, mask), post)
      y1 = f32x4.add(v128.and(y1, mask), post)
      v128.store(to, y1, 16)
      v128.store(to, y0)
    }
    from += 32
    to += 32
  }
  round_slow(to, from, <usize>(count & 7) << 2)
}

// @ts-ignore: decorator
@inline function fp<How, Sign>(to: usize, from: usize, count: i32): void {
  const exponent = exponent_mask(), magnitude = magnitude_mask(), one = last_bit()
  // A block with scale 1 and no limit but Inf; the largest finite number is applied afterwards.
  const lowest = i32x4.splat((emin + 127) << 23), half = i32x4.splat(((emin + 127) << 23) + to_half()), tiny = i32x4.splat(0)
  const step = i32x4.splat(step_word()), shift = i32x4.splat(man << 23)
  const infinity = i32x4.splat(INFINITY), limit = f32x4.splat(maximum), top = i32x4.splat(0x70000000)
  const fraction = i32x4.splat(0x7fffff), misread = i32x4.splat(misreads() ? 0x7fffd3 : 0x7fffff), normal = i32x4.splat(is_flush(mode) ? (emin + 127) << 23 : 0)
  const end = from + (<usize>(count & ~3) << 2)
  while (from < end) {
    const x = v128.load(from), a = v128.and(x, magnitude)
    if (v128.any_true(v128.or(i32x4.gt_s(a, top), special(a, fraction, misread, normal)))) round_slow(to, from, 16)
    else {
      const y = quantize_vector<How, Sign>(x, lowest, infinity, half, tiny, step, shift, exponent, magnitude, one)
      v128.store(to, v128.bitselect(v128.or(infinity, v128.andnot(y, magnitude)), y, f32x4.gt(v128.and(y, magnitude), limit)))
    }
    from += 16
    to += 16
  }
  round_slow(to, from, <usize>(count & 3) << 2)
}

/**
 * dst = src rounded to `expBits` (8 or 5) exponent bits and `man` < 23 fraction bits; `choices`: quantize-modes.ts. In place is allowed. Items: elements.
 */
export function round_elements(dst: usize, src: usize, expBits: i32, man: i32, choices: i32, begin: i32, end: i32): void {
  const emax = (1 << (expBits - 1)) - 1
  prepare(man, 1 - emax, emax, value_of((emax + 127) << 23 | (0x7fffff & -(1 << (23 - man)))), choices)
  const to = dst + (<usize>begin << 2), from = src + (<usize>begin << 2), count = end - begin
  const rounding = rounding_of(mode), how = how_of_mode(), sign = zero_sign_of(mode)
  if (expBits == 8) {
    if (is_flush(mode) || misreads()) {
      if (rounding == NEAREST_EVEN) bfloat(to, from, count, NEAREST_EVEN, true)
      else if (rounding == NEAREST_AWAY) bfloat(to, from, count, NEAREST_AWAY, true)
      else bfloat(to, from, count, TOWARD_ZERO, true)
    } else {
      if (rounding == NEAREST_EVEN) bfloat(to, from, count, NEAREST_EVEN, false)
      else if (rounding == NEAREST_AWAY) bfloat(to, from, count, NEAREST_AWAY, false)
      else bfloat(to, from, count, TOWARD_ZERO, false)
    }
  } else if (man > 21) round_slow(to, from, <usize>count << 2)
  else if (sign == ZERO_TORCH) {
    if (how == EVEN) fp<Even, Torch>(to, from, count)
    else if (how == AWAY) fp<Away, Torch>(to, from, count)
    else if (how == ZERO) fp<Zero, Torch>(to, from, count)
    else if (how == ADD_HALF_EVEN) fp<AddHalfEven, Torch>(to, from, count)
    else fp<AddHalfAway, Torch>(to, from, count)
  } else if (sign == ZERO_PRESERVE && how == EVEN) fp<Even, Preserve>(to, from, count)
  else round_slow(to, from, <usize>count << 2)
}
