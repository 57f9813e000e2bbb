// Scaling-law fits: loss L as a function of parameters N and training tokens D.
//   chinchilla  L = A / N^alpha + B / D^beta + E                       (Hoffmann et al., arXiv 2203.15556, section 3.3)
//   kaplan      L = ((A / N)^(alpha / beta) + B / D)^beta + E          (Kaplan et al., arXiv 2001.08361, equation 1.5, plus an offset)
// Minimized: the mean Huber loss (delta 1e-3) of log L_predicted - log L_observed, over (log A, log B, log E, alpha, beta), by L-BFGS from
// the start grid of arXiv 2506.20752's released code: log A, log B in {5, 10, 15, 20}, log E = 0.5, alpha = beta = 0.4; the lowest of the 16
// minima is the fit. That code stops each start after 200 iterations, converged or not; here each runs until it converges.
// Its masks for frozen parameters are listed in another order than the parameters they mask; here a frozen parameter is named.
// Fits are analysis, not training: Math.exp and Math.log are used, so a last digit may differ between JavaScript engines.
import { UsageError } from '../errors.ts'
import { lbfgs } from './lbfgs.ts'
import { Random, percentileInterval, rSquared, type Interval } from './statistics.ts'

export type Form = 'chinchilla' | 'kaplan'
export const forms: readonly Form[] = ['chinchilla', 'kaplan']

/** One training run: non-embedding or total parameters (the caller's choice, kept throughout), tokens seen, loss reached. */
export interface Observation { params: number, tokens: number, loss: number }

export const coefficientNames = ['A', 'B', 'E', 'alpha', 'beta'] as const
export type CoefficientName = typeof coefficientNames[number]
export type Coefficients = Record<CoefficientName, number>

export interface FitOptions {
  form?: Form
  /** Coefficients held at a given value. */
  frozen?: Partial<Coefficients>
  /** Width of the Huber loss's quadratic part, in log loss. */
  delta?: number
}

export interface Fit {
  form: Form
  coefficients: Coefficients
  frozen: Partial<Coefficients>
  /** Mean Huber loss of the log residuals at the fit. */
  objective: number
  /** 1 - residual sum of squares / total sum of squares, of the losses themselves. */
  rSquared: number
  /** Rows used. */
  rows: number
  /** Rows left out: their index in the input, and why. */
  excluded: { index: number, reason: string }[]
  /** How many of the starts ended within 1e-6 (relative) of the best objective: few of many means a rugged problem. */
  startsAtBest: number
  starts: number
  /** Did the best start converge? */
  converged: boolean
}

/** The loss that a scaling law predicts for N = `params`, D = `tokens`. */
export function predict(form: Form, c: Coefficients, params: number, tokens: number): number {
  return form === 'chinchilla'
    ? c.A * params ** -c.alpha + c.B * tokens ** -c.beta + c.E
    : ((c.A / params) ** (c.alpha / c.beta) + c.B / tokens) ** c.beta + c.E
}

/** Fit a scaling law. Rows whose loss is not a positive finite number are excluded and listed. Throws UsageError when too few rows remain. */
export function fit(observations: readonly Observation[], options: FitOptions = {}): Fit {
  const { form = 'chinchilla', frozen = {}, delta = 1e-3 } = options
  const { used, excluded } = usable(observations)
  const free = coefficientNames.filter(name => frozen[name] === undefined)
  if (used.length <= free.length) {
    const left = excluded.length ? ` (${excluded.length} of ${observations.length} excluded, first: row ${excluded[0]!.index + 1}, ${excluded[0]!.reason})` : ''
    throw new UsageError(`rows: ${used.length} usable${left}, a fit of ${free.length} coefficients needs at least ${free.length + 1}`)
  }
  const starts = startGrid(frozen)
  const ends = starts.map(start => minimizeFrom(form, used, frozen, delta, start))
  const best = ends.reduce((a, b) => b.value < a.value ? b : a)
  const coefficients = decode(best.theta)
  return {
    form, coefficients, frozen, excluded, rows: used.length,
    objective: best.value,
    rSquared: rSquared(used.map(o => o.loss), used.map(o => predict(form, coefficients, o.params, o.tokens))),
    startsAtBest: ends.filter(e => e.value <= best.value * (1 + 1e-6)).length,
    starts: ends.length,
    converged: best.converged,
  }
}

