// Low-precision SGD, w <- Q(w - alpha grad f_i(w)), Q unbiased (stochastic rounding), on least squares with s-sparse features of norm 1.
//
// Why the dimension should not matter: w lies on the grid, so a coordinate that moves by u < gap is rounded with variance u (gap - u) <= gap u. One step
// therefore adds at most gap alpha ||grad||_1, and with sparse gradients ||grad||_1 = sqrt(s) |residual| whatever the dimension d. With H = I / d the
// contraction per step is alpha (2 - alpha) / d, so the excess loss ||w - w*||^2 / (2 d) settles near gap sqrt(s) E|residual| / (2 (2 - alpha)): no d.
// Dense features of norm 1 have ||grad||_1 = sqrt(d) |residual|: there d comes back, as its square root.
import { line, dot } from '@observablehq/plot'
import { outcome, shows, type Reproduction } from '../reproduction.ts'
import { linearFit, Random } from '../statistics.ts'

// A step moves a coordinate by about ALPHA NOISE / sqrt(SPARSITY) = 0.0006. Gaps are larger than that, or the variance of rounding is gap^2 / 6 whatever the
// step; and small enough that the quantization adds less to the residual than the label noise, or the floor feeds on itself and grows as gap^2.
const ALPHA = 1 / 64, NOISE = 0.1, SPARSITY = 8
/** Targets are these many normal numbers over and over, so that dimensions differ in nothing else. */
const PERIOD = 64

/** The two grid values around x, lower magnitude first, and x's place between them. */
type Grid = (x: number) => { low: number, gap: number }

/** Multiples of `delta`. */
const fixedPoint = (delta: number): Grid => x => ({ low: Math.floor(Math.abs(x) / delta) * delta, gap: delta })
/** 0 and +-smallest (1 + zeta)^k. */
const logarithmic = (zeta: number, smallest = 2 ** -10): Grid => x => {
  const a = Math.abs(x)
  if (a < smallest) return { low: 0, gap: smallest }
  const low = smallest * (1 + zeta) ** Math.floor(Math.log(a / smallest) / Math.log1p(zeta) + 1e-12)
  return { low, gap: low * zeta }
}
/** Floating point with `bits` fraction bits, subnormal below `smallest`. */
const floatingPoint = (bits: number, smallest = 2 ** -6): Grid => x => {
  const a = Math.abs(x), gap = 2 ** (Math.floor(Math.log2(Math.max(a, smallest))) - bits)
  return { low: Math.floor(a / gap) * gap, gap }
}

function roundStochastically(x: number, grid: Grid, random: Random): number {
  const { low, gap } = grid(x)
  return Math.sign(x) * (random.uniform() < (Math.abs(x) - low) / gap ? low + gap : low)
}

/** Mean excess loss of low-precision SGD once it has settled. `nonzeros`: features per sample; null grid: full precision. */
function floorOf(dimension: number, nonzeros: number, grid: Grid | null, random: Random, steps: number): number {
  const base = Float64Array.from({ length: PERIOD }, () => random.normal())
  const target = Float64Array.from({ length: dimension }, (_, j) => base[j % PERIOD]!)
  const round = grid ? (v: number) => roundStochastically(v, grid, random) : (v: number) => v
  const w = target.map(round)
  const settle = Math.ceil(6 * dimension / (ALPHA * (2 - ALPHA))) // six times the time constant of the excess
  const value = 1 / Math.sqrt(nonzeros)
  const indices = new Int32Array(nonzeros), signs = new Float64Array(nonzeros)
  // ||w - w*||^2 is kept up to date coordinate by coordinate.
  let distance = w.reduce((sum, v, j) => sum + (v - target[j]!) ** 2, 0), total = 0
  for (let t = 0; t < settle + steps; t++) {
    let residual = -NOISE * random.normal()
    for (let k = 0; k < nonzeros; k++) {
      const word = random.word()
      // Dense: every coordinate. Sparse: one from each of `nonzeros` equal parts, so that they differ.
      indices[k] = nonzeros === dimension ? k : Math.floor((k + (word >>> 8) / 2 ** 24) * dimension / nonzeros)
      signs[k] = word & 1 ? value : -value
      residual += signs[k]! * (w[indices[k]!]! - target[indices[k]!]!)
    }
    for (let k = 0; k < nonzeros; k++) {
      const j = indices[k]!, before = w[j]!, after = round(before - ALPHA * residual * signs[k]!)
      distance += (after - target[j]!) ** 2 - (before - target[j]!) ** 2
      w[j] = after
    }
    if (t >= settle) total += distance
  }
  return total / steps / (2 * dimension)
}

