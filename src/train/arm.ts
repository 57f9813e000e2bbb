// One arm of a run: a student with its weights, gradients and optimizer moments under one precision scheme, and the programs that train it.
// Arms of a run share inputs, initial weights and (unless the scheme says otherwise) labels; only the precision differs.
import type { StudentTeacherData } from '../data/student-teacher.ts'
import { studentBackward, studentForward, studentLayout, type StudentShape } from '../model/mlp.ts'
import { ParameterVector } from '../model/parameters.ts'
import { resolvePrecision, type ModelPrecision } from '../model/precision.ts'
import type { PrecisionScheme } from '../numerics/scheme.ts'
import { mse } from '../ops/loss.ts'
import { adam, sgd } from '../ops/optimizer.ts'
import type { Executor } from '../runtime/executor.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Overlay } from '../runtime/overlay.ts'
import type { Program } from '../runtime/program.ts'
import type { Arm as ArmName, StudentTeacherConfig } from './config.ts'
import type { StepValues } from './step-values.ts'

/** First Philox stream of each arm's stochastic rounding; one stream per quantized operand follows. Probes use the studied arm's. */
export const ROUNDING_STREAMS: Record<ArmName, number> = { baseline: 1 << 20, studied: 2 << 20 }

/** The student's shape as the model wants it. */
export const studentShape = ({ model }: StudentTeacherConfig): StudentShape => ({ depth: model.depth, width: model.width, activation: model.activation, layerNorm: model.layerNorm })

/** Emit forward, loss and backward of a student: the loss into `loss` (f64), the gradients into `grads`. */
export function emitGradient(p: Program, shape: StudentShape, params: ParameterVector, grads: ParameterVector, batch: { x: Tensor, target: Tensor }, loss: Tensor, precision: ModelPrecision): void {
  const { y, saved } = studentForward(p, shape, params, batch.x, precision, true)
  p.scope('loss', () => mse(p, { y, target: batch.target, loss, gradient: y }))
  studentBackward(p, shape, params, grads, saved, y, precision)
}

export class Arm {
  readonly name: ArmName
  readonly params: ParameterVector
  readonly grads: ParameterVector
  /** First and second moment of Adam; momentum of SGD in the first. */
  readonly moments: readonly [ParameterVector, ParameterVector]
  /** Loss of the last gradient and of the last validation batch, f64 (readF64). */
  readonly loss: Tensor
  readonly validationLoss: Tensor
  scheme: PrecisionScheme
  #gradient!: Program
  #update!: Program
  #validate!: Program
  readonly #config: StudentTeacherConfig
  readonly #data: StudentTeacherData
  readonly #values: StepValues

  /** Reserves all memory that lives as long as the run; build() makes the programs. */
  constructor(executor: Executor, name: ArmName, scheme: PrecisionScheme, config: StudentTeacherConfig, data: StudentTeacherData, values: StepValues) {
    const { arena } = executor, layout = studentLayout(studentShape(config))
    this.name = name
    this.scheme = scheme
    this.#config = config
    this.#data = data
    this.#values = values
    this.params = new ParameterVector(arena, layout)
    this.grads = new ParameterVector(arena, layout)
    this.moments = [new ParameterVector(arena, layout), new ParameterVector(arena, layout)]
    this.loss = arena.tensor(2)
    this.validationLoss = arena.tensor(2)
  }

  /** Compile the arm's programs for `scheme`; called again when the precision changes. */
  build(overlay: Overlay, scheme: PrecisionScheme = this.scheme): void {
    this.scheme = scheme
    const { optimizer, seed } = this.#config, shape = studentShape(this.#config), values = this.#values
    const random = () => values.random(seed, ROUNDING_STREAMS[this.name])
    this.#gradient = overlay.build(p => {
      const target = this.#data.emitTarget(p, this.name, scheme, random())
      emitGradient(p, shape, this.params, this.grads, { x: this.#data.x, target }, this.loss, resolvePrecision(scheme, { random: random() }))
    })
    this.#update = overlay.build(p => {
      const [m, v] = this.moments, io = { value: this.params.flat, gradient: this.grads.flat, step: values.optimizer }
      if (optimizer.name === 'adam') adam(p, { ...io, m: m.flat, v: v.flat }, { beta1: optimizer.betas[0], beta2: optimizer.betas[1], eps: optimizer.eps })
      else sgd(p, { ...io, buffer: m.flat }, { momentum: optimizer.momentum })
    })
    this.#validate = overlay.build(p => {
      const target = this.#data.emitValidationTarget(p, scheme, random())
      const { y } = studentForward(p, shape, this.params, this.#data.validationX, resolvePrecision(scheme, { random: random() }), false)
      mse(p, { y, target, loss: this.validationLoss, gradient: null })
    })
  }

  /** Programs in the order of a step: gradient (fills grads and loss), update (changes params). validate fills validationLoss from the present validation batch. */
  get programs() { return { gradient: this.#gradient, update: this.#update, validate: this.#validate } }
}
