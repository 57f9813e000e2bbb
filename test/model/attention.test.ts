import { describe, expect, it } from 'vitest'
import { attentionBackward, attentionForward } from '../../src/model/attention.ts'
import type { AttentionShape } from '../../src/ops/attention.ts'
import * as oracle from '../../src/oracle/attention.ts'
import { bfloat, blockQuantizer } from '../../src/numerics/profiles.ts'
import { exp } from '../../src/oracle/math.ts'
import { quantize, roundElements } from '../../src/oracle/quantize.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { Program } from '../../src/runtime/program.ts'
import type { Tensor } from '../../src/runtime/memory.ts'
import { expectSameBits, gaussian } from '../kernels/inputs.ts'

const ex = new InlineExecutor()

const read = (t: Tensor) => ex.arena.f32(t).slice()

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
  return { q: gaussian(n, 1, scale), k: gaussian(n, 2, scale), v: gaussian(n, 3), dO: gaussian(n, 4) }
}

describe('causal attention', () => {
  it.each(shapes)('has the bits of its twin: %o', s => {
    for (const scale of [1, 12]) {
      const x = inputs(s, scale), got = run(s, x)
      expectSameBits(got.o, oracle.attention(x.q, x.k, x.v, s))
      const want = oracle.attentionBackward(x.q, x.k, x.v, x.dO, s)
      expectSameBits(got.dq, want.dq)
      expectSameBits(got.dk, want.dk)
      expectSameBits(got.dv, want.dv)
    }
  })

  it.each(shapes)('has the bits of its twin in torch\'s order: %o', s => {
    const x = inputs(s, 3), d = s.heads * s.headDim, shape = [s.batch, s.context, d], p = new Program(ex.arena)
    const [q, k, v] = [x.q, x.k, x.v].map(a => ex.arena.from(a, ...shape)) as [Tensor, Tensor, Tensor], o = ex.arena.tensor(...shape)
    attentionForward(p, { q, k, v, o }, s, null, 'torch')
    ex.runSync(p)
    const got = read(o)
    expectSameBits(got, oracle.attentionTorch(x.q, x.k, x.v, s))
    oracle.attention(x.q, x.k, x.v, s).forEach((want, i) => expect(Math.abs(got[i]! - want)).toBeLessThan(1e-5))
  })

  it('gives the same bits for any cut of the items', () => {
    const s = shapes[3]!, x = inputs(s), { p, tensors, ...whole } = run(s, x)
    for (const { kernel, args, items } of p.calls) {
      const cuts = [0, 1, Math.floor(items / 3), Math.floor(items / 2), items].filter((c, i, all) => c <= items && (i === 0 || c > all[i - 1]!))
      for (let i = 1; i < cuts.length; i++) (ex.kernels[kernel] as (...a: number[]) => void)(...args, cuts[i - 1]!, cuts[i]!)
    }
    for (const name of ['o', 'dq', 'dk', 'dv'] as const) expectSameBits(read(tensors[name]), whole[name])
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

describe('quantized attention', () => {
  const f = Math.fround, round = bfloat(16), Q = (x: Float32Array) => roundElements(x, round)
  const formats = { forward: blockQuantizer('microxcaling', 'e4m3'), backward: blockQuantizer('microxcaling', 'e2m3'), gradient: blockQuantizer('microxcaling', 'e5m2') }
  /** MX(Q(x)) of a matrix along its rows (axis 1) or columns (axis 0). */
  const MX = (x: Float32Array, rows: number, axis: 0 | 1, role: keyof typeof formats) => quantize(Q(x), [rows, x.length / rows], axis, formats[role]).values
  const transposed = (x: Float32Array, rows: number) => x.map((_, i) => x[i % rows * (x.length / rows) + Math.floor(i / rows)]!)
  /** a [M, K] b [K, N], each element one sequential sum, then Q. */
  const product = (a: Float32Array, b: Float32Array, K: number) => {
    const M = a.length / K, N = b.length / K
    return Q(Float32Array.from({ length: M * N }, (_, i) => { let t = 0; for (let k = 0; k < K; k++) t = f(t + f(a[Math.floor(i / N) * K + k]! * b[k * N + i % N]!)); return t }))
  }
  const rowSum = (x: ArrayLike<number>) => { const s = [0, 0, 0, 0] as number[]; for (let j = 0; j < x.length; j++) s[j % 4] = f(s[j % 4]! + x[j]!); return f(f(s[0]! + s[2]!) + f(s[1]! + s[3]!)) }

  it('quantizes each operand along the axis its product sums over', () => {
    const s = { batch: 2, context: 72, heads: 2, headDim: 40 }, x = inputs(s), { context: T, headDim: H } = s, d = s.heads * H, scale = f(1 / Math.sqrt(H))
    const shape = [s.batch, T, d], p = new Program(ex.arena)
    const [q, k, v, dO] = [x.q, x.k, x.v, x.dO].map(a => ex.arena.from(a, ...shape)) as [Tensor, Tensor, Tensor, Tensor]
    const [o, dq, dk, dv] = Array.from({ length: 4 }, () => ex.arena.tensor(...shape)) as [Tensor, Tensor, Tensor, Tensor]
    const precision = { ...formats, round, roundBackward: round, random: null }
    attentionForward(p, { q, k, v, o }, s, precision)
    attentionBackward(p, { q, k, v, dO, dq, dk, dv }, s, precision)
    ex.runSync(p)
    for (let b = 0; b < s.batch; b++) for (let h = 0; h < s.heads; h++) {
      const head = (t: Float32Array) => Float32Array.from({ length: T * H }, (_, i) => t[(b * T + Math.floor(i / H)) * d + h * H + i % H]!)
      const [qh, kh, vh, gh] = [x.q, x.k, x.v, x.dO].map(head) as [Float32Array, Float32Array, Float32Array, Float32Array]
      const S = product(MX(qh, T, 1, 'forward'), transposed(MX(kh, T, 1, 'forward'), T), H)
      const P = new Float32Array(T * T)
      for (let i = 0; i < T; i++) {
        const row = S.subarray(i * T, i * T + i + 1).map(z => f(z * scale)), top = Math.max(...row), e = row.map(z => exp(f(z - top))), total = rowSum(e)
        P.set(e.map(z => f(z / total)), i * T)
      }
      expectSameBits(head(read(o)), product(MX(P, T, 1, 'forward'), MX(vh, T, 0, 'forward'), T))

      const dP = product(MX(gh, T, 1, 'gradient'), transposed(MX(vh, T, 1, 'backward'), T), H), dS = new Float32Array(T * T)
      for (let i = 0; i < T; i++) {
        const n = i + 1, row = (m: Float32Array) => m.subarray(i * T, i * T + n), D = rowSum(row(P).map((z, j) => f(z * row(dP)[j]!)))
        dS.set(row(P).map((z, j) => f(f(z * f(row(dP)[j]! - D)) * scale)), i * T)
      }
      const positive = (t: Float32Array) => t.map(z => z + 0)
      expectSameBits(positive(head(read(dq))), positive(product(MX(dS, T, 1, 'gradient'), MX(kh, T, 0, 'backward'), T)))
      expectSameBits(positive(head(read(dk))), positive(product(transposed(MX(dS, T, 0, 'gradient'), T), MX(qh, T, 0, 'backward'), T)))
      expectSameBits(positive(head(read(dv))), positive(product(transposed(MX(P, T, 0, 'backward'), T), MX(gh, T, 0, 'gradient'), T)))
    }
  })

  it('refuses a block size that the row blocks would cut', () => {
    const t = ex.arena.tensor(1, 4, 8), q = blockQuantizer('ocp', 'e4m3', { blockSize: 48 })
    expect(() => attentionForward(new Program(ex.arena), { q: t, k: t, v: t, o: t }, { batch: 1, context: 4, heads: 1, headDim: 8 }, { forward: q, backward: q, gradient: q, round: null, roundBackward: null, random: null }))
      .toThrow(/block size that divides 64, got 48/)
  })
})
