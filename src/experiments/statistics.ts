// Statistics for judging experiments: quantiles, R2, binomial intervals, paired differences, and the random draws of a bootstrap.
// Analysis only: Math.exp and Math.log are used here, nothing in this file reaches a training result.
import { UsageError } from '../errors.ts'
import { philox4x32 } from '../oracle/philox.ts'

/** [low, high]. */
export type Interval = [low: number, high: number]

export const mean = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0) / values.length

/** Sample variance (divisor n - 1). NaN for fewer than two values. */
export function variance(values: ArrayLike<number>): number {
  if (values.length < 2) return NaN
  const m = mean(values)
  return Array.from(values).reduce((sum, v) => sum + (v - m) ** 2, 0) / (values.length - 1)
}

/** The q-quantile by linear interpolation between order statistics (Hyndman & Fan type 7, the default of numpy and R). */
export function quantile(values: ArrayLike<number>, q: number): number {
  if (!values.length) return NaN
  const sorted = Float64Array.from(values).sort()
  const h = (sorted.length - 1) * q, i = Math.floor(h)
  const here = sorted[i]!, next = sorted[i + 1] ?? here
  return h === i || here === next ? here : here + (h - i) * (next - here)
}

export const median = (values: ArrayLike<number>): number => quantile(values, 0.5)

/** Median of the last `count` values: a run's loss at its end, whatever its last batch was. Infinity for a run that ended early by diverging. */
export const endLevel = (values: readonly number[], count = Math.max(1, Math.round(values.length / 20))): number => values.includes(Infinity) ? Infinity : median(values.slice(-count))

/** The central `level` part of `values`. */
export const percentileInterval = (values: ArrayLike<number>, level: number): Interval => [quantile(values, (1 - level) / 2), quantile(values, (1 + level) / 2)]

/** Coefficient of determination of predictions: 1 - sum (y - f)^2 / sum (y - mean y)^2. */
export function rSquared(observed: readonly number[], predicted: readonly number[]): number {
  const m = mean(observed)
  const residual = observed.reduce((sum, y, i) => sum + (y - predicted[i]!) ** 2, 0)
  return 1 - residual / observed.reduce((sum, y) => sum + (y - m) ** 2, 0)
}

/** Least-squares line y = intercept + slope x, with the slope's standard error (NaN for two points). */
export function linearFit(x: readonly number[], y: readonly number[]): { slope: number, intercept: number, slopeError: number } {
  const mx = mean(x), my = mean(y)
  const sxx = x.reduce((sum, v) => sum + (v - mx) ** 2, 0)
  const slope = x.reduce((sum, v, i) => sum + (v - mx) * (y[i]! - my), 0) / sxx
  const intercept = my - slope * mx
  const residual = x.reduce((sum, v, i) => sum + (y[i]! - intercept - slope * v) ** 2, 0)
  return { slope, intercept, slopeError: x.length > 2 ? Math.sqrt(residual / (x.length - 2) / sxx) : NaN }
}

/**
 * Clopper-Pearson interval of a binomial proportion: the exact (conservative) one, right for the few seeds that divergence counts rest on.
 * Ends solve I_low(k, n - k + 1) = (1 - level) / 2 and I_high(k + 1, n - k) = (1 + level) / 2, I the regularized incomplete beta function.
 */
export function clopperPearson(successes: number, trials: number, level = 0.95): Interval {
  if (!(Number.isInteger(successes) && Number.isInteger(trials) && successes >= 0 && trials >= successes)) {
    throw new UsageError(`successes ${successes} of ${trials}: need integers with 0 <= successes <= trials`)
  }
  const tail = (1 - level) / 2
  return [
    successes === 0 ? 0 : betaQuantile(tail, successes, trials - successes + 1),
    successes === trials ? 1 : betaQuantile(1 - tail, successes + 1, trials - successes),
  ]
}

/** Paired comparison of equally seeded runs: mean difference b - a, and how many pairs went each way (sign test input). */
export function paired(a: readonly number[], b: readonly number[]): { meanDifference: number, standardError: number, lower: number, higher: number } {
  if (a.length !== b.length) throw new UsageError(`paired runs: ${a.length} and ${b.length} values, need as many of each`)
  const d = b.map((v, i) => v - a[i]!)
  return { meanDifference: mean(d), standardError: Math.sqrt(variance(d) / d.length), lower: d.filter(v => v < 0).length, higher: d.filter(v => v > 0).length }
}

/** x with I_x(a, b) = p, by bisection (the function is monotone; 60 halvings reach the last bit near 1). */
function betaQuantile(p: number, a: number, b: number): number {
  let low = 0, high = 1
  for (let k = 0; k < 60; k++) {
    const mid = (low + high) / 2
    if (incompleteBeta(mid, a, b) < p) low = mid
    else high = mid
  }
  return (low + high) / 2
}

/**
 * Regularized incomplete beta function for positive integers: I_x(a, b) = P(at least a successes in n = a + b - 1 trials of probability x)
 * (DLMF 8.17.5), summed from the largest term's logarithm so that no factorial overflows.
 */
export function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0
  if (x >= 1) return 1
  const n = a + b - 1
  let logTerm = 0
  for (let i = 1; i <= a; i++) logTerm += Math.log((n - a + i) / i)
  logTerm += a * Math.log(x) + (n - a) * Math.log1p(-x)
  let sum = 0
  for (let k = a; k <= n; k++) {
    sum += Math.exp(logTerm)
    logTerm += Math.log((n - k) / (k + 1)) + Math.log(x) - Math.log1p(-x)
  }
  return Math.min(1, sum)
}

/** Uniform draws for analysis: Philox4x32-10 words of (seed, counter) in order. */
export class Random {
  readonly #key: readonly [number, number]
  #counter = 0
  #words: readonly number[] = []
  #spare: number | null = null

  constructor(seed: number) { this.#key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0] }

  /** A uniform 32-bit word. */
  word(): number {
    const lane = this.#counter & 3
    if (lane === 0) this.#words = philox4x32([this.#counter >>> 2, 0, 0, 0], this.#key)
    this.#counter++
    return this.#words[lane]!
  }

  /** Uniform in [0, 1), 53 bits. */
  uniform(): number { return ((this.word() >>> 5) * 2 ** 26 + (this.word() >>> 6)) * 2 ** -53 }

  /** A standard normal, by Box and Muller; pairs are drawn together. */
  normal(): number {
    if (this.#spare !== null) {
      const value = this.#spare
      this.#spare = null
      return value
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform())), angle = 2 * Math.PI * this.uniform()
    this.#spare = radius * Math.sin(angle)
    return radius * Math.cos(angle)
  }

  /** A uniform integer in [0, n). The bias of n / 2^53 is far below any use here. */
  below(n: number): number { return Math.floor(this.uniform() * n) }
}
