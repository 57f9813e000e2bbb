// Statistics of a run, as programs: built once, run when a row is due, results read from core memory as f64. Sums have a fixed order, so a row is
// the same for any number of threads.
import type { StudentTeacherData } from '../data/student-teacher.ts'
import { studentForward } from '../model/mlp.ts'
import type { ParameterVector } from '../model/parameters.ts'
import { resolvePrecision } from '../model/precision.ts'
import { formats, type FormatName } from '../numerics/formats.ts'
import { comparison, moments, overflowCount, readF64 } from '../ops/reduce.ts'
import type { Executor } from '../runtime/executor.ts'
import { size, type Arena, type Tensor } from '../runtime/memory.ts'
import type { Overlay } from '../runtime/overlay.ts'
import type { Program } from '../runtime/program.ts'
import { ROUNDING_STREAMS, studentShape, type Arm } from './arm.ts'
import type { Arm as ArmName, StudentTeacherConfig } from './config.ts'
import type { StepValues } from './step-values.ts'
import type { Comparison, GammaRow, GradientRow, MomentsRow, OverflowRow } from './types.ts'

/** JSON has no NaN and no Inf. */
const finite = (x: number): number | null => Number.isFinite(x) ? x : null

/** Compares two gradients g (low precision) and h (reference) of the same layout. */
export class GradientComparison {
  readonly #g: ParameterVector
  readonly #h: ParameterVector
  readonly #out: Tensor
  #program!: Program

  constructor(executor: Executor, g: ParameterVector, h: ParameterVector) {
    this.#g = g
    this.#h = h
    this.#out = executor.arena.tensor(12)
  }

  build(overlay: Overlay): void {
    this.#program = overlay.build(p => comparison(p, this.#g.flat, this.#h.flat, this.#out))
  }

