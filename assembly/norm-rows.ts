// What the norms (norm.ts, norm-backward.ts) share: sums of a row, their means, and how rows are walked.
// Sums over a row: element c goes to partial sum c mod 16, in order; then p[j] += p[j+8], p[j] += p[j+4], p[j] += p[j+2], p[0] += p[1].
import { AWAY, Away, EVEN, Even, NONE, rounded, roundOne, stepBy } from './bf16'
import { first, loadSome } from './lanes'

export const ZERO = memory.data<f32>([0, 0, 0, 0])

/** Rows that go from pass to pass together: what one row waits for, the others fill. */
export const TOGETHER: i32 = 8

/** Q of a result whose operands were rounded by P: the short form where P and R are one. */
// @ts-ignore: decorator
@inline
export function after<P, R>(x: v128, half: v128, top: v128): v128 { return idof<P>() == idof<R>() ? stepBy<R>(x, half, top) : rounded<R>(x) }

// @ts-ignore: decorator
@inline
export function code<R>(): i32 { return idof<R>() == idof<Even>() ? EVEN : idof<R>() == idof<Away>() ? AWAY : NONE }

// Sums of a row. Four vectors hold the 16 partial sums over its whole sixteens, then they wait at `sums`; the ragged end of a row adds to them there, where elements
// that do not exist add nothing. Whole sixteens and ragged ends are functions apart, as are all loops that store: an engine makes two operations one of 256 bits
// only in functions where it finds no store without a neighbour.

// @ts-ignore: decorator
@inline
export function spill(sums: usize, s0: v128, s1: v128, s2: v128, s3: v128): void {
  v128.store(sums, s1, 16)
  v128.store(sums, s0)
  v128.store(sums, s3, 48)
  v128.store(sums, s2, 32)
}

/** Add the terms of elements c..c+3, c a multiple of 4, of which n exist. */
// @ts-ignore: decorator
@inline
export function accumulate(sums: usize, c: i32, terms: v128, n: i32): void {
  const p = sums + (<usize>(c & 12) << 2)
  v128.store(p, f32x4.add(v128.load(p), n >= 4 ? terms : v128.and(terms, first(n))))
}

/** Bytes of the sums of a row: 16 partial sums, and 16 largest magnitudes. */
export const SUMS: usize = 128

/**
 * Are the magnitudes after the sums so small that the short form of rounding serves (bf16.ts)? In a row of x whose ve is finite they are: the forward pass, which asked,
 * has found neither infinities nor NaNs after rounding.
 */
export function tame(sums: usize): bool {
  const most = i32x4.max_s(i32x4.max_s(v128.load(sums, 64), v128.load(sums, 80)), i32x4.max_s(v128.load(sums, 96), v128.load(sums, 112)))
  return !v128.any_true(i32x4.gt_s(most, i32x4.splat(0x7f000000)))
}

/** Sums of nothing; the column to begin with. */
export function afresh(sums: usize): i32 {
  memory.fill(sums, 0, 64)
  return 0
}

export function combined(sums: usize): f32 {
  const s = f32x4.add(f32x4.add(v128.load(sums), v128.load(sums, 32)), f32x4.add(v128.load(sums, 16), v128.load(sums, 48)))
  return (f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 2)) + (f32x4.extract_lane(s, 1) + f32x4.extract_lane(s, 3))
}

/** Q(Q(sum) / D). */
// @ts-ignore: decorator
@inline
export function mean(sum: f32, D: i32, rounding: i32): f32 { return roundOne(roundOne(sum, rounding) / <f32>D, rounding) }

/** Q(1 / Q(sqrt ve)). */
// @ts-ignore: decorator
@inline
export function inverseRoot(ve: f32, rounding: i32): f32 { return roundOne(1 / roundOne(sqrt(ve), rounding), rounding) }

/** Bytes of a row in scratch: a multiple of a vector. */
// @ts-ignore: decorator
@inline
export function rowBytes(D: i32): usize { return <usize>(D + 3 & ~3) << 2 }

/** Q of gamma or beta, made once per call in this thread's scratch area; zeros if there is none. */
// @ts-ignore: decorator
@inline
export function prepare<R>(to: usize, from: usize, D: i32): void {
  for (let c = 0; c < D; c += 4, to += 16) v128.store(to, from ? rounded<R>(loadSome(from + (<usize>c << 2), D - c)) : v128.load(ZERO))
}
