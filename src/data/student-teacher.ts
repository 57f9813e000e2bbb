// Inputs and labels of the student-teacher experiment: x ~ N(0, 1), a fresh batch every step; label = teacher(x) + sigma N(0, 1). Validation: a few
// fixed batches, labels without noise. The original draws everything up front (150 GB at the paper's size); here each batch is made when it is needed.
//
// Generator `philox`: every number is a function of (seed, stream, step, index). Generator `torch`: torch's CPU stream after manual_seed(seed), in the
// original's order: student weights, teacher weights, inputs of all training steps, validation inputs, training noise. Each part has a generator of
// its own, moved to where the part begins; the states live in core memory and advance batch by batch.
//
// Initial weights always come from torch's stream, so the paper's seed gives the paper's weights with either generator.
import { studentHidden, studentLayout, teacherForward, teacherLayout, type StudentShape, type TeacherActivation, type TeacherShape } from '../model/mlp.ts'
import { ParameterVector, type ParameterLayout } from '../model/parameters.ts'
import { resolvePrecision, teacherPrecision, type RandomBits } from '../model/precision.ts'
import { schemes, type PrecisionScheme } from '../numerics/scheme.ts'
import { add } from '../ops/elementwise.ts'
import { normal } from '../ops/random.ts'
import type { Executor } from '../runtime/executor.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Overlay } from '../runtime/overlay.ts'
import type { Program } from '../runtime/program.ts'
import { TorchGenerator } from './torch-random.ts'

/** What of a run's configuration decides its data. */
export interface DataOptions {
  readonly seed: number
  readonly batch: number
  readonly steps: number
  readonly labelNoise: number
  /** `per-arm`: each arm draws noise of its own. */
  readonly labelNoiseStream: 'shared' | 'per-arm'
  readonly data: { readonly generator: 'philox' | 'torch' }
  readonly model: { readonly init: 'default' | 'xavier' }
  /** null: as the student. */
  readonly teacher: { readonly depth: number | null, readonly width: number | null, readonly activation: TeacherActivation | null }
  readonly validation: { readonly batches: number, readonly batchSize: number }
}

/** Philox streams of the data. */
const STREAMS = { inputs: 1, validation: 2, noise: 3, studiedNoise: 4 } as const

/** Addresses of the u64 counters that the random kernels read. */
interface Counters { readonly stepPtr: number, readonly validationPtr: number }

type Weights = Map<string, { shape: readonly number[], values: Float32Array }>

export class StudentTeacherData {
  /** Inputs of the present step, [batch, d]. */
  readonly x: Tensor
  /** Inputs of the present validation batch, [batchSize, d]. */
  readonly validationX: Tensor
  readonly initialWeights: Weights
  readonly #executor: Executor
  readonly #options: DataOptions
  readonly #counters: Counters
  readonly #teacher: ParameterVector
  readonly #teacherShape: TeacherShape
  /** Labels from the f32 teacher with the shared noise. */
  readonly #target: Tensor
  readonly #validationTarget: Tensor
  /** Label noise, drawn ahead of the programs that use it. */
  readonly #noise: { readonly baseline: Tensor, readonly studied: Tensor } | null
  readonly #torch: { readonly inputs: TorchGenerator, readonly validation: readonly TorchGenerator[], readonly noise: TorchGenerator, readonly studiedNoise: TorchGenerator } | null
  #batch!: Program
  #validation!: Program

