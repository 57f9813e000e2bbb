// The parts of causal attention that are not matrix products: rotary position embedding and the causal softmax. The layer is src/model/attention.ts.
import { UsageError } from '../errors.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'

/** Rows of vectors inside a wider matrix: `ptr` in bytes, `rowStride` in elements. */
export interface Rows { readonly ptr: number, readonly rowStride: number }

/** The rows of t [..., columns] from column `offset` on. */
export const rowsOf = (t: Tensor, offset = 0): Rows => ({ ptr: t.ptr + 4 * offset, rowStride: t.shape.at(-1)! })

export interface AttentionShape {
  readonly batch: number
  readonly context: number
  readonly heads: number
  readonly headDim: number
}

/**
 * Emit dst = src, rows [batch * context] of [heads * headDim], with every head rotated by its row's position: row r has position r mod context.
 * `inverse` rotates back, which is also the gradient. `table` [context, 2, headDim / 2] is ropeTable's. dst may be src.
 */
export function rope(p: Program, { src, dst, table }: { src: Rows, dst: Rows, table: Tensor }, { batch, context, heads, headDim }: AttentionShape, inverse = false): void {
  if (table.shape[0]! < context || table.shape.at(-1)! * 2 !== headDim) throw new UsageError(`rope: table [${table.shape}] does not serve context ${context} and head dimension ${headDim}`)
  p.emit('rope_f32', [src.ptr, src.rowStride, dst.ptr, dst.rowStride, table.ptr, context, heads, headDim, inverse ? 1 : 0], batch * context, 16)
}

/** Score rows of consecutive queries: row r of each `rows` belongs to the query at position first + r and has `width` (a multiple of 4) elements. */
export interface ScoreRows { readonly scores: Tensor, readonly count: number, readonly rows: number, readonly first: number, readonly width: number }

/** Emit, in place, softmax(scale * scores) over keys 0 .. position of each of `count` rows; the rest of a row becomes 0. */
export function causalSoftmax(p: Program, { scores, count, rows, first, width }: ScoreRows, scale: number): void {
  p.emit('causal_softmax', [scores.ptr, width, rows, first, scale], count, 16)
}

/** Emit, in place of `gradient` (of the probabilities), the gradient of the scores; `scores` holds the probabilities. */
export function causalSoftmaxBackward(p: Program, { scores, count, rows, first, width }: ScoreRows, gradient: Tensor, scale: number): void {
  p.emit('causal_softmax_backward', [scores.ptr, gradient.ptr, width, rows, first, scale], count, 16)
}

/**
 * Emit the softmax of torch's CPU attention (assembly/attention-torch.ts): as causalSoftmax, but rows are not divided by their sum, whose reciprocals go to
 * `reciprocals` [count]. scaleHeads divides after the product with v.
 */
export function causalSoftmaxTorch(p: Program, { scores, count, rows, first, width }: ScoreRows, scale: number, reciprocals: Tensor): void {
  p.emit('causal_softmax_torch', [scores.ptr, width, rows, first, scale, reciprocals.ptr], count, 16)
}

/** Emit the multiplication of those rows of o [batch, context, heads * headDim] by their reciprocals. */
export function scaleHeads(p: Program, o: Tensor, { count, rows, first }: ScoreRows, reciprocals: Tensor, { context, heads, headDim }: AttentionShape): void {
  p.emit('scale_heads', [o.ptr, reciprocals.ptr, context, heads, headDim, rows, first], count, 64)
}
