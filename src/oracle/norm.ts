// Layer norm and RMS norm over rows of D elements, forward and backward: the definition of assembly/norm.ts, whose head states the formulas.
// Three roundings: `first` (x, gamma, beta, mean, variance), `second` (from variance + eps on), `back` (the backward's own steps).
import { add, mul, one, sub, type Round, type Vector } from './vector.ts'

const { fround } = Math

export interface NormRounding { readonly first: Round, readonly second: Round, readonly back: Round }

/** Sum of a row: element c goes to partial sum c mod 16; then p[j] += p[j+8], p[j] += p[j+4], p[j] += p[j+2], p[0] += p[1]. */
export function rowSum(x: Vector): number {
  const p = new Float32Array(16)
  x.forEach((v, c) => { p[c % 16]! += v })
  for (const step of [8, 4, 2, 1]) for (let j = 0; j < step; j++) p[j]! += p[j + step]!
  return p[0]!
}

/** The sum of some numbers in any order of one's choosing: rowSum here, a plain sequential sum elsewhere. */
export type Sum = (x: Vector) => number

/** Q(Q(sum) / count). */
export const mean = (x: Vector, Q: Round, sum: Sum = rowSum): number => one(Q, fround(one(Q, sum(x)) / x.length))

/** Q(1 / Q(sqrt v)). */
const inverseRoot = (v: number, Q: Round): number => one(Q, fround(1 / one(Q, fround(Math.sqrt(v)))))

export interface NormResult { readonly y: Vector, readonly n: Vector, readonly mu: Vector, readonly ve: Vector }

/** Forward pass of layer norm (`centered`) or RMS norm; no beta is a beta of zeros. Gives y, the normalized rows n, and mean and variance + eps of each row. */
export function normForward(x: Vector, gamma: Vector, beta: Vector | null, eps: number, { first, second }: NormRounding, centered: boolean, sum: Sum = rowSum): NormResult {
  const D = gamma.length, rows = x.length / D
  const y = new Float32Array(x.length), n = new Float32Array(x.length), mu = new Float32Array(rows), ve = new Float32Array(rows)
  const W = first(gamma), B = first(beta ?? new Float32Array(D))
  for (let r = 0; r < rows; r++) {
    const X = first(x.subarray(r * D, (r + 1) * D))
    mu[r] = centered ? mean(X, first, sum) : 0
    const d = centered ? first(sub(X, mu[r]!)) : X
    ve[r] = one(second, fround(mean(first(mul(d, d)), first, sum) + fround(eps)))
    const normal = second(mul(d, inverseRoot(ve[r]!, second)))
    n.set(normal, r * D)
    y.set(second(add(second(mul(W, normal)), B)), r * D)
  }
  return { y, n, mu, ve }
}

/** dx of layer norm. `gamma`: raw; it is rounded by `back`. */
export function layerNormBackward(dy: Vector, gamma: Vector, { n, ve }: NormResult, { back }: NormRounding, sum: Sum = rowSum): Vector {
  const D = gamma.length, dx = new Float32Array(dy.length), W = back(gamma)
  ve.forEach((v, r) => {
    const normal = n.subarray(r * D, (r + 1) * D)
    const dn = back(mul(back(dy.subarray(r * D, (r + 1) * D)), W))
    const s = one(back, fround(Math.sqrt(v)))
    const ds = back(mul(dn, one(back, fround(1 / s))))
    const m = mean(back(mul(back(mul(dn, normal)), s)), back, sum)
    const t = one(back, fround(m * one(back, fround(1 / v))))
    const both = back(add(ds, back(mul(-t, normal))))
    dx.set(back(sub(both, mean(both, back, sum))), r * D)
  })
  return dx
}

/** dx of RMS norm, whose last step is not rounded. */
export function rmsNormBackward(dy: Vector, gamma: Vector, { n, ve }: NormResult, { second, back }: NormRounding, sum: Sum = rowSum): Vector {
  const D = gamma.length, dx = new Float32Array(dy.length), W = back(gamma)
  ve.forEach((v, r) => {
    const normal = n.subarray(r * D, (r + 1) * D)
    const d1 = back(mul(back(mul(back(dy.subarray(r * D, (r + 1) * D)), W)), inverseRoot(v, second)))
    dx.set(sub(d1, back(mul(normal, mean(back(mul(d1, normal)), back, sum)))), r * D)
  })
  return dx
}

/** Sums over the rows, from +0 in row order, rounded once. */
export function columnSum(x: Vector, D: number, Q: Round): Vector {
  const sums = new Float32Array(D)
  x.forEach((v, i) => { sums[i % D]! += v })
  return Q(sums)
}

/** dgamma and dbeta of either norm. */
export function normWeightGradients(dy: Vector, D: number, { n }: NormResult, { back }: NormRounding): { dgamma: Vector, dbeta: Vector } {
  const G = back(dy)
  return { dgamma: columnSum(back(mul(G, n)), D, back), dbeta: columnSum(G, D, back) }
}

