// What reproductions read off their training runs: rows, losses at the end and their gaps, gradient errors, spikes.
import { smooth, type Point } from '../../report/data.ts'
import type { Arm } from '../../train/config.ts'
import type { MetricsRow } from '../../train/types.ts'
import { shows, type Finding } from '../reproduction.ts'
import { spikes, type Spike } from '../spikes.ts'
import { median, paired } from '../statistics.ts'
import type { ArmRuns, TrainedRun } from './training.ts'

type RowOf<K extends MetricsRow['kind']> = Extract<MetricsRow, { kind: K }>

/** A run's rows of one kind, of one arm if given. */
export const rowsOf = <K extends MetricsRow['kind']>(run: TrainedRun, kind: K, arm?: Arm): RowOf<K>[] =>
  run.rows.filter((row): row is RowOf<K> => row.kind === kind && (arm === undefined || (row as { arm?: Arm }).arm === arm))

/** Losses as points, smoothed over a fortieth of the run. */
export const lossPoints = ({ losses, first }: TrainedRun, arm: Arm = 'studied', width = Math.max(1, Math.round(losses[arm].length / 40))): Point[] =>
  smooth(losses[arm].flatMap((value, i) => Number.isFinite(value) ? [{ step: first + i + 1, value }] : []), width)

/** Gradient error at the same weights by probe: the median of `key` over the steps after the share `from` of the run. */
export const probeMedian = (run: TrainedRun, probe: string, key: 'relativeError' | 'cosine' = 'relativeError', from = 0): number =>
  median(rowsOf(run, 'probe').filter(r => r.probe === probe && r.step > from * run.config.steps).map(r => r[key] ?? NaN))

/** A probe's course over the run. */
export const probePoints = (run: TrainedRun, probe: string, key: 'relativeError' | 'cosine' = 'relativeError'): Point[] =>
  rowsOf(run, 'probe').filter(r => r.probe === probe).flatMap(r => r[key] === null ? [] : [{ step: r.step, value: r[key] }])

/** Validation losses of an arm at the end, one per seed. */
export const finalLosses = <Name extends string>(runs: ArmRuns<Name>, arm: Name): number[] => runs.get(arm)!.map(r => r.validation.studied)

/** Loss of arm `b` above that of arm `a`, in percent of the latter, paired by seed. */
export function gap<Name extends string>(runs: ArmRuns<Name>, a: Name, b: Name) {
  const relative = finalLosses(runs, b).map((loss, i) => 100 * (loss / finalLosses(runs, a)[i]! - 1))
  const { meanDifference: mean, standardError, higher, lower } = paired(relative.map(() => 0), relative)
  return { mean, standardError, higher, lower, text: `${mean < 0 ? '−' : '+'}${Math.abs(mean).toFixed(2)} ± ${standardError.toFixed(2)} % (higher in ${higher} of ${relative.length} seeds)` }
}

/** A finding that arm `worse` ends above arm `better` on average. */
export function endsAbove<Name extends string>(runs: ArmRuns<Name>, better: Name, worse: Name): Finding {
  const { mean, text } = gap(runs, better, worse)
  return shows(`final loss, ${worse} against ${better}`, 'higher', text, mean > 0)
}

/** The rule for spikes of short runs: above three times the median of the 50 losses before, for three steps; the first 50 steps are left out. */
const SPIKE = { factor: 3, trailing: 50, sustain: 3 }

/** Spikes of the studied arm's loss. `before`: losses of the steps before a fork. A loss that is not finite is a spike that does not recover. */
export function spikesOf({ losses: { studied }, first }: TrainedRun, before: readonly number[] = []): Spike[] {
  const values = [...before, ...studied], steps = values.map((_, i) => first - before.length + i + 1)
  return spikes({ values, steps }, SPIKE).filter(s => s.end > SPIKE.trailing).map(s => ({ ...s, start: Math.max(s.start, SPIKE.trailing + 1) }))
}

/** Step at which the first spike begins, or null. */
export const firstSpike = (run: TrainedRun, before?: readonly number[]): number | null => spikesOf(run, before)[0]?.start ?? null

/** Steps inside spikes, over all runs; a run that ended early by diverging counts as inside to its end. */
export const stepsInSpikes = (runs: readonly TrainedRun[]): number => runs.reduce((sum, run) => sum
  + spikesOf(run).reduce((n, s) => n + s.end - s.start + 1, 0) + (run.losses.studied.at(-1) === Infinity ? run.config.steps - run.first - run.losses.studied.length : 0), 0)

/** Percent with as many digits as it needs to be told from zero. */
export const percent = (share: number): string => `${(100 * share).toPrecision(3)} %`
