// Products small enough to be written out, and what identify says of them.
import { Core } from '../../src/core/core.ts'
import type { Matrix } from '../../src/core/operands.ts'
import { identifyProduct, type ProductDump, type ProductFindings, type ProductOperand } from '../../src/conformance/identify-product.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { generator } from '../kernels/hard-data.ts'

export const core = new Core(new InlineExecutor()), M = 5, N = 6

/** Numbers of many magnitudes: sums of products that no unit forms without loss. */
export function numbers(rows: number, K: number, seed: number): Matrix {
  const random = generator(seed), unit = () => random() / 2 ** 32
  let block = 0
  return { shape: [rows, K], data: Float32Array.from({ length: rows * K }, (_, i) => { if (i % 32 === 0) block = random() % 14 - 8; return Math.fround((unit() + unit() + unit() - 1.5) * 2 ** (block + random() % 6)) }) }
}
export const row = <T extends { subarray(a: number, b: number): T }>(data: T, i: number, width: number) => data.subarray(i * width, (i + 1) * width)
/** [M, N] words of f(i, j). */
export const outputs = (f: (i: number, j: number) => number) => Uint32Array.from({ length: M * N }, (_, n) => f(Math.floor(n / N), n % N))

export const identify = (a: ProductOperand, b: ProductOperand, codes: Uint32Array | Uint16Array, more: Partial<ProductDump> & { format?: 'f32' | 'bf16' | 'f16' } = {}) => {
  const { format = 'f32', ...rest } = more
  return identifyProduct(core, { a, b, out: { format, codes }, ...rest })
}
/** Explanations, a line each. */
export const told = (f: ProductFindings) => f.explanations.map(({ candidate: c }) => `${c.accumulate} | ${c.operands} | ${c.scales ?? '-'} | ${c.order} | ${c.epilogue}`)
export const ordered = 'in order of k'
