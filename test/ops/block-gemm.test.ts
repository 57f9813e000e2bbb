import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formats, type Format, type FormatName } from '../../src/numerics/formats.ts'
import { blockGemm, integerBlocks } from '../../src/ops/block-gemm.ts'
import { blockGemm as oracle, unitOf } from '../../src/oracle/block-gemm.ts'
import { decode } from '../../src/oracle/codec.ts'
import { gemm } from '../../src/oracle/gemm.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { loadModules } from '../../src/runtime/module.ts'
import { Program } from '../../src/runtime/program.ts'
import { canonical, generator, inShares, spread } from './gemm-data.ts'

const small = ['e2m1', 'e2m3', 'e3m2', 'int8', 'int4', 'int2'] as const satisfies readonly FormatName[]
const core = loadModules()
/** The tile of 8 columns and the one of 16. */
const engines = [0, 2].map(strict => new InlineExecutor({ ...core, tiles: { ...core.tiles, strict } }))

/** [rows, K] values of a format: random codes, and a power of two for each block. */
function quantized(name: FormatName, rows: number, K: number, blockSize: number, seed: number, scale = (x: number) => 2 ** (x % 21 - 10)): Float32Array {
  const next = generator(seed), format: Format = formats[name]
  const out = new Float32Array(rows * K)
  for (let r = 0; r < rows; r++) for (let k = 0; k < K; k += blockSize) {
    const s = scale(next())
    for (let i = k; i < Math.min(K, k + blockSize); i++) out[r * K + i] = decode(format, next() % 2 ** format.bits) * s
  }
  return out
}

function both(ex: InlineExecutor, M: number, N: number, K: number, blockSize: number, a: Float32Array, b: Float32Array, accumulate = false, threads = 1) {
  const { arena } = ex
  const mark = arena.mark()
  const x = arena.from(a, M, K), y = arena.from(b, N, K), c = arena.from(spread(M * N, 9), M, N)
  const want = arena.f32(c).slice()
  oracle(a, b, want, M, N, K, blockSize, accumulate)
  const p = new Program(arena)
  blockGemm(p, { a: integerBlocks(p, x, blockSize), b: integerBlocks(p, y, blockSize), c, accumulate })
  inShares(ex, p, threads)
  const got = arena.f32(c).slice()
  arena.release(mark)
  return { got: canonical(got), want: canonical(want) }
}

describe('block-exact products equal the oracle, bit for bit', () => {
  it.each(small)('of %s', name => {
    for (const ex of engines) for (const blockSize of [16, 32]) for (const [M, N, K] of [[1, 1, 1], [5, 19, 64], [37, 18, 100], [16, 16, 33]] as const) {
      for (const accumulate of [false, true]) {
        const { got, want } = both(ex, M, N, K, blockSize, quantized(name, M, K, blockSize, 1), quantized(name, N, K, blockSize, 2), accumulate)
        expect(got, `${M}x${N}x${K}`).toEqual(want)
      }
    }
  })

  it('of two formats, any shape, block size and number of threads', () => {
    fc.assert(fc.property(fc.constantFrom(...engines), fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), fc.nat(70), fc.integer({ min: 1, max: 64 }),
      fc.constantFrom(...small), fc.constantFrom(...small), fc.constantFrom(1, 2, 3, 8), fc.nat(1000), (ex, M, N, K, blockSize, fa, fb, threads, seed) => {
        const { got, want } = both(ex, M, N, K, blockSize, quantized(fa, M, K, blockSize, seed), quantized(fb, N, K, blockSize, seed + 1), seed % 2 === 0, threads)
        expect(got).toEqual(want)
      }))
  })

  it('across the blocks of the driver', () => {
    for (const ex of engines) for (const [M, N, K] of [[3, 2060, 40], [401, 5, 33], [7, 9, 2100]] as const) {
      const { got, want } = both(ex, M, N, K, 32, quantized('e3m2', M, K, 32, 5), quantized('e2m1', N, K, 32, 6))
      expect(got).toEqual(want)
    }
  })

  it('with scales at both ends of the range', () => {
    for (const ex of engines) for (const sign of [-1, 1]) {
      const scale = (x: number) => 2 ** (sign * (100 + x % (sign > 0 ? 24 : 40)))
      const { got, want } = both(ex, 9, 17, 96, 32, quantized('e2m3', 9, 96, 32, 7, scale), quantized('e2m1', 17, 96, 32, 8))
      expect(got).toEqual(want)
    }
  })

  it('with blocks that are no small integers: NaN, as documented', () => {
    for (const bad of [NaN, Infinity, 513, 2 ** -9]) {
      const a = Float32Array.of(...Array(31).fill(1), bad), b = new Float32Array(32).fill(1)
      for (const ex of engines) {
        const { got, want } = both(ex, 1, 1, 32, 32, a, b)
        expect(got).toEqual(want)
        expect([...got]).toEqual([0x7fc00000])
      }
    }
  })
})

it('differs from the f32 product only by rounding less often: exact where the f32 sum is exact', () => {
  const [M, N, K] = [4, 4, 32], a = quantized('e2m1', M, K, 32, 1, () => 1), b = quantized('e2m1', N, K, 32, 2, () => 1)
  const block = new Float32Array(M * N), f32 = new Float32Array(M * N)
  oracle(a, b, block, M, N, K, 32)
  gemm({ data: a, rowStride: K, colStride: 1 }, { data: b, rowStride: 1, colStride: K }, { data: f32, rowStride: N, colStride: 1 }, M, N, K)
  expect(block).toEqual(f32)
})

it('splits a block by the largest power of two that divides it', () => {
  expect(unitOf([0, 0])).toBe(1)
  expect(unitOf([6, -4])).toBe(2)
  expect(unitOf([0.75, 3])).toBe(0.25)
  expect(unitOf([2 ** -149, 0])).toBe(2 ** -149)
  expect(unitOf([1, 512])).toBeNaN()
})

it('names what does not fit', () => {
  const { arena } = engines[0]!, p = new Program(arena)
  const a = integerBlocks(p, arena.tensor(2, 64), 32), b = integerBlocks(p, arena.tensor(3, 64), 16)
  expect(() => blockGemm(p, { a, b, c: arena.tensor(2, 3) })).toThrow('blockGemm: a has blocks of 32, b of 16')
  expect(() => blockGemm(p, { a, b: a, c: arena.tensor(2, 3) })).toThrow('does not give c [2,3]')
  expect(() => integerBlocks(p, arena.tensor(2, 64), 128)).toThrow('blockSize: 128')
})
