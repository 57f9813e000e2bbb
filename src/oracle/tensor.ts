// Dense row-major tensors for the oracles: broadcasting, reductions over axes and batched matrix products, in float32 with sequential sums.
import { map, type Vector } from './vector.ts'

const { fround } = Math

export interface OracleTensor { readonly data: Vector, readonly shape: readonly number[] }

const size = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1)

/** Shape of two operands combined by torch's rules: aligned at the right, an axis of 1 repeats. */
function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1, y = b[i - rank + b.length] ?? 1
    if (x !== y && x !== 1 && y !== 1) throw new RangeError(`shapes [${a}] and [${b}] do not broadcast`)
    return x === 1 ? y : x
  })
}

/** For each element of `shape`, the flat index of the element of a tensor of `from` that broadcasts to it. */
function sources(from: readonly number[], shape: readonly number[]): Int32Array {
  const index = new Int32Array(size(shape)), at = shape.map(() => 0), pad = shape.length - from.length
  for (let i = 0; i < index.length; i++) {
    index[i] = from.reduce((k, d, axis) => k * d + (d === 1 ? 0 : at[axis + pad]!), 0)
    for (let axis = shape.length - 1; axis >= 0 && ++at[axis]! === shape[axis]; axis--) at[axis] = 0
  }
  return index
}

/** `t` repeated to `shape`. */
export function expand(t: OracleTensor, shape: readonly number[]): OracleTensor {
  const from = sources(t.shape, shape)
  return { data: Float32Array.from(from, k => t.data[k]!), shape }
}

/** Sum of `t` over the axes that broadcasting a tensor of `shape` to t's shape repeated; each sum sequential from +0. */
export function sumTo(t: OracleTensor, shape: readonly number[]): OracleTensor {
  const data = new Float32Array(size(shape))
  sources(shape, t.shape).forEach((k, i) => { data[k]! += t.data[i]! })
  return { data, shape }
}

/** Shape with the given axes (negative: from the end) made 1. */
export const reducedShape = (shape: readonly number[], axes: readonly number[]): number[] => {
  const set = axes.map(a => a < 0 ? a + shape.length : a)
  return shape.map((d, i) => set.includes(i) ? 1 : d)
}

/** Largest element over an axis, the axis kept as 1; NaN wins. */
export function maxOver(t: OracleTensor, axis: number): OracleTensor {
  const shape = reducedShape(t.shape, [axis]), data = new Float32Array(size(shape)).fill(-Infinity)
  sources(shape, t.shape).forEach((k, i) => { if (!(t.data[i]! <= data[k]!)) data[k] = t.data[i]! })
  return { data, shape }
}

/** f of two tensors element by element, broadcast against each other. */
export function zip(f: (x: number, y: number) => number, a: OracleTensor, b: OracleTensor): OracleTensor {
  const shape = broadcastShape(a.shape, b.shape)
  return { data: map(f, expand(a, shape).data, expand(b, shape).data), shape }
}

/** The last two axes exchanged. */
export function transpose(t: OracleTensor): OracleTensor {
  const [rows, columns] = t.shape.slice(-2) as [number, number]
  const data = new Float32Array(t.data.length)
  for (let i = 0; i < data.length; i++) {
    const matrix = Math.floor(i / (rows * columns)), within = i % (rows * columns)
    data[matrix * rows * columns + within % columns * rows + Math.floor(within / columns)] = t.data[i]!
  }
  return { data, shape: [...t.shape.slice(0, -2), columns, rows] }
}

/** a [..., M, K] times b [..., K, N], leading axes broadcast. Every output is one sequential sum over k: product rounded, then sum rounded. */
export function matmul(a: OracleTensor, b: OracleTensor): OracleTensor {
  const batch = broadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2))
  const [M, K] = a.shape.slice(-2) as [number, number], N = b.shape.at(-1)!
  if (b.shape.at(-2) !== K) throw new RangeError(`matmul of [${a.shape}] and [${b.shape}]`)
  const A = expand(a, [...batch, M, K]).data, B = expand(b, [...batch, K, N]).data
  const data = new Float32Array(size(batch) * M * N)
  for (let i = 0; i < data.length; i++) {
    const n = i % N, m = Math.floor(i / N) % M, matrix = Math.floor(i / (M * N))
    let sum = 0
    for (let k = 0; k < K; k++) sum = fround(sum + fround(A[(matrix * M + m) * K + k]! * B[(matrix * K + k) * N + n]!))
    data[i] = sum
  }
  return { data, shape: [...batch, M, N] }
}

/** All axes but the last flattened into one. */
export const flatten = (t: OracleTensor): OracleTensor => ({ data: t.data, shape: [t.data.length / t.shape.at(-1)!, t.shape.at(-1)!] })
