// Activation kernels against the oracle, bit for bit, in every mode.
import { describe, expect, it } from 'vitest'
import { bfloat } from '../../src/numerics/profiles.ts'
import * as oracle from '../../src/oracle/activation.ts'
import { roundElements } from '../../src/oracle/quantize.ts'
import { keep, type Round } from '../../src/oracle/vector.ts'
import { activationBackward, activationForward, type ActivationMode, type ActivationName } from '../../src/ops/activation.ts'
import { Program } from '../../src/runtime/program.ts'
import { Bench, expectSameBits, gaussian, hard } from './inputs.ts'

const bench = new Bench()
const away: Round = x => roundElements(x, bfloat(16)), even: Round = x => roundElements(x, bfloat(16, { rounding: 'nearest-even' }))

const modes: { mode: ActivationMode, Q: Round, B: Round }[] = [
  { mode: { kind: 'exact' }, Q: keep, B: keep },
  { mode: { kind: 'sigmoid-form' }, Q: keep, B: keep },
  { mode: { kind: 'bf16', rounding: 'nearest-away', backward: 'bf16' }, Q: away, B: away },
  { mode: { kind: 'bf16', rounding: 'nearest-even', backward: 'bf16' }, Q: even, B: even },
  { mode: { kind: 'bf16', rounding: 'nearest-away', backward: 'fp32' }, Q: away, B: keep },
  { mode: { kind: 'bf16', rounding: 'nearest-even', backward: 'fp32' }, Q: even, B: keep },
]

const functions: Record<ActivationName, oracle.ActivationFunction> = {
  'linear': oracle.linear, 'relu': oracle.relu, 'relu6': oracle.relu6, 'leaky_relu': oracle.leakyRelu, 'gelu': oracle.gelu(), 'gelu-first-order': oracle.gelu(true),
  'silu': oracle.silu(), 'sigmoid': oracle.sigmoid(), 'tanh': oracle.tanh,
}

const run = (emit: (p: Program) => void) => {
  const p = new Program(bench.ex.arena)
  emit(p)
  for (const { kernel, args, items } of p.calls) bench.call(kernel, args as never, items)
}

const n = 3001
const x = new Float32Array([...hard(n - 1000, 1), ...gaussian(1000, 2, 2)]), dy = new Float32Array([...hard(n - 1000, 3), ...gaussian(1000, 4)])
const tx = bench.tensor(x), tdy = bench.tensor(dy), out = bench.empty(n)

describe.each(modes)('$mode', ({ mode, Q, B }) => {
  it.each(Object.keys(functions) as ActivationName[])('%s', name => {
    if (name === 'gelu-first-order' && mode.kind === 'exact') {
      expect(() => run(p => activationForward(p, name, mode, { x: tx, y: out }))).toThrow(/no exact mode/)
      return
    }
    const f = name === 'gelu' && mode.kind === 'exact' ? oracle.geluExact : functions[name]
    run(p => activationForward(p, name, mode, { x: tx, y: out }, 0.125))
    expectSameBits(bench.read(out), f.forward(x, Q, 0.125), 'y')
    run(p => activationBackward(p, name, mode, { x: tx, dy: tdy, dx: out }, 0.125))
    expectSameBits(bench.read(out), f.backward(x, dy, Q, B, 0.125), 'dx')
  })

  it.each([1, 3, 4, 6, 43])('swiglu of width %i', width => {
    const rows = Math.floor(n / (2 * width)), used = rows * 2 * width
    const X = { ptr: tx.ptr, shape: [rows, 2 * width] }, dY = { ptr: tdy.ptr, shape: [rows, width] }
    run(p => activationForward(p, 'swiglu', mode, { x: X, y: { ptr: out.ptr, shape: [rows, width] } }))
    expectSameBits(bench.read(out).subarray(0, rows * width), oracle.swigluForward(x.subarray(0, used), width, Q), 'y')
    run(p => activationBackward(p, 'swiglu', mode, { x: X, dy: dY, dx: { ptr: out.ptr, shape: [rows, 2 * width] } }))
    expectSameBits(bench.read(out).subarray(0, used), oracle.swigluBackward(x.subarray(0, used), dy.subarray(0, rows * width), width, Q, B), 'dx')
  })
})

describe('large tensors go through tables, with the bits of the chain itself', () => {
  const m = 65_541, X = hard(m, 5), DY = hard(m, 6), big = bench.tensor(X), grad = bench.tensor(DY), direct = bench.empty(2 * m), table = bench.empty(2 * m)
  const calls = (emit: (p: Program) => void) => { const p = new Program(bench.ex.arena); emit(p); return p }
  for (const { mode } of modes.slice(2)) {
    it.each(['gelu', 'gelu-first-order', 'silu', 'sigmoid', 'tanh', 'swiglu'] as const)(`${JSON.stringify(mode)} %s`, name => {
      const mark = bench.ex.arena.mark(), width = name === 'swiglu' ? 3 : 1, rows = m / width
      const shape = (t: { ptr: number }, columns: number) => ({ ptr: t.ptr, shape: [rows, columns] })
      const x = name === 'swiglu' ? shape(bench.tensor(hard(2 * m, 7)), 2 * width) : shape(big, 1)
      const go = (n: number, out: { ptr: number }, backward: boolean) => calls(p => {
        // the same elements in pieces too small for a table, or at once
        for (let from = 0; from < rows; from += n) {
          const part = (t: { ptr: number }, columns: number) => ({ ptr: t.ptr + 4 * from * columns, shape: [Math.min(n, rows - from), columns] })
          if (backward) activationBackward(p, name, mode, { x: part(x, x.shape[1]!), dy: part(grad, width), dx: part(out, x.shape[1]!) })
          else activationForward(p, name, mode, { x: part(x, x.shape[1]!), y: part(out, width) })
        }
      })
      for (const backward of [false, true]) {
        const whole = go(rows, table, backward)
        const expected = !(backward && name.startsWith('gelu') && mode.kind === 'bf16' && mode.backward === 'fp32')
        expect(whole.calls.some(c => c.kernel.includes('table'))).toBe(expected)
        bench.ex.runSync(whole)
        bench.ex.runSync(go(10_000, direct, backward))
        const n = m * (backward && name === 'swiglu' ? 2 : 1)
        expectSameBits(bench.read(table).subarray(0, n), bench.read(direct).subarray(0, n), backward ? 'dx' : 'y')
      }
      bench.ex.arena.release(mark)
    })
  }
})

describe('gelu', () => {
  it('is x Phi(x): known values', () => {
    // Phi(1) = 0.8413447460685429, Phi(-3) = 0.0013498980316300946
    const at = Float32Array.of(0, 1, -3, -40, 40)
    const t = bench.tensor(at)
    run(p => activationForward(p, 'gelu', { kind: 'exact' }, { x: t, y: t }))
    const y = bench.read(t)
    expect([y[0], y[3], y[4]]).toEqual([0, 0, 40])
    expect(Math.abs(y[1]! / 0.8413447460685429 - 1)).toBeLessThan(2 ** -23)
    expect(Math.abs(y[2]! / (-3 * 0.0013498980316300946) - 1)).toBeLessThan(2 ** -21)
  })
  it('every bf16 input, microxcaling chain', () => {
    const every = new Float32Array(new Uint32Array(65_536).map((_, i) => i << 16).buffer)
    const t = bench.tensor(every)
    run(p => activationForward(p, 'gelu', { kind: 'bf16', rounding: 'nearest-away', backward: 'bf16' }, { x: t, y: t }))
    expectSameBits(bench.read(t), oracle.gelu().forward(every, away))
  })
})
