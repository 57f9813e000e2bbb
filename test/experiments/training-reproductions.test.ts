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
import { measure as gradientTrajectories } from '../../src/experiments/reproductions/r06-gradient-trajectories.ts'
import { divergence, judge as judgeDivergence } from '../../src/experiments/reproductions/r07-gelu-divergence.ts'
import { measure as activations } from '../../src/experiments/reproductions/r08-activations.ts'
import { measure as noLayerNorm } from '../../src/experiments/reproductions/r09-no-layer-norm.ts'
import { judge as judgePhases, measure as phaseDiagram, type Cell } from '../../src/experiments/reproductions/r10-phase-diagram.ts'
import { judge as judgeInterventions, measure as interventions, type Forks } from '../../src/experiments/reproductions/r11-interventions.ts'
import { measure as languageModelDrift } from '../../src/experiments/reproductions/r14-language-model-drift.ts'
import { crossing, measure as sqrt3Rule } from '../../src/experiments/reproductions/r21-sqrt3-rule.ts'
import { firstSpike, rowsOf, spikesOf, stepsInSpikes } from '../../src/experiments/reproductions/readings.ts'
import { perturbed, proxy, trainRun, withExecutor, type TrainedRun } from '../../src/experiments/reproductions/training.ts'
import { standaloneSvg } from '../../src/report/standalone.ts'
import { loadConfig } from '../../src/train/config-file.ts'
import { endLevel } from '../../src/experiments/statistics.ts'

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

describe('rules, on made-up data', () => {
  const held = ({ findings }: Outcome) => findings.map(f => f.holds)

  it('a phase diagram that is stable below a line, with MX one step worse', () => {
    const cells: Cell[] = (['fp32', 'mx'] as const).flatMap(precision => [1, 2, 3, 4].flatMap(depth => [1, 2, 3, 4].flatMap(width => [1, 2, 3, 4, 5].map(lr =>
      ({ precision, depth, width, lr, loss: lr + depth + width + (precision === 'mx' ? 1 : 0) > 9 ? 1 : 0.1 })))))
    expect(judgePhases(cells).verdict).toBe('reproduced')
    // The other way round in every axis, and MX better.
    const mirrored = cells.map(c => ({ ...c, lr: 6 - c.lr, depth: 5 - c.depth, width: 5 - c.width, precision: c.precision === 'mx' ? 'fp32' as const : 'mx' as const }))
    expect(held(judgePhases(mirrored))).toEqual([false, false, false, false, false])
    // No cell differs: nothing to conclude.
    expect(held(judgePhases(cells.map(c => ({ ...c, loss: 1 }))))).toEqual([false, false, false, false, false])
  })

  it('interventions that work, and a control that does as well', () => {
    const names = ['no change (control)', 'no MX', 'bf16 activations and gradients', 'bf16 activations, forward only', 'no backward quantization', 'layer norm fp32', 'exponent bump', 'bf16 weights'] as const
    const where = { onset: 200, seed: 1, late: 5, early: 60, after: 50 }, averting = [1, 2, 4]
    const forks: Forks[] = (['late', 'early'] as const).flatMap(place => names.map((name, i) => ({ name, place, delays: i === 0 ? [0, 0] : averting.includes(i) ? [null, null] : place === 'early' ? [null, 9] : [9, 9] })))
    expect(judgeInterventions(forks, where).verdict).toBe('reproduced')
    const lost = forks.map(f => f.name === 'no change (control)' ? { ...f, delays: [null, null] } : f)
    expect(held(judgeInterventions(lost, where))).toEqual([false, false, false, false, false, false, true])
  })

  it('runs that diverge in E4M3 between steps 4000 and 9000', () => {
    const stable = Array<number>(9000).fill(0.01), diverged = stable.map((v, i) => i < 5000 ? v : 1), spiked = stable.map((v, i) => i > 5000 && i < 5100 ? 1 : v)
    expect(divergence(stable, 9000)).toBe(null)
    expect(divergence(spiked, 9000)).toBe(null)
    expect(divergence(diverged, 9000)?.start).toBe(5001)
    expect(divergence(stable.slice(0, 4500), 9000)?.start).toBe(4500)
    const run = (studied: number[], baseline = stable) => ({ seed: 1, steps: 9000, baseline, studied })
    expect(judgeDivergence([run(diverged), run(stable)]).verdict).toBe('reproduced')
    expect(held(judgeDivergence([run(stable), run(spiked)]))).toEqual([false, true, false])
    expect(held(judgeDivergence([run(diverged, diverged)]))).toEqual([true, false, true])
  })

  it('the crossing of sqrt(3) is that of a median of five', () => {
    const ratio = [5, 4, 1, 3, 3, 3, 1.5, 1.5, 1.5, 1].map((value, i) => ({ step: 10 * (i + 1), value }))
    expect(crossing(ratio)).toBe(90)
    expect(crossing(ratio.slice(0, 8))).toBe(null)
  })

  it('spikes are counted after step 50, with what came before a fork as their past', () => {
    const run = (studied: number[], first = 0) => ({ losses: { studied, baseline: [] }, first, config: { steps: first + studied.length } }) as unknown as TrainedRun
    const calm = Array<number>(100).fill(1)
    expect(spikesOf(run(calm))).toEqual([])
    expect(spikesOf(run([...calm, 4, 4, 1]))).toEqual([]) // two steps are not enough
    expect(spikesOf(run([...calm, 4, 4, 4, 1]))).toMatchObject([{ start: 101, end: 103, recovered: true }])
    expect(spikesOf(run([9, 9, 9, ...calm]))).toEqual([])
    expect(firstSpike(run([4, 4, 4], 100), calm)).toBe(101)
    expect(stepsInSpikes([run([...calm, 4, 4, 4, 1]), run([...calm, Infinity])])).toBe(4)
  })
})

