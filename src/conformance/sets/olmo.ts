// Set `olmo`: the OLMo class of Hither1/systems-scaling (8aa0ac8) in PyTorch, float32 and with microxcaling's operators injected: logits, loss, all
// gradients, ten AdamW steps; repeated here by the programs that the trainer runs. Rules: the set's README.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseSafetensors, typed, type SafeTensors } from '../../io/safetensors.ts'
import { emitLossAndGradient } from '../../model/language-model.ts'
import { ParameterVector } from '../../model/parameters.ts'
import { resolvePrecision, type ModelPrecision } from '../../model/precision.ts'
import { torchRopeTable } from './olmo-rope.ts'
import { paperSites, transformerPrecision } from '../../model/transformer-precision.ts'
import { headDim, transformerLayout, type TransformerShape } from '../../model/transformer-shape.ts'
import { schemes } from '../../numerics/scheme.ts'
import { adam, adamStep, clipByNorm } from '../../ops/optimizer.ts'
import { readF64 } from '../../ops/reduce.ts'
import { InlineExecutor } from '../../runtime/executor.ts'
import { Program } from '../../runtime/program.ts'
import { copy } from '../../ops/elementwise.ts'
import { modelPrecision, type MxSpecs } from '../mx-specs.ts'
import type { Deviation, SetResult } from '../types.ts'

interface Case {
  id: string, kind: string, loss: number, weights: 'init' | 'final', specs?: MxSpecs
  lr: number, betas: [number, number], eps: number, weight_decay: number, grad_clip: number
}
interface Config { d_model: number, n_heads: number, n_layers: number, mlp_ratio: number, vocab_size: number, context_length: number, batch: number, rope_theta: number, weight_tying: boolean, layer_norm_eps: number }

/** Compares with limits and remembers the worst of each kind. */
class Checks {
  readonly worst = new Map<string, Deviation>()

  check(what: string, value: number, limit: number): void {
    const before = this.worst.get(what)
    if (!before || value / limit > before.value / before.limit) this.worst.set(what, { what, value, limit })
    if (!(value <= limit)) throw new Error(`${what}: deviates by ${value.toExponential(2)}, limit ${limit}`)
  }
}

/** The model of the set on one executor. */
class Model {
  readonly file: SafeTensors
  readonly config: Config
  readonly shape: TransformerShape
  readonly executor = new InlineExecutor()
  readonly params: ParameterVector
  readonly grads: ParameterVector
  readonly tokens
  readonly #rope

  constructor(file: SafeTensors) {
    const c: Config = JSON.parse(file.metadata['config']!), { arena } = this.executor
    if (c.layer_norm_eps !== 1e-5) throw new Error(`layer_norm_eps ${c.layer_norm_eps} is not supported`)
    this.file = file
    this.config = c
    this.shape = {
      width: c.d_model, depth: c.n_layers, heads: c.n_heads, vocabulary: c.vocab_size, mlpRatio: c.mlp_ratio, activation: 'gelu', norm: 'layernorm', qkNorm: true,
      tied: c.weight_tying, theta: c.rope_theta,
    }
    const layout = transformerLayout(this.shape)
    this.params = new ParameterVector(arena, layout)
    this.grads = new ParameterVector(arena, layout)
    this.tokens = arena.tensor(c.batch, c.context_length)
    this.#rope = arena.from(torchRopeTable(c.context_length, headDim(this.shape), c.rope_theta), c.context_length, 2, headDim(this.shape) / 2)
  }

  /** A named tensor of the file as f32. */
  want(name: string): Float32Array {
    const t = this.file.tensors.get(name)
    if (!t) throw new Error(`tensor ${name} is missing`)
    return typed(t, Float32Array)
  }

  load(prefix: string): void {
    const { layout } = this.params
    this.params.import(this.executor.arena, new Map(layout.slots.map(({ name, shape }) => [name, { shape, values: this.want(prefix + name) }])))
  }

  setTokens(step: number): void {
    const all = typed(this.file.tensors.get('tokens')!, Int32Array), n = this.config.batch * this.config.context_length
    this.executor.arena.u32(this.tokens).set(all.subarray(step * n, (step + 1) * n))
  }

