// High-dimensional linear regression, sketched: y = <w, x> + noise, x ~ N(0, H), H = diag(i^-a) in p dimensions, predicted from z = S x, S an M x p
// Gaussian sketch with entries of variance 1 / M, of which the model sees an unbiased quantization Q(z). M is the model's size, N the number of samples
// that one pass of SGD sees.
//
// Q adds an error covariance E = E[Var(Q(z) | z)], so the best predictor at infinite data has risk (averaged over w ~ N(0, I), label noise apart)
//   R(M) = tr H - tr( H S' (A + E)^-1 S H ),  A = S H S'.
// Multiplicative, as the source defines it: E = eps A, and R(M) = R_0(M) / (1 + eps) + tr H eps / (1 + eps) exactly: an error is added, and a doubling
// of M gains at every size the same share of what it gains in full precision. Additive: E = eps I. Directions of A below eps are lost, and a larger M gains
// ever less. Real formats round element by element: a float's error is diagonal, proportional to the elements' variance tr H / M; fixed point's is not.
//
// SGD averages its last half (the source lets its step decay geometrically); its risks are exact, from the population covariance.
import { dot, line } from '@observablehq/plot'
import { outcome, shows, type Finding, type Reproduction } from '../reproduction.ts'
import { mean, Random } from '../statistics.ts'
import { backwardSolve, cholesky, forwardSolve } from '../linear-algebra.ts'

const DECAY = 1.5, LABEL_NOISE = 0.3
/** Variance of the relative error, as rounding to powers of two has it; and the step of the fixed-point grid. */
const RELATIVE = 1 / 12, GRID = 1 / 4

interface Arm {
  name: string
  /** Quantizes z in place. */
  quantize(z: Float64Array, random: Random): void
  /** E, given A (both row-major M x M). */
  error(a: Float64Array, M: number): Float64Array
}

const diagonal = (M: number, value: (i: number) => number) => {
  const e = new Float64Array(M * M)
  for (let i = 0; i < M; i++) e[i * M + i] = value(i)
  return e
}

/** Mean squared error of an elementwise quantizer on N(0, variance), from a fixed set of draws. */
function meanSquaredError(variance: number, quantize: Arm['quantize']): number {
  const random = new Random(1), z = Float64Array.from({ length: 4000 }, () => Math.sqrt(variance) * random.normal()), q = z.slice()
  quantize(q, random)
  return mean(q.map((v, i) => (v - z[i]!) ** 2))
}

const elementwise = (name: string, quantize: Arm['quantize']): Arm => ({
  name, quantize,
  error(a, M) {
    // All elements of a sketch have nearly the same variance; one estimate serves, scaled.
    const trace = Array.from({ length: M }, (_, i) => a[i * M + i]!)
    const reference = mean(trace), error = meanSquaredError(reference, quantize)
    return diagonal(M, i => error * trace[i]! / reference)
  },
})

const arms: readonly Arm[] = [
  { name: 'full precision', quantize() {}, error: (_, M) => new Float64Array(M * M) },
  { name: 'multiplicative', quantize(z, random) { const factor = 1 + Math.sqrt(RELATIVE) * random.normal(); z.forEach((v, i) => { z[i] = v * factor }) }, error: a => a.map(v => v * RELATIVE) },
  { name: 'additive', quantize(z, random) { z.forEach((v, i) => { z[i] = v + (random.uniform() - 0.5) * GRID }) }, error: (_, M) => diagonal(M, () => GRID * GRID / 12) },
  elementwise('powers of two, elementwise', (z, random) => {
    z.forEach((v, i) => {
      const a = Math.abs(v), low = 2 ** Math.floor(Math.log2(a))
      z[i] = Math.sign(v) * (random.uniform() < a / low - 1 ? 2 * low : low)
    })
  }),
  elementwise('fixed point, elementwise', (z, random) => { z.forEach((v, i) => { z[i] = Math.floor(v / GRID + random.uniform()) * GRID }) }),
]
const names = arms.map(a => a.name)

interface Problem { p: number, spectrum: Float64Array, /** Rows of standard normals; a sketch of size M is the first M of them over sqrt(M). */ rows: Float64Array }

/** A = S H S', and the M x p matrix S H. */
function sketched({ p, spectrum, rows }: Problem, M: number): { a: Float64Array, sh: Float64Array } {
  const sh = Float64Array.from({ length: M * p }, (_, i) => rows[i]! * spectrum[i % p]! / Math.sqrt(M))
  const a = new Float64Array(M * M)
  for (let i = 0; i < M; i++) for (let j = 0; j <= i; j++) {
    let sum = 0
    for (let k = 0; k < p; k++) sum += sh[i * p + k]! * rows[j * p + k]!
    a[i * M + j] = a[j * M + i] = sum / Math.sqrt(M)
  }
  return { a, sh }
}

