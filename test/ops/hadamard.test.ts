import fc from 'fast-check'
import { expect, it } from 'vitest'
import { hadamard, signVector, TE_SIGNS } from '../../src/ops/hadamard.ts'
import { gemm } from '../../src/ops/gemm.ts'
import { hadamard as oracle } from '../../src/oracle/hadamard.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { Program } from '../../src/runtime/program.ts'

const executor = new InlineExecutor(), { arena } = executor
const bits = (x: Float32Array) => Buffer.from(x.slice().buffer)

function transformed(values: Float32Array, shape: number[], axis: number, signs: readonly number[]): Float32Array {
  const mark = arena.mark(), src = arena.from(values, ...shape), dst = arena.tensor(...shape), s = signVector(arena, signs), p = new Program(arena)
  hadamard(p, src, dst, axis, s)
  executor.runSync(p)
  const out = arena.f32(dst).slice()
  arena.release(mark)
  return out
}

it('equals the oracle on every axis, bit for bit', () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 9 }), fc.integer(), (k, outer, inner, seed) => {
    const n = 2 ** k, length = 2 * n
    let state = seed >>> 0
    const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32 - 0.5
    const signs = Array.from({ length: n }, () => random() < 0 ? -1 : 1)
    const values = Float32Array.from({ length: outer * length * inner }, () => random() * 2 ** Math.round(random() * 40))
    const want = values.slice()
    for (let o = 0; o < outer; o++) for (let i = 0; i < inner; i++) for (let b = 0; b < 2; b++) {
      const at = (j: number) => (o * length + b * n + j) * inner + i
      oracle(Array.from({ length: n }, (_, j) => values[at(j)]!), signs).forEach((v, j) => { want[at(j)] = v })
    }
    expect(Buffer.compare(bits(transformed(values, [outer, length, inner], 1, signs)), bits(want))).toBe(0)
    expect(Buffer.compare(bits(transformed(values, [outer * inner, length], -1, signs).slice(0, n)), bits(oracle(values, signs)))).toBe(0)
  }), { numRuns: 60 })
})

it('cancels in a product: integers come back exactly with blocks of 16', () => {
  const a = Float32Array.from({ length: 4 * 32 }, (_, i) => (i * 7) % 11 - 5), b = Float32Array.from({ length: 3 * 32 }, (_, i) => (i * 5) % 13 - 6)
  const product = (x: Float32Array, y: Float32Array) => {
    const mark = arena.mark(), c = arena.tensor(4, 3), p = new Program(arena)
    gemm(p, { a: arena.from(x, 4, 32), b: arena.from(y, 3, 32), c, transB: true })
    executor.runSync(p)
    const out = [...arena.f32(c)]
    arena.release(mark)
    return out
  }
  expect(product(transformed(a, [4, 32], 1, TE_SIGNS), transformed(b, [3, 32], 1, TE_SIGNS))).toEqual(product(a, b))
})

it('refuses what it cannot do', () => {
  expect(() => transformed(new Float32Array(24), [24], 0, TE_SIGNS)).toThrow(/multiple of the Hadamard block 16/)
  expect(() => signVector(arena, [1, 1, 1])).toThrow(/power of two/)
  expect(() => signVector(arena, [1, 2])).toThrow(/must be 1 or -1/)
})
