// R7: the paper's central run, GELU, L=4, d=512, E4M3 everywhere, rate 6e-4, which diverges near MX step 5090 where FP32 does not. With other random
// numbers the step cannot be the same; whether such runs diverge at all, and in which window, can. Runs lie in runs/ and are resumed after an interruption.
import { ruleX } from '@observablehq/plot'
import { loadConfig, overrideConfig } from '../../train/config-file.ts'
import type { StudentTeacherConfig } from '../../train/config.ts'
import { holdsRun, readMetrics, readSummary } from '../../train/run-directory.ts'
import { train } from '../../train/trainer.ts'
import type { MetricsRow } from '../../train/types.ts'
import { notTestable, outcome, shows, type Outcome, type Reproduction } from '../reproduction.ts'
import { spikes, type Spike } from '../spikes.ts'
import { clopperPearson } from '../statistics.ts'
import { linesFigure } from './figures.ts'

const SEEDS = 3

export const reproduction: Reproduction = {
  name: 'r7-gelu-divergence',
  title: 'A GELU run that diverges in E4M3 and not in FP32',
  claim: 'At L=4, d=512, rate 6e-4, batch 2048, training is stable in FP32 for 9000 steps; in E4M3 it diverges for good, near step 5090.',
  source: 'arXiv 2506.20752, section 5 and figure 4',
  cost: { quick: 'long: not tested at this scale', full: `${SEEDS} pairs of runs of preset gelu-divergence, some ten hours each; resumed where they stopped` },
  async run({ scale, seed, log, signal }) {
    if (scale === 'quick') {
      return notTestable('A long run: the claim is about one configuration (8.4 M weights, 9000 steps of 2048, 2 x 10^15 floating-point operations with its FP32 twin, some ten hours on two cores), and whether a smaller one diverges would say nothing about it. `blockscale reproduce r7-gelu-divergence --scale full` runs it, `blockscale train gelu-divergence` one pair of it. What can be said at small size about the mechanism is in r4, r5 and r6, about interventions in r11.')
    }
    const runs: Losses[] = []
    for (let i = 0; i < SEEDS; i++) runs.push(await losses(seed + i, log, signal))
    return judge(runs)
  },
}

export interface Losses { readonly seed: number, readonly steps: number, readonly baseline: readonly number[], readonly studied: readonly number[] }

async function losses(seed: number, log: (line: string) => void, signal?: AbortSignal): Promise<Losses> {
  const config = overrideConfig(loadConfig('gelu-divergence') as StudentTeacherConfig, [`seed=${seed}`]), directory = `runs/r7-gelu-divergence-seed-${seed}`
  if (!(holdsRun(directory) && readSummary(directory))) {
    try {
      await train(config, { directory, threads: 'auto', resume: holdsRun(directory), signal, onProgress: p => { if (p.step % 100 === 0) log(`seed ${seed}: step ${p.step}, ${(p.eta / 3600).toFixed(1)} h left`) } })
    } catch (error) { log((error as Error).message) } // a loss that is not finite: what was logged before says the rest
    signal?.throwIfAborted()
  }
  const rows = readMetrics(directory).filter((r): r is Extract<MetricsRow, { kind: 'step' }> => r.kind === 'step'), of = (arm: string) => rows.filter(r => r.arm === arm).map(r => r.loss ?? Infinity)
  return { seed, steps: config.steps, baseline: of('baseline'), studied: of('studied') }
}

/** The spike from which a run does not recover: above ten times the median of the 200 losses before, for 50 steps and to the end; or losses that end early. */
export function divergence(values: readonly number[], steps: number): Pick<Spike, 'start'> | null {
  const last = spikes({ values, steps: values.map((_, i) => i + 1) }).find(s => !s.recovered)
  return last ?? (values.length < steps ? { start: values.length } : null)
}

/** The verdict that pairs of runs amount to. */
export function judge(runs: readonly Losses[]): Outcome {
  const studied = runs.map(r => divergence(r.studied, r.baseline.length)?.start ?? null), fp32 = runs.map(r => divergence(r.baseline, r.studied.length)?.start ?? null)
  const count = studied.filter(s => s !== null).length, [low, high] = clopperPearson(count, runs.length)
  return outcome([
    shows('E4M3 runs that diverge', 'some', `${count} of ${runs.length} (95 % interval of the frequency: ${low.toFixed(2)} to ${high.toFixed(2)})`, count > 0),
    shows('FP32 runs that diverge', 'none', `${fp32.filter(s => s !== null).length} of ${runs.length}`, fp32.every(s => s === null)),
    shows('steps at which E4M3 runs diverge', 'between 4000 and 9000', studied.map(s => s ?? 'none').join(', '), count > 0 && studied.every(s => s === null || (s >= 4000 && s <= 9000))),
  ], 'The paper\'s configuration with our random numbers: its step cannot be reproduced, only the frequency and the window. Divergence: above ten times the median of the 200 losses before, for at least 50 steps and to the end.', [
    linesFigure({ name: 'r7-loss', title: 'Training loss', caption: 'Dashed: the step at which the paper\'s run diverges.', y: 'loss', log: true, marks: [ruleX([5090], { strokeDasharray: '4 4' })],
      series: Object.fromEntries(runs.flatMap(r => (['baseline', 'studied'] as const).map(arm => [`seed ${r.seed}, ${arm === 'baseline' ? 'FP32' : 'E4M3'}`, r[arm].flatMap((value, i) => Number.isFinite(value) ? [{ step: i + 1, value }] : [])]))) }),
  ])
}
