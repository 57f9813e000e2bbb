// Sums without rounding: an accumulator wide enough for any sum of products of two f32, 2^-300 to 2^339, in limbs of 32 bits. A limb is an i64, so that
// 2^30 terms may be added before anything is carried. It lives in this thread's scratch area.
import { RNE_F32, round_sum } from './mma-round'
import { scratch } from './scratch'

/** Exponent of the lowest bit, below that of the product of the two least subnormals (2^-298). */
const BOTTOM: i32 = -300
const LIMBS: usize = 20

/** Start from zero. */
export function sum_clear(): void { for (let p = scratch; p < scratch + LIMBS * 8; p += 8) store<i64>(p, 0) }

/** Add n 2^q; |n| < 2^53, -300 <= q < 256. */
// @ts-ignore: decorator
@inline
export function sum_add(n: i64, q: i32): void {
  const bit = <u32>(q - BOTTOM), shift = bit & 31
  const p = scratch + (<usize>(bit >> 5) << 3)
  const magnitude = <u64>abs(n)
  const low = (magnitude & 0xffffffff) << shift, high = magnitude >> 32 << shift
  const x = <i64>(low & 0xffffffff), y = <i64>((low >> 32) + (high & 0xffffffff)), z = <i64>(high >> 32)
  const negative = n < 0
  store<i64>(p, load<i64>(p) + (negative ? -x : x))
  store<i64>(p, load<i64>(p, 8) + (negative ? -y : y), 8)
  store<i64>(p, load<i64>(p, 16) + (negative ? -z : z), 16)
}

/** The sum as f32 bits, rounded once, to nearest even; a sum of zero is +0. The accumulator is used up. */
export function sum_round(): u32 {
  // Carry, so that every limb but the top one is 0..2^32-1; the top one has the sign.
  const top = scratch + (LIMBS - 1) * 8
  for (let p = scratch; p < top; p += 8) {
    store<i64>(p, load<i64>(p, 8) + (load<i64>(p) >> 32), 8)
    store<i64>(p, load<i64>(p) & 0xffffffff)
  }
  const negative = load<i64>(top) < 0
  if (negative) { // two's complement of the whole
    let carry: i64 = 1
    for (let p = scratch; p < top; p += 8) {
      const limb = (load<i64>(p) ^ 0xffffffff) + carry
      store<i64>(p, limb & 0xffffffff)
      carry = limb >> 32
    }
    store<i64>(top, ~load<i64>(top) + carry)
  }
  // The two highest limbs that are not zero, and whether anything lies below them: enough to round 24 bits.
  let at = <i32>LIMBS - 1
  while (at > 1 && !load<i64>(scratch + (<usize>at << 3))) at--
  const below = load<i64>(scratch + (<usize>(at - 1) << 3))
  let sum = load<i64>(scratch + (<usize>at << 3)) << 31 | below >> 1
  let rest: i64 = below & 1
  for (let i = at - 2; i >= 0; i--) rest |= load<i64>(scratch + (<usize>i << 3))
  if (rest) sum |= 1
  return round_sum(negative ? -sum : sum, BOTTOM + (at - 1) * 32 + 1, RNE_F32)
}
