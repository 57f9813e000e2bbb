// Elementary functions: kernel and oracle bit for bit, and their error against double precision.
import { describe, expect, it } from 'vitest'
import { bfloat } from '../../src/numerics/profiles.ts'
import * as oracle from '../../src/oracle/math.ts'
import { roundElements } from '../../src/oracle/quantize.ts'
import { Bench, expectSameBits } from './inputs.ts'

const bench = new Bench()

/** Upper tail of the normal distribution in double precision: a series below 3, a continued fraction above. */
function normalTail(t: number): number {
  const density = Math.exp(-t * t / 2) / Math.sqrt(2 * Math.PI)
  if (t < 3) {
    let term = t, sum = t
    for (let k = 1; k < 80; k++) { term *= t * t / (2 * k + 1); sum += term }
    return 0.5 - density * sum
  }
  let fraction = 0
  for (let k = 200; k > 0; k--) fraction = k / (t + fraction)
  return density / (t + fraction)
}

/** Spacing of f32 at y. */
const ulp = (y: number) => 2 ** Math.max(Math.floor(Math.log2(Math.abs(y))) - 23, -149)

// `limit`: largest error allowed, in `unit`s.
const functions = [
  { name: 'exp', kind: 0, oracle: oracle.exp, reference: Math.exp, limit: 0.8, unit: ulp, range: [-104, 89] },
  { name: 'log', kind: 1, oracle: oracle.log, reference: Math.log, limit: 0.9, unit: ulp, range: [0, 100] },
  { name: 'tanh', kind: 2, oracle: oracle.tanh, reference: Math.tanh, limit: 1.5, unit: ulp, range: [-10, 10] },
  { name: 'normal tail', kind: 3, oracle: (x: number) => oracle.tail(oracle.tailArgument(x)), reference: (x: number) => normalTail(Math.abs(x)), limit: 1, unit: (y: number, x: number) => (4 + 1.5 * x * x) * ulp(y), range: [-12.99, 12.99] },
] as const

/** A stride through all words, every bf16 value, and a dense sweep of the interesting range. */
function samples([low, high]: readonly [number, number]): Float32Array {
  const words = new Uint32Array(40_000).map((_, i) => Math.imul(i, 107_377))
  const bf16 = new Uint32Array(65_536).map((_, i) => i << 16)
  const sweep = new Float32Array(200_003).map((_, i) => low + (high - low) * i / 200_002)
  return Float32Array.from([...new Float32Array(words.buffer), ...new Float32Array(bf16.buffer), ...sweep])
}

describe.each(functions)('$name', ({ kind, oracle, reference, limit, unit, range }) => {
  const x = samples(range)
  const input = bench.tensor(x), output = bench.empty(x.length)
  bench.call('elementary_f32', [kind, input.ptr, output.ptr], x.length)
  const y = bench.read(output)

  it('kernel equals oracle', () => expectSameBits(y, x.map(oracle)))
  it('is as close to the true value as stated', () => {
    let worst = 0, at = 0
    x.forEach((v, i) => {
      const want = reference(v)
      // at the ends of the range and outside the domain: the rounded true value itself
      if (!Number.isFinite(Math.fround(want)) || Math.fround(want) === 0) { if (!Object.is(y[i], Math.fround(want)) && !(y[i] === 0 && want === 0)) expect.fail(`at ${v}: ${y[i]}, want ${want}`); return }
      if (kind === 3 && Math.abs(v) >= 13) { expect(y[i]).toBe(0); return }
      const error = Math.abs(y[i]! - want) / unit(want, v)
      if (error > worst) { worst = error; at = v }
    })
    expect(worst, `worst at ${at}`).toBeLessThan(limit)
  })
})

describe('on bf16 arguments, rounded to bf16', () => {
  const every = new Float32Array(new Uint32Array(65_536).map((_, i) => i << 16).buffer)
  it.each(['nearest-away', 'nearest-even'] as const)('exp, log and tanh are exact (%s)', rounding => {
    const Q = (x: Float32Array) => roundElements(x, bfloat(16, { rounding }))
    for (const { oracle, reference, name } of functions.slice(0, 3)) expectSameBits(Q(every.map(oracle)), Q(every.map(reference)), name)
  })
})
