// Matrix products with the accumulator "block-exact": exact within a block, one rounding per block (src/oracle/block-gemm.ts). Operands are tensors
// quantized in blocks along their last axis to E2M1, E2M3, E3M2, INT8, INT4 or INT2, given as fake-quantized f32. Faster than the f32 product, and with
// other bits: a choice of numerics, not an optimization of gemm().
import { UsageError } from '../errors.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'

/** A matrix split for block-exact products. Its tensors come from the program's temp(); free both when the last product has been emitted. */
export interface IntegerBlocks {
  /** 16-bit integers [rows, blocks, blockSize], two to a word, each block padded to an even count. */
  readonly elements: Tensor
  /** One power of two a block, [rows, blocks]. */
  readonly scales: Tensor
  readonly blockSize: number
}

/** Blocks worth waking a thread for. */
const GRAIN = 512

/** Emit the split of src [rows, K], fake-quantized in blocks of `blockSize` along K. A block that is not of small integers becomes NaN. */
export function integerBlocks(p: Program, src: Tensor, blockSize: number): IntegerBlocks {
  if (src.shape.length !== 2) throw new UsageError(`integerBlocks: src has shape [${src.shape}], a matrix is needed`)
  if (!Number.isInteger(blockSize) || blockSize < 1 || blockSize > 64) throw new UsageError(`blockSize: ${blockSize}, must be an integer 1..64 for sums that are exact in f32`)
  const [rows, K] = src.shape as [number, number], blocks = Math.ceil(K / blockSize)
  const elements = p.temp(rows, blocks * Math.ceil(blockSize / 2)), scales = p.temp(rows, blocks)
  p.emit('block_integers', [src.ptr, K, blockSize, elements.ptr, scales.ptr], rows * blocks, GRAIN, { bytes: 6 * rows * K })
  return { elements, scales, blockSize }
}

export interface BlockGemmOptions {
  /** From [M, K]. */
  a: IntegerBlocks
  /** From [N, K]: blocks lie along K in both operands. */
  b: IntegerBlocks
  /** [M, N]. */
  c: Tensor
  /** Start each sum from c instead of +0. */
  accumulate?: boolean
}

/** Columns (N >= M) or rows of one item of the kernel: PANEL in assembly/gemm-driver.ts. */
const PANEL = 16

/** Emit c = a b^T (+ c). Throws UsageError when the shapes disagree. */
export function blockGemm(p: Program, { a, b, c, accumulate = false }: BlockGemmOptions): void {
  const [M, blocks] = a.scales.shape as [number, number], [N] = b.scales.shape as [number, number]
  if (a.blockSize !== b.blockSize) throw new UsageError(`blockGemm: a has blocks of ${a.blockSize}, b of ${b.blockSize}`)
  if (b.scales.shape[1] !== blocks || c.shape.length !== 2 || c.shape[0] !== M || c.shape[1] !== N) {
    throw new UsageError(`blockGemm: a of [${M}, ${blocks} blocks] times b of [${N}, ${b.scales.shape[1]} blocks] transposed does not give c [${c.shape}]`)
  }
  const size = Math.ceil(a.blockSize / 2) * 2
  const grain = Math.max(1, Math.ceil((1 << 18) / (PANEL * Math.min(M, N) * Math.max(blocks * size, 1))))
  p.emit('gemm_block', [a.elements.ptr, a.scales.ptr, b.elements.ptr, b.scales.ptr, c.ptr, N, M, N, blocks, size, accumulate ? 1 : 0], Math.ceil(Math.max(M, N) / PANEL), grain, { flops: 2 * M * N * blocks * a.blockSize })
}
