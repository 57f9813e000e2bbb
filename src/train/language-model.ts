// A language model as a task: the studied arm, and a baseline if asked for, from the same initial weights on the same tokens. What is computed stands
// elsewhere: model/ (the transformer), data/ (text to samples), language-model-arm.ts (programs). This file decides when.
import { totalmem } from 'node:os'
import { RunError, UsageError } from '../errors.ts'
import { checkFingerprint, fingerprintWords, loadTextData, type TextData } from '../data/text-data.ts'
import { typed } from '../io/safetensors.ts'
import { readSafetensors } from '../io/tensor-file.ts'
import { generate } from './generate.ts'
import { initializeTransformer } from '../model/initialize.ts'
import { emitLossAndGradient } from '../model/language-model.ts'
import { importNames, type NamedTensors } from '../model/names.ts'
import { ropeTable } from '../model/rope.ts'
import { flopsPerToken, headDim, parameterCount, type TransformerShape } from '../model/transformer-shape.ts'
import { describeScheme, type PrecisionScheme } from '../numerics/scheme.ts'
import { adamStep } from '../ops/optimizer.ts'
import { readF64 } from '../ops/reduce.ts'
import { philox4x32 } from '../oracle/philox.ts'
import type { Executor } from '../runtime/executor.ts'
import type { Arena } from '../runtime/memory.ts'
import { Overlay } from '../runtime/overlay.ts'
import { PlanningArena } from '../runtime/planning.ts'
import { ROUNDING_STREAMS } from './arm.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { Arm as ArmName, LanguageModelConfig } from './config.ts'
import { scheduledPrecision } from './config-parts.ts'
import { LanguageModelArm, precisionOf, type Shared } from './language-model-arm.ts'
import { GradientComparison, GradientNorms } from './measure.ts'
import { Probes } from './probe.ts'
import { cosPi } from './step-values.ts'
import { due, hashWeights, restoreArms, saveArms, type Task } from './task.ts'
import type { MetricsRow } from './types.ts'

/** The weights of a model from a safetensors file with OLMo's or Hugging Face's names. Throws UsageError if the file is not that model's. */
export function readWeights(file: string, shape: TransformerShape): NamedTensors {
  const tensors = new Map([...readSafetensors(file).tensors].map(([name, t]) => {
    if (t.dtype !== 'F32') throw new UsageError(`${file}: ${name} is ${t.dtype}, weights must be F32`)
    return [name, { shape: t.shape, values: typed(t, Float32Array) }]
  }))
  try { return importNames(shape, tensors) } catch (e) { throw e instanceof UsageError ? new UsageError(`${file}: ${e.message}`, { cause: e }) : e }
}

/** What WebAssembly can address. */
const MEMORY_LIMIT = 2 ** 32

const mebibytes = (bytes: number): number => Math.ceil(bytes / 2 ** 20)

/** Bytes of memory that this process may have: the machine's, or what its container was given. */
function machineMemory(): number {
  const all = totalmem(), given = process.constrainedMemory?.() ?? 0
  return given > 0 ? Math.min(all, given) : all
}

/** The model of a configuration; `vocabulary`: number of ids of its tokenizer. Throws UsageError if they do not fit. */
export function transformerShape({ model }: LanguageModelConfig, vocabulary: number): TransformerShape {
  const { width, depth, heads, mlpRatio, activation, norm, qkNorm, tied, theta } = model
  if (model.vocabulary !== null && model.vocabulary < vocabulary) throw new UsageError(`config: model.vocabulary = ${model.vocabulary}: the tokenizer has ${vocabulary} ids`)
  return { width, depth, heads, vocabulary: model.vocabulary ?? vocabulary, mlpRatio, activation, norm, qkNorm, tied, theta }
}

/**
 * Learning rate of the step that follows `done` completed steps, with OLMo's counting: the first step is step 1, the warm-up reaches its end at
 * step warmup * steps, the cosine at the last step.
 */
export function scheduledRate({ optimizer: { lr }, schedule: { kind, warmup, warmupStart, end }, steps }: LanguageModelConfig, done: number): number {
  const step = done + 1, warm = warmup * steps
  if (step < warm) return lr * (warmupStart + (1 - warmupStart) * step / warm)
  if (kind === 'constant') return lr
  return lr * (end + (1 - end) * (1 + cosPi(Math.min(1, (step - warm) / (steps - warm)))) / 2)
}

/** Philox stream of the Hadamard transform's signs, and their number: the longest block. */
const SIGNS = 0x7369676e, MAX_HADAMARD = 1024