/** Every entry that trains, so small that only its course can be checked; what it finds at quick scale is in test/slow. */
const entries: Record<string, () => Promise<Outcome>> = {
  'r4-layer-norm-clustering': () => layerNormClustering({ width: 32, batch: 32, steps: 40, lr: 2e-3 }, context),
  'r5-layer-norm-bias': () => layerNormBias({ width: 32, batch: 32, steps: 40, lr: 2e-3, every: 2 }, context),
  'r6-gradient-trajectories': () => gradientTrajectories({ width: 32, batch: 32, steps: 60, rates: [2e-3, 1e-2, 1e-1], every: 1 }, context),
  'r8-activations': () => activations({ width: 32, batch: 32, steps: 60, lr: 0.1, seeds: 1 }, context),
  'r9-no-layer-norm': () => noLayerNorm({ width: 32, batch: 32, steps: 60, moderate: 1e-3, high: 0.1, seeds: 2 }, context),
  'r10-phase-diagram': () => phaseDiagram({ rates: [2e-3, 0.3], depths: [1, 2], widths: [32], batch: 32, steps: 40 }, context),
  'r11-interventions': () => interventions({ width: 16, batch: 8, steps: 70, lr: 0.3, seeds: 4, every: 1, late: 0, early: 0, after: 6, copies: 1 }, context),
  'r14-language-model-drift': () => languageModelDrift({ model: { width: 32, depth: 1, heads: 2, context: 16 }, batch: 2, steps: 60, lr: 5e-3 }, context),
  'r21-sqrt3-rule': () => sqrt3Rule({ width: 32, batch: 32, steps: 80, every: 4 }, context),
  'overflow-or-layer-norm': () => overflowOrLayerNorm({ width: 32, batch: 32, steps: 40, lr: 2e-3, every: 2 }, context),
  'bump-in-training': () => bumpInTraining({ width: 32, batch: 32, steps: 20, seeds: 2, every: 5 }, context),
  'scale-rule-in-training': () => scaleRuleInTraining({ width: 32, batch: 32, steps: 20, seeds: 2, every: 5 }, context),
  'fp4-gradients': () => fp4Gradients({ width: 32, batch: 32, steps: 20, seeds: 2, every: 5 }, context),
  'precision-schedule': () => precisionSchedule({ width: 32, batch: 32, steps: 60, seeds: 2 }, context),
}

describe('reproductions that train', () => {
  it('r7 is long and says so', async () => {
    expect(await reproductions.find(r => r.name === 'r7-gelu-divergence')!.run(context)).toMatchObject({ verdict: 'not testable here', comment: expect.stringContaining('--scale full') })
    expect(loadConfig('gelu-divergence')).toMatchObject({ model: { depth: 4, width: 512 }, steps: 9000, batch: 2048, probes: { every: 0 } })
  })

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
