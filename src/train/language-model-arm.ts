// One arm of a language-model run: a transformer with its weights, gradients and moments under one precision scheme, and the programs that train it.
// Works over any arena, so that a planning arena can tell what a run needs before anything is reserved.
import { emitEvaluation, emitLossAndGradient } from '../model/language-model.ts'
import { ParameterVector } from '../model/parameters.ts'
import type { TransformerInput, TransformerTap } from '../model/transformer.ts'
import { resolveTransformerPrecision, type TransformerPrecision } from '../model/transformer-precision.ts'
import { transformerLayout, type TransformerShape } from '../model/transformer-shape.ts'
import { formats, type FormatName } from '../numerics/formats.ts'
import type { PrecisionScheme } from '../numerics/scheme.ts'
import { axpy, copy, fill } from '../ops/elementwise.ts'
import { adam, clipByNorm } from '../ops/optimizer.ts'
import { finiteCheck, moments, overflowCount, readF64 } from '../ops/reduce.ts'
import { size, type Arena, type Tensor } from '../runtime/memory.ts'
import type { Overlay } from '../runtime/overlay.ts'
import type { Program } from '../runtime/program.ts'
import { ROUNDING_STREAMS } from './arm.ts'
import type { Arm as ArmName, LanguageModelConfig } from './config.ts'
import type { OverflowRow } from './types.ts'

/** What the arms of a run share. */
export interface Shared {
  readonly config: LanguageModelConfig
  readonly shape: TransformerShape
  /** One micro-batch of tokens [microBatch, context], and the rotary table. */
  readonly input: TransformerInput
  /** Address of the u64 counter of micro-batches that stochastic rounding reads. */
  readonly stepPtr: number
  /** Random signs for Hadamard transforms, the same for the whole run. */
  readonly signs: Tensor
  /** The optimizer's step block, [4]. */
  readonly optimizer: Tensor
}

/** Precision of `scheme` at this run's sites. `first`: Philox stream of the first quantized operand. */
export function precisionOf({ config, shape, stepPtr, signs }: Shared, scheme: PrecisionScheme, first: number): TransformerPrecision {
  return resolveTransformerPrecision(scheme, config.sites, shape, { random: { seed: BigInt(config.seed), stepPtr, stream: first, signs } })
}

/** A tensor whose last-bucket occupancy is watched. */
interface Watched { readonly kind: 'weights' | 'gamma' | 'hidden' | 'outputs', readonly name: string, readonly elements: number, readonly out: Tensor }
/** A tensor that is searched for the first value that is not finite. */
interface Searched { readonly name: string, readonly elements: number, readonly out: Tensor }

export class LanguageModelArm {
  readonly name: ArmName
  readonly params: ParameterVector
  /** Gradient of the last micro-batch; of the whole step once all are averaged. */
  readonly grads: ParameterVector
  readonly moments: readonly [ParameterVector, ParameterVector]
  /** f64 x 2: cross entropy and z-loss of the last micro-batch. */
  readonly loss: Tensor
  /** f64 x 2 per position of the last evaluated micro-batch. */
  readonly perPosition: Tensor
  /** f64 x 3 of the gradient: sum, sum of squares, largest magnitude. */
  readonly gradientMoments: Tensor
  scheme: PrecisionScheme
  readonly #arena: Arena
  readonly #shared: Shared
  /** Sum over micro-batches, where there are several. */
  readonly #total: ParameterVector | null
  readonly #watched = new Map<string, Watched>()
  readonly #searched = new Map<string, Searched>()
  #programs!: Record<'gradient' | 'clear' | 'accumulate' | 'average' | 'norm' | 'update' | 'evaluate' | 'observe' | 'search', Program>

  /** Reserves all memory that lives as long as the run; build() makes the programs. */
  constructor(arena: Arena, name: ArmName, scheme: PrecisionScheme, shared: Shared) {
    const { config, shape } = shared, layout = transformerLayout(shape), positions = config.microBatch * config.model.context
    this.name = name
    this.scheme = scheme
    this.#arena = arena
    this.#shared = shared
    this.params = new ParameterVector(arena, layout)
    this.grads = new ParameterVector(arena, layout)
    this.moments = [new ParameterVector(arena, layout), new ParameterVector(arena, layout)]
    this.#total = config.microBatch < config.batch ? new ParameterVector(arena, layout) : null
    this.loss = arena.tensor(4)
    this.gradientMoments = arena.tensor(6)
    this.perPosition = arena.tensor(positions, 4)
    const watch = (kind: Watched['kind'], name: string, elements: number) => this.#watched.set(name, { kind, name, elements, out: arena.tensor(4) })
    const search = (name: string, elements: number) => this.#searched.set(name, { name, elements, out: arena.tensor(2) })
    for (const { name, shape } of layout.slots) {
      watch(shape.length === 1 ? 'gamma' : 'weights', name, size(shape))
      search(name, size(shape))
    }
    search('embedding', positions * shape.width)
    for (let i = 0; i < shape.depth; i++) {
      const inner = layout.slot(`transformer.blocks.${i}.ff_out.weight`).shape[1]!
      watch('hidden', `blocks.${i}.hidden`, positions * inner)
      watch('outputs', `blocks.${i}.output`, positions * shape.width)
      search(`blocks.${i}.hidden`, positions * inner)
      search(`blocks.${i}.output`, positions * shape.width)
    }
    search('logits', positions * shape.vocabulary)
  }

