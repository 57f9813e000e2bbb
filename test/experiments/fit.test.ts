import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { bootstrap, coefficientNames, fit, forms, isoLossGrid, optimalLine, predict, type Coefficients, type Observation } from '../../src/experiments/fit.ts'
import { numberColumn, parseCsv, textColumn } from '../../src/io/csv.ts'

const law: Coefficients = { A: 2500, B: 7200, E: 2, alpha: 0.45, beta: 0.45 }
const grid = [2e7, 6e7, 2e8, 6e8, 2e9].flatMap(params => [5, 20, 80].map(ratio => ({ params, tokens: params * ratio })))

describe('fit', () => {
  it.each(forms)('%s: recovers the coefficients that made the losses', form => {
    const c = form === 'chinchilla' ? law : { ...law, A: 5e6, B: 1.2e8, alpha: 0.5, beta: 0.7 }
    const result = fit(grid.map(o => ({ ...o, loss: predict(form, c, o.params, o.tokens) })), { form })
    for (const name of coefficientNames) expect(result.coefficients[name] / c[name]).toBeCloseTo(1, 4)
    expect(result).toMatchObject({ rows: 15, excluded: [], converged: true })
    expect(result.rSquared).toBeGreaterThan(1 - 1e-9)
  })

  it('is not moved by a few diverged runs, as least squares would be', () => {
    const rows = grid.map((o, i) => ({ ...o, loss: predict('chinchilla', law, o.params, o.tokens) * (i % 7 === 3 ? 2 : 1) }))
    const shift = (delta: number) => Math.abs(fit(rows, { delta }).coefficients.E / law.E - 1)
    expect(shift(1e-3)).toBeLessThan(1e-3)
    expect(shift(1e3)).toBeGreaterThan(1e-2)
  })

  it('holds frozen coefficients and finds the others', () => {
    const rows = grid.map(o => ({ ...o, loss: predict('chinchilla', law, o.params, o.tokens) }))
    const { coefficients } = fit(rows, { frozen: { E: law.E, alpha: 0.45 } })
    expect(coefficients.E).toBe(law.E)
    expect(coefficients.alpha).toBe(0.45)
    expect(coefficients.A / law.A).toBeCloseTo(1, 4)
  })

  it('excludes losses that are not positive numbers and says so', () => {
    const rows: Observation[] = grid.map(o => ({ ...o, loss: predict('chinchilla', law, o.params, o.tokens) }))
    const dirty = [{ ...rows[0]!, loss: NaN }, ...rows, { ...rows[0]!, loss: Infinity }]
    const result = fit(dirty)
    expect(result.excluded).toEqual([{ index: 0, reason: 'loss is NaN' }, { index: 16, reason: 'loss is Infinity' }])
    expect(result.coefficients).toEqual(fit(rows).coefficients)
  })

  it('refuses too few rows, and rows without a size', () => {
    const rows = grid.slice(0, 6).map(o => ({ ...o, loss: predict('chinchilla', law, o.params, o.tokens) }))
    expect(() => fit(rows.slice(0, 5))).toThrow('rows: 5 usable, a fit of 5 coefficients needs at least 6')
    expect(() => fit([...rows.slice(1), { ...rows[0]!, loss: NaN }])).toThrow('rows: 5 usable (1 of 6 excluded, first: row 6, loss is NaN)')
    expect(() => fit([{ params: 0, tokens: 1, loss: 1 }])).toThrow('row 1: params 0 and tokens 1 must be positive')
  })
})

