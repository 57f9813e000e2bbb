// The student-teacher experiment as a task: a baseline arm and the studied arm from the same initial weights on the same inputs, in lockstep, so that
// their gradients at a step can be compared without storing any. What is computed stands elsewhere: data/student-teacher.ts (inputs, labels), arm.ts (a
// model under one scheme), probe.ts (gradient error at the same weights), measure.ts (statistics). This file decides when.
import { StudentTeacherData } from '../data/student-teacher.ts'
import { TorchGenerator } from '../data/torch-random.ts'
import { UsageError } from '../errors.ts'
import { resolvePrecision } from '../model/precision.ts'
import { describeScheme, schemes, type PrecisionScheme } from '../numerics/scheme.ts'
import { readF64 } from '../ops/reduce.ts'
import type { Executor } from '../runtime/executor.ts'
import type { Tensor } from '../runtime/memory.ts'
import { Overlay } from '../runtime/overlay.ts'
import { Arm, emitGradient, ROUNDING_STREAMS, studentShape } from './arm.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { Arm as ArmName, RunConfig, StudentTeacherConfig } from './config.ts'
import { scheduledPrecision } from './config-parts.ts'
import { gammaRow, GradientComparison, GradientNorms, TensorStatistics } from './measure.ts'
import { Probes } from './probe.ts'
import { StepValues } from './step-values.ts'
import { due, hashWeights, restoreArms, saveArms, type Task } from './task.ts'
import type { MetricsRow } from './types.ts'

/** 2 per multiply-add, three GEMMs per linear layer, of the students alone. */
function stepFlops(config: StudentTeacherConfig, arms: readonly Arm[]): number {
  const weights = arms[0]!.params.layout.slots.filter(s => s.shape.length === 2).reduce((n, s) => n + s.shape[0]! * s.shape[1]!, 0)
  return 6 * weights * config.batch * arms.length
}

/** The student-teacher experiment of arXiv 2506.20752: a student learns a random teacher's function, in one or two arms. Steps as a Task does. */
export class StudentTeacher implements Task {
  readonly executor: Executor
  readonly flops: number
  readonly #config: StudentTeacherConfig
  readonly #values: StepValues
  readonly #data: StudentTeacherData
  readonly #arms: readonly Arm[]
  readonly #overlay: Overlay
  readonly #norms: readonly GradientNorms[]
  readonly #statistics: readonly TensorStatistics[]
  readonly #trajectory: GradientComparison | null
  readonly #probes: Probes | null

