// The definition of accumulate: 'exact': the exact sum of the products of f32 numbers, rounded once to f32, to nearest even. A sum of exactly zero is +0.
// Inf and NaN as in IEEE arithmetic: NaN, Inf * 0 and infinities of both signs give NaN.
import { wordOf } from './float.ts'

/** A float64 as n 2^-600, exactly; every product of two f32 is a multiple of 2^-298. */
function units(x: number): bigint {
  let shift = 600
  while (!Number.isInteger(x)) { x *= 2; shift-- }
  return BigInt(x) << BigInt(shift)
}

/** sum * 2^-600 to f32, to nearest even, as a number. */
function round(sum: bigint): number {
  const magnitude = sum < 0n ? -sum : sum
  // 53 bits, the last one set if anything follows, round to the same f32 as the whole (53 >= 2 * 24 + 2).
  const extra = BigInt(Math.max(magnitude.toString(2).length - 53, 0))
  const high = magnitude >> extra
  let x = Number(high << extra === magnitude ? high : high | 1n)
  for (let e = Number(extra) - 600; e !== 0;) { const step = Math.max(-1000, Math.min(e, 900)); x *= 2 ** step; e -= step }
  return Math.fround(sum < 0n ? -x : x)
}

/** The dot product of two rows of f32 numbers. */
export function exactDot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const products = Array.from(a, (x, k) => x * b[k]!) // 48 bits: exact in float64
  const special = products.filter(p => !Number.isFinite(p))
  if (special.length) return special.reduce((s, p) => s + p, 0)
  const sum = products.reduce((s, p) => p === 0 ? s : s + units(p), 0n)
  return sum === 0n ? 0 : round(sum)
}

/** The same as an f32 word, NaN canonical. */
export const exactDotWord = (a: ArrayLike<number>, b: ArrayLike<number>): number => { const d = exactDot(a, b); return Number.isNaN(d) ? 0x7fc00000 : wordOf(d) }
