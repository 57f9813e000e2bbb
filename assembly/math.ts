// Elementary functions on four f32 lanes, the same bits on every engine: only +, -, *, /, comparisons and integer operations.
// Coefficients are minimax fits made for this file; the errors below are measured in test/kernels/math.test.ts. Twins with the same bits: src/oracle/math.ts.
//   exp    x = n ln 2 + r, |r| <= ln 2 / 2, exp r = 1 + r + r^2 q(r)                                        0.6 ulp
//   log    x = 2^e m, m in [sqrt 1/2, sqrt 2), log m = f - f^2/2 + f^3 p(f), f = m - 1                      1 ulp
//   tanh   x + x^3 p(x^2) below 0.625, else 1 - 2 / (exp 2x + 1)                                            2 ulp
//   Phi    normal distribution function, Phi(-t) = exp(-t^2/2) P(t) / Q(t) for t >= 0                       4 + 3 t^2/2 ulp; 0 from t = 13
import { at } from './lanes'

const EXP = memory.data<f32>([
  89, // 0: beyond, exp is Inf
  -104, // 1: below, exp is 0
  1.4426950408889634, // 2: log2 e
  12582912, // 3: 1.5 * 2^23; adding it rounds to an integer, which then stands in the low bits
  0.693145751953125, // 4: ln 2 to 15 bits: its products with n are exact
  1.428606765330187e-6, // 5: the rest of ln 2
  1, // 6
  0.5, // 7..12: q
  0.1666666567325592,
  0.041666463017463684,
  0.008333570323884487,
  0.001393508748151362,
  0.00019740320567507297,
])

// @ts-ignore: decorator
@inline
function expTail(r: v128): v128 {
  let q = f32x4.add(f32x4.mul(at(EXP, 12), r), at(EXP, 11))
  q = f32x4.add(f32x4.mul(q, r), at(EXP, 10))
  q = f32x4.add(f32x4.mul(q, r), at(EXP, 9))
  q = f32x4.add(f32x4.mul(q, r), at(EXP, 8))
  q = f32x4.add(f32x4.mul(q, r), at(EXP, 7))
  return f32x4.mul(f32x4.mul(r, r), q)
}

/** x * 2^n where n = shifted - 1.5 * 2^23, in two steps because 2^n itself may be subnormal or out of range. */
// @ts-ignore: decorator
@inline
function timesPower(x: v128, shifted: v128): v128 {
  const half = i32x4.shl(i32x4.shr_s(i32x4.sub(shifted, at(EXP, 3)), 1), 23)
  const rest = i32x4.sub(i32x4.shl(shifted, 23), half)
  return f32x4.mul(f32x4.mul(x, i32x4.add(half, at(EXP, 6))), i32x4.add(rest, at(EXP, 6)))
}

/** exp x. Small results are rounded subnormals; above the largest f32 comes Inf. */
// @ts-ignore: decorator
@inline
export function exp(x: v128): v128 {
  const clamped = f32x4.pmax(f32x4.pmin(x, at(EXP, 0)), at(EXP, 1)) // operands in this order let NaN through
  const shifted = f32x4.add(f32x4.mul(clamped, at(EXP, 2)), at(EXP, 3))
  const n = f32x4.sub(shifted, at(EXP, 3))
  const high = f32x4.sub(clamped, f32x4.mul(n, at(EXP, 4))) // exact
  const low = f32x4.mul(n, at(EXP, 5))
  const r = f32x4.sub(high, low)
  const lost = f32x4.sub(f32x4.sub(high, r), low)
  const sum = f32x4.add(at(EXP, 6), r)
  const rest = f32x4.add(f32x4.sub(r, f32x4.sub(sum, at(EXP, 6))), f32x4.add(expTail(r), lost))
  return timesPower(f32x4.add(sum, rest), shifted)
}

const LOG = memory.data<f32>([
  8388608, // 0: 2^23, lifts subnormals
  1.1754943508222875e-38, // 1: smallest normal
  0.693145751953125, // 2, 3: ln 2 in two parts
  1.428606765330187e-6,
  1, // 4
  0.5, // 5
  0.3333331346511841, // 6..14: p
  -0.25000008940696716,
  0.2000207155942917,
  -0.16667990386486053,
  0.14220362901687622,
  -0.12406208366155624,
  0.1188347116112709,
  -0.11670182645320892,
  0.06749539077281952,
])
const LOG_BITS = memory.data<u32>([
  0x3f3504f3, // 0: sqrt 1/2
  0x7f800000, // 1: Inf
  0xff800000, // 2: -Inf
  0x7fc00000, // 3: NaN
  23, // 4
])

