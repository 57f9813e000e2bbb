// Training runs for reproductions: any configuration in memory, without files. Runs of one seed start from the same weights and see the same inputs and
// labels whatever their precision, so they are compared in pairs. Each arm trains as a run of its own (`baseline: null`) unless the gradients of two
// arms are compared, so that one that diverges does not end the other.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
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
import { shows, type Context, type Finding, type ReproductionFigure } from '../reproduction.ts'
import { spikes, type Spike } from '../spikes.ts'
import { median, paired, Random } from '../statistics.ts'

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

/** A state of which one arm's weights differ by `relative` times a standard normal each: what rounding elsewhere in a program could have done. */
export function perturbed(state: State, relative: number, seed: number, arm: Arm = 'studied'): State {
  const random = new Random(seed)
  return Object.fromEntries(Object.entries(state).map(([name, t]) => [name, name.startsWith(`${arm}.weight.`) ? { ...t, data: (t.data as Float32Array).map(v => v * (1 + relative * random.normal())) } : t]))
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
      height: 280, x: { label: 'completed steps' }, y: { label: y, grid: true, ...log ? { type: 'log', tickFormat: (v: number) => String(Number(v.toPrecision(2))) } : {} },
      color: { legend: true, domain: names, range: names.map((_, i) => color.series(i)) },
      marks: [Plot.line(data, { x: 'step', y: 'value', stroke: 'series', strokeWidth: 1.8 }), ...marks],
    },
  }
}

/** Percent with as many digits as it needs to be told from zero. */
export const percent = (share: number): string => `${(100 * share).toPrecision(3)} %`

/** tinyshakespeare and WikiText-2 where they are, else the text that every installation has. */
export function textFiles(folder: string | null): string[] {
  const known = ['tinyshakespeare.txt', 'wikitext2-valid.txt', 'wikitext2-test.txt'].map(f => join(folder ?? '', f)).filter(f => folder !== null && existsSync(f))
  return known.length ? known : ['default']
}

/** A student-teacher pair of seconds whose loss tells precisions apart: the teacher has one layer, so that there is something to learn below its noise. */
export const smallProxy = ({ steps, width = 64, batch = 64 }: { readonly steps: number, readonly width?: number, readonly batch?: number }) =>
  ({ model: { depth: 4, width }, teacher: { depth: 1 }, batch, steps, optimizer: { lr: 1e-3 } })

/** Runs of several arms, `seeds` of each: the list at an arm's name has one run per seed, in the same order for every arm. */
export type ArmRuns<Name extends string = string> = ReadonlyMap<Name, readonly TrainedRun[]>

/** Train every arm from `seeds` starts; an arm is what it changes in `config`. Seeds are consecutive from the context's. */
export async function trainArms<Name extends string>(context: Context, config: Parameters<typeof proxy>[0], arms: Readonly<Record<Name, object>>, seeds: number): Promise<ArmRuns<Name>> {
  const runs = new Map<Name, TrainedRun[]>((Object.keys(arms) as Name[]).map(name => [name, []]))
  await withExecutor(async executor => {
    for (let seed = context.seed; seed < context.seed + seeds; seed++) for (const [name, list] of runs) {
      const run = await trainRun(executor, proxy({ ...config, ...arms[name], seed }), { signal: context.signal })
      list.push(run)
      context.log(`seed ${seed} ${name}: ${run.validation.studied.toExponential(3)}`)
    }
  })
  return runs
}

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

/** Final losses relative to those of arm `baseline` with the same seed: every seed, and the mean with its standard error. */
export function gapsFigure<Name extends string>(runs: ArmRuns<Name>, baseline: Name, { name, title, caption }: { readonly name: string, readonly title: string, readonly caption: string }): ReproductionFigure {
  const arms = [...runs.keys()].filter(arm => arm !== baseline)
  const means = arms.map(arm => { const { mean, standardError: e } = gap(runs, baseline, arm); return { arm, mean, low: mean - e, high: mean + e } })
  const data = arms.flatMap(arm => runs.get(arm)!.map((run, seed) => ({ arm, seed, gap: Number((100 * (run.validation.studied / runs.get(baseline)![seed]!.validation.studied - 1)).toFixed(4)) })))
  return {
    name, title, caption: `${caption} Small dots: one seed each. Bars: mean and standard error.`, data,
    plot: {
      height: 60 + 32 * arms.length, marginLeft: 20 + 7 * Math.max(...arms.map(a => a.length)), x: { label: `loss above ${baseline} (%)`, grid: true }, y: { type: 'point', domain: arms, label: null },
      marks: [
        Plot.ruleX([0]), Plot.link(means, { x1: 'low', x2: 'high', y1: 'arm', y2: 'arm', stroke: 'var(--studied)', strokeWidth: 3 }),
        Plot.dot(means, { x: 'mean', y: 'arm', fill: 'var(--studied)', r: 5 }), Plot.dot(data, { x: 'gap', y: 'arm', r: 2.5, fill: 'currentColor', fillOpacity: 0.6 }),
      ],
    },
  }
}

/** Gradient error at the same weights by probe: the median of `key` over the steps after the share `from` of the run. */
export const probeMedian = (run: TrainedRun, probe: string, key: 'relativeError' | 'cosine' = 'relativeError', from = 0): number =>
  median(rowsOf(run, 'probe').filter(r => r.probe === probe && r.step > from * run.config.steps).map(r => r[key] ?? NaN))

/** A probe's course over the run. */
export const probePoints = (run: TrainedRun, probe: string, key: 'relativeError' | 'cosine' = 'relativeError'): Point[] =>
  rowsOf(run, 'probe').filter(r => r.probe === probe).flatMap(r => r[key] === null ? [] : [{ step: r.step, value: r[key] }])

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

/** Losses of all runs, one panel per arm, on a logarithmic axis; steps inside spikes are marked. */
export function spikeFigure(runs: ArmRuns, { name, title, caption }: { readonly name: string, readonly title: string, readonly caption: string }): ReproductionFigure {
  const data = [...runs].flatMap(([arm, list]) => list.flatMap((run, seed) => thin(lossPoints(run, 'studied', 1), 80).map(p => ({ arm, seed, step: p.step, loss: Number(p.value.toPrecision(4)), spike: spikesOf(run).some(s => p.step >= s.start && p.step <= s.end) }))))
  return {
    name, title, caption, data,
    plot: {
      height: 60 + 110 * runs.size, marginRight: 110, x: { label: 'completed steps' }, y: { label: 'loss', type: 'log', grid: true, ticks: 4, tickFormat: (v: number) => String(Number(v.toPrecision(2))) }, fy: { label: null, domain: [...runs.keys()] },
      marks: [
        Plot.line(data, { x: 'step', y: 'loss', z: 'seed', fy: 'arm', stroke: 'var(--baseline)', strokeWidth: 1.2 }),
        Plot.dot(data.filter(d => d.spike), { x: 'step', y: 'loss', fy: 'arm', r: 1.8, fill: 'var(--studied)' }),
      ],
    },
  }
}
