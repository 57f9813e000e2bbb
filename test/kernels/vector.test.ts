// Elementwise, reduction, loss and optimizer kernels against the oracle, bit for bit, whatever the cut of the range.
import { describe, expect, it } from 'vitest'
import { bfloat, exact } from '../../src/numerics/profiles.ts'
import type { ElementRounding } from '../../src/numerics/quantizer.ts'
import * as lossOracle from '../../src/oracle/loss.ts'
import { columnSum as columnSumOracle } from '../../src/oracle/norm.ts'
import * as optimizerOracle from '../../src/oracle/optimizer.ts'
import { roundElements } from '../../src/oracle/quantize.ts'
import * as reduceOracle from '../../src/oracle/reduce.ts'
import * as v from '../../src/oracle/vector.ts'
import * as ew from '../../src/ops/elementwise.ts'
import { crossEntropy, mse } from '../../src/ops/loss.ts'
import { adam, adamStep, clipByNorm, sgd, sgdStep } from '../../src/ops/optimizer.ts'
import { columnSum, comparison, finiteCheck, moments, overflowCount, readF64 } from '../../src/ops/reduce.ts'
import type { Tensor } from '../../src/runtime/memory.ts'
import { Program } from '../../src/runtime/program.ts'
import { Bench, expectSameBits, gaussian, hard } from './inputs.ts'

const bench = new Bench(), { arena } = bench.ex
const run = (emit: (p: Program) => void) => {
  const p = new Program(arena)
  emit(p)
  for (const { kernel, args, items } of p.calls) bench.call(kernel, args as never, items)
}
const shaped = (t: Tensor, ...shape: number[]): Tensor => ({ ptr: t.ptr, shape })
const f64 = (out: Tensor, n: number) => [...readF64(arena, out)].slice(0, n)

const sizes = [1, 2, 3, 4, 5, 7, 8, 15, 1003]

describe('elementwise', () => {
  it.each(sizes)('%i elements', n => {
    const a = hard(n, 1), b = hard(n, 2), ta = bench.tensor(a), tb = bench.tensor(b), out = bench.empty(n)
    for (const [name, emit, want] of [
      ['add', ew.add, v.add(a, b)], ['sub', ew.sub, v.sub(a, b)], ['mul', ew.mul, v.mul(a, b)],
    ] as const) {
      run(p => emit(p, ta, tb, out))
      expectSameBits(bench.read(out), want, name)
    }
    run(p => ew.scale(p, ta, 0.1, out))
    expectSameBits(bench.read(out), v.mul(a, Math.fround(0.1)), 'scale')
    run(p => ew.axpy(p, 0.1, ta, tb))
    expectSameBits(bench.read(tb), v.add(b, v.mul(a, Math.fround(0.1))), 'axpy')
  })

  const roundings: (ElementRounding | null)[] = [null, bfloat(16), bfloat(16, { rounding: 'nearest-even' }), bfloat(16, { ...exact, rounding: 'nearest-even' }), bfloat(16, { rounding: 'toward-zero' }), bfloat(12)]
  it.each(roundings)('a row added to rows, sums over rows, rounded by $manBits $rounding $zeroSign', round => {
    const Q = (x: Float32Array) => round ? roundElements(x, round) : x
    for (const [R, C] of [[1, 1], [3, 7], [5, 16], [2, 33]] as const) {
      const x = hard(R * C, C), row = hard(C, C + 1), out = shaped(bench.empty(R * C), R, C), sums = bench.empty(C)
      const tx = shaped(bench.tensor(x), R, C)
      run(p => ew.addRow(p, tx, bench.tensor(row), out, round))
      expectSameBits(bench.read(out), Q(x.map((a, i) => a + row[i % C]!)), 'addRow')
      run(p => columnSum(p, tx, sums, round))
      expectSameBits(bench.read(sums), columnSumOracle(x, C, Q), 'columnSum')
    }
  })
})