const plus = (a: Float64Array, b: Float64Array) => a.map((v, i) => v + b[i]!)

/** Risk at infinite data of every arm, label noise apart, averaged over the target. */
function limitRisks(problem: Problem, M: number): number[] {
  const { p, spectrum } = problem, { a, sh } = sketched(problem, M)
  const total = spectrum.reduce((s, h) => s + h, 0)
  return arms.map(arm => {
    const l = cholesky(plus(a, arm.error(a, M)), M)
    let explained = 0
    for (let k = 0; k < p; k++) explained += forwardSolve(l, M, Float64Array.from({ length: M }, (_, i) => sh[i * p + k]!)).reduce((s, v) => s + v * v, 0)
    return total - explained
  })
}

/**
 * Excess risk over the arm's own limit of half-averaged one-pass SGD after each of `horizons` samples, by arm, all arms on the same samples.
 * Started from zero it has bias and variance; started from the limit, variance alone.
 */
function sgd(problem: Problem, M: number, horizons: readonly number[], random: Random, start: 'zero' | 'limit'): number[][] {
  const { p, spectrum, rows } = problem, { a, sh } = sketched(problem, M)
  const target = Float64Array.from({ length: p }, () => random.normal())
  const b = Float64Array.from({ length: M }, (_, i) => target.reduce((s, w, k) => s + sh[i * p + k]! * w, 0))
  const runs = arms.map(arm => {
    const quantized = plus(a, arm.error(a, M)), l = cholesky(quantized, M)
    const trace = Array.from({ length: M }, (_, i) => quantized[i * M + i]!).reduce((x, y) => x + y, 0)
    const best = backwardSolve(l, M, forwardSolve(l, M, b.slice()))
    return { arm, quantized, best, step: 0.25 / trace, v: start === 'zero' ? new Float64Array(M) : best.slice(), averages: horizons.map(() => new Float64Array(M)), draws: new Random(random.word()) }
  })
  const x = new Float64Array(p), z = new Float64Array(M)
  for (let t = 0; t < horizons.at(-1)!; t++) {
    let y = LABEL_NOISE * random.normal()
    for (let k = 0; k < p; k++) y += (x[k] = Math.sqrt(spectrum[k]!) * random.normal()) * target[k]!
    for (let i = 0; i < M; i++) {
      let sum = 0
      for (let k = 0; k < p; k++) sum += rows[i * p + k]! * x[k]!
      z[i] = sum / Math.sqrt(M)
    }
    for (const { arm, step, v, averages, draws } of runs) {
      const q = z.slice()
      arm.quantize(q, draws)
      const residual = q.reduce((s, value, i) => s + value * v[i]!, -y)
      q.forEach((value, i) => { v[i]! -= step * residual * value })
      horizons.forEach((N, h) => { if (t >= N / 2 && t < N) v.forEach((value, i) => { averages[h]![i]! += value / (N / 2) }) })
    }
  }
  return runs.map(({ quantized, best, averages }) => averages.map(v => {
    const d = v.map((value, i) => value - best[i]!)
    let excess = 0
    for (let i = 0; i < M; i++) for (let j = 0; j < M; j++) excess += d[i]! * quantized[i * M + j]! * d[j]!
    return excess
  }))
}

/** The N at which the full-precision curve has the given excess, by interpolation of logarithms; the ends are extended. */
function sameExcess(horizons: readonly number[], curve: readonly number[], excess: number): number {
  let i = 0
  while (i < curve.length - 2 && curve[i + 1]! > excess) i++
  const slope = Math.log(horizons[i + 1]! / horizons[i]!) / Math.log(curve[i + 1]! / curve[i]!)
  return horizons[i]! * (excess / curve[i]!) ** slope
}

