// Causal multi-head attention, o = softmax(q k^T / sqrt(headDim)) v per head.
//
// Memory is linear in the context: BLOCK query rows at a time get their scores, softmax and output, and the backward pass computes scores and softmax
// again instead of keeping them. The rows at positions [i0, i0 + BLOCK) meet the keys before i0 + BLOCK alone. Products are the strict GEMM, each
// output one sequential sum over head dimensions, keys or queries, so BLOCK does not show in a result.
//
// The products can be quantized as microxcaling's matmul does it (microsoft/microxcaling 7bc4195, mx/matmul.py), each operand along the axis that its
// product sums over, Q the elementwise rounding:
//   S = Q(MX(Q q) MX(Q k)^T)   along headDim          O = Q(MX(Q P) MX(Q v))         along keys
//   dP = Q(MX(Q dO) MX(Q v)^T) along headDim          dv = Q(MX(Q P)^T MX(Q dO))     along queries
//   dq = Q(MX(Q dS) MX(Q k))   along keys             dk = Q(MX(Q dS)^T MX(Q q))     along queries
import { UsageError } from '../errors.ts'
import type { Nvfp4Quantizer } from '../numerics/nvfp4.ts'
import type { ElementRounding } from '../numerics/quantizer.ts'
import { causalSoftmax, causalSoftmaxBackward, causalSoftmaxTorch, scaleHeads, type AttentionShape, type ScoreRows } from '../ops/attention.ts'
import { gemmStrided, type MatrixView } from '../ops/gemm.ts'
import { fakeQuantize, roundElements } from '../ops/quantize.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import type { OperandQuantizer, RandomBits } from './precision.ts'
import { randomSource } from './product.ts'

/** Query rows whose scores are in memory at once: enough for the GEMM, few enough that little above the diagonal is computed. */
export const BLOCK = 64

/** `exact`: exp to 0.6 ulp, probabilities divided by their sum. `torch`: as torch's CPU attention, for comparisons with it; the backward pass is exact in both. */
export type SoftmaxMode = 'exact' | 'torch'

/** NVFP4 has a scale for the whole tensor, and scores are never in memory whole. */
export type AttentionQuantizer = Exclude<OperandQuantizer, Nvfp4Quantizer>

/** How the products are quantized: operands of the forward pass, the same tensors in the backward pass, and gradients. */
export interface AttentionPrecision {
  readonly forward: AttentionQuantizer
  readonly backward: AttentionQuantizer
  readonly gradient: AttentionQuantizer
  /** Elementwise rounding before and after each product; null: none. */
  readonly round: ElementRounding | null
  readonly roundBackward: ElementRounding | null
  readonly random: RandomBits | null
}

type Role = 'forward' | 'backward' | 'gradient'

/** Quantizes operands under a precision; with none, hands them through. Copies live until release(). */
class Operands {
  readonly #p: Program
  readonly #precision: AttentionPrecision | null
  readonly #owned: Tensor[] = []

  constructor(p: Program, precision: AttentionPrecision | null) {
    this.#p = p
    this.#precision = precision
    for (const q of precision ? [precision.forward, precision.backward, precision.gradient] : []) {
      if (q?.kind === 'mx' && BLOCK % q.blockSize !== 0) throw new UsageError(`quantized attention needs a block size that divides ${BLOCK}, got ${q.blockSize}`)
    }
  }

