// The trainer: walks the steps of a task, writes metrics and checkpoints, resumes, stops when asked to. A run is a function of its configuration alone:
// whatever is random is a function of (seed, step, index), and a resumed run continues bit for bit.
import { join } from 'node:path'
import { RunError, UsageError } from '../errors.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import { describeEngine } from '../runtime/engine.ts'
import { open } from '../runtime/open.ts'
import { Profiler } from '../runtime/profile.ts'
import { checkpointDue, readCheckpoint, writeCheckpoint } from './checkpoint.ts'
import type { RunConfig } from './config.ts'
import { configHash } from './config-file.ts'
import { LanguageModel } from './language-model.ts'
import { listCheckpoints, readMetrics, RunDirectory } from './run-directory.ts'
import { StudentTeacher } from './student-teacher.ts'
import { due, type Task } from './task.ts'
import type { EventRow, MetricsRow, RunSummary, TrainOptions } from './types.ts'

const finite = (x: number): number | null => Number.isFinite(x) ? x : null

/**
 * Train `config` in `options.directory`. Resolves with the summary; `finished` is false if the signal ended it early (a checkpoint then holds the state).
 * Throws UsageError on bad input (directory in use, foreign checkpoint), RunError if training failed (non-finite loss, dead worker, disk full).
 */
export async function train(config: RunConfig, options: TrainOptions): Promise<RunSummary> {
  const started = performance.now()
  const from = options.from ? readCheckpoint(options.from) : null
  if (from && from.step >= config.steps) throw new UsageError(`checkpoint ${options.from} holds step ${from.step}: nothing is left of steps ${config.steps}`)
  const opened = await open({ threads: options.threads, wide: options.wide })
  const executor = options.profile ? new Profiler(opened) : opened
  const engine = { ...describeEngine(executor.core), threads: executor.threads }
  let run: RunDirectory | undefined, began = false
  try {
    run = RunDirectory.open(options.directory, config, { resume: options.resume, engine, parent: options.parent })
    const task: Task = config.task === 'language-model' ? await LanguageModel.create(executor, config) : new StudentTeacher(executor, config)
    const last = options.resume ? listCheckpoints(run.path).at(-1) : undefined
    const file = last !== undefined ? run.checkpoint(last) : options.from
    const checkpoint = last !== undefined ? readCheckpoint(file!) : from
    if (checkpoint) task.restore(checkpoint.tensors, file!)
    const first = checkpoint?.step ?? 0
    task.build(first)
    began = true
    // Without a checkpoint the run begins again, before its first row.
    if (options.resume) run.rewind(checkpoint ? first : -1)
    const summary = await new Walk(task, run, options, started, first).toEnd()
    if (executor instanceof Profiler) writeProfile(run.path, executor, summary.steps - first)
    return summary
  } finally {
    if (began) run?.close()
    else run?.discard()
    await executor.close()
  }
}

/** profile.txt: time per kernel, then per layer, in milliseconds a step; profile-trace.json: the first programs, for chrome://tracing. */
function writeProfile(directory: string, profiler: Profiler, steps: number): void {
  const tables = (['kernel', 'label'] as const).map(key => `By ${key}, per step:\n${profiler.table(key, steps)}\n`)
  writeFileAtomic(join(directory, 'profile.txt'), tables.join('\n'))
  writeFileAtomic(join(directory, 'profile-trace.json'), JSON.stringify(profiler.chromeTrace()))
}

/** What a run's rows last said about each arm: for a summary of a run that had nothing left to do when it was resumed. */
function lastLosses(rows: readonly MetricsRow[]): Pick<RunSummary, 'loss' | 'validation'> {
  const last = (kind: 'step' | 'validation') => Object.fromEntries(rows.flatMap(r => r.kind === kind ? [[r.arm, r.loss]] : []))
  return { loss: last('step'), validation: last('validation') }
}

/** The walk over the steps that are left, with the task's programs built. */
class Walk {
  readonly #task: Task
  readonly #run: RunDirectory
  readonly #options: TrainOptions
  readonly #started: number
  readonly #first: number
  #done: number
  #validation: RunSummary['validation'] = {}

  constructor(task: Task, run: RunDirectory, options: TrainOptions, started: number, done: number) {
    this.#task = task
    this.#run = run
    this.#options = options
    this.#started = started
    this.#first = this.#done = done
  }

