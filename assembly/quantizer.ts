// The block quantizer of the running kernel call, and what it does to one block scale and one element: every format, choice and input, exactly as
// src/oracle/quantize.ts. The vector kernels leave to it when a block is not ordinary. Every scaling is by a power of two, so float32 arithmetic
// rounds only where it should.
//
// The globals are set by prepare() at the start of each kernel call and constant during it.
import { exponent_of, power_of_two, torch_log2, value_of, word_of } from './bits'
import {
  bump_of, BUMP_INTENDED, is_add_half, is_element, is_flush, is_torch_log2, NEAREST_AWAY, NEAREST_EVEN, NEAREST_ZERO, RULE_CEIL, RULE_EVEN, RULE_EVEN_1, RULE_FLOOR, RULE_RCEIL,
  RULE_RCEIL_DIVIDE, rounding_of,
  scale_limit_of, scale_rule_of, STOCHASTIC, TOWARD_ZERO, zero_sign_of, ZERO_POSITIVE, ZERO_PRESERVE, ZERO_TORCH,
} from './quantize-modes'

export const NAN_WORD: i32 = 0x7fc00000

// The element format: multiples of 2^(e - man) from 2^emin up, saturating at max (Grid in src/numerics/formats.ts). And the choices (quantize-modes.ts).
export let man: i32 = 0
export let emin: i32 = 0
export let emax: i32 = 0
export let maximum: f32 = 0
export let mode: i32 = 0

// Ordinary blocks: the scale exponent is ((word(amax * factor / divisor) + addend) & exponent field) - constant, whatever the rule, if amax, a word, is in
// [ordinaryLow, ordinaryLow + ordinarySpan) and its fraction is below ordinaryFraction.
let factor: f32 = 1
let divisor: f32 = 1
let addend: i32 = 0
let toLowest: i32 = 0
let ordinaryLow: i32 = 0
let ordinarySpan: i32 = 0
let ordinaryFraction: i32 = 0
/** From the word of a block's 2^emin to the word of its largest magnitude. */
export let toLimit: i32 = 0

/** Set the quantizer that the functions below compute with: the format's grid and the choices, as a kernel gets them. */
export function prepare(man_: i32, emin_: i32, emax_: i32, max_: f32, mode_: i32): void {
  man = man_
  emin = emin_
  emax = emax_
  maximum = max_
  mode = mode_
  const rule = scale_rule_of(mode)
  const byMaximum = rule == RULE_RCEIL || rule == RULE_RCEIL_DIVIDE
  factor = rule == RULE_RCEIL ? <f32>1 / maximum : 1
  divisor = rule == RULE_RCEIL_DIVIDE ? maximum : 1
  addend = byMaximum || rule == RULE_CEIL ? 0x7fffff : rule == RULE_EVEN ? 1 << (22 - man) : rule == RULE_EVEN_1 ? 1 << 21 : bump_of(mode) == BUMP_INTENDED ? 0x7fffff - (word_of(maximum) & 0x7fffff) : 0
  toLowest = (emin - (byMaximum ? 0 : emax)) << 23
  toLimit = word_of(maximum) - ((127 + emin) << 23)
  // The block's quantum 2^(emin - man), divided by 2^16 for random bits, and its half are normal numbers; 2^23 times the largest quantum is finite; the
  // scale is not clamped. One binade is left for the rules that round up.
  const byQuantum = man - emin + 2 + (rounding_of(mode) == STOCHASTIC ? 16 : 0), byScale = 127 - scale_limit_of(mode), aboveScale = 126 + scale_limit_of(mode) + emax
  const lowField = (byQuantum > byScale ? byQuantum : byScale) + emax + 1, highField = aboveScale < 230 ? aboveScale : 230
  // The wide formats (bf16, tf32) have no block-wide smallest exponent; the quirks of torch come with its zeros or element by element.
  const quirks = is_add_half(mode) || is_torch_log2(mode) && rounding_of(mode) == TOWARD_ZERO
  const rounding = rounding_of(mode), other = rounding == STOCHASTIC && is_torch_log2(mode) || rounding == NEAREST_ZERO && zero_sign_of(mode) != ZERO_POSITIVE
  const none = emin < -100 || other || lowField >= highField || quirks && zero_sign_of(mode) != ZERO_TORCH
  ordinaryLow = lowField << 23
  ordinarySpan = none ? 0 : (highField - lowField) << 23
  ordinaryFraction = is_torch_log2(mode) ? 0x7fffd4 : 0x800000
}

/** May the vector path handle a block with this maximum (a word)? */
// @ts-ignore: decorator
@inline export function is_ordinary(amax: i32): bool { return <u32>(amax - ordinaryLow) < <u32>ordinarySpan && (amax & 0x7fffff) < ordinaryFraction }

/** The word of 2^emin of an ordinary block; toLimit more is the word of its largest magnitude. */
// @ts-ignore: decorator
@inline export function lowest_word(amax: i32): i32 {
  const d = divisor == 1 ? value_of(amax) * factor : value_of(amax) / divisor
  return ((word_of(d) + addend) & 0x7f800000) + toLowest
}

/** lowest_word of four maxima. */
// @ts-ignore: decorator
@inline export function lowest_words(amax: v128): v128 {
  const d = f32x4.div(f32x4.mul(amax, f32x4.splat(factor)), f32x4.splat(divisor))
  return i32x4.add(v128.and(i32x4.add(d, i32x4.splat(addend)), i32x4.splat(0x7f800000)), i32x4.splat(toLowest))
}