const randomSigns = (seed: number): number[] =>
  Array.from({ length: MAX_HADAMARD / 4 }, (_, i) => philox4x32([i, SIGNS, 0, 0], [seed >>> 0, Math.floor(seed / 2 ** 32)])).flat().map(word => word & 1 ? 1 : -1)

/** Memory and programs of all arms, over any arena. */
class Arms {
  readonly shared: Shared
  readonly all: readonly LanguageModelArm[]

  constructor(arena: Arena, config: LanguageModelConfig, shape: TransformerShape) {
    const { model: { context }, microBatch } = config, half = headDim(shape) / 2
    const table = arena.from(ropeTable(context, headDim(shape), shape.theta), context, 2, half)
    this.shared = { config, shape, input: { tokens: arena.tensor(microBatch, context), ropeTable: table }, stepPtr: arena.allocBytes(8), signs: arena.from(randomSigns(config.seed)), optimizer: arena.tensor(4) }
    const arm = (name: ArmName, scheme: PrecisionScheme) => new LanguageModelArm(arena, name, scheme, this.shared)
    this.all = [...config.baseline ? [arm('baseline', config.baseline)] : [], arm('studied', config.precision)]
  }
}

/** Bytes that a run of `config` needs in core memory. Builds its programs over an arena that only counts. */
export function memoryNeeded(config: LanguageModelConfig, shape: TransformerShape, threads: number): number {
  const arena = new PlanningArena(threads), arms = new Arms(arena, config, shape), layout = arms.all[0]!.params.layout
  if (config.probes.every > 0) arena.allocBytes(8 * layout.total)
  const overlay = new Overlay(arena)
  for (const arm of arms.all) for (const scheme of [arm.scheme, ...arm.name === 'studied' ? config.precisionSchedule.map(s => s.precision) : []]) arm.build(overlay, scheme)
  return arena.peak
}

export class LanguageModel implements Task {
  readonly executor: Executor
  readonly flops: number
  learningRate = 0
  readonly data: TextData
  readonly shape: TransformerShape
  /** Bytes of core memory that the run takes. */
  readonly #needed: number
  readonly #config: LanguageModelConfig
  readonly #arms: Arms
  readonly #overlay: Overlay
  readonly #norms: readonly GradientNorms[]
  readonly #trajectory: GradientComparison | null
  readonly #probes: Probes | null
  /** Mean loss of each arm over the micro-batches of the last step. */
  readonly #losses = new Map<ArmName, number>()
  /** Losses of the last `spikes.window` steps by arm, step s at s mod window. */
  readonly #history = new Map<ArmName, Float32Array>()
  readonly #spiking = new Set<ArmName>()
  #done = 0

  /** Load the text and set up a run. Throws UsageError for unusable text, a tokenizer that does not fit, or a run too large for WebAssembly or for `memory` bytes. */
  static async create(executor: Executor, config: LanguageModelConfig, { memory = machineMemory() } = {}): Promise<LanguageModel> {
    const data = await loadTextData(config.data, { context: config.model.context, seed: config.seed })
    const shape = transformerShape(config, data.tokenizer.vocabulary), needed = memoryNeeded(config, shape, executor.threads)
    if (needed > Math.min(MEMORY_LIMIT, memory)) {
      const has = memory < MEMORY_LIMIT ? `this machine has ${mebibytes(memory)} MiB` : `WebAssembly has ${mebibytes(MEMORY_LIMIT)} MiB`
      throw new UsageError(`this run needs ${mebibytes(needed)} MiB of memory, ${has}: lower microBatch ${config.microBatch}, model.context ${config.model.context} or the model's size (${parameterCount(shape)} parameters)`)
    }
    return new LanguageModel(executor, config, data, shape, needed)
  }

  private constructor(executor: Executor, config: LanguageModelConfig, data: TextData, shape: TransformerShape, needed: number) {
    const { arena } = executor
    this.executor = executor
    this.data = data
    this.shape = shape
    this.#needed = needed
    this.#config = config
    this.#arms = new Arms(arena, config, shape)
    const [first, ...others] = this.#arms.all as [LanguageModelArm, ...LanguageModelArm[]], studied = this.#arms.all.at(-1)!
    this.#initialize(first)
    for (const arm of others) arena.f32(arm.params.flat).set(arena.f32(first.params.flat))
    for (const { name } of this.#arms.all) this.#history.set(name, new Float32Array(config.spikes.window))
    this.#norms = this.#arms.all.map(a => new GradientNorms(executor, a))
    this.#trajectory = others.length > 0 && config.metrics.gradient > 0 ? new GradientComparison(executor, studied.grads, first.grads) : null
    this.#probes = config.probes.every > 0 ? this.#probesOf(config.probes.weights === 'baseline' ? first : studied) : null
    this.#overlay = new Overlay(arena)
    this.flops = flopsPerToken(shape, config.model.context).matmul * config.batch * config.model.context * this.#arms.all.length
  }

  #initialize({ params }: LanguageModelArm): void {
    const { model: { init }, seed } = this.#config
    if (init === 'mitchell') initializeTransformer(this.executor, params, seed)
    else params.import(this.executor.arena, readWeights(init, this.shape))
  }

