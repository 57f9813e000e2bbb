import { describe, expect, it } from 'vitest'
import type { Context, Outcome } from '../../src/experiments/reproduction.ts'
import { reproductions } from '../../src/experiments/reproductions/index.ts'
import { measure as bumpInTraining } from '../../src/experiments/reproductions/bump-in-training.ts'
import { measure as fp4Gradients } from '../../src/experiments/reproductions/fp4-gradients.ts'
import { measure as overflowOrLayerNorm } from '../../src/experiments/reproductions/overflow-or-layer-norm.ts'
import { cost, measure as precisionSchedule } from '../../src/experiments/reproductions/precision-schedule.ts'
import { measure as scaleRuleInTraining } from '../../src/experiments/reproductions/scale-rule-in-training.ts'
import { measure as layerNormClustering } from '../../src/experiments/reproductions/r04-layer-norm-clustering.ts'
import { measure as layerNormBias } from '../../src/experiments/reproductions/r05-layer-norm-bias.ts'
import { endLevel, perturbed, proxy, rowsOf, trainRun, withExecutor } from '../../src/experiments/reproductions/training.ts'
import { standaloneSvg } from '../../src/report/standalone.ts'

const context: Context = { scale: 'quick', seed: 1, data: null, log() {} }
const tiny = { model: { depth: 2, width: 32 }, batch: 32, steps: 12, optimizer: { lr: 2e-3 }, precision: 'e4m3/e4m3' }

describe('training without files', () => {
  it('measures what the configuration asks for', () => withExecutor(async executor => {
    const run = await trainRun(executor, proxy({ ...tiny, baseline: 'fp32', metrics: { gradient: 4, overflow: 6 } }))
    expect(run.losses.studied).toHaveLength(12)
    expect(run.losses.baseline).toHaveLength(12)
    expect(rowsOf(run, 'trajectory').map(r => r.step)).toEqual([4, 8, 12])
    expect(rowsOf(run, 'overflow', 'baseline')).toHaveLength(2)
    expect(run.validation.studied).toBeGreaterThan(0)
  }))

  it('continues a kept state bit for bit, and a perturbed one otherwise', () => withExecutor(async executor => {
    const whole = await trainRun(executor, proxy(tiny), { keep: [5] }), state = whole.states.get(5)!
    const again = await trainRun(executor, proxy(tiny), { from: { step: 5, state } })
    expect(again.losses.studied).toEqual(whole.losses.studied.slice(5))
    expect(again.validation).toEqual(whole.validation)
    const nudged = await trainRun(executor, proxy(tiny), { from: { step: 5, state: perturbed(state, 1e-3, 1) } })
    expect(nudged.losses.studied).not.toEqual(again.losses.studied)
    expect(nudged.losses.studied[0]! / again.losses.studied[0]!).toBeCloseTo(1, 1)
  }))

  it('changes precision where the schedule says, and compares runs of one seed', () => withExecutor(async executor => {
    const plain = await trainRun(executor, proxy(tiny))
    const changed = await trainRun(executor, proxy({ ...tiny, precisionSchedule: [{ step: 6, precision: 'fp32' }] }))
    expect(changed.losses.studied.slice(0, 6)).toEqual(plain.losses.studied.slice(0, 6))
    expect(changed.losses.studied.slice(6)).not.toEqual(plain.losses.studied.slice(6))
  }))

  it('keeps the loss that is not finite as Infinity and gives the memory back', () => withExecutor(async executor => {
    const before = executor.arena.used
    const run = await trainRun(executor, proxy({ ...tiny, steps: 200, optimizer: { name: 'sgd', lr: 1e6 } }))
    expect(run.losses.studied.at(-1)).toBe(Infinity)
    expect(run.validation.studied).toBe(Infinity)
    expect(endLevel(run.losses.studied)).toBe(Infinity)
    expect(executor.arena.used).toBe(before)
  }))
})

it('endLevel is the median of the last twentieth', () => {
  expect(endLevel([...Array(95).fill(9), 1, 2, 3, 4, 5])).toBe(3)
})

describe('precision schedules', () => {
  it('cost what their bits multiply to', () => {
    expect(cost(8)).toBe(1)
    expect(cost(4)).toBe((4 * 4 + 8 * 4 + 8 * 4) / 192)
  })
})

/** Every entry that trains, so small that only its course can be checked; what it finds at quick scale is in test/slow. */
const entries: Record<string, () => Promise<Outcome>> = {
  'r4-layer-norm-clustering': () => layerNormClustering({ width: 32, batch: 32, steps: 40, lr: 2e-3 }, context),
  'r5-layer-norm-bias': () => layerNormBias({ width: 32, batch: 32, steps: 40, lr: 2e-3, every: 2 }, context),
  'overflow-or-layer-norm': () => overflowOrLayerNorm({ width: 32, batch: 32, steps: 40, lr: 2e-3, every: 2 }, context),
  'bump-in-training': () => bumpInTraining({ width: 32, batch: 32, steps: 20, seeds: 2, every: 5 }, context),
  'scale-rule-in-training': () => scaleRuleInTraining({ width: 32, batch: 32, steps: 20, seeds: 2, every: 5 }, context),
  'fp4-gradients': () => fp4Gradients({ width: 32, batch: 32, steps: 20, seeds: 2, every: 5 }, context),
  'precision-schedule': () => precisionSchedule({ width: 32, batch: 32, steps: 60, seeds: 2 }, context),
}

describe('reproductions that train', () => {
  it.each(Object.keys(entries))('%s runs from end to end', async name => {
    expect(reproductions.map(r => r.name)).toContain(name)
    const { verdict, comment, findings, figures } = await entries[name]!()
    expect(verdict).not.toBe('not testable here')
    expect(findings.length).toBeGreaterThan(1)
    for (const text of [comment, ...findings.flatMap(f => [f.what, f.claimed, f.found])]) {
      expect(text).not.toBe('')
      expect(text).not.toMatch(/undefined|\[object/)
    }
    expect(figures.length).toBeGreaterThan(0)
    for (const { plot, title, data } of figures) {
      expect(data.length).toBeGreaterThan(2)
      expect(standaloneSvg(plot, title)).toMatch(/<(path|rect|circle)/)
    }
  })
})