  async toEnd(): Promise<RunSummary> {
    const task = this.#task, { config } = this.#run, { signal, onProgress } = this.#options
    if (task.introduction && (this.#done === 0 || !this.#options.resume)) this.#run.log(...task.introduction)
    for (const row of task.introduction ?? []) if ('detail' in row) this.#options.onStart?.(row.detail)
    if (this.#done === 0) await this.#validate()
    const walkStarted = performance.now()
    while (this.#done < config.steps && !signal?.aborted) {
      await this.#step()
      const perStep = (performance.now() - walkStarted) / 1e3 / (this.#done - this.#first)
      onProgress?.({ step: this.#done, steps: config.steps, loss: this.#losses(), gflops: task.flops / perStep / 1e9, eta: perStep * (config.steps - this.#done) })
    }
    const finished = this.#done >= config.steps
    if (!finished && this.#done > this.#first) this.#checkpoint('interrupted')
    const before = this.#first > 0 ? lastLosses(readMetrics(this.#run.path)) : { loss: {}, validation: {} }
    const summary: RunSummary = {
      directory: this.#run.path, steps: this.#done, finished, loss: this.#done > this.#first ? this.#losses() : before.loss, validation: { ...before.validation, ...this.#validation },
      seconds: (performance.now() - this.#started) / 1e3, weightsHash: await task.weightsHash(),
    }
    if (finished) {
      this.#event('finished', `weights ${summary.weightsHash}`)
      this.#run.finish(summary)
    }
    return summary
  }

  /** One step of every arm, and what is measured at it. Rows carry the number of steps completed when it is over. */
  async #step(): Promise<void> {
    const task = this.#task, { config } = this.#run, started = performance.now(), step = this.#done + 1
    if (this.#done > this.#first && config.precisionSchedule.some(s => s.step === this.#done)) {
      const change = task.build(this.#done)
      if (change) this.#event('precision', change)
    }
    await task.prepare(this.#done)
    await task.gradients()
    const losses = Object.entries(task.losses()) as ['baseline' | 'studied', number][]
    const lost = await Promise.all(losses.filter(([, loss]) => !Number.isFinite(loss)).map(async ([arm, loss]) => {
      const where = await task.diagnose?.(arm)
      return { arm, loss, where: where ? `: ${where}` : '' }
    }))
    for (const { arm, loss, where } of lost) this.#event('nan', `${arm} loss is ${loss}${where}`, step)
    if (lost[0]) throw new RunError(`the ${lost[0].arm} arm's loss is ${lost[0].loss} at step ${step}: the run diverged${lost[0].where.replace(/^:/, ';')}`)
    const rows = await task.measure(step)
    await task.update()
    this.#done = step
    const seconds = (performance.now() - started) / 1e3
    if (due(step, config.metrics.loss)) this.#run.log(...losses.map(([arm, loss]) => ({ kind: 'step' as const, arm, step, loss, lr: task.learningRate, seconds })))
    this.#run.log(...rows)
    if (due(step, config.validation.every) || step === config.steps) await this.#validate()
    if (checkpointDue(step, config)) this.#checkpoint('checkpoint')
  }

  async #validate(): Promise<void> {
    if (this.#run.config.validation.every === 0) return
    for (const [arm, loss] of Object.entries(await this.#task.validate()) as ['baseline' | 'studied', number][]) {
      this.#validation[arm] = finite(loss)
      this.#run.log({ kind: 'validation', arm, step: this.#done, loss: finite(loss) })
    }
  }

  #checkpoint(event: 'checkpoint' | 'interrupted'): void {
    const { config } = this.#run, file = this.#run.checkpoint(this.#done)
    writeCheckpoint(file, { step: this.#done, tensors: this.#task.save(), meta: { config, hash: configHash(config) } })
    this.#run.prune()
    this.#event(event, file)
  }

  #event(event: EventRow['event'], detail: string, step = this.#done): void { this.#run.log({ kind: 'event', step, event, detail }) }

  #losses(): RunSummary['loss'] { return Object.fromEntries(Object.entries(this.#task.losses()).map(([arm, loss]) => [arm, finite(loss)])) }
}
