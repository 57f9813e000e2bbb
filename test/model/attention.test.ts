import { describe, expect, it } from 'vitest'
import { attentionBackward, attentionForward } from '../../src/model/attention.ts'
import type { AttentionShape } from '../../src/ops/attention.ts'
import * as oracle from '../../src/oracle/attention.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { Program } from '../../src/runtime/program.ts'
import type { Tensor } from '../../src/runtime/memory.ts'

const ex = new InlineExecutor()

/** Reproducible values, roughly normal, times `scale`. */
function values(n: number, seed: number, scale = 1): Float32Array {
  let state = seed * 2654435761 >>> 0
  const next = () => { state = Math.imul(state, 1664525) + 1013904223 >>> 0; return state / 2 ** 32 - 0.5 }
  return Float32Array.from({ length: n }, () => (next() + next() + next() + next()) * 2 * scale)
}
const bits = (x: Float32Array) => new Uint32Array(x.buffer, x.byteOffset, x.length)
const read = (t: Tensor) => ex.arena.f32(t).slice()
const sameBits = (got: Float32Array, want: Float32Array) => expect(bits(got)).toEqual(bits(want))

const shapes: AttentionShape[] = [
  { batch: 1, context: 1, heads: 1, headDim: 4 }, { batch: 2, context: 5, heads: 3, headDim: 6 }, { batch: 1, context: 64, heads: 1, headDim: 8 },
  { batch: 2, context: 67, heads: 2, headDim: 16 }, { batch: 1, context: 130, heads: 2, headDim: 10 },
]

function run(s: AttentionShape, x: Record<'q' | 'k' | 'v' | 'dO', Float32Array>) {
  const d = s.heads * s.headDim, rows = s.batch * s.context
  const shape = [s.batch, s.context, d]
  const [q, k, v, dO] = [x.q, x.k, x.v, x.dO].map(a => ex.arena.from(a, ...shape)) as [Tensor, Tensor, Tensor, Tensor]
  const [o, dq, dk, dv] = Array.from({ length: 4 }, () => ex.arena.from(new Float32Array(rows * d).fill(NaN), ...shape)) as [Tensor, Tensor, Tensor, Tensor]
  const p = new Program(ex.arena)
  attentionForward(p, { q, k, v, o }, s)
  attentionBackward(p, { q, k, v, dO, dq, dk, dv }, s)
  ex.runSync(p)
  ex.runSync(p)
  return { p, o: read(o), dq: read(dq), dk: read(dk), dv: read(dv), tensors: { o, dq, dk, dv } }
}

const inputs = (s: AttentionShape, scale = 1) => {
  const n = s.batch * s.context * s.heads * s.headDim
  return { q: values(n, 1, scale), k: values(n, 2, scale), v: values(n, 3), dO: values(n, 4) }
}

describe('causal attention', () => {
  it.each(shapes)('has the bits of its twin: %o', s => {
    for (const scale of [1, 12]) {
      const x = inputs(s, scale), got = run(s, x)
      sameBits(got.o, oracle.attention(x.q, x.k, x.v, s))
      const want = oracle.attentionBackward(x.q, x.k, x.v, x.dO, s)
      sameBits(got.dq, want.dq)
      sameBits(got.dk, want.dk)
      sameBits(got.dv, want.dv)
    }
  })

  it.each(shapes)('has the bits of its twin in torch\'s order: %o', s => {
    const x = inputs(s, 3), d = s.heads * s.headDim, shape = [s.batch, s.context, d], p = new Program(ex.arena)
    const [q, k, v] = [x.q, x.k, x.v].map(a => ex.arena.from(a, ...shape)) as [Tensor, Tensor, Tensor], o = ex.arena.tensor(...shape)
    attentionForward(p, { q, k, v, o }, s, null, 'torch')
    ex.runSync(p)
    const got = read(o)
    sameBits(got, oracle.attentionTorch(x.q, x.k, x.v, s))
    oracle.attention(x.q, x.k, x.v, s).forEach((want, i) => expect(Math.abs(got[i]! - want)).toBeLessThan(1e-5))
  })

  it('gives the same bits for any cut of the items', () => {
    const s = shapes[3]!, x = inputs(s), { p, tensors, ...whole } = run(s, x)
    for (const { kernel, args, items } of p.calls) {
      const cuts = [0, 1, Math.floor(items / 3), Math.floor(items / 2), items].filter((c, i, all) => c <= items && (i === 0 || c > all[i - 1]!))
      for (let i = 1; i < cuts.length; i++) (ex.kernels[kernel] as (...a: number[]) => void)(...args, cuts[i - 1]!, cuts[i]!)
    }
    for (const name of ['o', 'dq', 'dk', 'dv'] as const) expect(bits(read(tensors[name]))).toEqual(bits(whole[name]))
  })

  it('never looks ahead', () => {
    const s = shapes[3]!, x = inputs(s), a = run(s, x).o
    const later = (y: Float32Array) => y.map((value, i) => Math.floor(i / (s.heads * s.headDim)) % s.context > 40 ? -value : value)
    const b = run(s, { ...x, k: later(x.k), v: later(x.v) }).o
    const differs = [...a.keys()].filter(i => a[i] !== b[i]).map(i => Math.floor(i / (s.heads * s.headDim)) % s.context)
    expect(Math.min(...differs)).toBe(41)
  })

  it('has the gradient of finite differences', () => {
    const s = shapes[1]!, x = inputs(s), got = run(s, x)
    // f64 attention, for differences without rounding noise
    const objective = (q: Float64Array, k: Float64Array, v: Float64Array) => {
      const { batch, context, heads, headDim } = s
      let total = 0
      for (let b = 0; b < batch; b++) for (let h = 0; h < heads; h++) for (let i = 0; i < context; i++) {
        const at = (r: number, c: number) => ((b * context + r) * heads + h) * headDim + c
        const e = Array.from({ length: i + 1 }, (_, j) => { let t = 0; for (let c = 0; c < headDim; c++) t += q[at(i, c)]! * k[at(j, c)]!; return Math.exp(t / Math.sqrt(headDim)) })
        const z = e.reduce((a, c) => a + c)
        for (let c = 0; c < headDim; c++) for (let j = 0; j <= i; j++) total += x.dO[at(i, c)]! * e[j]! / z * v[at(j, c)]!
      }
      return total
    }
    const args = [x.q, x.k, x.v].map(a => Float64Array.from(a)) as [Float64Array, Float64Array, Float64Array]
    for (const [which, gradient] of [got.dq, got.dk, got.dv].entries()) {
      for (let i = 0; i < gradient.length; i += 7) {
        const a = args[which]!, saved = a[i]!, h = 1e-5
        a[i] = saved + h
        const up = objective(...args)
        a[i] = saved - h
        const down = objective(...args)
        a[i] = saved
        expect(Math.abs(gradient[i]! - (up - down) / (2 * h))).toBeLessThan(2e-5)
      }
    }
  })

  it('takes memory linear in the context', () => {
    const used = (context: number) => {
      const s = { batch: 1, context, heads: 2, headDim: 4 }, p = new Program(ex.arena), at = ex.arena.tensor(1, context, 8), mark = ex.arena.mark()
      attentionBackward(p, { q: at, k: at, v: at, dO: at, dq: at, dk: at, dv: at }, s)
      const bytes = ex.arena.used - mark
      ex.arena.release(mark)
      return bytes
    }
    expect(used(4096) / used(2048)).toBeLessThan(2.1)
  })
})
