import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { diverged, divergenceFrequency, movingAverage, riseOnset, rollingVariance, smoothedMinimum, spikes } from '../../src/experiments/spikes.ts'
import { numberColumn, parseCsv, textColumn } from '../../src/io/csv.ts'

const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const curve = (values: number[], every = 1) => ({ steps: values.map((_, i) => (i + 1) * every), values })

describe('riseOnset', () => {
  it('is the rule of the paper\'s code: a moving average of 100 logs that grows by more than 0.008', () => {
    // A drift with a bump, the derivative taken as that code takes it.
    const values = range(1000).map(i => 3 - i / 1000 + (i > 600 ? ((i - 600) / 100) ** 2 : 0) + ((i * 7919) % 13) / 100)
    const { steps } = curve(values, 10)
    const smooth = movingAverage(values, 100)
    const i = smooth.findIndex((v, k) => k > 0 && v - smooth[k - 1]! > 0.008)
    expect(i).toBeGreaterThan(0)
    expect(riseOnset({ steps, values })).toBe(steps[i + 99])
  })
  it('sees a value that stops being finite, and nothing in a falling curve', () => {
    expect(riseOnset(curve([3, 2, 1, NaN]), { window: 1 })).toBe(4)
    expect(riseOnset(curve(range(300).map(i => 5 - i / 100)))).toBeNull()
  })
})

describe('spikes', () => {
  const loss = (i: number) => 2 ** (-i / 500)
  it('finds a recovered and a final spike, not a short one', () => {
    const values = range(2000).map(i => loss(i) * (i >= 300 && i < 330 ? 50 : i >= 600 && i < 700 ? 100 : i >= 1900 ? 30 : 1))
    expect(spikes(curve(values)).map(({ start, end, recovered }) => [start, end, recovered])).toEqual([[601, 700, true], [1901, 2000, false]])
  })
  it('holds the baseline while the spike lasts', () => {
    const values = range(1000).map(i => i >= 300 ? 20 : 1)
    expect(spikes(curve(values))).toEqual([{ start: 301, end: 1000, peak: 20, baseline: 1, recovered: false }])
  })
  it('counts a loss that is not finite at once', () => {
    expect(spikes(curve([1, 1, NaN, 1]))).toEqual([{ start: 3, end: 3, peak: Infinity, baseline: 1, recovered: true }])
  })
  it('finds none in noise below the factor', () => {
    expect(spikes(curve(range(500).map(i => 1 + 8 * (i % 2))))).toEqual([])
  })
})

describe('divergence', () => {
  it('compares the final with the lowest loss', () => {
    expect([diverged(0.76, 0.75), diverged(0.78, 0.75), diverged(NaN, 0.75), diverged(Infinity, 0.75)]).toEqual([false, true, true, true])
  })
  it('reports a frequency with its interval', () => {
    expect(divergenceFrequency([true, false, true, true, false])).toMatchObject({ diverged: 3, runs: 5, interval: [expect.closeTo(0.1466, 4), expect.closeTo(0.9473, 4)] })
  })
  it('smooths', () => {
    expect(smoothedMinimum(curve([4, 2, 0, 5], 10), 2)).toEqual({ step: 30, value: 1 })
    expect(smoothedMinimum(curve([4]), 2)).toBeNull()
    expect(rollingVariance([1, 2, 3, 7], 3)).toEqual([1, 7])
  })
})

// Section 2.6: E3M2/E3M2 at 4.57e18 FLOPs, read there from curves with one value per 10 steps. The file at hand keeps every tenth of those (its run of
// D/N = 144 has 399 values for 39,982 steps), so 10 of its values span the 1000 steps of the rule and steps agree to 100.
const file = '../shared/data/paper-loss-curves.csv'
describe.skipIf(!existsSync(file))(`the paper's loss curves${existsSync(file) ? '' : ` (skipped: ${file} is absent)`}`, () => {
  const table = parseCsv(existsSync(file) ? readFileSync(file, 'utf8') : 'ratio,loss_curve,grad_norm_curve\n', file)
  const runs = numberColumn(table, 'ratio').map((ratio, i) => {
    const losses = JSON.parse(textColumn(table, 'loss_curve')[i]!) as number[]
    return { ratio, losses: curve(losses, 100), gradNorms: JSON.parse(textColumn(table, 'grad_norm_curve')[i]!) as number[] }
  })
  const at = (ratio: number) => runs.find(r => Math.abs(r.ratio - ratio) < 0.01)!

  it.each([[42.367, 9600], [62.409, 10400], [93.805, 11200], [144.138, 12400]])('D/N %d: smoothed minimum near step %i', (ratio, step) => {
    expect(Math.abs(smoothedMinimum(at(ratio).losses, 10)!.step - step)).toBeLessThanOrEqual(100)
  })
  it('of all 48 runs only D/N = 144 spikes, at step 20,400', () => {
    expect(runs.map(r => [r.ratio, riseOnset(r.losses, { window: 10 })]).filter(([, onset]) => onset !== null)).toEqual([[at(144.138).ratio, 20400]])
  })
  it('its gradient norm peaks at 42.9 and does not come back', () => {
    const { gradNorms } = at(144.138)
    expect(Math.max(...gradNorms)).toBeCloseTo(42.854, 3)
    expect(Math.min(...gradNorms.slice(-10))).toBeGreaterThan(5)
    expect(Math.max(...rollingVariance(gradNorms, 100))).toBeGreaterThan(30 * Math.max(...rollingVariance(at(93.805).gradNorms, 100)))
  })
})