  async measure(executor: Executor): Promise<Comparison & { upperBound: number | null }> {
    await executor.run(this.#program)
    const [sumG, sumH, gg, hh, gh, dd] = [...readF64(executor.arena, this.#out)] as [number, number, number, number, number, number]
    const relative = Math.sqrt(dd / hh)
    return {
      relativeError: finite(relative), cosine: finite(gh / (Math.sqrt(gg) * Math.sqrt(hh))), zeta: finite(dd / hh),
      meanDifference: finite((sumG - sumH) / this.#g.layout.count), upperBound: finite(Math.sqrt(gg) + Math.sqrt(hh)),
    }
  }
}

/** Gradient norms of one arm, per group and in all. */
export class GradientNorms {
  readonly #arm: { readonly name: ArmName, readonly grads: ParameterVector }
  readonly #slots: readonly { name: string, group: string, out: Tensor }[]
  #program!: Program

  constructor(executor: Executor, arm: { readonly name: ArmName, readonly grads: ParameterVector }) {
    this.#arm = arm
    this.#slots = arm.grads.layout.slots.map(({ name, group }) => ({ name, group, out: executor.arena.tensor(6) }))
  }

  build(overlay: Overlay): void {
    this.#program = overlay.build(p => { for (const { name, out } of this.#slots) moments(p, this.#arm.grads.get(name), out) })
  }

  async measure(executor: Executor, step: number): Promise<GradientRow> {
    await executor.run(this.#program)
    const squares = new Map<string, number>()
    for (const { group, out } of this.#slots) squares.set(group, (squares.get(group) ?? 0) + readF64(executor.arena, out)[1]!)
    const groups = Object.fromEntries([...squares].map(([group, s]) => [group, finite(Math.sqrt(s))]))
    return { kind: 'gradient', arm: this.#arm.name, step, norm: finite(Math.sqrt([...squares.values()].reduce((a, b) => a + b, 0))), groups }
  }
}

/** The format whose last bucket is watched where a scheme leaves an operand unquantized: would-be saturation. */
const WATCHED: FormatName = 'e4m3'

/** One tensor under observation: its kind and name in the rows, and where the results go. */
interface Watched {
  readonly kind: 'weights' | 'gamma' | 'beta' | 'hidden' | 'outputs' | 'normed'
  readonly name: string
  readonly elements: number
  readonly overflow: Tensor
  readonly moments: Tensor
}

/** Last-bucket occupancy and moments of an arm's weights, norms and activations, from a forward pass on the present batch. */
export class TensorStatistics {
  readonly #arm: Arm
  readonly #config: StudentTeacherConfig
  readonly #arena: Arena
  readonly #watched = new Map<string, Watched>()
  #program!: Program

  constructor(executor: Executor, arm: Arm, config: StudentTeacherConfig) {
    this.#arm = arm
    this.#config = config
    this.#arena = executor.arena
    const { width: d, depth, layerNorm } = config.model, batch = config.batch
    const watch = (kind: Watched['kind'], name: string, elements: number) => {
      this.#watched.set(name, { kind, name, elements, overflow: executor.arena.tensor(4), moments: executor.arena.tensor(6) })
    }
    for (const { name, shape } of arm.params.layout.slots) {
      if (name.endsWith('fc1.weight') || name.endsWith('fc2.weight')) watch('weights', name, size(shape))
    }
    const hidden = arm.params.layout.slot('layers.0.fc2.weight').shape[1]!
    for (let i = 0; i < depth; i++) {
      if (layerNorm) {
        watch('gamma', `layers.${i}.ln.gamma`, d)
        watch('beta', `layers.${i}.ln.beta`, d)
        watch('normed', `layers.${i}.ln.output`, batch * d)
      }
      watch('hidden', `layers.${i}.hidden`, batch * hidden)
      watch('outputs', `layers.${i}.output`, batch * d)
    }
  }

  build(overlay: Overlay, data: StudentTeacherData, values: StepValues): void {
    const { blockSize, forward } = this.#config.precision
    const block = (f: string | null): FormatName => f === null || f === 'bf16' ? WATCHED : f as FormatName
    const weightFormat = block(forward.weight), activationFormat = block(forward.activation)
    this.#program = overlay.build(p => {
      const observe = (name: string, t: Tensor, format: FormatName) => {
        const { overflow, moments: out } = this.#watched.get(name)!
        overflowCount(p, t, overflow, { blockSize: blockSize || t.shape.at(-1)!, ratio: formats[format].max / 2 ** formats[format].emax })
        moments(p, t, out)
      }
      const parameter = (name: string) => this.#arm.params.get(name)
      for (const { kind, name } of this.#watched.values()) if (kind === 'weights') observe(name, parameter(name), weightFormat)
      studentForward(p, studentShape(this.#config), this.#arm.params, data.x, resolvePrecision(this.#arm.scheme, { random: values.random(this.#config.seed, ROUNDING_STREAMS[this.#arm.name]) }), false, ({ block: i, normed, hidden, output }) => {
        if (this.#config.model.layerNorm) {
          observe(`layers.${i}.ln.gamma`, parameter(`layers.${i}.ln.weight`), weightFormat)
          observe(`layers.${i}.ln.beta`, parameter(`layers.${i}.ln.bias`), weightFormat)
          observe(`layers.${i}.ln.output`, normed, activationFormat)
        }
        observe(`layers.${i}.hidden`, hidden, activationFormat)
        observe(`layers.${i}.output`, output, weightFormat)
      })
    })
  }

  /** Run the observation; overflow() and moments() then read it. */
  run(executor: Executor): Promise<void> { return executor.run(this.#program) }

  overflow(step: number): OverflowRow {
    const tensors: Record<string, number> = {}, counts = new Map<Watched['kind'], { over: number, all: number }>()
    for (const { kind, name, elements, overflow } of this.#watched.values()) {
      const over = readF64(this.#arena, overflow)[0]!, total = counts.get(kind) ?? { over: 0, all: 0 }
      tensors[name] = over / elements
      counts.set(kind, { over: total.over + over, all: total.all + elements })
    }
    const total = (kind: Watched['kind']) => { const c = counts.get(kind); return c && c.over / c.all }
    return { kind: 'overflow', arm: this.#arm.name, step, tensors, totals: { weights: total('weights')!, gamma: total('gamma'), beta: total('beta'), hidden: total('hidden')!, outputs: total('outputs')! } }
  }

  moments(step: number): MomentsRow {
    const tensors = Object.fromEntries([...this.#watched.values()].filter(w => w.kind !== 'weights').map(({ name, elements, moments: out }) => {
      const [sum, squares] = [...readF64(this.#arena, out)] as [number, number, number], mean = sum / elements
      return [name, { mean: finite(mean), variance: finite(Math.max(squares / elements - mean * mean, 0)) }]
    }))
    return { kind: 'moments', arm: this.#arm.name, step, tensors }
  }
}

/** Every gamma of an arm. */
export function gammaRow(arena: Arena, arm: Arm, step: number): GammaRow {
  const layers = arm.params.layout.slots.filter(s => s.name.endsWith('ln.weight')).map(s => [...arena.f32(arm.params.get(s.name))])
  return { kind: 'gamma', arm: arm.name, step, layers }
}
