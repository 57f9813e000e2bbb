// Inputs for tests of the matrix product, how its programs are run, and the form in which results are compared.
import type { InlineExecutor } from '../../src/runtime/executor.ts'
import { share, type Program } from '../../src/runtime/program.ts'

export type Fill = (n: number, seed: number) => Float32Array

/** 32 random bits per call (Mulberry32). */
export function generator(seed: number): () => number {
  let state = seed * 0x9e3779b9 >>> 0
  return () => {
    state = state + 0x6d2b79f5 >>> 0
    let x = Math.imul(state ^ state >>> 15, state | 1)
    x ^= x + Math.imul(x ^ x >>> 7, x | 61)
    return (x ^ x >>> 14) >>> 0
  }
}

const fromBits = (n: number, bits: () => number) => new Float32Array(Uint32Array.from({ length: n }, bits).buffer)

/** Both signs, full significands, exponents -18..18: every sum depends on its order. */
export const spread: Fill = (n, seed) => {
  const next = generator(seed)
  return fromBits(n, () => { const x = next(); return (x & 0x807fffff) + ((109 + next() % 37) << 23) })
}

/** Any bits: NaN, infinities, subnormals; one value in eight is special. */
export const randomBits: Fill = (n, seed) => {
  const next = generator(seed)
  const specials = [0, 0x80000000, 1, 0x80000001, 0x7fffff, 0x800000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345]
  return fromBits(n, () => {
    const x = next()
    if (x % 64 === 0) return specials[8 + next() % 4]!
    if (x % 8 === 1) return specials[next() % 8]!
    return (x & 0x807fffff) + ((64 + next() % 127) << 23)
  })
}

/** The bits of `values` with every NaN the same. */
export const canonical = (values: Float32Array): Uint32Array => {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length).slice()
  values.forEach((v, i) => { if (v !== v) bits[i] = 0x7fc00000 })
  return bits
}

/** bf16 values: products are exact. */
export const bf16: Fill = (n, seed) => {
  const v = spread(n, seed)
  new Uint32Array(v.buffer).forEach((x, i, bits) => { bits[i] = x & 0xffff0000 })
  return v
}

const bf16Around = (low: number, high: number): Fill => (n, seed) => {
  const next = generator(seed)
  return fromBits(n, () => { const x = next(); return (x & 0x807f0000) + ((low + next() % (high - low)) << 23) })
}

/** bf16 values, subnormals among them, whose products lie on both sides of the smallest subnormal. */
export const nearBottom = bf16Around(0, 120)

/** bf16 values whose products lie on both sides of the largest number. */
export const nearTop = bf16Around(180, 200)

/** Run each call in the shares that so many threads would get, one after another. */
export function inShares(ex: InlineExecutor, p: Program, threads: number): void {
  for (const call of p.calls) for (let t = 0; t < threads; t++) {
    const [begin, end] = share(call, t, threads)
    ;(ex.kernels[call.kernel] as (...n: number[]) => void)(...call.args, begin, end)
  }
}
