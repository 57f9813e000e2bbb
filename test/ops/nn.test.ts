import { describe, expect, it } from 'vitest'
import { activationBackward, activationForward } from '../../src/ops/activation.ts'
import { add, addRow, axpy, mul, scale, sub } from '../../src/ops/elementwise.ts'
import { mse } from '../../src/ops/loss.ts'
import { layerNormForward } from '../../src/ops/norm.ts'
import { adam, adamStep, clipByNorm } from '../../src/ops/optimizer.ts'
import { columnSum, comparison, finiteCheck, moments, overflowCount, readF64 } from '../../src/ops/reduce.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { Program } from '../../src/runtime/program.ts'

const ex = new InlineExecutor()
const run = (emit: (p: Program) => void) => { const p = new Program(ex.arena); emit(p); ex.runSync(p) }
const tensor = (...values: number[]) => ex.arena.from(values, values.length)
const read = (t: ReturnType<typeof tensor>) => [...ex.arena.f32(t)]

describe('elementwise ops on small integers', () => {
  it('add, subtract, multiply, scale, accumulate', () => {
    const a = tensor(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), b = tensor(5, 4, 3, 2, 1, 0, -1, -2, -3, -4, -5), out = ex.arena.tensor(11)
    run(p => add(p, a, b, out)); expect(read(out)).toEqual([6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6])
    run(p => sub(p, a, b, out)); expect(read(out)).toEqual([-4, -2, 0, 2, 4, 6, 8, 10, 12, 14, 16])
    run(p => mul(p, a, b, out)); expect(read(out)).toEqual([5, 8, 9, 8, 5, 0, -7, -16, -27, -40, -55])
    run(p => scale(p, a, 2, out)); expect(read(out)).toEqual([2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22])
    run(p => axpy(p, -2, a, out)); expect(read(out)).toEqual(Array(11).fill(0))
  })
  it('adds a row and sums columns', () => {
    const x = ex.arena.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], 3, 5), row = tensor(10, 20, 30, 40, 50), out = ex.arena.tensor(3, 5), sums = ex.arena.tensor(5)
    run(p => { addRow(p, x, row, out); columnSum(p, out, sums) })
    expect(read(out)).toEqual([11, 22, 33, 44, 55, 16, 27, 38, 49, 60, 21, 32, 43, 54, 65])
    expect(read(sums)).toEqual([48, 81, 114, 147, 180])
  })
})

describe('reductions', () => {
  it('moments, comparison, finiteness, overflow', () => {
    const n = 10_000, x = ex.arena.tensor(n), y = ex.arena.tensor(n), out = ex.arena.tensor(12)
    ex.arena.f32(x).set(Array.from({ length: n }, (_, i) => i % 7 - 3))
    ex.arena.f32(y).fill(1)
    const values = [...ex.arena.f32(x)], sum = values.reduce((s, v) => s + v), squares = values.reduce((s, v) => s + v * v, 0)
    run(p => moments(p, x, { ptr: out.ptr, shape: [6] }))
    expect([...readF64(ex.arena, out)].slice(0, 3)).toEqual([sum, squares, 3])
    run(p => comparison(p, x, y, out))
    expect([...readF64(ex.arena, out)]).toEqual([sum, n, squares, n, sum, values.reduce((s, v) => s + (v - 1) ** 2, 0)])
    run(p => finiteCheck(p, x, { ptr: out.ptr, shape: [2] }))
    expect(readF64(ex.arena, out)[0]).toBe(0)
    ex.arena.f32(x)[9001] = NaN
    ex.arena.f32(x)[9003] = Infinity
    run(p => finiteCheck(p, x, { ptr: out.ptr, shape: [2] }))
    expect(n - readF64(ex.arena, out)[0]!).toBe(9001)
    const z = tensor(1.75, 1.76, -1.9, 1, 4, 7, 7.5, 0, 0, 0, 0, 0)
    run(p => overflowCount(p, z, { ptr: out.ptr, shape: [4] }, { blockSize: 4, ratio: 1.75 }))
    expect([...readF64(ex.arena, out)].slice(0, 2)).toEqual([3, 2])
  })
})

describe('layers', () => {
  it('layer norm of rows with zero mean and unit variance', () => {
    const x = ex.arena.from([1, -1, 1, -1, 1, -1, 3, 5, 3, 5, 3, 5], 2, 6), y = ex.arena.tensor(2, 6), stats = ex.arena.tensor(2, 2)
    const gamma = tensor(1, 2, 3, 4, 5, 6), beta = tensor(0, 0, 0, 0, 0, 1)
    run(p => layerNormForward(p, { x, gamma, beta, y, stats }, { kind: 'fp32', eps: 0 }))
    expect(read(y)).toEqual([1, -2, 3, -4, 5, -5, -1, 2, -3, 4, -5, 7])
  })
  it('relu and its gradient', () => {
    const x = tensor(-1, 0, 2, 3, -4), y = ex.arena.tensor(5)
    run(p => activationForward(p, 'relu', { kind: 'exact' }, { x, y })); expect(read(y)).toEqual([0, 0, 2, 3, 0])
    run(p => activationBackward(p, 'relu', { kind: 'exact' }, { x, dy: tensor(1, 2, 3, 4, 5), dx: y })); expect(read(y)).toEqual([0, 0, 3, 4, 0])
  })
  it('mean squared error and its gradient', () => {
    const y = tensor(1, 2, 3, 4, 5), target = tensor(1, 1, 1, 1, 1), loss = ex.arena.tensor(2), gradient = ex.arena.tensor(5)
    run(p => mse(p, { y, target, loss, gradient }))
    expect(readF64(ex.arena, loss)[0]).toBe(6)
    expect(read(gradient)).toEqual([0, 1, 2, 3, 4].map(d => Math.fround(Math.fround(0.4) * d)))
  })
  it('one Adam step moves every parameter by the learning rate, clipped or not', () => {
    const value = tensor(1, 2, 3), gradient = tensor(30, 40, 0), m = tensor(0, 0, 0), v = tensor(0, 0, 0), statistics = ex.arena.tensor(6)
    const step = ex.arena.from(adamStep(0.125, 1, { eps: 0 }), 4)
    run(p => { clipByNorm(p, { gradient, step, statistics }, 10); adam(p, { value, gradient, m, v, step }, { eps: 1e-30 }) })
    expect(ex.arena.f32(step)[3]).toBeCloseTo(0.2, 6)
    expect(read(value)).toEqual([expect.closeTo(0.875, 6), expect.closeTo(1.875, 6), 3])
  })
})
