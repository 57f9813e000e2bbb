// Random tensors from Philox4x32-10: a number is a function of (seed, stream, step, index), so any thread can make any part, and a resumed run draws what
// an uninterrupted one would.
import { UsageError } from '../errors.ts'
import { size, type Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'

/** Where random numbers come from: 64-bit seed, stream number, and the address of a u64 step counter that the caller sets before each run. */
export interface RandomSource {
  readonly seed: bigint
  readonly stream: number
  readonly stepPtr: number
}

function checked(t: Tensor, { seed, stream, stepPtr }: RandomSource): { n: number, words: [number, number, number, number], groups: number } {
  if (seed < 0n || seed >= 1n << 64n) throw new UsageError(`seed must lie in [0, 2^64), got ${seed}`)
  if (!Number.isInteger(stream) || stream < 0 || stream >= 2 ** 32) throw new UsageError(`stream must be an integer in [0, 2^32), got ${stream}`)
  const n = size(t.shape)
  return { n, words: [Number(seed & 0xffffffffn), Number(seed >> 32n), stream, stepPtr], groups: Math.ceil(n / 16) }
}

/** A group of 16 takes about 0.1 us. */
const GRAIN = 64

/** Emit t = uniform numbers in [0, 1), multiples of 2^-24. */
export function uniform(p: Program, t: Tensor, source: RandomSource): void {
  const { n, words, groups } = checked(t, source)
  p.emit('philox_uniform_f32', [t.ptr, n, ...words], groups, GRAIN)
}

/** Emit t = normal numbers with the given standard deviation and mean. */
export function normal(p: Program, t: Tensor, source: RandomSource & { readonly std?: number, readonly mean?: number }): void {
  const { n, words, groups } = checked(t, source)
  p.emit('philox_normal_f32', [t.ptr, n, source.std ?? 1, source.mean ?? 0, ...words], groups, GRAIN)
}