  /** MX(Q(src)) along `axis`, in `into` or else in a copy made here. */
  quantize(src: Tensor, axis: number, role: Role, into?: Tensor): Tensor {
    const q = this.#precision?.[role] ?? null, round = this.#rounding(role)
    if (!q && !round) return src
    const t: Tensor = { ptr: (into ?? this.temp(src.shape)).ptr, shape: src.shape }, random = this.#precision!.random
    if (round) roundElements(this.#p, src, t, round)
    const from = round ? t : src
    if (q?.kind === 'element') roundElements(this.#p, from, t, q)
    else if (q) fakeQuantize(this.#p, from, t, axis, q, randomSource(q, random))
    return t
  }

  /** Q of a product, in place. */
  round(t: Tensor, role: Role): void {
    const round = this.#rounding(role)
    if (round) roundElements(this.#p, t, t, round)
  }

  #rounding(role: Role): ElementRounding | null { return (role === 'forward' ? this.#precision?.round : this.#precision?.roundBackward) ?? null }

  /** A temporary that release() frees. */
  temp(shape: readonly number[]): Tensor {
    const t = this.#p.temp(...shape)
    this.#owned.push(t)
    return t
  }

  release(): void { this.#p.free(...this.#owned) }
}

/** One block of query rows and the keys it meets. */
interface Block { readonly first: number, readonly rows: number, readonly keys: number, readonly width: number }

/** The shapes of one attention layer and its products. */
class Heads {
  readonly shape: AttentionShape
  /** f32(1 / sqrt(headDim)). */
  readonly scale: number
  /** Shape of a buffer for the scores of any block: one size for all, so that the memory one block used serves the next. */
  readonly scores: readonly number[]
  readonly #p: Program
  readonly #quantized: boolean

  constructor(p: Program, shape: AttentionShape, quantized: boolean) {
    this.#p = p
    this.#quantized = quantized
    this.shape = shape
    this.scale = Math.fround(1 / Math.sqrt(shape.headDim))
    this.scores = [shape.batch, shape.heads, Math.min(BLOCK, shape.context), Math.ceil(shape.context / 4) * 4]
  }

  get blocks(): Block[] {
    const { context } = this.shape
    return Array.from({ length: Math.ceil(context / BLOCK) }, (_, i) => {
      const first = i * BLOCK, keys = Math.min(first + BLOCK, context)
      return { first, rows: keys - first, keys, width: Math.ceil(keys / 4) * 4 }
    })
  }

  /** A block's scores as [heads of all sequences, rows, width]. */
  view(scores: Tensor, { rows, width }: Block): Tensor { return { ptr: scores.ptr, shape: [this.shape.batch * this.shape.heads, rows, width] } }

  softmaxRows(scores: Tensor, { first, rows, width }: Block): ScoreRows { return { scores, count: this.shape.batch * this.shape.heads * rows, rows, first, width } }

  /** x [batch, context, heads * headDim] as one row per head, for quantizing within heads. */
  byHead(x: Tensor): Tensor { return { ptr: x.ptr, shape: [this.shape.batch * this.shape.context * this.shape.heads, this.shape.headDim] } }

  /** scores = a b^T for the block's queries (rows of a) and its keys (rows of b). */
  overHeadDim(block: Block, a: Tensor, b: Tensor, scores: Tensor): void {
    this.#product({ M: block.rows, N: block.keys, K: this.shape.headDim, a: this.#matrix(a, block.first), b: transposed(this.#matrix(b, 0)), c: this.#scores(scores, block, 0) })
  }

  /** c (the block's rows) = scores b, summed over keys. */
  overKeys(block: Block, scores: Tensor, b: Tensor, c: Tensor): void {
    this.#product({ M: block.rows, N: this.shape.headDim, K: block.keys, a: this.#scores(scores, block, 0), b: this.#matrix(b, 0), c: this.#matrix(c, block.first) })
  }

  /**
   * c += scores^T b, summed over the block's queries; rows of c that no earlier block has met are written instead. Blocks in order thus make each key's
   * row one sum over all queries from its own position on.
   */
  overQueries(block: Block, scores: Tensor, b: Tensor, c: Tensor): void {
    const { first, rows } = block, common = { N: this.shape.headDim, K: rows, b: this.#matrix(b, first) }
    if (first > 0) this.#product({ ...common, M: first, a: transposed(this.#scores(scores, block, 0)), c: this.#matrix(c, 0), accumulate: true })
    this.#product({ ...common, M: rows, a: transposed(this.#scores(scores, block, first)), c: this.#matrix(c, first) })
  }

  #matrix(x: Tensor, position: number): View {
    const { context, heads, headDim } = this.shape, width = heads * headDim
    return { ptr: x.ptr + 4 * position * width, rowStride: width, colStride: 1, sequence: context * width, head: headDim }
  }

  #scores(x: Tensor, { rows, width }: Block, key: number): View {
    return { ptr: x.ptr + 4 * key, rowStride: width, colStride: 1, sequence: this.shape.heads * rows * width, head: rows * width }
  }

  #product({ a, b, c, ...size }: { M: number, N: number, K: number, a: View, b: View, c: View, accumulate?: boolean }): void {
    const batch = [{ count: this.shape.batch, a: a.sequence, b: b.sequence, c: c.sequence }, { count: this.shape.heads, a: a.head, b: b.head, c: c.head }]
    gemmStrided(this.#p, { a, b, c, batch, products: this.#quantized ? 'exact' : 'rounded', ...size })
  }
}

/** A matrix per head: where the first one is, and the steps to the next sequence and the next head, in elements. */
interface View extends MatrixView { readonly sequence: number, readonly head: number }

const transposed = (v: View): View => ({ ...v, rowStride: v.colStride, colStride: v.rowStride })

/** Emit o = attention(q, k, v), all [batch, context, heads * headDim]. `precision` null: products are not quantized. */
export function attentionForward(
  p: Program, { q, k, v, o }: { q: Tensor, k: Tensor, v: Tensor, o: Tensor }, shape: AttentionShape, precision: AttentionPrecision | null = null, softmax: SoftmaxMode = 'exact',
): void {
  const heads = new Heads(p, shape, precision !== null), operands = new Operands(p, precision)
  const qh = operands.quantize(heads.byHead(q), 1, 'forward'), kh = operands.quantize(heads.byHead(k), 1, 'forward'), vp = operands.quantize(v, 1, 'forward')
  const scores = operands.temp(heads.scores), reciprocals = softmax === 'torch' ? operands.temp(heads.scores.slice(0, 3)) : null
  for (const block of heads.blocks) {
    const view = heads.view(scores, block), rows = heads.softmaxRows(scores, block)
    heads.overHeadDim(block, qh, kh, scores)
    operands.round(view, 'forward')
    if (reciprocals) causalSoftmaxTorch(p, rows, heads.scale, reciprocals)
    else causalSoftmax(p, rows, heads.scale)
    heads.overKeys(block, operands.quantize(view, 2, 'forward', scores), vp, o)
    if (reciprocals) scaleHeads(p, o, rows, reciprocals, shape)
  }
  operands.round(o, 'forward')
  operands.release()
}

/** Emit dq, dk, dv from dO, given the inputs of attentionForward. */
export function attentionBackward(
  p: Program, { q, k, v, dO, dq, dk, dv }: { q: Tensor, k: Tensor, v: Tensor, dO: Tensor, dq: Tensor, dk: Tensor, dv: Tensor },
  shape: AttentionShape, precision: AttentionPrecision | null = null,
): void {
  const heads = new Heads(p, shape, precision !== null), operands = new Operands(p, precision)
  const qh = operands.quantize(heads.byHead(q), 1, 'forward'), kh = operands.quantize(heads.byHead(k), 1, 'forward')
  const gh = operands.quantize(heads.byHead(dO), 1, 'gradient'), vh = operands.quantize(heads.byHead(v), 1, 'backward')
  const gp = operands.quantize(dO, 1, 'gradient'), qp = operands.quantize(q, 1, 'backward'), kp = operands.quantize(k, 1, 'backward')
  const P = operands.temp(heads.scores), dS = operands.temp(heads.scores), copy = precision ? operands.temp(heads.scores) : undefined
  for (const block of heads.blocks) {
    const probabilities = heads.view(P, block), gradients = heads.view(dS, block)
    heads.overHeadDim(block, qh, kh, P)
    operands.round(probabilities, 'forward')
    causalSoftmax(p, heads.softmaxRows(P, block), heads.scale)
    heads.overQueries(block, operands.quantize(probabilities, 1, 'backward', copy), gp, dv)

    heads.overHeadDim(block, gh, vh, dS)
    operands.round(gradients, 'backward')
    causalSoftmaxBackward(p, heads.softmaxRows(P, block), dS, heads.scale)
    heads.overKeys(block, operands.quantize(gradients, 2, 'gradient', copy), kp, dq)
    heads.overQueries(block, operands.quantize(gradients, 1, 'gradient', copy), qp, dk)
  }
  for (const t of [dq, dk, dv]) operands.round(t, 'backward')
  operands.release()
}
