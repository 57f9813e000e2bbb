// The definitions of matrix products that are one sequential sum over k, from +0 or from a given value: strict f32, the naive triple loop (the product is rounded to f32,
// then the sum); with fused multiply-adds; and in f64, rounded to f32 once.
import { exactDot } from './exact.ts'

export interface OracleOperand {
  readonly data: ArrayLike<number>
  /** Index of the first element; default 0. */
  readonly offset?: number
  /** Elements between neighbours down a column of the matrix, and along a row. */
  readonly rowStride: number
  readonly colStride: number
}

/** C[M,N] = A[M,K] B[K,N] (+ C). `c` is written in place; only `c.data` need be a Float32Array. */
export function gemm(a: OracleOperand, b: OracleOperand, c: OracleOperand & { data: Float32Array }, M: number, N: number, K: number, accumulate = false): void {
  const { offset: a0 = 0 } = a, { offset: b0 = 0 } = b, { offset: c0 = 0 } = c
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      const at = c0 + m * c.rowStride + n * c.colStride
      let sum = accumulate ? c.data[at]! : 0
      for (let k = 0; k < K; k++) {
        const product = Math.fround(a.data[a0 + m * a.rowStride + k * a.colStride]! * b.data[b0 + k * b.rowStride + n * b.colStride]!)
        sum = Math.fround(sum + product)
      }
      c.data[at] = sum
    }
  }
}

/** a b + c of f32 numbers, rounded once to f32 (IEEE 754 fusedMultiplyAdd). */
export function fusedMultiplyAdd(a: number, b: number, c: number): number {
  const rough = a * b + c // the product is exact in f64
  return rough === 0 || !Number.isFinite(rough) ? rough : exactDot([a, c], [b, 1])
}

/** The dot product of two rows of f32 numbers as a chain of fused multiply-adds in order of k, from `start`. */
export function fusedDot(a: ArrayLike<number>, b: ArrayLike<number>, start = 0): number {
  let sum = start
  for (let k = 0; k < a.length; k++) sum = fusedMultiplyAdd(a[k]!, b[k]!, sum)
  return sum
}

/** The same in f64, rounded to f32 once. */
export function doubleDot(a: ArrayLike<number>, b: ArrayLike<number>, start = 0): number {
  let sum = start
  for (let k = 0; k < a.length; k++) sum += a[k]! * b[k]!
  return Math.fround(sum)
}
