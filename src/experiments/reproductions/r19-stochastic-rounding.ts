// R19, the part that needs no training: a fixed gradient quantized to E2M1 many times; its mean, and the variance of an inner product with and without
// a random Hadamard transform of both factors.
import { line, ruleY } from '@observablehq/plot'
import { blockQuantizer } from '../../numerics/profiles.ts'
import type { Rounding, ScaleRule } from '../../numerics/quantizer.ts'
import { hadamard } from '../../oracle/hadamard.ts'
import { normalTensor, VectorQuantizer } from '../core-tensors.ts'
import { outcome, shows, type Reproduction } from '../reproduction.ts'
import { linearFit, mean, Random, variance } from '../statistics.ts'

const BLOCK = 32

/** Gaussian with an outlier 16 times as large in every block of 32, at a random place: what makes shared scales costly. */
function gradient(random: Random, seed: number, n: number): Float32Array {
  const g = normalTensor(n, seed)
  for (let b = 0; b < n; b += BLOCK) g[b + random.below(BLOCK)]! *= 16
  return g
}

/** Every block of 32 transformed: inner products are kept. */
function transformed(x: Float32Array, signs: readonly number[]): Float32Array {
  const y = new Float32Array(x.length)
  for (let b = 0; b < y.length; b += BLOCK) y.set(hadamard(x.subarray(b, b + BLOCK), signs), b)
  return y
}

export const reproduction: Reproduction = {
  name: 'r19-stochastic-rounding',
  title: 'Stochastic rounding and the random Hadamard transform',
  claim: 'Stochastic rounding makes an E2M1 gradient unbiased: the error of its mean falls as 1 / sqrt(n), while rounding to nearest keeps its bias. A random Hadamard transform lowers the variance where there are outliers.',
  source: 'arXiv 2502.20586 (Training LLMs with MXFP4)',
  cost: { quick: '1024 draws of 8192 values, seconds', full: '16384 draws of 32768 values, minutes' },
  run({ scale, seed, log }) {
    const random = new Random(seed)
    const [n, draws] = scale === 'quick' ? [8192, 1024] : [32768, 16384]
    const g = gradient(random, seed, n), w = normalTensor(n, seed, 1)
    const norm = Math.sqrt(g.reduce((s, v) => s + v * v, 0))
    const quantizer = (rounding: Rounding, scaleRule: ScaleRule, of: number) => new VectorQuantizer(n, blockQuantizer('ocp', 'e2m1', { rounding, scaleRule }), seed + of)

    const curves = ([['nearest', 'nearest-even', 'rceil'], ['stochastic, scale rounded up', 'stochastic', 'rceil'], ['stochastic, floor scale', 'stochastic', 'floor']] as const).flatMap(([name, rounding, rule]) => {
      const q = quantizer(rounding, rule, 0), sum = new Float64Array(n), points: { name: string, n: number, error: number }[] = []
      for (let k = 1; k <= draws; k++) {
        q.quantize(g).forEach((v, i) => { sum[i]! += v })
        if (Number.isInteger(Math.log2(k))) points.push({ name, n: k, error: Math.sqrt(sum.reduce((s, v, i) => s + (v / k - g[i]!) ** 2, 0)) / norm })
      }
      log(name)
      return points
    })
    const of = (name: string) => curves.filter(p => p.name === name)
    const slope = (name: string) => linearFit(of(name).map(p => Math.log(p.n)), of(name).map(p => Math.log(p.error)))
    const unbiased = slope('stochastic, scale rounded up')
    const floorEnd = of('stochastic, floor scale').at(-1)!.error, rceilEnd = of('stochastic, scale rounded up').at(-1)!.error

    const [qg, qw] = [quantizer('stochastic', 'rceil', 1), quantizer('stochastic', 'rceil', 2)]
    const products = (transform: boolean) => Array.from({ length: draws }, () => {
      const signs = Array.from({ length: BLOCK }, () => transform ? 2 * random.below(2) - 1 : 1)
      const [a, b] = transform ? [transformed(g, signs), transformed(w, signs)] : [g, w]
      const second = qw.quantize(b)
      return qg.quantize(a).reduce((s, v, i) => s + v * second[i]!, 0)
    })
    const plain = products(false), spread = products(true)
    const exact = g.reduce((s, v, i) => s + v * w[i]!, 0)
    const offBy = Math.abs(mean(plain) - exact) / Math.sqrt(variance(plain) / draws)
    return outcome([
      shows('slope of log error of the mean against log n, stochastic', '-0.5: unbiased', `${unbiased.slope.toFixed(3)} ± ${unbiased.slopeError.toFixed(3)}`, Math.abs(unbiased.slope + 0.5) < 0.05),
      shows('the same, to nearest', '0: the bias stays', slope('nearest').slope.toFixed(3), Math.abs(slope('nearest').slope) < 1e-6),
      shows('distance of the mean inner product from the exact one, in standard errors', 'below 3', offBy.toFixed(2), offBy < 3),
      shows('variance of the inner product with the transform, relative to without', 'below 1', (variance(spread) / variance(plain)).toFixed(3), variance(spread) < variance(plain)),
    ], `Under the floor scale the largest elements still saturate, and saturation is not averaged away: after ${draws} draws the error is ${floorEnd.toFixed(4)} against ${rceilEnd.toFixed(4)} with the scale rounded up. The recipe's own remedy is to scale by 3/4.`, [{
      name: 'r19-stochastic-rounding', title: 'Error of the mean of n quantized gradients', caption: 'E2M1, blocks of 32 with one outlier each. Dashed: slope -1/2.',
      plot: {
        height: 280, x: { type: 'log', base: 2, label: 'n' }, y: { type: 'log', label: 'relative error of the mean', grid: true, ticks: [0.02, 0.05, 0.1, 0.2], tickFormat: String }, color: { domain: ['nearest', 'stochastic, scale rounded up', 'stochastic, floor scale'], range: ['var(--baseline)', 'var(--studied)', 'var(--series-0)'], legend: true },
        marks: [ruleY([of('nearest')[0]!.error], { strokeOpacity: 0.2 }), line(curves, { x: 'n', y: 'error', stroke: 'name', strokeWidth: 2 }), line([1, draws].map(k => ({ n: k, error: of('stochastic, scale rounded up')[0]!.error / Math.sqrt(k) })), { x: 'n', y: 'error', strokeDasharray: '4 4' })],
      },
      data: curves,
    }])
  },
}
