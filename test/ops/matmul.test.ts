import { describe, expect, it } from 'vitest'
import { epilogue as oracleEpilogue } from '../../src/oracle/epilogue.ts'
import { exactDotWord } from '../../src/oracle/exact.ts'
import { valueOf, wordOf } from '../../src/oracle/float.ts'
import { doubleDot, fusedDot, fusedMultiplyAdd } from '../../src/oracle/gemm.ts'
import { philox4x32 } from '../../src/oracle/philox.ts'
import { accumulate, epilogue, outputs } from '../../src/ops/matmul.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import type { Tensor } from '../../src/runtime/memory.ts'
import { Program } from '../../src/runtime/program.ts'

const ex = new InlineExecutor()
let counter = 0
const word = () => philox4x32([counter++, 77, 0, 0], [1, 2])[0]!

/** Kinds of f32 rows that a sum without rounding must survive. */
const rows: Record<string, (k: number) => number> = {
  'any bits': () => valueOf(word()),
  'any finite': () => valueOf(word() & 0xbf7fffff),
  'near one': () => valueOf((word() & 0x80ffffff) + 0x3f000000),
  'bf16': () => valueOf(((word() & 0x83ff) << 16 >>> 0) + 0x3c000000),
  'cancelling': k => (k % 2 ? -1 : 1) * 3.5 * 2 ** (k >> 1 & 31),
  'subnormal': () => valueOf(word() & 0x807fffff),
  'zeros': k => k % 3 ? 0 : -0,
  'with one infinity': k => k === 5 ? Infinity : valueOf((word() & 0x80ffffff) + 0x3f000000),
}

describe('exact', () => {
  it('is the exact sum rounded once, for every pair of kinds', () => {
    for (const [, one] of Object.entries(rows)) for (const [, two] of Object.entries(rows)) for (const K of [1, 31, 32, 33, 100]) {
      const a = Array.from({ length: 3 }, () => Float32Array.from({ length: K }, (_, k) => one(k))), b = Array.from({ length: 4 }, () => Float32Array.from({ length: K }, (_, k) => two(k)))
      const mark = ex.arena.mark(), p = new Program(ex.arena)
      const x = ex.arena.from(a.flatMap(r => [...r]), 3, K), y = ex.arena.from(b.flatMap(r => [...r]), 4, K), d = ex.arena.tensor(3, 4)
      accumulate(p, { accumulate: 'exact', a: x, b: y }, d)
      ex.runSync(p)
      expect([...ex.arena.u32(d)]).toEqual(a.flatMap(r => b.map(s => exactDotWord(r, s))))
      ex.arena.release(mark)
    }
  })
  it('rounds ties to even and sees a bit 500 binades below', () => {
    const tie = [1, 2 ** -24], one = [1, 1]
    const dot = (...extra: [number, number][]) => exactDotWord([...tie, ...extra.map(e => e[0])], [...one, ...extra.map(e => e[1])])
    expect([dot(), dot([2 ** -140, 2 ** -149]), dot([-(2 ** -140), 2 ** -149])]).toEqual([0x3f800000, 0x3f800001, 0x3f800000])
    const p = new Program(ex.arena), a = ex.arena.from([...tie, 2 ** -140], 1, 3), b = ex.arena.from([...one, 2 ** -149, ...one, -(2 ** -149)], 2, 3), d = ex.arena.tensor(1, 2)
    accumulate(p, { accumulate: 'exact', a, b }, d)
    ex.runSync(p)
    expect([...ex.arena.u32(d)]).toEqual([0x3f800001, 0x3f800000])
  })
})