describe('reductions', () => {
  it.each([1, 5, 4095, 4096, 4097, 9999])('of %i elements', n => {
    const a = gaussian(n, 1), b = gaussian(n, 2), ta = bench.tensor(a), tb = bench.tensor(b), out = bench.empty(12)
    run(p => moments(p, ta, shaped(out, 6)))
    expect(f64(out, 3)).toEqual(reduceOracle.moments(a))
    run(p => comparison(p, ta, tb, out))
    expect(f64(out, 6)).toEqual(reduceOracle.comparison(a, b))
    for (const blockSize of [1, 3, 16, 32, 5000]) {
      run(p => overflowCount(p, ta, shaped(out, 4), { blockSize, ratio: 1.75 }))
      expect(f64(out, 2), `block ${blockSize}`).toEqual(reduceOracle.overflow(a, blockSize, 1.75))
    }
    for (const at of [0, n - 1, Math.floor(n / 2)]) {
      const x = a.slice()
      x[at] = at % 2 ? NaN : -Infinity
      if (n > at + 2) x[at + 2] = NaN
      run(p => finiteCheck(p, bench.tensor(x), shaped(out, 2)))
      expect(n - f64(out, 1)[0]!).toBe(at)
    }
    run(p => finiteCheck(p, ta, shaped(out, 2)))
    expect(f64(out, 1)).toEqual([0])
  })
  it('overflow of subnormals, infinities and NaN', () => {
    const x = Float32Array.of(3e-45, 5e-45, 2.8e-45, 1e-45, 1, NaN, 1.8, -1.9, Infinity, 3, 2, 1, 0, -0, 0, 0, 2 ** -126, 1.9 * 2 ** -126, 2 ** -127, 0), out = bench.empty(4)
    run(p => overflowCount(p, bench.tensor(x), out, { blockSize: 4, ratio: 1.75 }))
    expect(f64(out, 2)).toEqual(reduceOracle.overflow(x, 4, 1.75))
    expect(f64(out, 2)).toEqual([3, 2])
  })
})

describe('losses', () => {
  it.each([1, 6, 4097])('mean squared error of %i elements', n => {
    const y = gaussian(n, 3), t = gaussian(n, 4), loss = bench.empty(2), gradient = bench.empty(n), ty = bench.tensor(y)
    const want = lossOracle.mse(y, t)
    run(p => mse(p, { y: ty, target: bench.tensor(t), loss, gradient }))
    expect(f64(loss, 1)).toEqual([want.loss])
    expectSameBits(bench.read(gradient), want.gradient)
    run(p => mse(p, { y: ty, target: bench.tensor(t), loss, gradient: null }))
    expect(f64(loss, 1)).toEqual([want.loss])
  })
  it.each([[1, 1], [4, 5], [7, 32], [3, 1000]] as const)('cross entropy of %i rows, %i classes', (rows, C) => {
    for (const zWeight of [0, 1e-4]) {
      const x = gaussian(rows * C, C, 4), targets = Int32Array.from({ length: rows }, (_, r) => r === 1 ? -100 : r * 7 % C)
      if (C > 8) x[3] = -Infinity
      const t = bench.empty(rows), loss = bench.empty(4), gradient = shaped(bench.empty(rows * C), rows, C)
      new Int32Array(arena.memory.buffer, t.ptr, rows).set(targets)
      run(p => crossEntropy(p, { logits: shaped(bench.tensor(x), rows, C), targets: t, loss, gradient, zWeight }))
      const want = lossOracle.crossEntropy(x, targets, -100, zWeight)
      expect(f64(loss, 2)).toEqual(want.loss)
      expectSameBits(bench.read(gradient), want.gradient)
      const logits = shaped(bench.tensor(x), rows, C)
      run(p => crossEntropy(p, { logits, targets: t, loss, gradient: logits, zWeight }))
      expectSameBits(bench.read(logits), want.gradient, 'in place')
      run(p => crossEntropy(p, { logits: shaped(bench.tensor(x), rows, C), targets: t, loss, gradient: null, zWeight }))
      expect(f64(loss, 2)).toEqual(want.loss)
    }
  })
  it('a NaN among the logits spoils its row', () => {
    const x = Float32Array.of(1, 2, NaN, 3, 4, 5), t = bench.empty(2), loss = bench.empty(4), gradient = shaped(bench.empty(6), 2, 3)
    new Int32Array(arena.memory.buffer, t.ptr, 2).set([0, 1])
    run(p => crossEntropy(p, { logits: shaped(bench.tensor(x), 2, 3), targets: t, loss, gradient }))
    expect(f64(loss, 1)).toEqual([NaN])
    expect([...bench.read(gradient)].map(Number.isNaN)).toEqual([true, true, true, false, false, false])
  })
  it('cross entropy of known probabilities', () => {
    const x = Float32Array.of(Math.log(1), Math.log(2), Math.log(5), 0, 0, 0), t = bench.empty(2), loss = bench.empty(4)
    new Int32Array(arena.memory.buffer, t.ptr, 2).set([2, 0])
    run(p => crossEntropy(p, { logits: shaped(bench.tensor(x), 2, 3), targets: t, loss, gradient: null }))
    expect(f64(loss, 1)[0]).toBeCloseTo((-Math.log(5 / 8) + Math.log(3)) / 2, 6)
  })
})