export const reproduction: Reproduction = {
  name: 'dimension-free-sgd',
  title: 'The error floor of low-precision SGD and the dimension',
  claim: 'With stochastic rounding the error floor of low-precision SGD follows the quantization gap and not the dimension, for fixed-point, logarithmic and floating-point grids alike; what counts is the gradient\'s l1 norm.',
  source: 'Li and De Sa, Dimension-Free Bounds for Low-Precision Training, NeurIPS 2019',
  cost: { quick: 'dimensions 64 to 1024, 30 runs, half a minute', full: 'dimensions 64 to 16384, ten times the steps, an hour' },
  run({ scale, seed, log, signal }) {
    const dimensions = scale === 'quick' ? [64, 256, 1024] : [64, 256, 1024, 4096, 16384]
    const steps = (d: number) => (scale === 'quick' ? 1 : 10) * Math.max(30_000, 100 * d)
    const measure = (d: number, nonzeros: number, grid: Grid | null) => {
      signal?.throwIfAborted()
      return floorOf(d, nonzeros, grid, new Random(seed), steps(d))
    }
    const full = measure(PERIOD, SPARSITY, null)
    const families = {
      'fixed point': { grid: fixedPoint, gaps: [1 / 64, 1 / 128, 1 / 256, 1 / 512], gap: (g: number) => g },
      'logarithmic': { grid: logarithmic, gaps: [1 / 32, 1 / 64, 1 / 128, 1 / 256], gap: (g: number) => g },
      'floating point': { grid: floatingPoint, gaps: [5, 6, 7, 8], gap: (bits: number) => 2 ** -bits },
    }
    const byGap = Object.entries(families).flatMap(([family, { grid, gaps, gap }]) => gaps.map(g => ({ family, gap: gap(g), dimension: PERIOD, features: 'sparse', floor: measure(PERIOD, SPARSITY, grid(g)) - full })))
    log('floors by gap measured')
    const byDimension = Object.entries(families).flatMap(([family, { grid, gaps, gap }]) => dimensions.map(d => ({ family, gap: gap(gaps[1]!), dimension: d, features: 'sparse', floor: measure(d, SPARSITY, grid(gaps[1]!)) - full })))
    log('floors by dimension measured')
    const dense = [64, 128, 256].map(d => ({ family: 'fixed point', gap: 1 / 128, dimension: d, features: 'dense', floor: measure(d, d, fixedPoint(1 / 128)) - full }))
    const slope = (rows: readonly { gap: number, dimension: number, floor: number }[], key: 'gap' | 'dimension') => linearFit(rows.map(r => Math.log(r[key])), rows.map(r => Math.log(r.floor))).slope
    const inFamily = (rows: typeof byGap, family: string) => rows.filter(r => r.family === family)
    const measured = inFamily(byDimension, 'fixed point')[1]!.floor
    const predicted = 1 / 128 * Math.sqrt(SPARSITY) * Math.sqrt(NOISE ** 2 + 2 * (measured + full)) * Math.sqrt(2 / Math.PI) / (2 * (2 - ALPHA))
    return outcome([
      ...Object.keys(families).map(f => shows(`${f}: power of the gap that the floor follows`, '1', slope(inFamily(byGap, f), 'gap').toFixed(2), Math.abs(slope(inFamily(byGap, f), 'gap') - 1) < 0.25)),
      ...Object.keys(families).map(f => shows(`${f}: power of the dimension, sparse features`, '0', slope(inFamily(byDimension, f), 'dimension').toFixed(3), Math.abs(slope(inFamily(byDimension, f), 'dimension')) < 0.05)),
      shows('power of the dimension, dense features', '1/2: that of the l1 norm', slope(dense, 'dimension').toFixed(2), Math.abs(slope(dense, 'dimension') - 0.5) < 0.2),
    ], `Full precision settles at ${full.toExponential(2)}; the figures are what quantization adds. The estimate gap sqrt(s) E|residual| / (2 (2 - alpha)) gives ${predicted.toExponential(2)} for fixed point with gap 1/128, against ${measured.toExponential(2)} measured.`, [{
      name: 'dimension-free-sgd', title: 'What quantization adds to the loss floor, by dimension', caption: `Solid: features with ${SPARSITY} nonzeros. Dashed: dense features of the same norm, fixed point.`,
      plot: {
        height: 280, x: { type: 'log', base: 2, label: 'dimension', ticks: dimensions, tickFormat: String }, y: { type: 'log', label: 'excess loss', grid: true, ticks: 4, tickFormat: (v: number) => v.toExponential(0) }, color: { domain: Object.keys(families), range: ['var(--series-0)', 'var(--series-1)', 'var(--series-2)'], legend: true },
        marks: [line(byDimension, { x: 'dimension', y: 'floor', stroke: 'family', strokeWidth: 2 }), dot(byDimension, { x: 'dimension', y: 'floor', fill: 'family' }), line(dense, { x: 'dimension', y: 'floor', stroke: 'var(--series-0)', strokeDasharray: '5 4' })],
      },
      data: [...byGap, ...byDimension, ...dense],
    }])
  },
}
