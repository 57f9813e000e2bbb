// The choices of a quantizer as one i32, as src/ops/quantize.ts packs them (fields of BlockQuantizer and ElementRounding in src/numerics/quantizer.ts).
//   bits 0-1 rounding | 2 exponents from torch's log2 | 3 halves by adding 0.5 | 4-5 sign of zero | 6 flush subnormals | 7-8 bump | 9-10 scale rule
//   11-14 scale bits | 15 NaN rounded as a number | 16 sixteen random bits per element instead of eight | 17 third bit of rounding
//   18 third bit of scale rule | 19 Inf and NaN element by element

export const NEAREST_EVEN = 0, NEAREST_AWAY = 1, TOWARD_ZERO = 2, STOCHASTIC = 3, NEAREST_ZERO = 4
export const ZERO_PRESERVE = 0, ZERO_TORCH = 1, ZERO_POSITIVE = 2
export const BUMP_INTENDED = 1, BUMP_RELEASED = 2
export const RULE_FLOOR = 0, RULE_CEIL = 1, RULE_EVEN = 2, RULE_RCEIL = 3, RULE_EVEN_1 = 4, RULE_RCEIL_DIVIDE = 5

// @ts-ignore: decorator
@inline export function rounding_of(mode: i32): i32 { return mode & 3 | mode >> 15 & 4 }
// @ts-ignore: decorator
@inline export function is_torch_log2(mode: i32): bool { return (mode & 4) != 0 }
// @ts-ignore: decorator
@inline export function is_add_half(mode: i32): bool { return (mode & 8) != 0 }
// @ts-ignore: decorator
@inline export function zero_sign_of(mode: i32): i32 { return mode >> 4 & 3 }
// @ts-ignore: decorator
@inline export function is_flush(mode: i32): bool { return (mode & 64) != 0 }
// @ts-ignore: decorator
@inline export function bump_of(mode: i32): i32 { return mode >> 7 & 3 }
// @ts-ignore: decorator
@inline export function scale_rule_of(mode: i32): i32 { return mode >> 9 & 3 | mode >> 16 & 4 }
// @ts-ignore: decorator
@inline export function scale_limit_of(mode: i32): i32 { return (1 << ((mode >> 11 & 15) - 1)) - 1 }
// @ts-ignore: decorator
@inline export function is_nan_number(mode: i32): bool { return (mode & 0x8000) != 0 }
// @ts-ignore: decorator
@inline export function is_element(mode: i32): bool { return (mode & 0x80000) != 0 }
// @ts-ignore: decorator
@inline export function random_bytes_of(mode: i32): i32 { return 1 + (mode >> 16 & 1) }
