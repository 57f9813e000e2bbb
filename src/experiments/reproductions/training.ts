// Training runs for reproductions: any configuration in memory, without files. Runs of one seed start from the same weights and see the same inputs and
// labels whatever their precision, so they are compared in pairs. Each arm trains as a run of its own (`baseline: null`) unless the gradients of two
// arms are compared, so that one that diverges does not end the other. What is read off a run stands in readings.ts, its figures in figures.ts.
import type { CheckpointTensor } from '../../train/checkpoint.ts'
import { parseConfig, type Arm, type RunConfig } from '../../train/config.ts'
import { LanguageModel } from '../../train/language-model.ts'
import { StudentTeacher } from '../../train/student-teacher.ts'
import type { Task } from '../../train/task.ts'
import type { MetricsRow } from '../../train/types.ts'
import type { Executor } from '../../runtime/executor.ts'
import { open } from '../../runtime/open.ts'
import type { Context } from '../reproduction.ts'
import { endLevel, Random } from '../statistics.ts'

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
      context.log(`seed ${seed} ${name}: training loss ${endLevel(run.losses.studied).toPrecision(4)} at the end`)
    }
  })
  return runs
}
