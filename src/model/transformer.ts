// The paper's language model: OLMo's sequential pre-norm block (allenai/OLMo, as modified in Hither1/systems-scaling 8aa0ac8),
//   q, k, v = Wqkv norm(x)     x += Wo attention(rope(norm_q(q)), rope(norm_k(k)), v)     x += W2 act(W1 norm(x))
// then a final norm and the output head. No biases anywhere. norm_q and norm_k run over the whole width before the split into heads. Parameters have
// OLMo's names (transformer.blocks.<i>.att_proj.weight ...).
//
// d = width, F = mlpRatio d is what W1 puts out; SwiGLU multiplies its first half with SiLU of the second, so W2 takes F / 2.
// What would surprise: a tied head shares the embedding table, whose gradient is then the head's plus the embedding's, in this order.
import { activationBackward, activationForward } from '../ops/activation.ts'
import { rope, rowsOf, type AttentionShape } from '../ops/attention.ts'
import { add, copyColumns, fill } from '../ops/elementwise.ts'
import { embeddingBackward, embeddingForward } from '../ops/embedding.ts'
import { roundElements } from '../ops/quantize.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import { attentionBackward, attentionForward } from './attention.ts'
import { linearBackward, linearForward, type LinearSaved } from './linear.ts'
import { normBackward, normForward, type NormSaved } from './norm.ts'
import type { ParameterVector } from './parameters.ts'
import { headDim, innerWidth, type TransformerShape } from './transformer-shape.ts'
import type { BlockPrecision, TransformerPrecision } from './transformer-precision.ts'

/** What a program reads and never writes: token ids u32 [batch, context], and ropeTable's values [context, 2, headDim / 2]. */
export interface TransformerInput { readonly tokens: Tensor, readonly ropeTable: Tensor }

/** What an observer sees while the forward pass is emitted. `block` null: before the first block (`output` = embedding) or after the last (`normed` = final norm). */
export interface TransformerTap { readonly block: number | null, readonly normed?: Tensor, readonly hidden?: Tensor, readonly output: Tensor }

interface BlockSaved {
  readonly norm1: NormSaved
  readonly h1: Tensor
  readonly attProj: LinearSaved
  readonly qk: { readonly raw: Tensor, readonly saved: NormSaved | null }[]
  readonly q: Tensor
  readonly k: Tensor
  readonly v: Tensor
  readonly o: Tensor
  readonly attnOut: LinearSaved
  readonly norm2: NormSaved
  readonly h2: Tensor
  readonly ffProj: LinearSaved
  readonly z: Tensor
  readonly a: Tensor
  readonly ffOut: LinearSaved
}

export interface TransformerSaved { readonly input: TransformerInput, readonly blocks: readonly BlockSaved[], readonly norm: NormSaved, readonly h: Tensor, readonly head: LinearSaved }

/** The parameters of one block by OLMo's short names. */
const blockParameters = (params: ParameterVector, i: number) => (name: string): Tensor => params.get(`transformer.blocks.${i}.${name}.weight`)

const headName = (s: TransformerShape): string => s.tied ? 'transformer.wte.weight' : 'transformer.ff_out_last.weight'

const attentionShape = (s: TransformerShape, x: Tensor): AttentionShape => ({ batch: x.shape[0]!, context: x.shape[1]!, heads: s.heads, headDim: headDim(s) })

/**
 * Emit the forward pass. Returns logits [batch, context, vocabulary] (a temporary) and, if `keep`, what backward needs; otherwise every intermediate is
 * freed as soon as possible. `tap` may emit calls that read the values it is shown.
 */
export function transformerForward(
  p: Program, s: TransformerShape, params: ParameterVector, input: TransformerInput, precision: TransformerPrecision, keep: boolean, tap?: (t: TransformerTap) => void,
): { logits: Tensor, saved: TransformerSaved | null } {
  const [batch, context] = input.tokens.shape as [number, number]
  let x = p.temp(batch, context, s.width)
  p.scope('wte.forward', () => {
    embeddingForward(p, { table: params.get('transformer.wte.weight'), tokens: input.tokens, out: x })
    if (precision.embedding) roundElements(p, x, x, precision.embedding)
  })
  tap?.({ block: null, output: x })
  const blocks: BlockSaved[] = []
  for (let i = 0; i < s.depth; i++) {
    p.scope(`blocks.${i}`, () => {
      const { y, saved } = blockForward(p, s, blockParameters(params, i), x, input.ropeTable, precision.block(i), precision, i, tap)
      if (keep) blocks.push(saved)
      else { freeBlock(p, saved); p.free(x) }
      x = y
    })
  }
  const h = p.temp(batch, context, s.width), logits = p.temp(batch, context, s.vocabulary)
  let norm!: NormSaved, head!: LinearSaved
  p.scope('ln_f.forward', () => { norm = normForward(p, { x, gamma: params.get('transformer.ln_f.weight'), beta: null, y: h }, precision.finalNorm, s.norm) })
  tap?.({ block: null, normed: h, output: h })
  p.scope('head.forward', () => { head = linearForward(p, { x: h, weight: params.get(headName(s)), bias: null, y: logits, xRounded: precision.finalNorm.rounded }, precision.head) })
  const saved = { input, blocks, norm, h, head }
  if (keep) return { logits, saved }
  p.free(x, h, norm.stats)
  return { logits, saved: null }
}

