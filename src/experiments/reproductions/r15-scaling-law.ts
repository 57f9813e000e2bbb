// R15: the scaling law of E4M3 weights with bf16 activations, refitted from the paper's runs; and those of its other pairs.
import { contour, dot, line } from '@observablehq/plot'
import { fit, optimalLine, predict, type Coefficients } from '../fit.ts'
import { paperRuns } from '../paper-data.ts'
import { equals, notTestable, outcome, shows, type Finding, type Reproduction } from '../reproduction.ts'

/** The notebook's printed fit of E4M3/bf16, and fits of the other files by an independent implementation in Python: A, B, E, alpha, beta. */
const published: Record<string, readonly [string, readonly [number, number, number, number, number]]> = {
  fp8_e4m3_bfloat16: ['E4M3 weights, bf16 activations (the paper)', [2822, 20450, 0.5353, 0.5236, 0.5534]],
  bf16_bf16: ['bf16 baseline', [1942, 21840, 0.5307, 0.5019, 0.5567]],
  fp8_e4m3_fp8_e4m3: ['E4M3 weights and activations', [83600, 17580, 0.5924, 0.7266, 0.5454]],
}

const fourDigits = (what: string, claimed: number, found: number): Finding =>
  ({ what, claimed: claimed.toPrecision(4), found: found.toPrecision(4), holds: Number(found.toPrecision(claimed === 83600 ? 3 : 4)) === claimed, kind: 'number' })

export const reproduction: Reproduction = {
  name: 'r15-scaling-law',
  title: 'Scaling law of E4M3 weights with bf16 activations',
  claim: 'L = A / N^alpha + B / D^beta + E fits the mitigated precision with A = 2822, B = 20450, E = 0.5353, alpha = 0.5236, beta = 0.5534: a valid scaling law, close to bf16\'s. With E5M2 weights and E4M3 activations there is none (beta > 1).',
  source: 'arXiv 2506.20752, appendix G and notebook curve_fitting_and_instability',
  cost: { quick: 'four fits of up to 80 runs, a second', full: 'as quick' },
  run({ data }) {
    const runs = paperRuns(data)
    if (!runs) return notTestable('Needs the paper\'s runs (paper-runs.csv), which this repository does not contain: name their folder with --data.')
    const findings = Object.entries(published).flatMap(([config, [name, values]]) => {
      const { coefficients: c } = fit(runs.get(config)!)
      return (['A', 'B', 'E', 'alpha', 'beta'] as const).map((key, i) => fourDigits(`${name}: ${key}`, values[i]!, c[key]))
    })
    const main = runs.get('fp8_e4m3_bfloat16')!, law = fit(main), c = law.coefficients
    const { a } = optimalLine('chinchilla', c)
    const unstable = fit(runs.get('fp8_e5m2_fp8_e4m3')!).coefficients
    return outcome([
      ...findings,
      equals('exponent of the compute-optimal line', 0.5138, a, 4),
      shows('beta of E5M2 weights with E4M3 activations', 'above 1: no valid law', unstable.beta.toFixed(2), unstable.beta > 1),
      shows('R2 of the fit of E4M3 weights with bf16 activations', 'a good fit', law.rSquared.toFixed(3), law.rSquared > 0.95),
    ], 'Every coefficient comes out to the digits given, from another optimizer in another language.', [isoLossFigure(main, c)])
  },
}

const powerOfTen = (v: number) => v.toExponential(0).replace('+', '')

function isoLossFigure(runs: readonly { params: number, tokens: number, flops: number, loss: number }[], c: Coefficients) {
  const { G, a } = optimalLine('chinchilla', c)
  const lowest = Math.min(...runs.map(r => r.loss)), highest = Math.max(...runs.map(r => r.loss))
  const levels = Array.from({ length: 16 }, (_, i) => lowest + (highest - lowest) * (i / 15) ** 1.5)
  const optimal = [17, 18, 19, 20].map(e => ({ flops: 10 ** e, params: G * (10 ** e / 6) ** a }))
  return {
    name: 'r15-iso-loss', title: 'Lines of equal loss: E4M3 weights, bf16 activations',
    caption: 'Dots: the paper\'s 80 runs, coloured by minimum validation loss. Lines: the fit. Dashed: the compute-optimal number of parameters.',
    plot: {
      height: 400, x: { type: 'log' as const, label: 'training compute (FLOPs)', domain: [1e17, 1e20], ticks: [1e17, 1e18, 1e19, 1e20], tickFormat: powerOfTen }, y: { type: 'log' as const, label: 'parameters', domain: [1e7, 3e9], ticks: [1e7, 1e8, 1e9], tickFormat: powerOfTen },
      color: { scheme: 'viridis' as const, domain: [lowest, highest], clamp: true, legend: false },
      marks: [
        // Wider than the frame and clipped by it, so that the contours' closing edges are not seen.
        contour({ x1: 5e16, x2: 2e20, y1: 5e6, y2: 6e9, clip: true, stroke: (flops: number, params: number) => predict('chinchilla', c, params, flops / (6 * params)), thresholds: levels, pixelSize: 10, strokeWidth: 1 }),
        dot(runs, { x: 'flops', y: 'params', fill: 'loss', r: 4, stroke: 'currentColor', strokeWidth: 0.5 }),
        line(optimal, { x: 'flops', y: 'params', stroke: 'var(--studied)', strokeDasharray: '6 4', strokeWidth: 2 }),
      ],
    },
    data: runs.map(({ params, tokens, flops, loss }) => ({ params, tokens, flops, loss })),
  }
}