/** Natural logarithm. log 0 = -Inf, NaN for negative x. */
// @ts-ignore: decorator
@inline
export function log(x: v128): v128 {
  const subnormal = f32x4.lt(x, at(LOG, 1))
  const normal = v128.bitselect(f32x4.mul(x, at(LOG, 0)), x, subnormal)
  const above = i32x4.sub(normal, at(LOG_BITS, 0))
  const exponent = i32x4.sub(i32x4.shr_s(above, 23), v128.and(subnormal, at(LOG_BITS, 4)))
  const m = i32x4.sub(normal, i32x4.shl(i32x4.shr_s(above, 23), 23))
  const e = f32x4.convert_i32x4_s(exponent)
  const f = f32x4.sub(m, at(LOG, 4))
  let p = f32x4.add(f32x4.mul(at(LOG, 14), f), at(LOG, 13))
  p = f32x4.add(f32x4.mul(p, f), at(LOG, 12))
  p = f32x4.add(f32x4.mul(p, f), at(LOG, 11))
  p = f32x4.add(f32x4.mul(p, f), at(LOG, 10))
  p = f32x4.add(f32x4.mul(p, f), at(LOG, 9))
  p = f32x4.add(f32x4.mul(p, f), at(LOG, 8))
  p = f32x4.add(f32x4.mul(p, f), at(LOG, 7))
  p = f32x4.add(f32x4.mul(p, f), at(LOG, 6))
  const square = f32x4.mul(f, f)
  const small = f32x4.add(f32x4.sub(f32x4.mul(f32x4.mul(square, f), p), f32x4.mul(square, at(LOG, 5))), f32x4.mul(e, at(LOG, 3)))
  let y = f32x4.add(f32x4.mul(e, at(LOG, 2)), f32x4.add(f, small))
  y = v128.bitselect(x, y, f32x4.eq(x, at(LOG_BITS, 1)))
  y = v128.bitselect(at(LOG_BITS, 2), y, f32x4.eq(x, f32x4.splat(0)))
  return v128.bitselect(y, at(LOG_BITS, 3), f32x4.ge(x, f32x4.splat(0)))
}

const TANH = memory.data<f32>([
  0.625, // 0
  9.5, // 1: beyond, tanh rounds to 1
  2, // 2
  -0.3333328068256378, // 3..7: p
  0.1333141028881073,
  -0.05373726785182953,
  0.02063172310590744,
  -0.005697345826774836,
])
const SIGN = memory.data<u32>([0x80000000])

/** Hyperbolic tangent. */
// @ts-ignore: decorator
@inline
export function tanh(x: v128): v128 {
  const magnitude = f32x4.pmin(f32x4.abs(x), at(TANH, 1))
  const one = at(EXP, 6)
  const large = f32x4.sub(one, f32x4.div(at(TANH, 2), f32x4.add(exp(f32x4.add(magnitude, magnitude)), one)))
  const square = f32x4.mul(magnitude, magnitude)
  let p = f32x4.add(f32x4.mul(at(TANH, 7), square), at(TANH, 6))
  p = f32x4.add(f32x4.mul(p, square), at(TANH, 5))
  p = f32x4.add(f32x4.mul(p, square), at(TANH, 4))
  p = f32x4.add(f32x4.mul(p, square), at(TANH, 3))
  const small = f32x4.add(magnitude, f32x4.mul(f32x4.mul(magnitude, square), p))
  const y = v128.bitselect(small, large, f32x4.lt(magnitude, at(TANH, 0)))
  return v128.or(y, v128.and(x, at(SIGN, 0)))
}

const PHI = memory.data<f32>([
  13, // 0: from here on Phi(-t) counts as 0
  -0.7213475204444817, // 1: -log2(e) / 2
  1, // 2..8: 2^f for |f| <= 1/2
  0.6931471824645996,
  0.24022647738456726,
  0.05550359562039375,
  0.00961849931627512,
  0.0013390969252213836,
  0.0001532926398795098,
  0.5, // 9..12: P
  0.34044352173805237,
  0.10732216387987137,
  0.014198051765561104,
  1, // 13..17: Q
  1.4787691831588745,
  0.8945607542991638,
  0.26860469579696655,
  0.03560192883014679,
  0.3989422804014327, // 18: 1 / sqrt(2 pi)
])

/** min(|x|, 13): the argument that bell() and tail() take. */
// @ts-ignore: decorator
@inline
export function tailArgument(x: v128): v128 { return f32x4.pmin(f32x4.abs(x), at(PHI, 0)) }

/** exp(-t^2/2) = 2^n 2^f for 0 <= t < 13, 0 for t = 13. */
// @ts-ignore: decorator
@inline
export function bell(t: v128): v128 {
  const exponent = f32x4.mul(f32x4.mul(t, t), at(PHI, 1))
  const shifted = f32x4.add(exponent, at(EXP, 3))
  const f = f32x4.sub(exponent, f32x4.sub(shifted, at(EXP, 3)))
  let p = f32x4.add(f32x4.mul(at(PHI, 8), f), at(PHI, 7))
  p = f32x4.add(f32x4.mul(p, f), at(PHI, 6))
  p = f32x4.add(f32x4.mul(p, f), at(PHI, 5))
  p = f32x4.add(f32x4.mul(p, f), at(PHI, 4))
  p = f32x4.add(f32x4.mul(p, f), at(PHI, 3))
  p = f32x4.add(f32x4.mul(p, f), at(PHI, 2))
  return v128.andnot(i32x4.add(p, i32x4.shl(shifted, 23)), f32x4.ge(t, at(PHI, 0)))
}

/** Phi(-t) = (1 - erf(t / sqrt 2)) / 2 for 0 <= t <= 13, given bell(t). */
// @ts-ignore: decorator
@inline
export function tail(t: v128, bellOfT: v128): v128 {
  let q = f32x4.add(f32x4.mul(at(PHI, 17), t), at(PHI, 16))
  let p = f32x4.add(f32x4.mul(at(PHI, 12), t), at(PHI, 11))
  q = f32x4.add(f32x4.mul(q, t), at(PHI, 15))
  p = f32x4.add(f32x4.mul(p, t), at(PHI, 10))
  q = f32x4.add(f32x4.mul(q, t), at(PHI, 14))
  p = f32x4.add(f32x4.mul(p, t), at(PHI, 9))
  q = f32x4.add(f32x4.mul(q, t), at(PHI, 13))
  return f32x4.div(f32x4.mul(bellOfT, p), q)
}

/** Normal density at t, given bell(t). */
// @ts-ignore: decorator
@inline
export function density(bellOfT: v128): v128 { return f32x4.mul(bellOfT, at(PHI, 18)) }