export const reproduction: Reproduction = {
  name: 'sketched-regression',
  title: 'Multiplicative against additive quantization in sketched regression',
  claim: 'Both kinds of quantization add an error term and reduce the effective data size; only additive (signal-independent) quantization reduces the effective model size.',
  source: 'arXiv 2602.19241 (Scaling Laws for Precision in High-Dimensional Linear Regression)',
  cost: { quick: 'p = 1024, models up to 256, SGD on up to 2048 samples with 12 seeds: half a minute', full: 'p = 4096, models up to 1024, 32768 samples, 24 seeds: hours' },
  run({ scale, seed, log, signal }) {
    const [p, largest, M, samples, seeds] = scale === 'quick' ? [1024, 256, 64, 2048, 12] : [4096, 1024, 128, 32768, 24]
    const random = new Random(seed)
    const problem: Problem = { p, spectrum: Float64Array.from({ length: p }, (_, i) => (i + 1) ** -DECAY), rows: Float64Array.from({ length: largest * p }, () => random.normal()) }
    const sizes = Array.from({ length: Math.log2(largest) - 2 }, (_, i) => 8 * 2 ** i)
    const limits = sizes.flatMap(size => { signal?.throwIfAborted(); return limitRisks(problem, size).map((risk, i) => ({ name: names[i]!, size, risk })) })
    log('risks at infinite data computed')
    const limit = (name: string, size: number) => limits.find(r => r.name === name && r.size === size)!.risk
    /** What doubling the model gains, as a share of what it gains in full precision. */
    const gain = (name: string, size: number) => (limit(name, size) - limit(name, 2 * size)) / (limit(names[0]!, size) - limit(names[0]!, 2 * size))
    const [small, large] = [sizes[0]!, sizes.at(-2)!]
    const kept = (name: string) => gain(name, large) / gain(name, small)

    const horizons = Array.from({ length: 5 }, (_, i) => samples / 2 ** (4 - i))
    const measure = (start: 'zero' | 'limit') => {
      const runs = Array.from({ length: seeds }, (_, i) => { signal?.throwIfAborted(); return sgd(problem, M, horizons, new Random(seed + 1 + i), start) })
      log(`${seeds} runs of SGD from ${start} done`)
      return names.map((_, arm) => horizons.map((_, h) => mean(runs.map(r => r[arm]![h]!))))
    }
    const total = measure('zero'), variance = measure('limit')
    const dataShare = (curves: readonly number[][], name: string) => mean(horizons.map((N, h) => sameExcess(horizons, curves[0]!, curves[names.indexOf(name)]![h]!) / N))
    const quantitative = (name: string): Finding => ({ what: `${name}: the same by the whole excess, from a zero start`, claimed: 'below 1', found: dataShare(total, name).toFixed(2), holds: dataShare(total, name) < 1, kind: 'number' })
    const added = (name: string) => limit(name, largest) - limit(names[0]!, largest)
    return outcome([
      ...['multiplicative', 'additive'].map(name => shows(`${name}: added risk at M = ${largest}, infinite data`, 'above 0', added(name).toExponential(2), added(name) > 0)),
      shows(`multiplicative: gain of doubling M = ${large} as a share of full precision's, relative to the same at M = ${small}`, '1: model size kept', kept('multiplicative').toFixed(2), Math.abs(kept('multiplicative') - 1) < 0.05),
      shows('additive: the same', 'well below 1: model size lost', kept('additive').toFixed(2), kept('additive') < 0.5),
      shows('powers of two (a float), element by element: the same', 'about 1', kept('powers of two, elementwise').toFixed(2), Math.abs(kept('powers of two, elementwise') - 1) < 0.2),
      shows('fixed point, element by element: the same', 'well below 1', kept('fixed point, elementwise').toFixed(2), kept('fixed point, elementwise') < 0.5),
      ...['multiplicative', 'additive'].map(name => shows(`${name}: effective share of the data by the variance of SGD around its limit, M = ${M}`, 'below 1', dataShare(variance, name).toFixed(2), dataShare(variance, name) < 1)),
      ...['multiplicative', 'additive'].map(quantitative),
    ], `A float's error is not of the form eps A after a random sketch, but it shrinks with the sketch's entries as M grows, and that suffices. Effective data: how much data full precision needs for the same excess. The variance of SGD grows under both kinds; but the whole excess, over each arm's own limit, does not: the quantized problem has a smaller solution and so less to learn from zero.`, [
      figure('sketched-regression-model', 'Risk at infinite data by model size', 'Label noise apart. A line that levels off has lost its model size.', 'model size M', 'risk', limits.map(({ name, size, risk }) => ({ name, x: size, y: risk }))),
      figure('sketched-regression-data', `Excess over that risk by number of samples, M = ${M}`, 'One pass of SGD, its last half averaged.', 'samples N', 'excess risk', names.flatMap((name, arm) => horizons.map((N, h) => ({ name, x: N, y: total[arm]![h]! })))),
    ])
  },
}

const figure = (name: string, title: string, caption: string, x: string, y: string, data: { name: string, x: number, y: number }[]) => ({
  name, title, caption, data,
  plot: {
    height: 300, x: { type: 'log' as const, base: 2, label: x, tickFormat: String }, y: { type: 'log' as const, label: y, grid: true, ticks: 4, tickFormat: (v: number) => String(Number(v.toPrecision(1))) },
    color: { domain: names, range: ['var(--baseline)', 'var(--studied)', 'var(--series-0)', 'var(--series-3)', 'var(--series-2)'], legend: true },
    marks: [line(data, { x: 'x', y: 'y', stroke: 'name', strokeWidth: 2 }), dot(data, { x: 'x', y: 'y', fill: 'name' })],
  },
})
