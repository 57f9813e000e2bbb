// The parts of the benchmarks that judge: comparison with an earlier run, fits, best of samples. (Timings are never tested.)
import { describe, expect, it } from 'vitest'
// @ts-expect-error: a script, without types
import { compareRow, compareRuns } from '../../bench/compare.mjs'
// @ts-expect-error: a script, without types
import { powerLaw } from '../../bench/fit.mjs'
// @ts-expect-error: a script, without types
import { few, interleave } from '../../bench/measure.mjs'

const row = (name: string, value: number, more = {}) => ({ name, value, unit: 'GFLOP/s', machine: 'm', engine: 'e', mode: '256-bit', ...more })

describe('compare', () => {
  it('a rate that rises is faster, a time that rises is slower, and 5 % either way is noise', () => {
    expect(compareRow(row('a', 120), row('a', 100))).toEqual({ gain: 1.2, verdict: 'faster' })
    expect(compareRow(row('a', 90), row('a', 100))).toEqual({ gain: 0.9, verdict: 'SLOWER' })
    expect(compareRow(row('a', 104), row('a', 100)).verdict).toBe('same')
    expect(compareRow(row('a', 96), row('a', 100)).verdict).toBe('same')
    for (const unit of ['ms', 'us']) {
      expect(compareRow(row('a', 12, { unit }), row('a', 10, { unit })).verdict).toBe('SLOWER')
      expect(compareRow(row('a', 8, { unit }), row('a', 10, { unit }))).toEqual({ gain: 1.25, verdict: 'faster' })
    }
  })

  it('knows no verdict on what it did not measure before, or in another unit', () => {
    expect(compareRow(row('a', 1), undefined)).toEqual({ gain: null, verdict: 'new' })
    expect(compareRow(row('a', 1, { unit: 'ms' }), row('a', 1))).toEqual({ gain: null, verdict: 'was in GFLOP/s' })
  })

  it('sums up, and says how the runs differ and what is missing', () => {
    const before = [row('a', 100), row('b', 100), row('c', 100), row('d', 100)], now = ['a', 'b', 'e'].map((name, i) => row(name, [120, 50, 1][i]!, { mode: '128-bit' }))
    expect(compareRuns(now, before, (r: { name: string }) => r.name !== 'd')).toEqual(['another mode: 256-bit before, 128-bit now', 'not measured now: c', '1 faster, 1 SLOWER, 1 new'])
    expect(compareRuns([], before, () => false)).toEqual(['nothing to compare'])
  })
})

it('a power law through points of one is found, and how far others are off', () => {
  const law = powerLaw([1, 2, 4, 8].map(x => [x, 3 * x ** 1.5]))
  expect(law.exponent).toBeCloseTo(1.5, 12)
  expect(law.factor).toBeCloseTo(3, 12)
  expect(law.worst).toBeCloseTo(1, 12)
  expect(powerLaw([[1, 1], [2, 3], [4, 4]]).worst).toBeGreaterThan(1.1)
})

it('samples figures in turn and keeps the best', async () => {
  const order: string[] = []
  const subject = (name: string, times: number[]) => ({ timer: { async sample() { order.push(name); const least = times.shift()!; return { least, median: 2 * least } } } }) as { timer: object, least?: number, median?: number }
  const [a, b] = [subject('a', [3, 1, 2]), subject('b', [5, 6, 4])]
  await interleave([a, b], { rounds: 3, ms: 1 })
  expect(order.join('')).toBe('ababab')
  expect([a.least, a.median, b.least, b.median]).toEqual([1, 4, 4, 10])
})

it('what takes seconds is run a few times only', async () => {
  let runs = 0
  const timer = few({ sample: async () => ({ least: ++runs, median: runs }) }, 2)
  expect([await timer.sample(), await timer.sample(), await timer.sample(), await timer.sample()].map(s => s.least)).toEqual([1, 2, 1, 2])
})
