// Random Hadamard transform of one block, as assembly/hadamard.ts evaluates it.

const { fround: f } = Math

/** (s x) H / sqrt n for a block of n = signs.length = 2^k elements: butterflies of stride 1, 2, 4, ..., then the factor, each step rounded to float32. */
export function hadamard(block: ArrayLike<number>, signs: ArrayLike<number>): Float32Array {
  const n = signs.length, y = Float32Array.from({ length: n }, (_, i) => block[i]! * signs[i]!)
  for (let stride = 1; stride < n; stride *= 2) {
    for (let i = 0; i < n; i++) {
      if (i & stride) continue
      const a = y[i]!, b = y[i + stride]!
      y[i] = a + b
      y[i + stride] = a - b
    }
  }
  return y.map(v => v * f(1 / Math.sqrt(n)))
}
