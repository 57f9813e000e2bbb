// One matrix product with a named accumulator: D[M,N] = A[M,K] B[N,K]^T, K contiguous in both operands, then the epilogue alpha D + beta C and the output type.
//   f32      each output one sequential f32 sum over k, product rounded, then sum (src/oracle/gemm.ts)
//   f32-fma  the same with fused multiply-adds (src/oracle/gemm.ts)
//   f64      the same in f64, rounded once (src/oracle/gemm.ts)
//   exact    the exact sum, rounded once (src/oracle/exact.ts)
//   mma      a modelled matrix unit, step by step in k (src/oracle/mma.ts)
// The K loop may be cut (`cuts`): each part is then a sum of its own from +0, and the parts are added in f32, in order. That is split-K, and it is how kernels
// promote short FP8 sums (src/oracle/epilogue.ts has what follows).
import { UsageError } from '../errors.ts'
import type { MmaConfig } from '../numerics/mma.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import { add } from './elementwise.ts'
import { gemmStrided } from './gemm.ts'
import { decodeOperand, freeOperand, mma, type MmaCodes } from './mma.ts'
import { ELEMENT_GRAIN } from './shapes.ts'

/** Sums that are no matrix unit's, in words. */
export const plainSums = {
  'f32': 'strict float32: products rounded, then sums',
  'f32-fma': 'float32 fused multiply-adds (FMA): each product and sum rounded once',
  'f64': 'float64 sums of exact products, rounded to float32 once',
  'exact': 'the exact sum, rounded once',
} as const
/** A name of one. */
export type PlainSum = keyof typeof plainSums
export const isPlainSum = (name: string): name is PlainSum => Object.hasOwn(plainSums, name)

/** Operands and accumulator of a product: f32 tensors [M, K] and [N, K], or codes for a matrix unit. */
export type Product =
  | { readonly accumulate: PlainSum, readonly a: Tensor, readonly b: Tensor }
  | { readonly accumulate: MmaConfig, readonly a: MmaCodes, readonly b: MmaCodes }

/** Output types; the order is that of assembly/mma-epilogue.ts. */
export const outputs = ['f32', 'bf16', 'f16'] as const
/** What a product is stored as. */
export type Output = typeof outputs[number]

const sizes = (x: Tensor | MmaCodes): [rows: number, K: number] => 'rows' in x ? [x.rows, x.K] : [x.shape[0]!, x.shape[1]!]

/**
 * Emit d[M, N] = A B^T as accumulators: u32 words, f32 bits, or FP16 in the low half for a unit that accumulates in it. `start`: accumulators [M, N] to start from (not
 * with cuts, not for `exact`). `cuts`: increasing K at which new partial sums begin, multiples of a matrix unit's step. Throws UsageError when sizes disagree.
 */
export function accumulate(p: Program, product: Product, d: Tensor, { start, cuts = [] }: { start?: Tensor, cuts?: readonly number[] } = {}): void {
  const [M, K] = sizes(product.a), [N, bK] = sizes(product.b)
  if (K !== bK) throw new UsageError(`matmul: a has K = ${K}, b has K = ${bK}`)
  if (d.shape[0] !== M || d.shape[1] !== N) throw new UsageError(`matmul: d has shape [${d.shape}], the product [${M}, ${N}]`)
  if (start && cuts.length) throw new UsageError('matmul: a product in parts starts from zero')
  const edges = [0, ...cuts, K]
  if (edges.some((k, i) => !Number.isInteger(k) || i > 0 && i < edges.length - 1 && k <= edges[i - 1]!) || cuts.some(k => k >= K)) throw new UsageError(`matmul: cuts [${cuts}] must rise within 1..${K - 1}`)
  const run = partial(p, product, M, N, K)
  const part = cuts.length ? p.temp(M, N) : d
  for (let i = 0; i + 1 < edges.length; i++) {
    run.emit(i === 0 ? d : part, edges[i]!, edges[i + 1]!, start)
    if (i > 0) add(p, d, part, d)
  }
  if (cuts.length) p.free(part)
  run.free()
}

/** Emits the sum over a range of k. */
interface Partial { emit(d: Tensor, from: number, to: number, start?: Tensor): void, free(): void }