function blockForward(
  p: Program, s: TransformerShape, get: (name: string) => Tensor, x: Tensor, table: Tensor, precision: BlockPrecision, outer: TransformerPrecision, i: number, tap?: (t: TransformerTap) => void,
): { y: Tensor, saved: BlockSaved } {
  const [batch, context, d] = x.shape as [number, number, number], inner = innerWidth(s), shape = attentionShape(s, x)
  const temp = (width = d) => p.temp(batch, context, width)
  const normed = (name: string, from: Tensor): { h: Tensor, saved: NormSaved } => {
    const h = temp()
    let saved!: NormSaved
    p.scope(`${name}.forward`, () => { saved = normForward(p, { x: from, gamma: get(name), beta: null, y: h }, precision.norm, s.norm) })
    return { h, saved }
  }
  const residual = (name: string, y: Tensor) => p.scope(`${name}.residual`, () => {
    add(p, name === 'attn_out' ? x : middle, y, y)
    if (outer.residual) roundElements(p, y, y, outer.residual)
  })

  const { h: h1, saved: norm1 } = normed('attn_norm', x)
  const qkv = temp(3 * d), q = temp(), k = temp(), v = temp()
  let attProj!: LinearSaved, attnOut!: LinearSaved, ffProj!: LinearSaved, ffOut!: LinearSaved
  p.scope('att_proj.forward', () => { attProj = linearForward(p, { x: h1, weight: get('att_proj'), bias: null, y: qkv, xRounded: precision.norm.rounded }, precision.attProj) })
  const qk: { raw: Tensor, saved: NormSaved | null }[] = []
  p.scope('attention.forward', () => {
    copyColumns(p, { x: qkv, fromColumn: 2 * d, out: v, columns: d })
    for (const [j, [name, to]] of ([['q_norm', q], ['k_norm', k]] as const).entries()) {
      const raw = s.qkNorm ? temp() : to
      copyColumns(p, { x: qkv, fromColumn: j * d, out: raw, columns: d })
      qk.push({ raw, saved: s.qkNorm ? normForward(p, { x: raw, gamma: get(name), beta: null, y: to }, precision.norm, s.norm) : null })
      rope(p, { src: rowsOf(to), dst: rowsOf(to), table }, shape)
    }
    p.free(qkv)
  })
  const o = temp()
  p.scope('attention.forward', () => attentionForward(p, { q, k, v, o }, shape, precision.attention, outer.softmax))
  const middle = temp()
  p.scope('attn_out.forward', () => { attnOut = linearForward(p, { x: o, weight: get('attn_out'), bias: null, y: middle }, precision.attnOut) })
  residual('attn_out', middle)

  const { h: h2, saved: norm2 } = normed('ff_norm', middle)
  const z = temp(s.mlpRatio * d), a = temp(inner), y = temp()
  p.scope('ff_proj.forward', () => { ffProj = linearForward(p, { x: h2, weight: get('ff_proj'), bias: null, y: z, xRounded: precision.norm.rounded }, precision.ffProj) })
  p.scope('act.forward', () => activationForward(p, s.activation, precision.activation, { x: z, y: a }))
  p.scope('ff_out.forward', () => { ffOut = linearForward(p, { x: a, weight: get('ff_out'), bias: null, y, xRounded: precision.activation.kind === 'bf16' && s.activation !== 'swiglu' }, precision.ffOut) })
  residual('ff_out', y)
  tap?.({ block: i, normed: h2, hidden: a, output: y })
  return { y, saved: { norm1, h1, attProj, qk, q, k, v, o, attnOut, norm2, h2, ffProj, z, a, ffOut } }
}

/** Frees all that a block saved but its input. */
function freeBlock(p: Program, b: BlockSaved): void {
  for (const { raw, saved } of b.qk) if (saved) p.free(raw, saved.stats)
  p.free(b.norm1.stats, b.norm2.stats, b.h1, b.q, b.k, b.v, b.o, b.norm2.x, b.h2, b.z, b.a)
}

/**
 * Emit the backward pass from dLogits (the temporary that forward returned as logits, holding the gradient; it is freed here). Overwrites all of `grads`;
 * frees what forward saved.
 */
