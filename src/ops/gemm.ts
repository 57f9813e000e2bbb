// Matrix products: c[M,N] = op(a) op(b) (+ c). Strict by definition: each output is ONE sequential sum over k in f32, starting from +0 (or from c
// when accumulating), product rounded, then sum rounded. So the bits do not depend on threads, tiles or engine (src/oracle/gemm.ts).
import { UsageError } from '../errors.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'

/**
 * What the caller knows about the products a[m,k] * b[k,n]. `rounded`: nothing. `exact`: they fit f32 without rounding, as products of MX, FP8 or bf16
 * values do, so a fused multiply-add gives the same bits and may be used where it is faster. A wrong promise costs time, never bits: the kernel looks at
 * the operands it packs and fuses only where every product is certain to be exact (products that underflow, for one, are not).
 */
export type Products = 'rounded' | 'exact'

/** Operands of a product of dense row-major f32 matrices. */
export interface GemmOptions {
  /** [M, K], or [K, M] with transA. */
  a: Tensor
  /** [K, N], or [N, K] with transB. */
  b: Tensor
  /** [M, N]; must not overlap a or b. */
  c: Tensor
  transA?: boolean
  transB?: boolean
  /** Start each sum from c instead of +0. */
  accumulate?: boolean
  /** Default `rounded`. */
  products?: Products
}

/**
 * Emit c = op(a) op(b) (+ c) for dense row-major f32 matrices: each output one sequential f32 sum over k, product rounded, then sum rounded.
 * Throws UsageError when the shapes disagree.
 */
export function gemm(p: Program, { a, b, c, transA = false, transB = false, accumulate, products }: GemmOptions): void {
  for (const [name, t] of Object.entries({ a, b, c })) if (t.shape.length !== 2) throw new UsageError(`gemm: ${name} has shape [${t.shape}], a matrix is needed`)
  const [aRows, aCols] = a.shape as [number, number], [bRows, bCols] = b.shape as [number, number], [M, N] = c.shape as [number, number]
  const K = transA ? aRows : aCols
  if ((transA ? aCols : aRows) !== M || (transB ? bRows : bCols) !== N || (transB ? bCols : bRows) !== K) {
    throw new UsageError(`gemm: a [${a.shape}]${transA ? ' transposed' : ''} times b [${b.shape}]${transB ? ' transposed' : ''} does not give c [${c.shape}]`)
  }
  gemmStrided(p, {
    a: transA ? { ptr: a.ptr, rowStride: 1, colStride: aCols } : { ptr: a.ptr, rowStride: aCols, colStride: 1 },
    b: transB ? { ptr: b.ptr, rowStride: 1, colStride: bCols } : { ptr: b.ptr, rowStride: bCols, colStride: 1 },
    c: { ptr: c.ptr, rowStride: N },
    M, N, K, accumulate, products,
  })
}

/** A matrix inside memory: `ptr` is a byte offset, strides are in elements. */
export interface MatrixView {
  ptr: number
  rowStride: number
  colStride: number
}

/** One level of a batch, for example the heads of an attention layer: `count` products, and the step between them in elements of a, b and c. */
export interface BatchLevel {
  count: number
  a: number
  b: number
  c: number
}

/** Operands of a product over strided views of f32 memory. */
export interface GemmStridedOptions {
  /** A[M,K] as it stands in the product; a transposed matrix is one with its strides exchanged. */
  a: MatrixView
  /** B[K,N]. */
  b: MatrixView
  /** C[M,N], rows contiguous. */
  c: { ptr: number, rowStride: number }
  M: number
  N: number
  K: number
  /** At most two nested levels, outermost first, such as [sequences, heads]. A step of 0 shares that operand; every product needs its own c. */
  batch?: BatchLevel[]
  accumulate?: boolean
  products?: Products
}

/** Columns (N >= M) or rows (M > N) of one item of the kernel: PANEL in assembly/gemm-driver.ts. */
export const PANEL = 16

/** Work worth waking a thread for, in multiply-adds: some microseconds, against 0.2 us for a barrier. */
const GRAIN = 1 << 17

/** Items worth a thread, of so many multiply-adds each. */
export const productGrain = (multiplyAdds: number): number => Math.max(1, Math.ceil(GRAIN / multiplyAdds))

/** Emit one product, or a batch of equal shape, over strided views; the arithmetic of gemm. Throws UsageError for more than two levels of batch. */
export function gemmStrided(p: Program, { a, b, c, M, N, K, batch = [], accumulate = false, products = 'rounded' }: GemmStridedOptions): void {
  if (batch.length > 2) throw new UsageError(`gemm: a batch of ${batch.length} levels, at most 2 are supported`)
  const none = { count: 1, a: 0, b: 0, c: 0 }, [inner, outer] = [batch.at(-1) ?? none, batch.at(-2) ?? none]
  const panels = Math.ceil(Math.max(M, N) / PANEL), count = outer.count * inner.count
  if (!(M > 0 && N > 0 && count > 0)) return
  const grain = productGrain(PANEL * Math.min(M, N) * Math.max(K, 1))
  p.emit(
    products === 'exact' ? 'gemm_exact_f32' : 'gemm_f32',
    [a.ptr, a.rowStride, a.colStride, b.ptr, b.rowStride, b.colStride, c.ptr, c.rowStride, M, N, K, accumulate ? 1 : 0,
      inner.count, outer.a, outer.b, outer.c, inner.a, inner.b, inner.c],
    panels * count, grain, { flops: 2 * M * N * K * count },
  )
}
