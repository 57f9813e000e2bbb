import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gemm, gemmStrided, type Products } from '../../src/ops/gemm.ts'
import { gemm as oracle } from '../../src/oracle/gemm.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { loadModules } from '../../src/runtime/module.ts'
import { Program } from '../../src/runtime/program.ts'
import { tileName } from '../../src/runtime/tiles.ts'
import { bf16, canonical, inShares, nearBottom, nearTop, randomBits, spread, type Fill } from './gemm-data.ts'

const core = loadModules()

/** One executor per register tile: the strict tile is used by `rounded` products, the fused one by `exact` products. */
const engines = [0, 1, 2].map(tile => ({
  ex: new InlineExecutor({ ...core, tiles: { strict: tile, fused: tile } }),
  name: `strict ${tileName(core.kernels, tile, false)}, exact ${core.relaxed ? tileName(core.relaxed, tile, false) : '(no relaxed SIMD)'}`,
}))

interface Options { transA?: boolean, transB?: boolean, accumulate?: boolean, products?: Products, threads?: number, fill?: Fill, seed?: number }

/** Run one product in the core, cut into `threads` shares, and in the oracle; both results as bits with every NaN canonical. */
function both(ex: InlineExecutor, M: number, N: number, K: number, o: Options = {}) {
  const { transA = false, transB = false, accumulate = false, products, threads = 1, fill = spread, seed = 1 } = o
  const { arena } = ex
  const mark = arena.mark()
  const a = arena.from(fill(M * K, seed), ...(transA ? [K, M] : [M, K]))
  const b = arena.from(fill(K * N, seed + 1), ...(transB ? [N, K] : [K, N]))
  const c = arena.from(fill(M * N, seed + 2), M, N)
  const want = arena.f32(c).slice()
  oracle(
    { data: arena.f32(a), rowStride: transA ? 1 : K, colStride: transA ? M : 1 },
    { data: arena.f32(b), rowStride: transB ? 1 : N, colStride: transB ? K : 1 },
    { data: want, rowStride: N, colStride: 1 }, M, N, K, accumulate,
  )
  const p = new Program(arena)
  gemm(p, { a, b, c, transA, transB, accumulate, products })
  inShares(ex, p, threads)
  const got = arena.f32(c).slice()
  arena.release(mark)
  return { got: canonical(got), want: canonical(want) }
}

const orientations = [false, true].flatMap(transA => [false, true].map(transB => ({ transA, transB })))

describe.each(engines)('gemm equals the naive triple loop, bit for bit: $name', ({ ex }) => {
  it.each(orientations)('transA $transA, transB $transB', o => {
    for (const [M, N, K] of [[1, 1, 1], [2, 3, 4], [16, 16, 16], [17, 5, 33], [5, 37, 1], [37, 41, 29], [1, 64, 64], [64, 1, 64], [3, 3, 0]] as const) {
      for (const accumulate of [false, true]) for (const products of ['rounded', 'exact'] as const) {
        const { got, want } = both(ex, M, N, K, { ...o, accumulate, products })
        expect(got, `${M}x${N}x${K}`).toEqual(want)
      }
    }
  })

  it('across the blocks of the driver: more than 192 rows, 512 of k, 2048 columns', () => {
    for (const [M, N, K] of [[9, 2061, 19], [401, 7, 5], [6, 11, 1031], [205, 33, 514]] as const) {
      for (const o of [{ transB: true }, { transA: true, products: 'exact' as const, fill: bf16 }]) {
        const { got, want } = both(ex, M, N, K, o)
        expect(got, `${M}x${N}x${K}`).toEqual(want)
      }
    }
  })

  it('with NaN, infinities, zeros and subnormals', () => {
    for (const o of orientations) for (const products of ['rounded', 'exact'] as const) for (let seed = 1; seed < 6; seed++) {
      const { got, want } = both(ex, 19, 23, 31, { ...o, products, fill: randomBits, seed, accumulate: seed % 2 === 0 })
      expect(got).toEqual(want)
    }
  })

  it('with exact products, and with products of few bits that underflow or overflow', () => {
    for (const fill of [bf16, nearBottom, nearTop]) for (const o of orientations) for (let seed = 1; seed < 20; seed++) {
      const { got, want } = both(ex, 13, 21, 17, { ...o, products: 'exact', fill, seed, accumulate: seed % 2 === 0 })
      expect(got).toEqual(want)
    }
  })

  it('for any shape and any number of threads', () => {
    fc.assert(fc.property(fc.nat(40), fc.nat(40), fc.nat(40), fc.constantFrom(...orientations), fc.constantFrom(1, 2, 3, 8), fc.boolean(), fc.nat(1000),
      (M, N, K, o, threads, accumulate, seed) => {
        const { got, want } = both(ex, M, N, K, { ...o, threads, accumulate, seed })
        expect(got).toEqual(want)
      }))
  })
})