describe('optimizers', () => {
  const n = 1003, decays = [{ weightDecay: 0 }, { weightDecay: 0.1 }, { weightDecay: 0.1, decoupled: true }]
  it.each(decays)('three Adam steps, $weightDecay decoupled $decoupled', settings => {
    const value = gaussian(n, 1), m = new Float32Array(n), second = new Float32Array(n)
    const t = { value: bench.tensor(value), m: bench.tensor(m), v: bench.tensor(second), step: bench.empty(4), gradient: bench.empty(n) }, statistics = bench.empty(6)
    for (const k of [1, 2, 3]) {
      const gradient = hard(n, k).map(x => Number.isFinite(x) ? x : 0), step = adamStep(1e-3, k, settings)
      arena.f32(t.gradient).set(gradient)
      arena.f32(t.step).set(step)
      run(p => { clipByNorm(p, { ...t, statistics }, 5); adam(p, t, { beta2: 0.95, ...settings }) })
      step[3] = optimizerOracle.clipScale(reduceOracle.moments(gradient)[1], 5)
      expect(arena.f32(t.step)[3]).toBe(step[3])
      optimizerOracle.adam(value, gradient, m, second, step, { beta1: 0.9, beta2: 0.95, eps: 1e-8, decay: settings.decoupled ? 0 : settings.weightDecay })
      for (const [name, got, want] of [['m', t.m, m], ['v', t.v, second], ['value', t.value, value]] as const) expectSameBits(bench.read(got), want, `${name} after step ${k}`)
    }
  })
  it('three SGD steps with momentum and decay', () => {
    const value = gaussian(n, 1), buffer = new Float32Array(n)
    const t = { value: bench.tensor(value), buffer: bench.tensor(buffer), step: bench.tensor(sgdStep(0.1)), gradient: bench.empty(n) }
    for (const k of [1, 2, 3]) {
      const gradient = gaussian(n, k)
      arena.f32(t.gradient).set(gradient)
      run(p => sgd(p, t, { momentum: 0.9, weightDecay: 0.01 }))
      optimizerOracle.sgd(value, gradient, buffer, sgdStep(0.1), 0.9, 0.01)
      expectSameBits(bench.read(t.value), value, `value after step ${k}`)
    }
  })
  it('bias corrections are those of torch', () => {
    expect([...adamStep(1e-3, 1)]).toEqual([1e-3 / (1 - 0.9), Math.sqrt(1 - 0.999), 1, 1].map(Math.fround))
    expect([...adamStep(1e-3, 3, { weightDecay: 0.1, decoupled: true })]).toEqual([1e-3 / (1 - 0.9 * 0.9 * 0.9), Math.sqrt(1 - 0.999 * 0.999 * 0.999), 1 - 1e-4, 1].map(Math.fround))
    expect(adamStep(1, 100_000)[0]).toBe(1)
  })
})

describe('wrong shapes', () => {
  const t = (...shape: number[]) => ({ ptr: 0, shape }), emit = (f: (p: Program) => void) => () => f(new Program(arena))
  it.each([
    [emit(p => ew.add(p, t(4), t(5), t(4))), /add: b has shape \[5\]/],
    [emit(p => ew.addRow(p, t(3, 4), t(3), t(3, 4))), /row has shape \[3\], 4 elements/],
    [emit(p => columnSum(p, t(3, 4), t(3))), /out has shape \[3\], 4 elements/],
    [emit(p => mse(p, { y: t(4), target: t(3), loss: t(2), gradient: null })), /target has shape \[3\]/],
    [emit(p => crossEntropy(p, { logits: t(2, 3), targets: t(3), loss: t(4), gradient: null })), /targets has shape \[3\], 2 elements/],
    [emit(p => moments(p, t(0), t(6))), /empty/],
    [emit(p => overflowCount(p, t(4), t(4), { blockSize: 0, ratio: 1 })), /blockSize must be a positive integer, got 0/],
    [emit(p => adam(p, { value: t(4), gradient: t(4), m: t(3), v: t(4), step: t(4) })), /m has shape \[3\]/],
  ])('%#', (f, message) => expect(f).toThrow(message))
})