/** All ones in the lanes where is_ordinary. */
// @ts-ignore: decorator
@inline export function ordinary_lanes(amax: v128): v128 {
  return v128.and(i32x4.lt_u(i32x4.sub(amax, i32x4.splat(ordinaryLow)), i32x4.splat(ordinarySpan)), i32x4.lt_s(v128.and(amax, i32x4.splat(0x7fffff)), i32x4.splat(ordinaryFraction)))
}

// @ts-ignore: decorator
@inline function floor_log2(word: i32): i32 { return is_torch_log2(mode) ? torch_log2(word) : exponent_of(word) }

/** Does a block or column with maximum `amax` (a word) hold a significand beyond the format's? */
export function saturates(amax: i32): bool {
  if (amax == 0 || amax >= 0x7f800000) return false
  return value_of(amax) > maximum / power_of_two(emax) * power_of_two(floor_log2(amax))
}

/** The E8M0 byte of a block whose largest magnitude is the word `amax`. `bump`: what the as-released bump adds; the intended one is decided here. */
export function scale_byte(amax: i32, bump: i32): i32 {
  if (amax >= 0x7f800000) return is_element(mode) ? 254 : 255
  const rule = scale_rule_of(mode)
  let e: i32
  if (rule == RULE_FLOOR) {
    e = (amax == 0 ? -126 : floor_log2(amax)) + bump - emax
    if (bump_of(mode) == BUMP_INTENDED && saturates(amax)) e++
  } else if (rule == RULE_CEIL) {
    e = (amax + 0x7fffff >>> 23) - 127 - emax
  } else if (rule == RULE_EVEN || rule == RULE_EVEN_1) {
    e = (amax + addend >>> 23) - 127
    if (e == 128) return 255
    e -= emax
  } else {
    const d = word_of(value_of(amax) * factor / divisor)
    e = (d + (d < 0x800000 ? 0x3fffff : 0x7fffff) >>> 23) - 127
  }
  const limit = scale_limit_of(mode)
  return e > limit ? 255 : (e > -limit ? e : -limit) + 127
}

/** Is a block with this maximum taken as zero? */
export function is_flushed(amax: i32, bump: i32): bool {
  if (!is_flush(mode)) return false
  if (!is_torch_log2(mode)) return amax < 0x800000
  if (bump_of(mode) == BUMP_INTENDED && saturates(amax)) bump++
  return amax != 0 && torch_log2(amax) + bump <= -127
}

/** A magnitude t to an integer: roundMagnitude and roundMagnitudeAddHalf of src/oracle/round.ts. `u` in [0, 1). */
function round_magnitude(t: f32, choices: i32, u: f32): f32 {
  const rounding = rounding_of(choices)
  if (rounding == TOWARD_ZERO) return floor(t)
  if (rounding == NEAREST_EVEN || rounding == NEAREST_AWAY) {
    if (is_add_half(choices)) {
      const up = floor(t + <f32>0.5), half = (t - <f32>0.5) * <f32>0.5
      return rounding == NEAREST_EVEN && half == floor(half) ? up - 1 : up
    }
    if (rounding == NEAREST_EVEN) return nearest(t)
  }
  const whole = floor(t), rest = <f64>(t - whole)
  if (rounding == NEAREST_ZERO) return rest > 0.5 ? whole + 1 : whole
  return rest >= (rounding == NEAREST_AWAY ? 0.5 : 1.0 - <f64>u) ? whole + 1 : whole
}

/** x to the grid (man, emin); beyond max to `overflow`. Inf and NaN pass. */
export function round_to_grid(x: f32, man: i32, emin: i32, max: f32, overflow: f32, choices: i32, u: f32): f32 {
  const word = word_of(x), a = word & 0x7fffffff
  if (a >= 0x7f800000) return x
  const e = a == 0 ? emin : is_torch_log2(choices) ? torch_log2(a) : exponent_of(a)
  const power = power_of_two(e > emin ? e : emin)
  const r = round_magnitude(value_of(a) / power * power_of_two(man), choices, u)
  let y = r / power_of_two(man) * power
  if (y > max) y = overflow
  const sign = zero_sign_of(choices)
  const negative = sign == ZERO_PRESERVE ? word < 0 : x < 0 && (sign == ZERO_TORCH || y != 0)
  return negative ? -y : y
}

/** The element P of x = P * 2^(byte - 127), byte not 255. */
export function scaled_element(x: f32, byte: i32, u: f32): f32 {
  const t = x / power_of_two(byte - 127)
  if (abs(t) == value_of(0x7f800000)) return t < 0 ? -maximum : maximum
  return round_to_grid(t, man, emin, maximum, maximum, mode, u)
}

/** The largest magnitude of n numbers `step` bytes apart, as a word, NaNs aside. */
export function amax_without_nan(from: usize, n: i32, step: usize): i32 {
  let m = 0
  for (let i = 0; i < n; i++, from += step) {
    const a = load<i32>(from) & 0x7fffffff
    if (a <= 0x7f800000 && a > m) m = a
  }
  return m
}

/** The fake-quantized value of x under a scale byte; NaN under 255. */
export function fake_quantize_element(x: f32, byte: i32, u: f32): f32 {
  return byte == 255 ? value_of(NAN_WORD) : scaled_element(x, byte, u) * power_of_two(byte - 127)
}
