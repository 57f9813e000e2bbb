// Training runs for reproductions: any configuration in memory, without files. Runs of one seed start from the same weights and see the same inputs and
// labels whatever their precision, so they are compared in pairs. Each arm trains as a run of its own (`baseline: null`) unless the gradients of two
// arms are compared, so that one that diverges does not end the other.
import * as Plot from '@observablehq/plot'
import { parseConfig, type Arm, type RunConfig } from '../../train/config.ts'
import type { CheckpointTensor } from '../../train/checkpoint.ts'
import { LanguageModel } from '../../train/language-model.ts'
import { StudentTeacher } from '../../train/student-teacher.ts'
import type { Task } from '../../train/task.ts'
import type { MetricsRow } from '../../train/types.ts'
import type { Executor } from '../../runtime/executor.ts'
import { open } from '../../runtime/open.ts'
import { color } from '../../report/style.ts'
import { smooth, thin, type Point } from '../../report/data.ts'
import type { ReproductionFigure } from '../reproduction.ts'
import { median, Random } from '../statistics.ts'

export type State = Readonly<Record<string, CheckpointTensor>>

export interface TrainingOptions {
  readonly signal?: AbortSignal
  /** Go on from this state after `step` completed steps; default: from the start. */
  readonly from?: { readonly step: number, readonly state: State }
  /** Completed steps after which the state is kept. */
  readonly keep?: readonly number[]
}

export interface TrainedRun {
  readonly config: RunConfig
  /** Loss of each step by arm, before its update; values[i] belongs to step first + i + 1. A run ends with the first loss that is not finite, kept as Infinity. */
  readonly losses: Readonly<Record<Arm, number[]>>
  /** Completed steps at the start. */
  readonly first: number
  /** What the configuration's metrics and probes ask for. */
  readonly rows: readonly MetricsRow[]
  /** Validation loss at the end by arm; Infinity for a run that diverged. */
  readonly validation: Readonly<Record<Arm, number>>
  readonly states: ReadonlyMap<number, State>
}

/** Train what `raw` describes to its end, or to its first loss that is not finite. The memory it takes is given back. Throws UsageError for a bad configuration. */
export async function trainRun(executor: Executor, raw: object, { signal, from, keep = [] }: TrainingOptions = {}): Promise<TrainedRun> {
  const config = parseConfig(raw), mark = executor.arena.mark()
  try {
    const task: Task = config.task === 'language-model' ? await LanguageModel.create(executor, config) : new StudentTeacher(executor, config)
    const first = from?.step ?? 0, changes = new Set(config.precisionSchedule.map(s => s.step))
    if (from) task.restore(from.state, `of step ${first}`)
    task.build(first)
    const losses: Record<Arm, number[]> = { baseline: [], studied: [] }, rows: MetricsRow[] = [], states = new Map<number, State>()
    for (let done = first; done < config.steps; done++) {
      signal?.throwIfAborted()
      if (done > first && changes.has(done)) task.build(done)
      if (keep.includes(done)) states.set(done, task.save())
      await task.prepare(done)
      await task.gradients()
      const present = Object.entries(task.losses()) as [Arm, number][]
      for (const [arm, loss] of present) losses[arm].push(Number.isFinite(loss) ? loss : Infinity)
      if (present.some(([, loss]) => !Number.isFinite(loss))) return { config, losses, first, rows, states, validation: { baseline: Infinity, studied: Infinity } }
      rows.push(...await task.measure(done + 1))
      try { await task.update() } catch { // a language model's gradient that is not finite
        losses.studied.push(Infinity)
        return { config, losses, first, rows, states, validation: { baseline: Infinity, studied: Infinity } }
      }
    }
    if (keep.includes(config.steps)) states.set(config.steps, task.save())
    const end = config.validation.every > 0 ? await task.validate() : {}
    const orInfinity = (x: number | undefined) => x !== undefined && Number.isFinite(x) ? x : Infinity
    return { config, losses, first, rows, states, validation: { baseline: orInfinity(end.baseline), studied: orInfinity(end.studied) } }
  } finally { executor.arena.release(mark) }
}

/** Open an executor with every thread, do `work` with it, close it. */
export async function withExecutor<T>(work: (executor: Executor) => Promise<T>): Promise<T> {
  const executor = await open()
  try { return await work(executor) } finally { await executor.close() }
}

/** A state whose weights differ by `relative` times a standard normal each: what rounding elsewhere in a program could have done. */
export function perturbed(state: State, relative: number, seed: number): State {
  const random = new Random(seed)
  return Object.fromEntries(Object.entries(state).map(([name, t]) => [name, name.includes('.weight.') ? { ...t, data: (t.data as Float32Array).map(v => v * (1 + relative * random.normal())) } : t]))
}

/** A student-teacher configuration of one arm without metrics, as far as `changes` do not say otherwise. Label noise as in the paper's text. */
export function proxy(changes: { readonly model: object, readonly optimizer: object, readonly metrics?: object } & Readonly<Record<string, unknown>>): Record<string, unknown> {
  const metrics = { loss: 1, gradient: 0, overflow: 0, activations: 0, gamma: 0, ...changes.metrics }
  return { labelNoise: 1e-3, baseline: null, validation: { every: 1, batches: 4, batchSize: 256 }, ...changes, metrics }
}

type RowOf<K extends MetricsRow['kind']> = Extract<MetricsRow, { kind: K }>

/** A run's rows of one kind, of one arm if given. */
export const rowsOf = <K extends MetricsRow['kind']>(run: TrainedRun, kind: K, arm?: Arm): RowOf<K>[] =>
  run.rows.filter((row): row is RowOf<K> => row.kind === kind && (arm === undefined || (row as { arm?: Arm }).arm === arm))

/** Median of the last `count` values: a run's loss at its end, whatever its last batch was. Infinity for a run that ended early by diverging. */
export const endLevel = (values: readonly number[], count = Math.max(1, Math.round(values.length / 20))): number => values.includes(Infinity) ? Infinity : median(values.slice(-count))

/** Losses as points, smoothed over a fortieth of the run. */
export const lossPoints = ({ losses, first }: TrainedRun, arm: Arm = 'studied', width = Math.max(1, Math.round(losses[arm].length / 40))): Point[] =>
  smooth(losses[arm].flatMap((value, i) => Number.isFinite(value) ? [{ step: first + i + 1, value }] : []), width)

/** A figure of lines over steps, one colour each; at most `points` points per line are drawn and kept as data. */
export function linesFigure(
  { name, title, caption, y, series, log = false, marks = [], points = 160 }: {
    readonly name: string, readonly title: string, readonly caption: string, readonly y: string, readonly series: Readonly<Record<string, readonly Point[]>>
    readonly log?: boolean, readonly marks?: Plot.Markish[], readonly points?: number
  }): ReproductionFigure {
  const names = Object.keys(series), data = Object.entries(series).flatMap(([series, all]) => thin(all, points).map(p => ({ series, step: p.step, value: Number(p.value.toPrecision(5)) })))
  return {
    name, title, caption, data,
    plot: {
      height: 280, x: { label: 'completed steps' }, y: { label: y, grid: true, type: log ? 'log' : 'linear' },
      color: { legend: true, domain: names, range: names.map((_, i) => color.series(i)) },
      marks: [Plot.line(data, { x: 'step', y: 'value', stroke: 'series', strokeWidth: 1.8 }), ...marks],
    },
  }
}

/** Percent with as many digits as it needs to be told from zero. */
export const percent = (share: number): string => `${(100 * share).toPrecision(3)} %`
