// Random kernels against the oracle, bit for bit.
import { describe, expect, it } from 'vitest'
import * as oracle from '../../src/oracle/random.ts'
import { Bench, expectSameBits } from './inputs.ts'

const bench = new Bench(), { arena } = bench.ex

describe('Philox fills', () => {
  const step = 0x100000002n, source = { seed: 0xfedcba9876543210n, stream: 3, step }, words = [0x76543210, 0xfedcba98, 3] as const
  const stepPtr = arena.allocBytes(8)
  new DataView(arena.memory.buffer).setBigUint64(stepPtr, step, true)
  it.each([1, 15, 16, 17, 1003])('%i numbers', n => {
    const t = bench.empty(n)
    bench.call('philox_uniform_f32', [t.ptr, n, ...words, stepPtr], Math.ceil(n / 16))
    expectSameBits(bench.read(t), oracle.philoxUniform(n, source), 'uniform')
    bench.call('philox_normal_f32', [t.ptr, n, 0.1, -3, ...words, stepPtr], Math.ceil(n / 16))
    expectSameBits(bench.read(t), oracle.philoxNormal(n, source, 0.1, -3), 'normal')
  })
})

describe('MT19937', () => {
  const state = arena.allocBytes(4 * 625)
  it.each([0, 1337, 0xffffffff])('words and normals of seed %i', seed => {
    bench.ex.call('mt19937_seed', [state, seed], 1)
    const g = new oracle.Mt19937(seed), t = bench.empty(3000)
    bench.ex.call('mt19937_words', [state, t.ptr, 2000], 1)
    expect([...arena.u32(t)].slice(0, 2000)).toEqual(Array.from({ length: 2000 }, () => g.word()))
    bench.ex.call('mt19937_skip', [state, 1500], 1)
    for (let i = 0; i < 1500; i++) g.word()
    for (const n of [16, 17, 31, 3000]) {
      bench.ex.call('mt19937_normal_f32', [state, t.ptr, n, 1.7, 0.3], 1)
      expectSameBits(bench.read(t).subarray(0, n), oracle.torchNormals(g, n, 1.7, 0.3), `${n} normals`)
    }
  })
})

describe('fused multiply-add', () => {
  it('rounds once where rounding twice is wrong', () => {
    // (1 + 2^-12)^2 = 1 + 2^-11 + 2^-24 is a tie in float32; the addend, lost in a double sum, decides
    expect(oracle.fma(1 + 2 ** -12, 1 + 2 ** -12, 2 ** -60)).toBe(1 + 2 ** -11 + 2 ** -23)
    expect(oracle.fma(1 + 2 ** -12, 1 + 2 ** -12, -(2 ** -60))).toBe(1 + 2 ** -11)
  })
})
