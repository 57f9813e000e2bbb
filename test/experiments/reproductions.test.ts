import { existsSync } from 'node:fs'
import { JSDOM } from 'jsdom'
import { describe, expect, it } from 'vitest'
import { errorStatistics, overflowShares } from '../../src/experiments/block-statistics.ts'
import { backwardSolve, cholesky, forwardSolve } from '../../src/experiments/linear-algebra.ts'
import { equals, shows, verdictOf, within, type Outcome } from '../../src/experiments/reproduction.ts'
import { reproductions } from '../../src/experiments/reproductions/index.ts'
import { nvfp4 } from '../../src/experiments/reproductions/r20-nvfp4.ts'
import { standaloneSvg } from '../../src/report/standalone.ts'

const data = existsSync('../shared/data/paper-runs.csv') ? '../shared/data' : null
const run = (name: string, folder = data): Outcome | Promise<Outcome> => reproductions.find(r => r.name === name)!.run({ scale: 'quick', seed: 1, data: folder, log() {} })

describe('verdicts', () => {
  const yes = shows('', '', '', true), no = shows('', '', '', false), right = equals('', 1, 1.04, 1), wrong = within('', 1, 1.2, 0.1)
  it('follow from the findings', () => {
    expect(verdictOf([yes, right])).toBe('reproduced')
    expect(verdictOf([yes, wrong])).toBe('direction only')
    expect(verdictOf([no, right])).toBe('not reproduced')
    expect(verdictOf([wrong])).toBe('not reproduced')
  })
})

describe('reproductions', () => {
  it('have names of their own and say what they cost', () => {
    expect(new Set(reproductions.map(r => r.name)).size).toBe(reproductions.length)
    for (const r of reproductions) for (const text of [r.title, r.claim, r.source, r.cost.quick, r.cost.full]) expect(text).not.toBe('')
  })

  // Those of seconds; the others are in test/slow.
  it.each(['r1-code-geometry', 'r2-clamping', 'r3-activation-overflow', 'r17-scale-rounding', 'r18-exponent-bump', 'r19-stochastic-rounding', 'r20-nvfp4'])('%s', async name => {
    const { verdict, findings, figures } = await run(name)
    expect(findings.filter(f => !f.holds)).toEqual([])
    expect(verdict).toBe('reproduced')
    expect(figures.length).toBeGreaterThan(0)
    for (const { plot, title, data: rows } of figures) {
      const svg = new JSDOM(standaloneSvg(plot, title), { contentType: 'image/svg+xml' }).window.document
      expect(svg.documentElement.tagName).toBe('svg')
      expect(svg.querySelectorAll('path, rect, circle').length).toBeGreaterThan(2)
      expect(rows.length).toBeGreaterThan(0)
    }
  })

  it.each(['r15-scaling-law', 'r16-spike-onset'])('%s needs the paper\'s data and says so', async name => {
    expect(await run(name, null)).toMatchObject({ verdict: 'not testable here', comment: expect.stringContaining('--data') })
  })
  it.skipIf(data === null).each(['r15-scaling-law', 'r16-spike-onset'])(`%s${data === null ? ' (skipped: the paper\'s data is absent)' : ''}`, async name => {
    const { verdict, findings } = await run(name)
    expect(findings.filter(f => !f.holds)).toEqual([])
    expect(verdict).toBe('reproduced')
  })
})

describe('block statistics', () => {
  it('counts what lies above 1.75 times the block\'s power of two', () => {
    const x = new Float32Array(64).fill(1)
    x.set([957, 896, 897], 0)
    expect(overflowShares(x, 'e4m3')).toEqual({ elements: 2 / 64, blocks: 1 / 2 })
    expect(overflowShares(new Float32Array(32), 'e4m3')).toEqual({ elements: 0, blocks: 0 })
  })
  it('measures error and shrinkage', () => {
    expect(errorStatistics(Float32Array.of(3, 4), Float32Array.of(1.5, 2))).toEqual({ relativeError: 0.5, slope: 0.5 })
  })
  it('NVFP4: the tensor\'s largest value is exact, others within half a step', () => {
    const x = Float32Array.from({ length: 32 }, (_, i) => i < 16 ? i / 15 * 6 : i - 24)
    const q = nvfp4(x)
    expect(q[16]).toBe(-8)
    // Block scale 6 / 6 of the first block is 336 / 448 of the tensor's: a tie that goes to 320, so its largest value becomes 6 * 320 / 336.
    expect(q[15]).toBeCloseTo(6 * 320 / 336, 5)
    // The largest step of E2M1 is 2, times the largest block scale 8 / 6.
    expect(Math.max(...q.map((v, i) => Math.abs(v - x[i]!)))).toBeLessThanOrEqual(2 * 8 / 6 / 2)
    expect([...nvfp4(new Float32Array(16))]).toEqual(Array(16).fill(0))
  })
})

it('linear algebra solves a positive definite system', () => {
  const a = Float64Array.of(4, 2, 0.5, 2, 5, 1, 0.5, 1, 3), x = [1, -2, 3]
  const b = Float64Array.from({ length: 3 }, (_, i) => x.reduce((s, v, j) => s + a[i * 3 + j]! * v, 0))
  const l = cholesky(a, 3)
  for (const [i, v] of backwardSolve(l, 3, forwardSolve(l, 3, b)).entries()) expect(v).toBeCloseTo(x[i]!, 12)
})
