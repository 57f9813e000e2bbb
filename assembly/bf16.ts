// Rounding to bfloat16, values kept as f32: the Q of microxcaling's vector operators (microsoft/microxcaling 7bc4195, mx/elemwise_ops.py, bfloat = 16),
// for kernels that round after every step and cannot afford a pass over memory per step. Bits as that library's PyTorch path gives them:
//   halves go away from zero (its "nearest", the default) or to even;  -0 becomes +0, a negative value rounded to zero stays -0;
//   above the largest bf16 comes Inf, but the 44 f32 values from 0x7f7fffd4 on give NaN, because there floor(log2 x) computed in f32 is 128.
// (Its other departures, exponents one too high just below a power of two, do not change a nearest rounding.)

/** How Q rounds. NONE makes Q the identity: the same chain of operations in plain f32. */
export const AWAY: i32 = 0
export const EVEN: i32 = 1
export const NONE: i32 = 2

const SIGNLESS = memory.data<u32>([0x7fffffff])
const TOP = memory.data<u32>([0xffff0000])
const HALF = memory.data<u32>([0x8000])
const BELOW_HALF = memory.data<u32>([0x7fff])
const ONE_BIT = memory.data<u32>([1])
const NAN = memory.data<u32>([0x7fc00000])
const INF = memory.data<u32>([0x7f800000])
const LAST_OK = memory.data<u32>([0x7f7fffd3])

/** The same as types: a type argument is known when code is compiled, so only the code of one rounding is, however deep functions are inlined. */
export class Away {}
export class Even {}
export class None {}

/**
 * Q of a value that is no NaN with a payload of ones and not within 44 ulp of the largest f32. That holds for the sum, product, quotient, square root
 * and exponential of bf16 values: no such result has 19 leading ones in its significand, and a fresh NaN is 0x7fc00000, which survives. Any type but Away
 * and Even makes it the identity.
 */
// @ts-ignore: decorator
@inline
export function step<R>(x: v128): v128 {
  if (idof<R>() != idof<Even>() && idof<R>() != idof<Away>()) return x
  return stepBy<R>(x, halfOf<R>(), topMask())
}

/** The constants of stepBy: an engine loads what step names at every use in a loop. */
// @ts-ignore: decorator
@inline
export function halfOf<R>(): v128 { return idof<R>() == idof<Even>() ? v128.load32_splat(BELOW_HALF) : v128.load32_splat(HALF) }
// @ts-ignore: decorator
@inline
export function topMask(): v128 { return v128.load32_splat(TOP) }

/** All bits but the sign. */
// @ts-ignore: decorator
@inline
export function signless(): v128 { return v128.load32_splat(SIGNLESS) }

/** As step, of halfOf<R>() and topMask(). */
// @ts-ignore: decorator
@inline
export function stepBy<R>(x: v128, half: v128, top: v128): v128 {
  if (idof<R>() != idof<Even>() && idof<R>() != idof<Away>()) return x
  const bits = f32x4.add(x, f32x4.splat(0)), up = i32x4.add(bits, half)
  if (idof<R>() == idof<Even>()) return v128.and(i32x4.add(up, v128.and(i32x4.shr_u(bits, 16), v128.load32_splat(ONE_BIT))), top)
  return v128.and(up, top)
}

/** Q of any value. NaN comes out as 0x7fc00000. */
// @ts-ignore: decorator
@inline
export function rounded<R>(x: v128): v128 {
  if (idof<R>() != idof<Even>() && idof<R>() != idof<Away>()) return x
  const magnitude = v128.and(x, v128.load32_splat(SIGNLESS))
  const bad = v128.and(i32x4.gt_s(magnitude, v128.load32_splat(LAST_OK)), i32x4.ne(magnitude, v128.load32_splat(INF)))
  return v128.bitselect(v128.load32_splat(NAN), step<R>(x), bad)
}

/** As rounded, the rounding given as a number: a constant, or a branch stays. */
// @ts-ignore: decorator
@inline
export function round(x: v128, rounding: i32): v128 {
  if (rounding == NONE) return x
  return rounding == EVEN ? rounded<Even>(x) : rounded<Away>(x)
}

/** Q of one value. */
export function roundOne(x: f32, rounding: i32): f32 {
  return f32x4.extract_lane(round(f32x4.splat(x), rounding), 0)
}