export function transformerBackward(p: Program, s: TransformerShape, params: ParameterVector, grads: ParameterVector, saved: TransformerSaved, dLogits: Tensor, precision: TransformerPrecision): void {
  const [batch, context] = saved.input.tokens.shape as [number, number], width = s.width
  let g = p.temp(batch, context, width)
  const dTable = grads.get('transformer.wte.weight')
  p.scope('head.backward', () => linearBackward(p, { dy: dLogits, saved: saved.head, weight: params.get(headName(s)), dx: g, dWeight: grads.get(headName(s)), dBias: null }, precision.head))
  p.free(dLogits)
  p.scope('ln_f.backward', () => normBackward(p, { dy: g, saved: saved.norm, gamma: params.get('transformer.ln_f.weight'), dx: g, dGamma: grads.get('transformer.ln_f.weight'), dBeta: null }, precision.finalNorm))
  p.free(saved.h, saved.norm.x)
  for (let i = s.depth - 1; i >= 0; i--) {
    p.scope(`blocks.${i}`, () => blockBackward(p, s, blockParameters(params, i), blockParameters(grads, i), saved.blocks[i]!, g, saved.input.ropeTable, precision.block(i)))
  }
  p.scope('wte.backward', () => {
    if (!s.tied) fill(p, dTable, 0)
    embeddingBackward(p, { dTable, tokens: saved.input.tokens, dOut: g })
  })
  p.free(g)
}

/** From g = gradient of the block's output to the gradient of its input, in place. */
function blockBackward(
  p: Program, s: TransformerShape, get: (name: string) => Tensor, grad: (name: string) => Tensor, b: BlockSaved, g: Tensor, table: Tensor, precision: BlockPrecision,
): void {
  const [batch, context, d] = g.shape as [number, number, number], shape = attentionShape(s, g)
  const temp = (width = d) => p.temp(batch, context, width)
  const linear = (name: string, saved: LinearSaved, dy: Tensor, dx: Tensor, at: BlockPrecision['attProj']) =>
    p.scope(`${name}.backward`, () => linearBackward(p, { dy, saved, weight: get(name), dx, dWeight: grad(name), dBias: null }, at))
  const norm = (name: string, saved: NormSaved, dy: Tensor, dx: Tensor) =>
    p.scope(`${name}.backward`, () => normBackward(p, { dy, saved, gamma: get(name), dx, dGamma: grad(name), dBeta: null }, precision.norm))
  const addTo = (name: string, dx: Tensor) => p.scope(`${name}.residual`, () => add(p, g, dx, g))

  const da = temp(innerWidth(s))
  linear('ff_out', b.ffOut, g, da, precision.ffOut)
  const dz = temp(s.mlpRatio * d)
  p.scope('act.backward', () => activationBackward(p, s.activation, precision.activation, { x: b.z, dy: da, dx: dz }))
  p.free(da, b.a, b.z)
  const dh2 = temp()
  linear('ff_proj', b.ffProj, dz, dh2, precision.ffProj)
  p.free(dz, b.h2)
  norm('ff_norm', b.norm2, dh2, dh2)
  addTo('ff_norm', dh2)
  p.free(dh2, b.norm2.x)

  const dO = temp()
  linear('attn_out', b.attnOut, g, dO, precision.attnOut)
  p.free(b.o)
  const dq = temp(), dk = temp(), dv = temp()
  p.scope('attention.backward', () => attentionBackward(p, { q: b.q, k: b.k, v: b.v, dO, dq, dk, dv }, shape, precision.attention))
  p.free(dO, b.q, b.k, b.v)
  const dqkv = temp(3 * d)
  p.scope('attention.backward', () => {
    for (const [j, [name, dx]] of ([['q_norm', dq], ['k_norm', dk]] as const).entries()) {
      const { raw, saved } = b.qk[j]!
      rope(p, { src: rowsOf(dx), dst: rowsOf(dx), table }, shape, true)
      if (saved) {
        normBackward(p, { dy: dx, saved, gamma: get(name), dx, dGamma: grad(name), dBeta: null }, precision.norm)
        p.free(raw)
      }
      copyColumns(p, { x: dx, out: dqkv, toColumn: j * d, columns: d })
    }
    copyColumns(p, { x: dv, out: dqkv, toColumn: 2 * d, columns: d })
  })
  p.free(dq, dk, dv)
  const dh1 = temp()
  linear('att_proj', b.attProj, dqkv, dh1, precision.attProj)
  p.free(dqkv, b.h1)
  norm('attn_norm', b.norm1, dh1, dh1)
  addTo('attn_norm', dh1)
  p.free(dh1, b.norm1.x)
}
