// What block quantization does to a tensor: how much saturates, how large the error is, whether it shrinks the tensor.
import { formats, type FormatName } from '../numerics/formats.ts'
import { exponentOf } from '../oracle/float.ts'

/**
 * Shares of the elements, and of the blocks with at least one, that lie beyond the last value their block can express under the floor scale rule:
 * |v| > max 2^(floor(log2 amax) - emax), which is 1.75 2^floor(log2 amax) for E4M3. Blocks are `blockSize` consecutive elements.
 */
export function overflowShares(x: Float32Array, format: FormatName, blockSize = 32): { elements: number, blocks: number } {
  const { max, emax } = formats[format]
  let elements = 0, blocks = 0
  for (let begin = 0; begin < x.length; begin += blockSize) {
    const block = x.subarray(begin, begin + blockSize)
    const amax = block.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
    if (amax === 0) continue
    const limit = max * 2 ** (exponentOf(amax) - emax)
    const over = block.reduce((n, v) => n + (Math.abs(v) > limit ? 1 : 0), 0)
    elements += over
    blocks += over > 0 ? 1 : 0
  }
  return { elements: elements / x.length, blocks: blocks / Math.ceil(x.length / blockSize) }
}

export interface ErrorStatistics {
  /** ||q - x|| / ||x||. */
  relativeError: number
  /** <q, x> / <x, x>: below 1 the tensor shrinks along itself, a bias that averaging over elements does not remove. */
  slope: number
}

/** Error of `q` as a stand-in for `x`, in double precision. */
export function errorStatistics(x: Float32Array, q: Float32Array): ErrorStatistics {
  let error = 0, norm = 0, product = 0
  for (let i = 0; i < x.length; i++) {
    const v = x[i]!, w = q[i]!
    error += (w - v) ** 2
    norm += v * v
    product += v * w
  }
  return { relativeError: Math.sqrt(error / norm), slope: product / norm }
}
