// The accumulator "block-exact": a product of block-quantized matrices in which the dot product of a block of k is exact and every block adds to the sum
// with one rounding. For each output, for each block of k in order:
//   ua, ub   the largest powers of two that divide all values of the block in the row of A and in the row of B (1 for a block of zeros)
//   I        the sum over the block of (a / ua) (b / ub): an exact integer, |I| < 2^24
//   sum      fl(sum + fl(fl(I ua) ub)), where the two products round only next to the ends of the range of f32
// In E2M1, E2M3, E3M2 and INT8 (also INT4, INT2) a / ua has at most 9 bits; a block where it has more, or that holds an infinity or NaN, makes the sum NaN.

const { fround } = Math

/** Largest integer a / ua: the largest of the formats above, E3M2, reaches 448 steps. */
const LARGEST = 511

/** Largest power of two that divides every value of the block; NaN if no such split into small integers exists. */
export function unitOf(values: readonly number[]): number {
  if (values.some(v => !Number.isFinite(v))) return NaN
  if (values.every(v => v === 0)) return 1
  let unit = 2 ** 127
  while (values.some(v => !Number.isInteger(v / unit))) unit /= 2
  return values.some(v => Math.abs(v) / unit > LARGEST) ? NaN : unit
}

/** C[M,N] = A[M,K] B[N,K]^T (+ C), row-major, blocks of `blockSize` along K; `c` is written in place. */
export function blockGemm(a: Float32Array, b: Float32Array, c: Float32Array, M: number, N: number, K: number, blockSize: number, accumulate = false): void {
  const blocksOf = (x: Float32Array, row: number) => Array.from({ length: Math.ceil(K / blockSize) }, (_, k) => {
    const values = [...x.subarray(row * K + k * blockSize, row * K + Math.min(K, (k + 1) * blockSize))]
    const unit = unitOf(values)
    return { unit, integers: values.map(v => Number.isNaN(unit) ? 0 : v / unit) }
  })
  const left = Array.from({ length: M }, (_, m) => blocksOf(a, m)), right = Array.from({ length: N }, (_, n) => blocksOf(b, n))
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = accumulate ? c[m * N + n]! : 0
      left[m]!.forEach(({ unit, integers }, k) => {
        const other = right[n]![k]!
        const dot = integers.reduce((s, x, i) => s + x * other.integers[i]!, 0)
        sum = fround(sum + fround(fround(dot * unit) * other.unit))
      })
      c[m * N + n] = sum
    }
  }
}