function partial(p: Program, { accumulate, a, b }: Product, M: number, N: number, K: number): Partial {
  if (typeof accumulate === 'object') {
    const { model } = accumulate, L = model.length
    const x = decodeOperand(p, accumulate, 'a', a as MmaCodes), y = decodeOperand(p, accumulate, 'b', b as MmaCodes)
    return {
      emit(d, from, to, start) {
        if (from % L) throw new UsageError(`matmul: a part begins at k = ${from}, not at a multiple of ${model.name}'s step, ${L}`)
        if (model.accumulator === 'f16' && (from > 0 || to < K)) throw new UsageError(`matmul: ${model.name} accumulates in FP16, parts are only added in f32`)
        mma(p, accumulate, x, y, d, { ...start && { c: start }, from: from / L, to: Math.ceil(to / L) })
      },
      free() { freeOperand(p, x); freeOperand(p, y) },
    }
  }
  const [x, y] = [a as Tensor, b as Tensor]
  if (accumulate === 'f32') {
    return {
      emit(d, from, to, start) {
        if (start && start.ptr !== d.ptr) p.emit('copy_f32', [d.ptr, start.ptr], M * N, ELEMENT_GRAIN)
        gemmStrided(p, {
          a: { ptr: x.ptr + from * 4, rowStride: K, colStride: 1 }, b: { ptr: y.ptr + from * 4, rowStride: 1, colStride: K }, c: { ptr: d.ptr, rowStride: N },
          M, N, K: to - from, accumulate: start !== undefined,
        })
      },
      free() {},
    }
  }
  if (accumulate === 'f32-fma' || accumulate === 'f64') {
    const kernel = accumulate === 'f64' ? 'gemm_f64_f32' : 'gemm_fused_f32'
    return {
      emit(d, from, to, start) {
        if (start && start.ptr !== d.ptr) p.emit('copy_f32', [d.ptr, start.ptr], M * N, ELEMENT_GRAIN)
        p.emit(kernel, [d.ptr, x.ptr + from * 4, y.ptr + from * 4, K, N, to - from, start ? 1 : 0], M, Math.max(1, Math.ceil(ELEMENT_GRAIN / Math.max(1, N * (to - from)))))
      },
      free() {},
    }
  }
  return {
    emit(d, from, to, start) {
      if (start || from > 0 || to < K) throw new UsageError('matmul: exact has neither parts nor a start')
      const blocks = Math.max(1, Math.ceil(K / 32)), extents = [p.temp(M, blocks), p.temp(N, blocks)] as const
      p.emit('exact_extents_f32', [extents[0].ptr, x.ptr, K], M, Math.ceil(ELEMENT_GRAIN / Math.max(1, K)))
      p.emit('exact_extents_f32', [extents[1].ptr, y.ptr, K], N, Math.ceil(ELEMENT_GRAIN / Math.max(1, K)))
      p.emit('gemm_exact_sum_f32', [d.ptr, x.ptr, extents[0].ptr, y.ptr, extents[1].ptr, N, K], M, Math.max(1, Math.ceil(ELEMENT_GRAIN / Math.max(1, N * K))))
      p.free(...extents)
    },
    free() {},
  }
}

/** NaN of a product with this accumulator, as f32 bits: NVIDIA's, or the usual quiet one. */
export const nanOf = (accumulate: Product['accumulate']): number => typeof accumulate === 'object' && accumulate.model.rounding !== 'rne-f32' ? 0x7fffffff : 0x7fc00000

/**
 * Emit out[M, N] = round(alpha d + beta c) from accumulators d, in the output type: f32, or two bytes per element at `out`. c: f32 [M, N], or none. `half`: d holds FP16.
 */
export function epilogue(p: Program, d: Tensor, out: number, options: { half: boolean, nan: number, output: Output, alpha?: number, beta?: number, c?: Tensor }): void {
  const { half, nan, output, alpha = 1, beta = 0, c } = options
  p.emit('mma_epilogue', [out, d.ptr, half ? 1 : 0, c?.ptr ?? 0, alpha, beta, outputs.indexOf(output), nan], d.shape[0]! * d.shape[1]!, ELEMENT_GRAIN)
}