  /** Compile the arm's programs for `scheme`; called again when the precision changes. */
  build(overlay: Overlay, scheme: PrecisionScheme = this.scheme): void {
    this.scheme = scheme
    const { config, shape, input, optimizer } = this.#shared, { params, grads, loss } = this, total = this.#total
    const precision = () => precisionOf(this.#shared, scheme, ROUNDING_STREAMS[this.name])
    const [m, v] = this.moments, parts = config.batch / config.microBatch
    const { lr: _, clip, betas: [beta1, beta2], eps, weightDecay } = config.optimizer
    this.#programs = {
      gradient: overlay.build(p => emitLossAndGradient(p, shape, params, grads, input, precision(), { loss, zWeight: config.zLoss })),
      clear: overlay.build(p => { if (total) fill(p, total.flat, 0) }),
      accumulate: overlay.build(p => { if (total) axpy(p, 1 / parts, grads.flat, total.flat) }),
      average: overlay.build(p => { if (total) copy(p, total.flat, grads.flat) }),
      norm: overlay.build(p => { if (clip === null) moments(p, grads.flat, this.gradientMoments); else clipByNorm(p, { gradient: grads.flat, step: optimizer, statistics: this.gradientMoments }, clip) }),
      update: overlay.build(p => adam(p, { value: params.flat, gradient: grads.flat, m: m.flat, v: v.flat, step: optimizer }, { beta1, beta2, eps, weightDecay, decoupled: true })),
      evaluate: overlay.build(p => emitEvaluation(p, shape, params, input, precision(), { loss, perPosition: this.perPosition })),
      observe: overlay.build(p => this.#emitObservation(p, precision())),
      search: overlay.build(p => this.#emitSearch(p, precision())),
    }
  }

  get programs() { return this.#programs }
  /** Gradients of several micro-batches are averaged. */
  get accumulates(): boolean { return this.#total !== null }

  #emitObservation(p: Program, precision: TransformerPrecision): void {
    const { shape, input } = this.#shared, { blockSize, forward } = this.scheme
    const ratio = (format: string | null) => { const f = formats[format === null || format === 'bf16' ? 'e4m3' : format as FormatName]; return f.max / 2 ** f.emax }
    const observe = (name: string, x: Tensor, format: string | null) => overflowCount(p, x, this.#watched.get(name)!.out, { blockSize, ratio: ratio(format) })
    for (const { name } of this.params.layout.slots) observe(name, this.params.get(name), forward.weight)
    const tap = ({ block, hidden, output }: TransformerTap) => {
      if (block === null) return
      observe(`blocks.${block}.hidden`, hidden!, forward.activation)
      observe(`blocks.${block}.output`, output, forward.activation)
    }
    emitEvaluation(p, shape, this.params, input, precision, { loss: this.loss, tap })
  }

  /** Share of values in the last bucket, by tensor and in all. */
  overflow(step: number): OverflowRow {
    const tensors: Record<string, number> = {}, counts = new Map<Watched['kind'], [over: number, all: number]>()
    for (const { kind, name, elements, out } of this.#watched.values()) {
      const over = readF64(this.#arena, out)[0]!, [before, all] = counts.get(kind) ?? [0, 0]
      tensors[name] = over / elements
      counts.set(kind, [before + over, all + elements])
    }
    const total = (kind: Watched['kind']) => { const [over, all] = counts.get(kind)!; return over / all }
    return { kind: 'overflow', arm: this.name, step, tensors, totals: { weights: total('weights'), gamma: total('gamma'), hidden: total('hidden'), outputs: total('outputs') } }
  }

  #emitSearch(p: Program, precision: TransformerPrecision): void {
    const { shape, input } = this.#shared, search = (name: string, x: Tensor) => finiteCheck(p, x, this.#searched.get(name)!.out)
    for (const { name } of this.params.layout.slots) search(name, this.params.get(name))
    const tap = ({ block, hidden, output, normed }: TransformerTap) => {
      if (block !== null) { search(`blocks.${block}.hidden`, hidden!); search(`blocks.${block}.output`, output) } else if (!normed) search('embedding', output)
    }
    emitEvaluation(p, shape, this.params, input, precision, { loss: this.loss, tap, onLogits: logits => search('logits', logits) })
  }

  /** In order of computation, the first tensor with a value that is not finite, after the search program has run; null if there is none. */
  firstNonFinite(): { name: string, index: number } | null {
    for (const { name, elements, out } of this.#searched.values()) {
      const left = readF64(this.#arena, out)[0]!
      if (left > 0) return { name, index: elements - left }
    }
    return null
  }
}
