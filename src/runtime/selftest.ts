// Does this engine compute the right bits? Fixed inputs through each kernel, outputs reduced to one 32-bit hash, compared with the hash that the tests
// pin against the oracles. Run before an experimental mode of the engine is trusted (wide.ts): kernels are repeated while the engine optimizes them, and
// every repetition must give the right hash.
import { InlineExecutor } from './executor.ts'
import type { CoreModules } from './instance.ts'
import type { Tensor } from './memory.ts'

/** One case: `make` sets up inputs and returns a call to repeat and the tensors it writes. */
interface Case {
  readonly name: string
  readonly hash: number
  make(ex: InlineExecutor): { run: () => void, outputs: Tensor[] }
}

/** 32 random bits per call (Mulberry32). */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = state + 0x6d2b79f5 | 0
    let x = Math.imul(state ^ state >>> 15, state | 1)
    x ^= x + Math.imul(x ^ x >>> 7, x | 61)
    return (x ^ x >>> 14) >>> 0
  }
}

/** Values of exponents -18..18; every 61st is a zero, subnormal, infinity or NaN if `special`. */
function values(ex: InlineExecutor, seed: number, special: boolean, ...shape: number[]): Tensor {
  const t = ex.arena.tensor(...shape), bits = ex.arena.u32(t), next = generator(seed)
  const specials = [0, 0x80000000, 1, 0x807fffff, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000]
  for (let i = 0; i < bits.length; i++) {
    const x = next()
    bits[i] = special && i % 61 === 60 ? specials[x & 7]! : (x & 0x807fffff) + (109 + (x >>> 23) % 37 << 23)
  }
  return t
}

/** Values of at most 8 significant bits, as bf16, whose products are exact. */
function coarse(ex: InlineExecutor, seed: number, ...shape: number[]): Tensor {
  const t = values(ex, seed, false, ...shape)
  ex.arena.u32(t).forEach((x, i, bits) => { bits[i] = x & 0xffff0000 })
  return t
}

/** FNV-1a over words, every NaN alike. */
function hashOf(ex: InlineExecutor, tensors: Tensor[]): number {
  let hash = 0x811c9dc5
  for (const t of tensors) {
    for (const x of ex.arena.u32(t)) hash = Math.imul(hash ^ ((x & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : x), 0x01000193)
  }
  return hash >>> 0
}

const [M, N, K] = [37, 51, 43]

/** A product with ragged edges; `transA` and `transB` by exchanged strides. */
const product = (name: string, hash: number, kernel: 'gemm_f32' | 'gemm_exact_f32', fill: (ex: InlineExecutor, seed: number, ...shape: number[]) => Tensor, transA = false, transB = false): Case => ({
  name, hash,
  make(ex) {
    const a = fill(ex, 1, M * K), b = fill(ex, 2, K * N), c = ex.arena.tensor(M, N)
    const [aRow, aCol] = transA ? [1, M] : [K, 1], [bRow, bCol] = transB ? [1, K] : [N, 1]
    return {
      run: () => ex.call(kernel, [a.ptr, aRow, aCol, b.ptr, bRow, bCol, c.ptr, N, M, N, K, 0, 1, 0, 0, 0, 0, 0, 0], Math.ceil(N / 16)),
      outputs: [c],
    }
  },
})

/** A block-exact product of integers -8 to 7, in blocks of 32 of different powers of two. */
const blockProduct: Case = {
  name: 'gemm_block', hash: 0x9e3258cf,
  make(ex) {
    const next = generator(5), blocks = 3, size = 32
    const operand = (rows: number) => {
      const t = ex.arena.tensor(rows, blocks * size), values = ex.arena.f32(t)
      for (let i = 0; i < values.length; i++) values[i] = (next() % 16 - 8) * 2 ** (i / size % 7 | 0)
      return { t, elements: ex.arena.tensor(rows, blocks * size / 2), scales: ex.arena.tensor(rows, blocks) }
    }
    const a = operand(M), b = operand(N), c = ex.arena.tensor(M, N)
    return {
      run: () => {
        for (const { t, elements, scales } of [a, b]) ex.call('block_integers', [t.ptr, blocks * size, size, elements.ptr, scales.ptr], t.shape[0]! * blocks)
        ex.call('gemm_block', [a.elements.ptr, a.scales.ptr, b.elements.ptr, b.scales.ptr, c.ptr, N, M, N, blocks, size, 0], Math.ceil(N / 16))
      },
      outputs: [c],
    }
  },
}

const ordinary = (ex: InlineExecutor, seed: number, ...shape: number[]) => values(ex, seed, false, ...shape)
const withSpecials = (ex: InlineExecutor, seed: number, ...shape: number[]) => values(ex, seed, true, ...shape)

export const cases: readonly Case[] = [
  product('gemm_f32', 0x2d033d9c, 'gemm_f32', ordinary),
  product('gemm_f32 of special values', 0x2d8ddf, 'gemm_f32', withSpecials, true),
  product('gemm_exact_f32', 0x27cdbf45, 'gemm_exact_f32', coarse, false, true),
  product('gemm_exact_f32 of inexact products', 0x7b6df9ce, 'gemm_exact_f32', withSpecials, true, true),
  blockProduct,
]

/** Each case's hash on this core, run once. For the test that pins the hashes. */
export function hashes(core: CoreModules): Record<string, number> {
  const ex = new InlineExecutor(core)
  return Object.fromEntries(cases.map(({ name, make }) => {
    const { run, outputs } = make(ex)
    run()
    return [name, hashOf(ex, outputs)]
  }))
}

/** Rounds over all cases: enough work for an engine to optimize what it runs, and to run what it has optimized. */
const ROUNDS = 8

/** Run every case several times; the name of the first whose bits are wrong, or null. */
export function selfTest(core: CoreModules, list: readonly Case[] = cases): string | null {
  const ex = new InlineExecutor(core)
  const ready = list.map(({ name, hash, make }) => ({ name, hash, ...make(ex) }))
  for (let round = 0; round < ROUNDS; round++) {
    for (const { name, hash, run, outputs } of ready) {
      run()
      if (hashOf(ex, outputs) !== hash) return name
    }
  }
  return null
}