/**
 * Percentile bootstrap intervals of a fit's coefficients: rows are drawn with replacement `resamples` times, each draw fitted from the full fit's
 * optimum and from the two ends of the start grid. Draws are a function of `seed`.
 */
export function bootstrap(observations: readonly Observation[], of: Fit, options: { resamples?: number, seed?: number, level?: number, delta?: number } = {}): Record<CoefficientName, Interval> {
  const { resamples = 200, seed = 0, level = 0.95, delta = 1e-3 } = options
  const { used } = usable(observations)
  const random = new Random(seed)
  const grid = startGrid(of.frozen)
  const starts = [encode(of.coefficients), grid[0]!, grid.at(-1)!]
  const draws = Array.from({ length: resamples }, () => {
    const rows = used.map(() => used[random.below(used.length)]!)
    const ends = starts.map(start => minimizeFrom(of.form, rows, of.frozen, delta, start))
    return decode(ends.reduce((a, b) => b.value < a.value ? b : a).theta)
  })
  return byName(name => percentileInterval(draws.map(d => d[name]), level))
}

/**
 * The compute-optimal line N* = G (C / 6)^a, D* = (C / 6)^b / G, with C = 6 N D in FLOPs.
 * chinchilla: G = (alpha A / (beta B))^(1 / (alpha + beta)). kaplan: G = (alpha A^(alpha / beta) / (beta B))^(beta / (alpha + beta)).
 */
export function optimalLine(form: Form, { A, B, alpha, beta }: Coefficients): { G: number, a: number, b: number } {
  const a = beta / (alpha + beta)
  const G = form === 'chinchilla' ? (alpha * A / (beta * B)) ** (1 / (alpha + beta)) : (alpha * A ** (alpha / beta) / (beta * B)) ** a
  return { G, a, b: 1 - a }
}

/** Predicted loss over a log-spaced grid of compute C (FLOPs) and N: the data behind iso-loss contours. loss[i * flops.length + j] belongs to params[i], flops[j]. */
export function isoLossGrid(form: Form, c: Coefficients, range: { flops: Interval, params: Interval, steps?: number }): { flops: number[], params: number[], loss: number[] } {
  const steps = range.steps ?? 100
  const spaced = ([low, high]: Interval) => Array.from({ length: steps }, (_, i) => low * (high / low) ** (i / (steps - 1)))
  const flops = spaced(range.flops), params = spaced(range.params)
  return { flops, params, loss: params.flatMap(n => flops.map(f => predict(form, c, n, f / (6 * n)))) }
}

function usable(observations: readonly Observation[]): { used: Observation[], excluded: Fit['excluded'] } {
  const used: Observation[] = [], excluded: Fit['excluded'] = []
  observations.forEach((o, index) => {
    if (!(o.params > 0 && o.tokens > 0 && o.params < Infinity && o.tokens < Infinity)) throw new UsageError(`row ${index + 1}: params ${o.params} and tokens ${o.tokens} must be positive`)
    if (o.loss > 0 && o.loss < Infinity) used.push(o)
    else excluded.push({ index, reason: `loss is ${o.loss}` })
  })
  return { used, excluded }
}

const byName = <T>(value: (name: CoefficientName) => T) => Object.fromEntries(coefficientNames.map(n => [n, value(n)])) as Record<CoefficientName, T>
const isLogged = (name: CoefficientName) => name === 'A' || name === 'B' || name === 'E'
const encode = (c: Coefficients) => coefficientNames.map(n => isLogged(n) ? Math.log(c[n]) : c[n])
const decode = (theta: ArrayLike<number>): Coefficients => byName(n => {
  const v = theta[coefficientNames.indexOf(n)]!
  return isLogged(n) ? Math.exp(v) : v
})