  /** A program that computes loss [4] (f64 x 2) and gradients, with a copy of the logits. */
  gradientProgram(precision: ModelPrecision) {
    const { arena } = this.executor, p = new Program(arena), loss = arena.tensor(4), logits = arena.tensor(this.config.batch, this.config.context_length, this.shape.vocabulary)
    emitLossAndGradient(p, this.shape, this.params, this.grads, { tokens: this.tokens, ropeTable: this.#rope }, transformerPrecision(precision, paperSites, this.shape, 'torch'), { loss, onLogits: l => copy(p, l, logits) })
    return { program: p, loss: () => readF64(arena, loss)[0]!, logits: () => arena.f32(logits).slice() }
  }
}

/** ||a - b||^2 and ||b||^2. */
function distance(a: Float32Array, b: Float32Array): [difference: number, norm: number] {
  let difference = 0, norm = 0
  for (let i = 0; i < b.length; i++) { difference += (a[i]! - b[i]!) ** 2; norm += b[i]! ** 2 }
  return [difference, norm]
}
const relativeL2 = (a: Float32Array, b: Float32Array): number => { const [d, n] = distance(a, b); return Math.sqrt(d / n) }

/** Position of a finite bf16 value among all bf16 values in order. */
function bf16Index(x: number): number {
  const code = new Uint32Array(Float32Array.of(x).buffer)[0]! >>> 16
  return code & 0x8000 ? -(code & 0x7fff) : code
}

function oneGradient(m: Model, c: Case, checks: Checks): void {
  m.load(`${c.weights}.`)
  m.setTokens(0)
  const fp32 = resolvePrecision(schemes.fp32!)
  const precision = c.specs ? modelPrecision(c.specs, { layerNormEps: 1e-5, betaGradient: 'dropped', studentGelu: 'chain' }) : fp32
  const run = m.gradientProgram(precision)
  m.executor.runSync(run.program)
  const mx = c.specs !== undefined, kind = mx ? 'mx ' : ''
  checks.check(`${kind}loss (relative)`, Math.abs(run.loss() - c.loss) / c.loss, 1e-5)

  const logits = run.logits(), wantLogits = m.want(`${c.id}.logits`)
  if (mx) {
    let equal = 0, furthest = 0
    logits.forEach((x, i) => { if (x === wantLogits[i]) equal++; furthest = Math.max(furthest, Math.abs(bf16Index(x) - bf16Index(wantLogits[i]!))) })
    checks.check('mx logits (bf16 ulp)', furthest, 2)
    checks.check('mx logits (share that differs)', 1 - equal / logits.length, 0.01)
  } else checks.check('logits (absolute)', logits.reduce((worst, x, i) => Math.max(worst, Math.abs(x - wantLogits[i]!)), 0), 2e-5)

  let difference = 0, norm = 0
  for (const { name } of m.grads.layout.slots) {
    const got = m.executor.arena.f32(m.grads.get(name)).slice(), want = m.want(`${c.id}.grad.${name}`), [d, n] = distance(got, want)
    difference += d
    norm += n
    try { checks.check(`${kind}gradient of a tensor (relative L2)`, Math.sqrt(d / n), mx ? 2e-2 : 1e-4) } catch (e) { throw new Error(`${name}: ${(e as Error).message}`) }
  }
  if (mx) checks.check('mx gradient in all (relative L2)', Math.sqrt(difference / norm), 1e-2)
}

function tenSteps(m: Model, c: Case, checks: Checks): void {
  const { arena } = m.executor, { layout } = m.params
  const first = new ParameterVector(arena, layout), second = new ParameterVector(arena, layout), step = arena.tensor(4), statistics = arena.tensor(6)
  const settings = { beta1: c.betas[0], beta2: c.betas[1], eps: c.eps, weightDecay: c.weight_decay, decoupled: true }
  const fp32 = resolvePrecision(schemes.fp32!), gradient = m.gradientProgram(fp32), update = new Program(arena)
  clipByNorm(update, { gradient: m.grads.flat, step, statistics }, c.grad_clip)
  adam(update, { value: m.params.flat, gradient: m.grads.flat, m: first.flat, v: second.flat, step }, settings)
  const losses = typed(m.file.tensors.get('train.loss')!, Float64Array), norms = typed(m.file.tensors.get('train.grad_norm')!, Float64Array)
  m.load('init.')
  for (let s = 0; s < losses.length; s++) {
    m.setTokens(s)
    arena.f32(step).set(adamStep(c.lr, s + 1, settings))
    m.executor.runSync(gradient.program)
    m.executor.runSync(update)
    checks.check('training loss (relative)', Math.abs(gradient.loss() - losses[s]!) / losses[s]!, 1e-5)
    checks.check('gradient norm (relative)', Math.abs(Math.sqrt(readF64(arena, statistics)[1]!) - norms[s]!) / norms[s]!, 1e-5)
  }
  for (const [name, { values }] of m.params.export(arena)) checks.check('final weights (relative L2)', relativeL2(values, m.want(`final.${name}`)), 1e-4)
}

export async function run(dir: string): Promise<SetResult> {
  const file = parseSafetensors(await readFile(join(dir, 'olmo.safetensors'))), checks = new Checks(), failures: string[] = []
  const cases: Case[] = JSON.parse(file.metadata['cases']!), m = new Model(file)
  for (const c of cases) {
    try { c.id === 'train' ? tenSteps(m, c, checks) : oneGradient(m, c, checks) } catch (error) { failures.push(`case ${c.id}: ${(error as Error).message}`) }
  }
  return { cases: cases.length, passed: cases.length - failures.length, failures, worst: [...checks.worst.values()] }
}