describe('fused multiply-adds and float64', () => {
  it('the oracle rounds a b + c once, zeros signed as IEEE has them', () => {
    expect(fusedMultiplyAdd(1 + 2 ** -12, 1 + 2 ** -12, -1)).toBe(2 ** -11 + 2 ** -24) // mul, then add: 2^-11
    expect(fusedMultiplyAdd(1 + 2 ** -23, 2 ** -24, 1)).toBe(1 + 2 ** -23) // above the tie by 2^-47
    expect(fusedMultiplyAdd(1 + 2 ** -23, 2 ** -24 - 2 ** -47, 1)).toBe(1) // below it by 2^-70: f64 would round to the tie
    expect(fusedMultiplyAdd(1 + 2 ** -23, 2 ** -24 - 2 ** -47, 1 + 2 ** -23)).toBe(1 + 2 ** -23)
    expect([fusedMultiplyAdd(-0, 1, -0), fusedMultiplyAdd(-0, 1, 0), fusedMultiplyAdd(2, 3, -6), fusedMultiplyAdd(2 ** -100, -(2 ** -100), 0)]).toEqual([-0, 0, 0, -0])
  })
  it.each(['f32-fma', 'f64'] as const)('%s equals its oracle, for every pair of kinds, from a start and in parts', name => {
    const dot = name === 'f64' ? doubleDot : fusedDot, word32 = (x: number) => Number.isNaN(x) ? 0x7fc00000 : wordOf(x)
    for (const one of Object.values(rows)) for (const two of Object.values(rows)) for (const [M, N, K] of [[2, 4, 33], [1, 7, 8], [2, 1, 3], [1, 2, 100]] as const) {
      const a = Array.from({ length: M }, () => Float32Array.from({ length: K }, (_, k) => one(k))), b = Array.from({ length: N }, () => Float32Array.from({ length: K }, (_, k) => two(k)))
      const mark = ex.arena.mark(), p = new Program(ex.arena), starts = Float32Array.from({ length: M * N }, (_, i) => i % 3 ? valueOf(word() & 0xbf7fffff) : -0)
      const x = ex.arena.from(a.flatMap(r => [...r]), M, K), y = ex.arena.from(b.flatMap(r => [...r]), N, K), start = ex.arena.from(starts, M, N), [d, e, f] = [0, 0, 0].map(() => ex.arena.tensor(M, N)) as [Tensor, Tensor, Tensor]
      accumulate(p, { accumulate: name, a: x, b: y }, d)
      accumulate(p, { accumulate: name, a: x, b: y }, e, { start })
      accumulate(p, { accumulate: name, a: x, b: y }, f, { cuts: [2] })
      ex.runSync(p)
      const words = (t: Tensor) => [...ex.arena.f32(t)].map(word32), each = (value: (r: Float32Array, s: Float32Array, i: number) => number) => a.flatMap((r, i) => b.map((s, j) => word32(value(r, s, i * N + j))))
      expect(words(d)).toEqual(each((r, s) => dot(r, s)))
      expect(words(e)).toEqual(each((r, s, i) => dot(r, s, starts[i])))
      expect(words(f)).toEqual(each((r, s) => Math.fround(dot(r.subarray(0, 2), s.subarray(0, 2)) + dot(r.subarray(2), s.subarray(2)))))
      ex.arena.release(mark)
    }
  })
})

describe('epilogue', () => {
  it('equals its oracle on random bits, for every output', () => {
    for (const output of outputs) for (const half of [false, true]) for (const withC of [false, true]) for (const alpha of [1, 0.3, -(2 ** -100)]) {
      const n = 500, p = new Program(ex.arena), d = ex.arena.tensor(n, 1), c = ex.arena.tensor(n, 1)
      ex.arena.u32(d).set(Array.from({ length: n }, () => half ? word() & 0xffff : word()))
      ex.arena.u32(c).set(Array.from({ length: n }, () => word()))
      const out = ex.arena.allocBytes(n * 4)
      epilogue(p, d, out, { half, nan: 0x7fffffff, output, alpha, beta: 1.5, ...withC && { c } })
      ex.runSync(p)
      const got = output === 'f32' ? new Uint32Array(ex.arena.memory.buffer, out, n) : new Uint16Array(ex.arena.memory.buffer, out, n)
      const widen = (code: number) => { const field = code >> 10 & 31, f = code & 1023, s = code >> 15 ? -1 : 1; return field === 31 ? f ? NaN : s * Infinity : s * (field ? (1024 + f) * 2 ** (field - 25) : f * 2 ** -24) }
      const want = Array.from(ex.arena.u32(d), (bits, i) => oracleEpilogue(half ? wordOf(widen(bits)) : bits, output, 0x7fffffff, alpha, 1.5, withC ? ex.arena.f32(c)[i]! : undefined))
      expect([...got]).toEqual(want)
    }
  })
})

describe('parts', () => {
  it('each is a strict sum of its own, added in order', () => {
    const K = 70, a = Float32Array.from({ length: K }, () => valueOf((word() & 0x80ffffff) + 0x3f000000)), b = Float32Array.from(a, () => valueOf((word() & 0x80ffffff) + 0x3f000000))
    const p = new Program(ex.arena), d = ex.arena.tensor(1, 1)
    accumulate(p, { accumulate: 'f32', a: ex.arena.from(a, 1, K), b: ex.arena.from(b, 1, K) }, d, { cuts: [30, 64] })
    ex.runSync(p)
    const part = (from: number, to: number) => { let s = 0; for (let k = from; k < to; k++) s = Math.fround(s + Math.fround(a[k]! * b[k]!)); return s }
    expect(ex.arena.f32(d)[0]).toBe(Math.fround(Math.fround(part(0, 30) + part(30, 64)) + part(64, 70)))
  })
  it('refuses cuts that do not rise, or that fall between the steps of a unit', () => {
    const p = new Program(ex.arena), a = ex.arena.tensor(1, 8), d = ex.arena.tensor(1, 1)
    for (const cuts of [[0], [8], [4, 4], [1.5]]) expect(() => accumulate(p, { accumulate: 'f32', a, b: a }, d, { cuts })).toThrow(/cuts/)
  })
})