  #probesOf(arm: LanguageModelArm): Probes {
    const loss = this.executor.arena.tensor(4), { shared } = this.#arms
    return new Probes(this.executor, arm, (p, scheme, into) =>
      emitLossAndGradient(p, this.shape, arm.params, into, shared.input, precisionOf(shared, scheme, ROUNDING_STREAMS.studied), { loss, zWeight: this.#config.zLoss }))
  }

  get introduction(): MetricsRow[] {
    const { batch, model: { context } } = this.#config, parameters = parameterCount(this.shape)
    return [{
      kind: 'language-model', step: this.#done, parameters, flopsPerToken: flopsPerToken(this.shape, context).budget, tokensPerStep: batch * context, corpus: this.data.hash,
      detail: `${parameters} parameters, ${mebibytes(this.#needed)} MiB of memory; ${this.data.description}`,
    }]
  }
  get arms(): ArmName[] { return this.#arms.all.map(a => a.name) }

  build(done: number): string | null {
    this.#done = done
    const { baseline, precisionSchedule, probes } = this.#config, overlay = this.#overlay, present = scheduledPrecision(this.#config, done)
    for (const arm of this.#arms.all) arm.build(overlay, arm.name === 'studied' ? present : baseline!)
    for (const n of this.#norms) n.build(overlay)
    this.#trajectory?.build(overlay)
    this.#probes?.build(overlay, probes.schemes)
    const change = precisionSchedule.find(s => s.step === done)
    return change ? describeScheme(change.precision) : null
  }

  /** Make micro-batch `part` of the step after `done` the present one: its tokens, its counter for random rounding. */
  #load(done: number, part: number): void {
    const { batch, microBatch, model: { context } } = this.#config, { arena } = this.executor, { input, stepPtr } = this.#arms.shared, tokens = arena.u32(input.tokens)
    new DataView(arena.memory.buffer).setBigUint64(stepPtr, BigInt(done * (batch / microBatch) + part), true)
    for (let b = 0; b < microBatch; b++) this.data.train.read(done * batch + part * microBatch + b, tokens, b * context)
  }

  prepare(done: number): Promise<void> {
    const { optimizer } = this.#arms.shared, { betas: [beta1, beta2], eps, weightDecay } = this.#config.optimizer
    this.#done = done
    this.learningRate = scheduledRate(this.#config, done)
    this.executor.arena.f32(optimizer).set(adamStep(this.learningRate, done + 1, { beta1, beta2, eps, weightDecay, decoupled: true }))
    this.#load(done, 0)
    return Promise.resolve()
  }

  async gradients(): Promise<void> {
    const { executor } = this, parts = this.#config.batch / this.#config.microBatch
    for (const arm of this.#arms.all) { this.#losses.set(arm.name, 0); if (arm.accumulates) await executor.run(arm.programs.clear) }
    for (let part = 0; part < parts; part++) {
      if (part > 0) this.#load(this.#done, part)
      for (const arm of this.#arms.all) {
        await executor.run(arm.programs.gradient)
        this.#losses.set(arm.name, this.#losses.get(arm.name)! + readF64(executor.arena, arm.loss)[0]! / parts)
        if (arm.accumulates) await executor.run(arm.programs.accumulate)
      }
    }
    for (const arm of this.#arms.all) if (arm.accumulates) await executor.run(arm.programs.average)
  }

  losses(): Partial<Record<ArmName, number>> { return Object.fromEntries(this.#losses) }

  async measure(step: number): Promise<MetricsRow[]> {
    const { metrics, probes, samples } = this.#config, { executor } = this, rows: MetricsRow[] = []
    for (const arm of this.#arms.all) rows.push(...this.#spike(arm.name, step))
    if (due(step, metrics.gradient)) {
      for (const n of this.#norms) rows.push(await n.measure(executor, step))
      if (this.#trajectory) rows.push({ kind: 'trajectory', step, ...await this.#trajectory.measure(executor) })
    }
    if (this.#probes && due(step, probes.every)) rows.push(...await this.#probes.measure(executor, step))
    if (due(step, metrics.overflow)) for (const arm of this.#arms.all) { await executor.run(arm.programs.observe); rows.push(arm.overflow(step)) }
    if (due(step, samples.every)) for (const arm of this.#arms.all) rows.push({ kind: 'sample', arm: arm.name, step, text: await this.sample(arm.name, step) })
    return rows
  }

  /** Remember the step's loss; a row when it begins to be a spike. */
  #spike(arm: ArmName, step: number): MetricsRow[] {
    const { window, rise } = this.#config.spikes, history = this.#history.get(arm)!, loss = this.#losses.get(arm)!, before = history[step % window]!
    history[step % window] = loss
    const spikes = step > window && loss - before > rise, begins = spikes && !this.#spiking.has(arm)
    if (spikes) this.#spiking.add(arm)
    else this.#spiking.delete(arm)
    return begins ? [{ kind: 'event', step, event: 'spike', detail: `${arm} loss ${loss.toFixed(3)} is ${(loss - before).toFixed(3)} above that of step ${step - window}` }] : []
  }

  /** Where the first value that is not finite stands, looking again at the present weights and batch. */
  async diagnose(arm: ArmName): Promise<string> {
    const a = this.#arms.all.find(x => x.name === arm)!
    await this.executor.run(a.programs.search)
    const found = a.firstNonFinite()
    return found ? `the first value that is not finite is element ${found.index} of ${found.name}` : 'weights and activations are finite'
  }

  async update(): Promise<void> {
    for (const arm of this.#arms.all) {
      await this.executor.run(arm.programs.norm)
      if (!Number.isFinite(readF64(this.executor.arena, arm.gradientMoments)[1]!)) throw new RunError(`the ${arm.name} arm's gradient is not finite at step ${this.#done + 1}: ${this.#firstGradient(arm)}`)
      await this.executor.run(arm.programs.update)
    }
  }

  #firstGradient(arm: LanguageModelArm): string {
    for (const { name } of arm.grads.layout.slots) {
      const index = this.executor.arena.f32(arm.grads.get(name)).findIndex(g => !Number.isFinite(g))
      if (index >= 0) return `its first such value is element ${index} of the gradient of ${name}`
    }
    return 'its norm overflows'
  }

  async validate(): Promise<Partial<Record<ArmName, number>>> {
    const { microBatch, model: { context }, validation } = this.#config, { arena } = this.executor, sums = new Map<ArmName, number>()
    const count = Math.min(validation.sequences, this.data.validation.count)
    for (let first = 0; first < count; first += microBatch) {
      const present = Math.min(microBatch, count - first), tokens = arena.u32(this.#arms.shared.input.tokens)
      for (let b = 0; b < microBatch; b++) this.data.validation.read(first + Math.min(b, present - 1), tokens, b * context)
      for (const arm of this.#arms.all) {
        await this.executor.run(arm.programs.evaluate)
        const losses = readF64(arena, arm.perPosition)
        let sum = sums.get(arm.name) ?? 0
        for (let i = 0; i < present * context; i++) sum += losses[2 * i]!
        sums.set(arm.name, sum)
      }
    }
    return Object.fromEntries([...sums].map(([name, sum]) => [name, sum / (count * (context - 1))]))
  }

  /** Text that an arm writes at its present weights; a function of the run's seed and `step`. */
  async sample(name: ArmName, step: number): Promise<string> {
    const { samples, seed } = this.#config, arm = this.#arms.all.find(a => a.name === name)!, mark = this.executor.arena.mark()
    try {
      return await generate(this.executor, this.shape, arm.params, precisionOf(this.#arms.shared, arm.scheme, ROUNDING_STREAMS[name]), this.data.tokenizer,
        { prompt: samples.prompt, tokens: samples.tokens, temperature: samples.temperature, context: this.#config.model.context, seed, stream: step })
    } finally { this.executor.arena.release(mark) }
  }

  save(): Checkpoint['tensors'] {
    const history = [...this.#history].map(([name, data]) => [`${name}.history`, { data, shape: [data.length] }])
    return { ...saveArms(this.executor.arena, this.#arms.all), ...Object.fromEntries(history), tokenizer: { data: fingerprintWords(this.data.tokenizer), shape: [8] } }
  }

  restore(tensors: Checkpoint['tensors'], what: string): void {
    checkFingerprint(this.data.tokenizer, tensors.tokenizer?.data, `checkpoint ${what}`)
    restoreArms(this.executor.arena, this.#arms.all, tensors, what)
    for (const [name, history] of this.#history) { const saved = tensors[`${name}.history`]?.data; if (saved?.length === history.length) history.set(saved) }
  }

  weightsHash(): Promise<string> { return hashWeights(this.executor.arena, this.#arms.all) }
}
