import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gemm, gemmStrided, type Products } from '../../src/ops/gemm.ts'
import { gemm as oracle } from '../../src/oracle/gemm.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { Program, share } from '../../src/runtime/program.ts'
import { canonical, randomBits, spread, type Fill } from './gemm-data.ts'

const ex = new InlineExecutor()

/** Run one product in the core, cut into `threads` shares, and in the oracle; both results as bits with every NaN canonical. */
function both(M: number, N: number, K: number, o: { transA?: boolean, transB?: boolean, accumulate?: boolean, products?: Products, threads?: number, fill?: Fill, seed?: number } = {}) {
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
  for (const call of p.calls) for (let t = 0; t < threads; t++) {
    const [begin, end] = share(call, t, threads)
    ;(ex.kernels[call.kernel] as (...n: number[]) => void)(...call.args, begin, end)
  }
  const got = arena.f32(c).slice()
  arena.release(mark)
  return { got: canonical(got), want: canonical(want) }
}

const orientations = [false, true].flatMap(transA => [false, true].map(transB => ({ transA, transB })))

describe('gemm equals the naive triple loop, bit for bit', () => {
  it.each(orientations)('in every orientation: $transA $transB', o => {
    for (const [M, N, K] of [[1, 1, 1], [2, 3, 4], [16, 16, 16], [17, 5, 33], [5, 37, 1], [37, 41, 29], [1, 64, 64], [64, 1, 64], [3, 3, 0]] as const) {
      for (const accumulate of [false, true]) for (const products of ['rounded', 'exact'] as const) {
        const { got, want } = both(M, N, K, { ...o, accumulate, products })
        expect(got, `${M}x${N}x${K}`).toEqual(want)
      }
    }
  })

  it('with NaN, infinities, zeros and subnormals', () => {
    for (const o of orientations) for (const products of ['rounded', 'exact'] as const) for (let seed = 1; seed < 6; seed++) {
      const { got, want } = both(19, 23, 31, { ...o, products, fill: randomBits, seed, accumulate: seed % 2 === 0 })
      expect(got).toEqual(want)
    }
  })

  it('for any shape and any number of threads', () => {
    fc.assert(fc.property(fc.nat(40), fc.nat(40), fc.nat(40), fc.constantFrom(...orientations), fc.constantFrom(1, 2, 3, 8), fc.boolean(), fc.nat(1000),
      (M, N, K, o, threads, accumulate, seed) => {
        const { got, want } = both(M, N, K, { ...o, threads, accumulate, seed })
        expect(got).toEqual(want)
      }))
  })
})

it('computes a batch over strided views: attention scores of [B, T, H, D] queries and keys', () => {
  const [B, T, H, D] = [2, 5, 3, 4]
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
  const { arena } = ex
  expect(() => gemm(new Program(arena), { a: arena.tensor(2, 3), b: arena.tensor(4, 5), c: arena.tensor(2, 5) }))
    .toThrow('gemm: a [2,3] times b [4,5] does not give c [2,5]')
})