describe('bootstrap', () => {
  // Multiplicative noise of 0.2 % from a fixed sequence; the intervals must hold the truth and shrink with the noise.
  const noisy = (size: number) => [...grid, ...grid.map(o => ({ params: o.params * 1.5, tokens: o.tokens }))]
    .map((o, i) => ({ ...o, loss: predict('chinchilla', law, o.params, o.tokens) * (1 + size * (((i * 37) % 17) / 8 - 1)) }))
  it('holds the truth, is a function of the seed, shrinks with the noise', () => {
    const rows = noisy(2e-3), f = fit(rows)
    const intervals = bootstrap(rows, f, { resamples: 60, seed: 3 })
    for (const name of coefficientNames) {
      expect(intervals[name][0]).toBeLessThanOrEqual(law[name])
      expect(intervals[name][1]).toBeGreaterThanOrEqual(law[name])
    }
    expect(bootstrap(rows, f, { resamples: 60, seed: 3 })).toEqual(intervals)
    const tight = bootstrap(noisy(2e-4), fit(noisy(2e-4)), { resamples: 60, seed: 3 })
    expect(tight.E[1] - tight.E[0]).toBeLessThan((intervals.E[1] - intervals.E[0]) / 3)
  })
})

describe('optimal line and iso-loss grid', () => {
  it.each(forms)('%s: no other N at the same compute has a lower loss', form => {
    const c = form === 'chinchilla' ? law : { ...law, A: 5e6, B: 1.2e8, alpha: 0.5, beta: 0.7 }
    const { G, a, b } = optimalLine(form, c)
    expect(a + b).toBe(1)
    for (const flops of [1e18, 1e21]) {
      const best = G * (flops / 6) ** a
      const at = (n: number) => predict(form, c, n, flops / (6 * n))
      expect(at(best)).toBeLessThan(at(best * 1.01))
      expect(at(best)).toBeLessThan(at(best / 1.01))
    }
  })
  it('tabulates the law', () => {
    const { flops, params, loss } = isoLossGrid('chinchilla', law, { flops: [1e17, 1e19], params: [1e7, 1e9], steps: 3 })
    expect(flops.map(Math.log10).map(Math.round)).toEqual([17, 18, 19])
    expect(loss[1 * 3 + 2]).toBe(predict('chinchilla', law, params[1]!, flops[2]! / 6 / params[1]!))
  })
})

// Section 3 of the fact sheet of arXiv 2506.20752: coefficients to 4 digits, from the runs' minimum validation loss. The first row is printed in the
// paper's own notebook; the others were refitted from its data by a second implementation (Python).
const file = '../shared/data/paper-runs.csv'
describe.skipIf(!existsSync(file))(`the paper's runs${existsSync(file) ? '' : ` (skipped: ${file} is absent)`}`, () => {
  const rows = (config: string) => {
    const table = parseCsv(readFileSync(file, 'utf8'), file)
    const [configs, params, tokens, losses] = [textColumn(table, 'config'), numberColumn(table, 'params'), numberColumn(table, 'tokens'), numberColumn(table, 'min_val_loss')]
    return configs.flatMap((c, i) => c === config ? [{ params: params[i]!, tokens: tokens[i]!, loss: losses[i]! }] : [])
  }
  it.each([
    ['fp8_e4m3_bfloat16', 80, '2.822e+3', '2.045e+4', '0.5353', '0.5236', '0.5534', '8.607e-6'],
    ['bf16_bf16', 80, '1.942e+3', '2.184e+4', '0.5307', '0.5019', '0.5567', '8.666e-6'],
    ['fp8_e4m3_fp8_e4m3', 51, '8.357e+4', '1.758e+4', '0.5924', '0.7266', '0.5454', '1.988e-5'],
  ])('%s', (config, count, A, B, E, alpha, beta, objective) => {
    const result = fit(rows(config))
    const c = result.coefficients
    expect([result.rows, c.A.toExponential(3), c.B.toExponential(3), c.E.toFixed(4), c.alpha.toFixed(4), c.beta.toFixed(4), result.objective.toExponential(3)])
      .toEqual([count, A, B, E, alpha, beta, objective])
    expect(result.startsAtBest).toBeGreaterThan(result.starts / 2)
  })
  it('gives the notebook\'s optimal-N line', () => {
    const { G, a } = optimalLine('chinchilla', fit(rows('fp8_e4m3_bfloat16')).coefficients)
    expect([G.toFixed(5), a.toFixed(5)]).toEqual(['0.15109', '0.51380'])
  })
})