/** The guard of the fused tiles, seen through a sum that tells fused from unfused: c + a * b where the product is not exact. */
describe('products that are not exact', () => {
  const cases: [string, number, number, number][] = [
    ['too wide', 1 + 2 ** -12, 1 + 2 ** -13, -1],
    ['below the subnormals', 2 ** -80 * 1.5, 2 ** -69, 2 ** -149],
    ['a subnormal operand', 3 * 2 ** -149, 0.5, 2 ** -149],
    ['beyond the largest number', 2 ** 64, 2 ** 64, -(2 ** 127)],
  ]
  it.each(cases)('%s', (_, a, b, c) => {
    for (const { ex } of engines) {
      const { arena } = ex
      const [x, y, z] = [arena.from([a], 1, 1), arena.from([b], 1, 1), arena.from([c], 1, 1)]
      const p = new Program(arena)
      gemm(p, { a: x, b: y, c: z, accumulate: true, products: 'exact' })
      ex.runSync(p)
      expect(arena.f32(z)[0]).toBe(Math.fround(c + Math.fround(a * b)))
    }
  })
  it.each(cases)('would show if fused: %s', (_, a, b, c) => {
    // One rounding of the exact sum, computed in integers of 2^-300.
    const exact = (v: number) => { let e = 0; while (!Number.isInteger(v)) { v *= 2; e++ } return BigInt(v) << BigInt(300 - e) }
    const sum = exact(Math.fround(a)) * exact(Math.fround(b)) + (exact(c) << 300n)
    expect(roundToF32(sum)).not.toBe(Math.fround(c + Math.fround(a * b)))
  })
})

/** An integer multiple of 2^-600 rounded to the nearest f32, ties to even. */
function roundToF32(v: bigint): number {
  const negative = v < 0n, m = negative ? -v : v
  const drop = Math.max(m.toString(2).length - 24, 600 - 149)
  const unit = 1n << BigInt(drop), rest = m % unit
  let q = m / unit
  if (2n * rest > unit || (2n * rest === unit && q % 2n === 1n)) q++
  const r = Number(q) * 2 ** (drop - 600)
  return negative ? -r : r
}

it('computes a batch over strided views: attention scores of [B, T, H, D] queries and keys', () => {
  const [B, T, H, D] = [2, 5, 3, 4]
  const { ex } = engines[0]!
  const { arena } = ex
  const q = arena.from(spread(B * T * H * D, 1)), k = arena.from(spread(B * T * H * D, 2)), s = arena.tensor(B, H, T, T)
  const p = new Program(arena)
  gemmStrided(p, {
    a: { ptr: q.ptr, rowStride: H * D, colStride: 1 },
    b: { ptr: k.ptr, rowStride: 1, colStride: H * D },
    c: { ptr: s.ptr, rowStride: T },
    M: T, N: T, K: D,
    batch: [{ count: B, a: T * H * D, b: T * H * D, c: H * T * T }, { count: H, a: D, b: D, c: T * T }],
  })
  ex.runSync(p)
  const want = new Float32Array(B * H * T * T)
  for (let i = 0; i < B; i++) for (let h = 0; h < H; h++) {
    const offset = i * T * H * D + h * D
    oracle({ data: arena.f32(q), offset, rowStride: H * D, colStride: 1 }, { data: arena.f32(k), offset, rowStride: 1, colStride: H * D },
      { data: want, offset: (i * H + h) * T * T, rowStride: T, colStride: 1 }, T, T, D)
  }
  expect(canonical(arena.f32(s))).toEqual(canonical(want))
})

it('names the shapes that disagree', () => {
  const { arena } = engines[0]!.ex
  expect(() => gemm(new Program(arena), { a: arena.tensor(2, 3), b: arena.tensor(4, 5), c: arena.tensor(2, 5) }))
    .toThrow('gemm: a [2,3] times b [4,5] does not give c [2,5]')
})
