// Reductions in the order that assembly/reduce.ts fixes. Whole-tensor sums run in double over chunks of 4096 elements: within a chunk element i goes to
// partial sum i mod 4, then (p0 + p2) + (p1 + p3); the chunks' results are added in index order.

const CHUNK = 4096

/** Sum of term(i) for i < n. */
export function chunkedSum(n: number, term: (i: number) => number): number {
  let total = 0
  for (let start = 0; start < n; start += CHUNK) {
    const p = [0, 0, 0, 0]
    for (let i = start; i < Math.min(n, start + CHUNK); i++) p[i % 4]! += term(i)
    const sum = (p[0]! + p[2]!) + (p[1]! + p[3]!)
    total = start === 0 ? sum : total + sum
  }
  return total
}

/** Sum, sum of squares, largest magnitude (NaN if there is one). */
export function moments(x: Float32Array): [number, number, number] {
  return [chunkedSum(x.length, i => x[i]!), chunkedSum(x.length, i => x[i]! * x[i]!), x.reduce((m, v) => Math.max(m, Math.abs(v)), 0)]
}

/** Sums of a, b, a a, b b, a b and (a - b)^2. */
export function comparison(a: Float32Array, b: Float32Array): number[] {
  const sum = (f: (x: number, y: number) => number) => chunkedSum(a.length, i => f(a[i]!, b[i]!))
  return [sum(x => x), sum((_, y) => y), sum(x => x * x), sum((_, y) => y * y), sum((x, y) => x * y), sum((x, y) => (x - y) * (x - y))]
}

/** Elements above ratio 2^floor(log2 m), m the largest magnitude of their block, NaN apart; and blocks that hold one. */
export function overflow(x: Float32Array, blockSize: number, ratio: number): [elements: number, blocks: number] {
  let elements = 0, blocks = 0
  for (let start = 0; start < x.length; start += blockSize) {
    const block = x.subarray(start, start + blockSize)
    const m = block.reduce((top, v) => Math.abs(v) > top ? Math.abs(v) : top, 0)
    // Powers of two up from the smallest subnormal: no logarithm to be rounded.
    let power = m === Infinity ? m : m && 2 ** -149
    if (m < Infinity) while (power > 0 && power <= m / 2) power *= 2
    const over = block.filter(v => Math.abs(v) > Math.fround(power * ratio)).length
    elements += over
    blocks += over > 0 ? 1 : 0
  }
  return [elements, blocks]
}