  /** Draws the initial weights and the teacher, and reserves memory; build() makes the programs. */
  constructor(executor: Executor, options: DataOptions, student: StudentShape, counters: Counters) {
    const { arena } = executor, d = student.width, { batch, validation, teacher } = options
    this.#executor = executor
    this.#options = options
    this.#counters = counters
    this.#teacherShape = { depth: teacher.depth ?? student.depth, width: d, hidden: teacher.width ?? d, activation: teacher.activation ?? student.activation }
    this.x = arena.tensor(batch, d)
    this.#target = arena.tensor(batch, d)
    this.validationX = arena.tensor(validation.batchSize, d)
    this.#validationTarget = arena.tensor(validation.batchSize, d)
    const perArm = options.labelNoiseStream === 'per-arm', noise = options.labelNoise > 0 ? arena.tensor(batch, d) : null
    this.#noise = noise && { baseline: noise, studied: perArm ? arena.tensor(batch, d) : noise }

    const draw = new TorchGenerator(executor, options.seed)
    this.initialWeights = drawWeights(draw, studentLayout(student), options.model.init, studentHidden(student))
    const layout = teacherLayout(this.#teacherShape)
    this.#teacher = new ParameterVector(arena, layout)
    this.#teacher.import(arena, drawWeights(draw, layout, 'default', 0))

    this.#torch = null
    if (options.data.generator === 'torch') {
      const part = (draws: number, size: number) => { const g = draw.clone(); for (let i = 0; i < draws; i++) draw.skipNormal(size); return g }
      const inputs = part(options.steps, batch * d)
      const validationBatches = Array.from({ length: validation.batches }, () => part(1, validation.batchSize * d))
      const noisePart = part(options.steps, batch * d)
      this.#torch = { inputs, validation: validationBatches, noise: noisePart, studiedNoise: draw.clone() }
    }
  }

  build(overlay: Overlay): void {
    const { stepPtr, validationPtr } = this.#counters, { seed, labelNoise } = this.#options
    const random = (p: Program, t: Tensor, stream: number, ptr: number, std = 1) => {
      if (!this.#torch) normal(p, t, { seed: BigInt(seed), stream, stepPtr: ptr, std })
    }
    this.#batch = overlay.build(p => p.scope('data', () => {
      random(p, this.x, STREAMS.inputs, stepPtr)
      if (this.#noise) {
        random(p, this.#noise.baseline, STREAMS.noise, stepPtr, labelNoise)
        if (this.#noise.studied !== this.#noise.baseline) random(p, this.#noise.studied, STREAMS.studiedNoise, stepPtr, labelNoise)
      }
      this.#label(p, this.#target, 'baseline', schemes.fp32!)
    }))
    this.#validation = overlay.build(p => p.scope('data', () => {
      random(p, this.validationX, STREAMS.validation, validationPtr)
      teacherForward(p, this.#teacherShape, this.#teacher, this.validationX, this.#validationTarget, resolvePrecision(schemes.fp32!))
    }))
  }

  #label(p: Program, target: Tensor, arm: 'baseline' | 'studied', scheme: PrecisionScheme, random?: RandomBits): void {
    teacherForward(p, this.#teacherShape, this.#teacher, this.x, target, teacherPrecision(scheme, random))
    if (this.#noise) add(p, target, this.#noise[arm], target)
  }

  /** Make the inputs and f32 labels of the step that the counters name. */
  async loadBatch(): Promise<void> {
    if (this.#torch) {
      this.#torch.inputs.normal(this.x)
      if (this.#noise) {
        this.#torch.noise.normal(this.#noise.baseline, this.#options.labelNoise)
        if (this.#noise.studied !== this.#noise.baseline) this.#torch.studiedNoise.normal(this.#noise.studied, this.#options.labelNoise)
      }
    }
    await this.#executor.run(this.#batch)
  }

  /** Make validation batch `index`, which the counters name. */
  async loadValidation(index: number): Promise<void> {
    this.#torch?.validation[index]!.clone().normal(this.validationX)
    await this.#executor.run(this.#validation)
  }

  /** The labels an arm trains on under `scheme`: the shared ones, or emitted here if the scheme quantizes the teacher or the arm draws its own noise. */
  emitTarget(p: Program, arm: 'baseline' | 'studied', scheme: PrecisionScheme, random?: RandomBits): Tensor {
    const ownNoise = arm === 'studied' && this.#noise && this.#noise.studied !== this.#noise.baseline
    if (scheme.teacher === 'fp32' && !ownNoise) return this.#target
    const target = p.temp(...this.#target.shape)
    p.scope('labels', () => this.#label(p, target, arm, scheme, random))
    return target
  }

  /** As emitTarget, for the present validation batch; no noise. */
  emitValidationTarget(p: Program, scheme: PrecisionScheme, random?: RandomBits): Tensor {
    if (scheme.teacher === 'fp32') return this.#validationTarget
    const target = p.temp(...this.#validationTarget.shape)
    teacherForward(p, this.#teacherShape, this.#teacher, this.validationX, target, teacherPrecision(scheme, random))
    return target
  }

  /** State of the generators that advance from step to step, for a checkpoint. Empty for philox. */
  randomState(): Map<string, Uint32Array> {
    if (!this.#torch) return new Map()
    const { inputs, noise, studiedNoise } = this.#torch
    return new Map(Object.entries({ inputs, noise, studiedNoise }).map(([name, g]) => [name, g.state()]))
  }

  restoreRandomState(state: ReadonlyMap<string, Uint32Array>): void {
    if (!this.#torch) return
    const { inputs, noise, studiedNoise } = this.#torch
    for (const [name, g] of Object.entries({ inputs, noise, studiedNoise })) g.restore(state.get(name)!)
  }
}

/** Initial weights in torch's order of draws: fc1, fc2, fc2 bias of each block. `default`: torch's Linear; `xavier`: Xavier-normal with gain 0.5, zero bias. */
function drawWeights(draw: TorchGenerator, layout: ParameterLayout, init: 'default' | 'xavier', hidden: number): Weights {
  return new Map(layout.slots.map(({ name, shape }) => {
    const n = shape.reduce((a, b) => a * b, 1)
    if (name.endsWith('ln.weight')) return [name, { shape, values: new Float32Array(n).fill(1) }]
    if (name.endsWith('ln.bias')) return [name, { shape, values: new Float32Array(n) }]
    const [out, fanIn] = shape as [number, number]
    if (name.endsWith('.bias')) return [name, { shape, values: init === 'xavier' ? new Float32Array(n) : draw.linearBias(n, hidden) }]
    return [name, { shape, values: init === 'xavier' ? draw.xavierNormal(out, fanIn, 0.5) : draw.linearWeight(out, fanIn) }]
  }))
}