  /** Reserves all memory of the run and draws initial weights and teacher; build() makes the programs. Throws UsageError for a configuration of another task. */
  constructor(executor: Executor, config: RunConfig) {
    if (config.task !== 'student-teacher') throw new UsageError(`task is ${config.task}, a StudentTeacher needs student-teacher`)
    this.executor = executor
    this.#config = config
    this.#values = new StepValues(executor.arena, n => new TorchGenerator(executor, config.seed).words(n))
    this.#data = new StudentTeacherData(executor, config, studentShape(config), this.#values)
    const arm = (name: ArmName, scheme: PrecisionScheme) => new Arm(executor, name, scheme, config, this.#data, this.#values)
    const studied = arm('studied', config.precision), baseline = config.baseline && arm('baseline', config.baseline)
    this.#arms = baseline ? [baseline, studied] : [studied]
    for (const a of this.#arms) a.params.import(executor.arena, this.#data.initialWeights)
    this.#norms = this.#arms.map(a => new GradientNorms(executor, a))
    this.#statistics = this.#arms.map(a => new TensorStatistics(executor, a, config))
    this.#trajectory = baseline && config.metrics.gradient > 0 ? new GradientComparison(executor, studied.grads, baseline.grads) : null
    this.#probes = config.probes.every > 0 ? this.#probesOf(config.probes.weights === 'baseline' && baseline ? baseline : studied) : null
    this.#overlay = new Overlay(executor.arena)
    this.flops = stepFlops(config, this.#arms)
  }

  /** Every probe sees the f32 teacher's labels: only the student's precision differs. */
  #probesOf(arm: Arm): Probes {
    const config = this.#config, shape = studentShape(config), loss = this.executor.arena.tensor(2)
    return new Probes(this.executor, arm, (p, scheme, into) => {
      const target = this.#data.emitTarget(p, arm.name, schemes.fp32!)
      const random = this.#values.random(config.seed, ROUNDING_STREAMS.studied)
      emitGradient(p, shape, arm.params, into, { x: this.#data.x, target }, loss, resolvePrecision(scheme, { random }))
    })
  }

  get arms(): ArmName[] { return this.#arms.map(a => a.name) }
  get learningRate(): number { return this.#values.learningRate }

  build(done: number): string | null {
    const config = this.#config, overlay = this.#overlay
    this.#data.build(overlay)
    for (const arm of this.#arms) arm.build(overlay, arm.name === 'studied' ? scheduledPrecision(config, done) : config.baseline!)
    for (const n of this.#norms) n.build(overlay)
    for (const s of this.#statistics) s.build(overlay, this.#data, this.#values)
    this.#trajectory?.build(overlay)
    this.#probes?.build(overlay, config.probes.schemes)
    const change = config.precisionSchedule.find(s => s.step === done)
    return change ? describeScheme(change.precision) : null
  }

  async prepare(done: number): Promise<void> {
    this.#values.setStep(this.#config, done)
    await this.#data.loadBatch()
  }

  async gradients(): Promise<void> { for (const arm of this.#arms) await this.executor.run(arm.programs.gradient) }
  async update(): Promise<void> { for (const arm of this.#arms) await this.executor.run(arm.programs.update) }
  losses(): Partial<Record<ArmName, number>> { return this.#read(arm => arm.loss) }

  #read(tensor: (arm: Arm) => Tensor): Partial<Record<ArmName, number>> {
    return Object.fromEntries(this.#arms.map(arm => [arm.name, readF64(this.executor.arena, tensor(arm))[0]!]))
  }

  async measure(step: number): Promise<MetricsRow[]> {
    const { metrics, probes, model } = this.#config, { executor } = this, rows: MetricsRow[] = []
    if (due(step, metrics.gradient)) {
      for (const n of this.#norms) rows.push(await n.measure(executor, step))
      if (this.#trajectory) rows.push({ kind: 'trajectory', step, ...await this.#trajectory.measure(executor) })
    }
    if (this.#probes && due(step, probes.every)) rows.push(...await this.#probes.measure(executor, step))
    if (due(step, metrics.overflow) || due(step, metrics.activations)) {
      for (const s of this.#statistics) {
        await s.run(executor)
        if (due(step, metrics.overflow)) rows.push(s.overflow(step))
        if (due(step, metrics.activations)) rows.push(s.moments(step))
      }
    }
    if (model.layerNorm && due(step, metrics.gamma)) for (const arm of this.#arms) rows.push(gammaRow(executor.arena, arm, step))
    return rows
  }

  async validate(): Promise<Partial<Record<ArmName, number>>> {
    const { batches } = this.#config.validation, sums: Partial<Record<ArmName, number>> = {}
    for (let i = 0; i < batches; i++) {
      this.#values.setValidationBatch(i)
      await this.#data.loadValidation(i)
      for (const arm of this.#arms) await this.executor.run(arm.programs.validate)
      for (const [name, loss] of Object.entries(this.#read(arm => arm.validationLoss)) as [ArmName, number][]) sums[name] = (sums[name] ?? 0) + loss / batches
    }
    return sums
  }

  save(): Checkpoint['tensors'] {
    const random = [...this.#data.randomState()].map(([name, data]) => [`random.${name}`, { data, shape: [data.length] }])
    return { ...saveArms(this.executor.arena, this.#arms), ...Object.fromEntries(random) }
  }

  restore(tensors: Checkpoint['tensors'], what: string): void {
    restoreArms(this.executor.arena, this.#arms, tensors, what)
    this.#data.restoreRandomState(new Map(Object.entries(tensors).filter(([name]) => name.startsWith('random.')).map(([name, t]) => [name.slice('random.'.length), t.data as Uint32Array])))
  }

  weightsHash(): Promise<string> { return hashWeights(this.executor.arena, this.#arms) }
}
