// Fused multiply-add in f32, correctly rounded, from f64 arithmetic: the product of two f32 is exact in f64; the sum is rounded to odd there (53 bits,
// the last one set if anything was lost), so that rounding it once more to 24 bits gives the fused result (Boldo and Melquiond, "Emulation of FMA and
// correctly rounded sums: proved algorithms using rounding to odd", IEEE Trans. Comput. 57, 2008). Relaxed SIMD would not do: it may fuse or not.

// @ts-ignore: decorator
@inline
function sumToOdd(p: v128, c: v128): v128 {
  const s = f64x2.add(p, c)
  // Knuth's two-sum: p + c = s + error exactly.
  const b = f64x2.sub(s, p)
  const error = f64x2.add(f64x2.sub(p, f64x2.sub(s, b)), f64x2.sub(c, b))
  // Infinities and NaN have a NaN error and stay as they are.
  const inexact = v128.and(f64x2.ne(error, f64x2.splat(0)), f64x2.eq(error, error))
  // Toward zero: one less in magnitude if s was rounded away, that is if the error points the other way. Then the last bit is set.
  const away = v128.and(i64x2.shr_u(v128.xor(s, error), 63), inexact)
  return v128.or(i64x2.sub(s, away), i64x2.shr_u(inexact, 63))
}

/** a * b + c in each f32 lane, rounded once. */
// @ts-ignore: decorator
@inline
export function fma(a: v128, b: v128, c: v128): v128 {
  const low = sumToOdd(f64x2.mul(f64x2.promote_low_f32x4(a), f64x2.promote_low_f32x4(b)), f64x2.promote_low_f32x4(c))
  const a2 = v128.shuffle<i64>(a, a, 1, 1), b2 = v128.shuffle<i64>(b, b, 1, 1), c2 = v128.shuffle<i64>(c, c, 1, 1)
  const high = sumToOdd(f64x2.mul(f64x2.promote_low_f32x4(a2), f64x2.promote_low_f32x4(b2)), f64x2.promote_low_f32x4(c2))
  return v128.shuffle<i64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2)
}
