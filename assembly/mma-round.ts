// From an exact sum to the bits of an accumulator, and back: the only place where the matrix-unit kernels round. A sum is an integer of either sign
// times 2^q. Accumulators are kept as bits in a u32 (FP16 in the low half).

/** Output conversions; the order of `roundings` in src/ops/mma.ts. */
export const RZ_F32: i32 = 0
const RZ_E8M13: i32 = 1
export const RNE_F16: i32 = 2
export const RNE_F32: i32 = 3

/** Exponent and significand of an accumulator: value = sig * 2^(exp - 23), or 2^(exp - 10) in FP16. Not for Inf and NaN. */
// @ts-ignore: decorator
@inline
export function accumulatorExp(bits: u32, f16: bool): i32 {
  return f16 ? max(<i32>(bits >> 10) & 31, 1) - 15 : max(<i32>(bits >> 23) & 255, 1) - 127
}
// @ts-ignore: decorator
@inline
export function accumulatorSig(bits: u32, f16: bool): i32 {
  if (f16) {
    const sig = <i32>bits & 0x3ff | (bits & 0x7c00 ? 0x400 : 0)
    return bits & 0x8000 ? -sig : sig
  }
  const sig = <i32>bits & 0x7fffff | (bits & 0x7f800000 ? 0x800000 : 0)
  return <i32>bits < 0 ? -sig : sig
}
/** Inf or NaN. */
// @ts-ignore: decorator
@inline
export function isSpecial(bits: u32, f16: bool): bool { return f16 ? (bits & 0x7c00) == 0x7c00 : (bits & 0x7f800000) == 0x7f800000 }
/** NVIDIA's NaN. */
// @ts-ignore: decorator
@inline
export function nanBits(f16: bool): u32 { return f16 ? 0x7fff : 0x7fffffff }
// @ts-ignore: decorator
@inline
export function infBits(negative: bool, f16: bool): u32 { return f16 ? negative ? 0xfc00 : 0x7c00 : negative ? 0xff800000 : 0x7f800000 }

/** magnitude * 2^q toward zero into FP32, `drop` low fraction bits cleared (10 for E8M13), |x| >= 2^128 to Inf. magnitude > 0. */
// @ts-ignore: decorator
@inline
function towardZero(magnitude: u64, q: i32, drop: u32): u32 {
  const e = 63 - <i32>clz(magnitude) + q
  if (e > 127) return 0x7f800000
  const field = max(e, -126) + 126
  const shift = field - 149 - q // to units of the last place, 2^(field - 149)
  const sig = <u32>(shift >= 0 ? shift > 63 ? 0 : magnitude >> shift : magnitude << -shift) >> drop << drop
  return <u32>(field << 23) + sig // a normal significand carries one into the exponent field
}

/** magnitude * 2^q to nearest even into a format of `man` fraction bits and least exponent `emin`; `infinity`: its Inf. magnitude > 0. */
// @ts-ignore: decorator
@inline
function nearestEven(magnitude: u64, q: i32, man: i32, emin: i32, infinity: u32): u32 {
  const e = 63 - <i32>clz(magnitude) + q
  if (e > 128) return infinity
  const field = max(e, emin) - emin
  const shift = field + emin - man - q
  let sig: u64
  if (shift <= 0) sig = magnitude << -shift
  else if (shift > 63) sig = 0
  else {
    sig = magnitude >> shift
    const rest = magnitude & (((<u64>1) << shift) - 1), half = (<u64>1) << (shift - 1)
    if (rest > half || rest == half && (sig & 1)) sig++
  }
  return min<u32>((<u32>field << man) + <u32>sig, infinity)
}

/** rho of arXiv:2511.10909: sum * 2^q as bits. A zero sum is +0; a negative sum that rounds to zero is -0. */
export function round_sum(sum: i64, q: i32, rounding: i32): u32 {
  if (!sum) return 0
  const magnitude = <u64>abs(sum)
  const negative = sum < 0
  if (rounding == RNE_F16) return nearestEven(magnitude, q, 10, -14, 0x7c00) | (negative ? 0x8000 : 0)
  const bits = rounding == RNE_F32 ? nearestEven(magnitude, q, 23, -126, 0x7f800000) : towardZero(magnitude, q, rounding == RZ_E8M13 ? 10 : 0)
  return bits | (negative ? 0x80000000 : 0)
}

/** n 2^shift, toward zero when bits are lost. |n| < 2^31; shift <= 32. */
// @ts-ignore: decorator
@inline
export function truncatedShift(n: i32, shift: i32): i64 {
  const magnitude = <u64>abs(n)
  const shifted = <i64>(shift >= 0 ? magnitude << shift : magnitude >> min(-shift, 63))
  return n < 0 ? -shifted : shifted
}

/** n 2^shift, toward minus infinity when bits are lost. */
// @ts-ignore: decorator
@inline
export function flooredShift(n: i64, shift: i32): i64 { return shift >= 0 ? n << shift : n >> min(-shift, 63) }