/** Starts in the order of coefficientNames (A, B, E as logarithms); frozen coordinates hold their value, and their axis of the grid collapses. */
function startGrid(frozen: Partial<Coefficients>): number[][] {
  const logs = [5, 10, 15, 20]
  const fixed = coefficientNames.map(n => frozen[n] === undefined ? undefined : isLogged(n) ? Math.log(frozen[n]) : frozen[n])
  const axis = (i: number, values: number[]) => fixed[i] === undefined ? values : [fixed[i]]
  return axis(0, logs).flatMap(a => axis(1, logs).map(b => [a, b, fixed[2] ?? 0.5, fixed[3] ?? 0.4, fixed[4] ?? 0.4]))
}

function minimizeFrom(form: Form, rows: readonly Observation[], frozen: Partial<Coefficients>, delta: number, start: readonly number[]) {
  const free = coefficientNames.flatMap((n, i) => frozen[n] === undefined ? [i] : [])
  const theta = Float64Array.from(start), full = new Float64Array(5)
  const logs = rows.map(o => [Math.log(o.params), Math.log(o.tokens), Math.log(o.loss)] as const)
  const evaluate = form === 'chinchilla' ? chinchilla : kaplan
  // In units of delta^2 the objective is of order 1 to 10, which is what the optimizer's absolute tolerance expects.
  const unit = rows.length * delta * delta
  const minimum = lbfgs((x, gradient) => {
    free.forEach((i, k) => { theta[i] = x[k]! })
    gradient.fill(0)
    let sum = 0
    for (const [logN, logD, logL] of logs) {
      const r = evaluate(theta, logN, logD, full) - logL
      const size = Math.abs(r)
      sum += size <= delta ? r * r / 2 : delta * (size - delta / 2)
      const slope = size <= delta ? r : delta * Math.sign(r)
      free.forEach((i, k) => { gradient[k]! += slope * full[i]! / unit })
    }
    return sum / unit
  }, free.map(i => start[i]!))
  free.forEach((i, k) => { theta[i] = minimum.x[k]! })
  return { theta: Float64Array.from(theta), value: minimum.value * delta * delta, converged: minimum.converged }
}

/** log L and its gradient in (log A, log B, log E, alpha, beta). */
function chinchilla(theta: Float64Array, logN: number, logD: number, gradient: Float64Array): number {
  const [logA, logB, logE, alpha, beta] = theta as unknown as [number, number, number, number, number]
  const p = logA - alpha * logN, d = logB - beta * logD
  const top = Math.max(p, d, logE)
  const ep = Math.exp(p - top), ed = Math.exp(d - top), ee = Math.exp(logE - top)
  const sum = ep + ed + ee
  gradient[0] = ep / sum
  gradient[1] = ed / sum
  gradient[2] = ee / sum
  gradient[3] = -logN * gradient[0]
  gradient[4] = -logD * gradient[1]
  return top + Math.log(sum)
}

/** As chinchilla. With s = (alpha / beta)(log A - log N), t = log B - log D and u = beta log(e^s + e^t): log L = log(e^u + E). */
function kaplan(theta: Float64Array, logN: number, logD: number, gradient: Float64Array): number {
  const [logA, logB, logE, alpha, beta] = theta as unknown as [number, number, number, number, number]
  const s = alpha / beta * (logA - logN), t = logB - logD
  const inner = Math.max(s, t), logInner = inner + Math.log(Math.exp(s - inner) + Math.exp(t - inner))
  const shareN = Math.exp(s - logInner)
  const u = beta * logInner
  const top = Math.max(u, logE), logL = top + Math.log(Math.exp(u - top) + Math.exp(logE - top))
  const shareU = Math.exp(u - logL)
  gradient[0] = shareU * shareN * alpha
  gradient[1] = shareU * (1 - shareN) * beta
  gradient[2] = Math.exp(logE - logL)
  gradient[3] = shareU * shareN * (logA - logN)
  gradient[4] = shareU * (logInner - shareN * s)
  return logL
}
