import { describe, expect, it } from 'vitest'
import { clopperPearson, incompleteBeta, linearFit, median, paired, quantile, Random, rSquared, variance } from '../../src/experiments/statistics.ts'

describe('clopperPearson', () => {
  // R's binom.test: 95 % intervals.
  it.each([
    [0, 10, 0, 0.3084971],
    [3, 10, 0.06673951, 0.6524529],
    [10, 10, 0.6915029, 1],
    [1, 5, 0.005050763, 0.7164179],
  ])('%i of %i', (k, n, low, high) => {
    const [l, h] = clopperPearson(k, n)
    expect(l).toBeCloseTo(low, 6)
    expect(h).toBeCloseTo(high, 6)
  })
  it('refuses counts that are none', () => expect(() => clopperPearson(3, 2)).toThrow('successes 3 of 2'))
  it('tends to the binomial tail it inverts', () => expect(incompleteBeta(0.5, 3, 3)).toBeCloseTo(0.5, 12))
})

describe('descriptive statistics', () => {
  it('quantile as numpy', () => {
    expect(quantile([3, 1, 2, 4], 0.25)).toBe(1.75)
    expect(median([5, 1, 3])).toBe(3)
  })
  it('variance, R2, line', () => {
    expect(variance([1, 2, 3, 4])).toBeCloseTo(5 / 3, 12)
    expect(rSquared([1, 2, 3], [2, 2, 2])).toBe(0)
    expect(linearFit([0, 1, 2], [1, 3, 5])).toMatchObject({ slope: 2, intercept: 1, slopeError: 0 })
  })
  it('paired', () => expect(paired([1, 2, 3], [2, 1, 5])).toMatchObject({ higher: 2, lower: 1, meanDifference: 2 / 3 }))
})

describe('Random', () => {
  it('draws uniformly, the same for the same seed', () => {
    const a = new Random(7), b = new Random(7)
    const counts = Array(10).fill(0)
    for (let i = 0; i < 10_000; i++) {
      const v = a.below(10)
      expect(v).toBe(b.below(10))
      counts[v]++
    }
    // Chi-square with 9 degrees of freedom: above 27.9 has probability 0.001.
    expect(counts.reduce((s, c) => s + (c - 1000) ** 2 / 1000, 0)).toBeLessThan(27.9)
  })
})
