// A linear layer under every kind of scheme against the same layer put together from the oracles, from the scheme's text alone: roundings, Hadamard transform,
// quantizers, products. Equal bits for output and all gradients, on one thread and on three.
import { afterAll, describe, expect, it } from 'vitest'
import { linearBackward, linearForward } from '../../src/model/linear.ts'
import { resolvePrecision } from '../../src/model/precision.ts'
import { accumulationOf } from '../../src/numerics/accumulation.ts'
import { bfloat, blockQuantizer } from '../../src/numerics/profiles.ts'
import { nvfp4Profiles } from '../../src/numerics/nvfp4.ts'
import { schemes, type ElementFormat, type PrecisionScheme } from '../../src/numerics/scheme.ts'
import { signVector } from '../../src/ops/hadamard.ts'
import { blockGemm } from '../../src/oracle/block-gemm.ts'
import { exactDot } from '../../src/oracle/exact.ts'
import { hadamard } from '../../src/oracle/hadamard.ts'
import { decodeRow, mmaRows } from '../../src/oracle/mma.ts'
import { decodingScale, quantizeNvfp4 } from '../../src/oracle/nvfp4.ts'
import { philox4x32 } from '../../src/oracle/philox.ts'
import { quantize, roundElements } from '../../src/oracle/quantize.ts'
import { open } from '../../src/runtime/open.ts'
import { Program } from '../../src/runtime/program.ts'
import { difference, generator } from '../kernels/hard-data.ts'

const { fround } = Math
const seed = 77n, step = 5, firstStream = 100
const signs = Array.from({ length: 64 }, (_, i) => i * i % 7 < 3 ? 1 : -1)

/** Element i's random bits: byte i of a Philox stream at `step`, or bytes 2i and 2i + 1. */
const randomBits = (stream: number, bits: 8 | 16) => (i: number): number => {
  const at = i * bits / 8, words = philox4x32([at >> 4, stream, step, 0], [Number(seed), 0])
  return words[at >> 2 & 3]! >>> (at & 3) * 8 & 2 ** bits - 1
}
const wordOf = (x: number) => new Uint32Array(Float32Array.of(x).buffer)[0]!
const floatOf = (word: number) => new Float32Array(Uint32Array.of(word).buffer)[0]!

/** A tensor as rows along k: values, and what a matrix unit reads. */
interface Rows { readonly values: number[][], readonly codes: number[][], readonly scales: number[][], readonly decoding: number }

/** The layer's oracle under a scheme. Streams are numbered like the layer's operands: y's, then dW's, then dx's, the left one first. */
class Oracle {
  readonly #s: PrecisionScheme
  #stream = firstStream

  constructor(s: PrecisionScheme) { this.#s = s }

  round(x: Float32Array): Float32Array { return this.#s.vector === 'bf16' ? roundElements(x, bfloat(16, { rounding: this.#s.vectorRounding })) : x }

  /** x [outer, length, inner] along its middle axis; `tiles`: over the axes of a matrix. */
  operand(x: Float32Array, shape: readonly [number, number, number], format: ElementFormat | null, rounding: PrecisionScheme['rounding'], { transform = false, tiles = false }): Rows {
    const s = this.#s, [outer, length, inner] = shape, at = (o: number, k: number, i: number) => (o * length + k) * inner + i
    let t = x
    if (transform) {
      t = x.slice()
      const n = s.blockSize
      for (let o = 0; o < outer; o++) for (let i = 0; i < inner; i++) for (let k = 0; k < length; k += n) {
        hadamard(Array.from({ length: n }, (_, j) => x[at(o, k + j, i)]!), signs.slice(0, n)).forEach((v, j) => { t[at(o, k + j, i)] = v })
      }
      t = this.round(t)
    }
    let values = t, codes: ArrayLike<number> = [], scales: ArrayLike<number> = [], decoding = 1
    if (format !== null && format !== 'bf16') {
      const random = (bits: 8 | 16) => rounding === 'stochastic' ? randomBits(this.#stream++, bits) : undefined
      const [view, axes] = tiles ? [inner === 1 ? [outer, length] : [length, inner], [0, 1]] : [shape, 1]
      if (s.scaling === 'nvfp4') {
        const q = { ...nvfp4Profiles['te-nvfp4'], rounding: rounding as 'stochastic' | 'nearest-even' }, y = quantizeNvfp4(t, view, axes, q, undefined, random(q.randomBits))
        ;({ values, codes } = y)
        scales = y.elementScales
        decoding = decodingScale(q.recipe, y.tensorScale)
      } else {
        const q = blockQuantizer('ocp', format, { blockSize: s.blockSize, scaleBits: s.scaleBits, scaleRule: s.scaleRule, rounding, bump: s.bump }), y = quantize(t, view, axes, q, random(q.randomBits))
        ;({ values, codes } = y)
        scales = y.elementScales
      }
    } else if (format === 'bf16' && s.vector === 'fp32') values = roundElements(t, bfloat(16, { rounding: 'nearest-away' }))
    const rows = (from: ArrayLike<number>, every: number) => Array.from({ length: inner }, (_, i) => Array.from({ length: Math.ceil(outer * length / every) }, (_, j) => from[at(0, j * every, i)]!))
    // For inner = 1 (the last axis) the rows are `outer` runs of `length`; else every (outer, middle) pair is a k.
    const byRow = (from: ArrayLike<number>, every: number) => inner > 1 || outer === 1 ? rows(from, every)
      : Array.from({ length: outer }, (_, o) => Array.from({ length: Math.ceil(length / every) }, (_, j) => from[at(o, j * every, 0)]!))
    return { values: byRow(values, 1), codes: byRow(codes, 1), scales: byRow(scales, s.blockSize), decoding }
  }

  product(a: Rows, b: Rows, formats: readonly [ElementFormat | null, ElementFormat | null]): Float32Array {
    const s = this.#s, how = accumulationOf(s, ...formats), M = a.values.length, N = b.values.length, K = a.values[0]!.length, c = new Float32Array(M * N)
    if (how.kind === 'block-exact') {
      blockGemm(Float32Array.from(a.values.flat()), Float32Array.from(b.values.flat()), c, M, N, K, s.blockSize)
      return c
    }
    const rows = (side: 'a' | 'b', x: Rows) => x.values.map((v, i) => how.kind !== 'unit' ? null
      : how.operands === 'codes' ? decodeRow(how.unit, side, x.codes[i]!, x.scales[i]!) : decodeRow(how.unit, side, v.map(y => how.unit.a === 'tf32' ? wordOf(y) : wordOf(y) >>> 16)))
    const [as, bs] = [rows('a', a), rows('b', b)], factor = fround(a.decoding * b.decoding)
    for (let m = 0; m < M; m++) for (let n = 0; n < N; n++) {
      const [x, y] = [a.values[m]!, b.values[n]!]
      if (how.kind === 'f32') c[m * N + n] = x.reduce((sum, v, k) => fround(sum + fround(v * y[k]!)), 0)
      else if (how.kind === 'exact') c[m * N + n] = exactDot(x, y)
      else {
        const d = floatOf(mmaRows(how.unit, as[m]!, bs[n]!, 0))
        c[m * N + n] = how.operands === 'codes' && s.scaling === 'nvfp4' ? d * factor : d
      }
    }
    return c
  }
}

interface Case { readonly batch: number, readonly length: number, readonly inputs: number, readonly outputs: number }

function want(s: PrecisionScheme, { batch, length, inputs, outputs }: Case, x: Float32Array, w: Float32Array, g: Float32Array) {
  const oracle = new Oracle(s), quantized = s.backward === 'quantized', rows = batch * length, { forward, dgrad, wgrad } = s, other = s.backwardRounding ?? s.rounding, tiles = s.weightBlocks === 'tiles'
  const q = (t: Float32Array) => oracle.round(t), back = (t: Float32Array) => quantized ? q(t) : t
  const xq = q(x), wq = q(w)
  const y = q(oracle.product(
    oracle.operand(xq, [rows, inputs, 1], forward.activation, s.rounding, {}), oracle.operand(wq, [outputs, inputs, 1], forward.weight, s.rounding, { tiles }), [forward.activation, forward.weight]))
  const xb = back(x), gb = back(g), plain: PrecisionScheme = { ...s, accumulator: 'f32' }, backward = quantized ? oracle : new Oracle(plain)
  const all = { transform: quantized && s.hadamard !== 'none' }, both = { transform: quantized && s.hadamard === 'backward' }
  const dw = back(backward.product(
    backward.operand(gb, [batch, length, outputs], wgrad.gradient, s.gradientRounding, all), backward.operand(xb, [batch, length, inputs], wgrad.activation, other, all), [wgrad.gradient, wgrad.activation]))
  const dx = back(backward.product(
    backward.operand(gb, [rows, outputs, 1], dgrad.gradient, s.gradientRounding, both), backward.operand(back(w), [1, outputs, inputs], dgrad.weight, other, { ...both, tiles }), [dgrad.gradient, dgrad.weight]))
  return { y, dw, dx }
}

const executors = await Promise.all([open({ threads: 1 }), open({ threads: 3 })])
afterAll(async () => { for (const ex of executors) await ex.close() })

async function got(s: PrecisionScheme, { batch, length, inputs, outputs }: Case, x: Float32Array, w: Float32Array, g: Float32Array, ex: typeof executors[number]) {
  const { arena } = ex, mark = arena.mark(), p = new Program(arena), stepPtr = arena.allocBytes(8)
  new DataView(arena.memory.buffer).setBigUint64(stepPtr, BigInt(step), true)
  const { linear } = resolvePrecision(s, { random: { seed, stepPtr, stream: firstStream, signs: signVector(arena, signs) } })
  const shape = (n: number) => batch > 1 ? [batch, length, n] : [length, n]
  const t = { x: arena.from(x, ...shape(inputs)), w: arena.from(w, outputs, inputs), g: arena.from(g, ...shape(outputs)), y: arena.tensor(...shape(outputs)), dw: arena.tensor(outputs, inputs), dx: arena.tensor(...shape(inputs)) }
  const saved = linearForward(p, { x: t.x, weight: t.w, bias: null, y: t.y }, linear)
  linearBackward(p, { dy: t.g, saved, weight: t.w, dx: t.dx, dWeight: t.dw, dBias: null }, linear)
  await ex.run(p)
  const out = { y: arena.f32(t.y).slice(), dw: arena.f32(t.dw).slice(), dx: arena.f32(t.dx).slice() }
  arena.release(mark)
  return out
}

const matrix: Case = { batch: 1, length: 32, inputs: 64, outputs: 32 }, sequences: Case = { batch: 2, length: 32, inputs: 32, outputs: 64 }, ragged: Case = { batch: 1, length: 35, inputs: 41, outputs: 23 }
const on = (name: string, changes: Partial<PrecisionScheme> = {}): PrecisionScheme => ({ ...schemes[name]!, ...changes })

describe('a linear layer equals its oracle', () => {
  it.each<[string, PrecisionScheme, Case]>([
    ['e4m3/e4m3', on('e4m3/e4m3'), ragged], ['e4m3/bf16', on('e4m3/bf16'), ragged], ['forward only', on('e4m3/e4m3/forward-only'), sequences],
    ['tiles of weights', on('e4m3/e4m3', { weightBlocks: 'tiles' }), ragged], ['tiles rounded stochastically', on('e2m1/e2m1', { weightBlocks: 'tiles', backwardRounding: 'stochastic' }), matrix],
    ['MXFP4 backward', on('mxfp4-backward'), matrix], ['MXFP4 backward, sequences', on('mxfp4-backward'), sequences],
    ['NVFP4', on('nvfp4'), matrix], ['NVFP4, sequences', on('nvfp4'), sequences], ['NVFP4 without transform, ragged', on('nvfp4', { hadamard: 'none' }), ragged], ['NVFP4, blocks of weights', on('nvfp4', { weightBlocks: 'rows' }), matrix],
    ['exact', on('e4m3/e4m3', { accumulator: 'exact' }), ragged], ['exact in f32', on('fp32', { accumulator: 'exact', backward: 'quantized' }), matrix], ['block-exact', on('e2m3/e2m3', { accumulator: 'block-exact' }), ragged],
    ['mxf8f6f4', on('mxfp8-rceil', { accumulator: 'blackwell-mxf8f6f4' }), matrix], ['mxf8f6f4, sequences', on('e4m3/e5m2', { accumulator: 'blackwell-mxf8f6f4' }), sequences], ['mxf8f6f4, ragged', on('e2m3/e3m2', { accumulator: 'blackwell-mxf8f6f4' }), ragged],
    ['mxf8f6f4 forward only', on('e4m3/e4m3/forward-only', { accumulator: 'blackwell-mxf8f6f4' }), ragged],
    ['mxf4 backward, by family', on('mxfp4-backward', { accumulator: 'blackwell' }), sequences],
    ['NVFP4 on mxf4nvf4, by family', on('nvfp4/blackwell'), matrix], ['NVFP4 on mxf4nvf4, sequences', on('nvfp4/blackwell'), sequences], ['NVFP4 on mxf4nvf4, ragged, blocks of weights', on('nvfp4/blackwell', { hadamard: 'none', weightBlocks: 'rows' }), ragged],
    ['NVFP4 on mxf4nvf4, ragged tiles', on('nvfp4/blackwell', { hadamard: 'none' }), ragged],
    ['bf16 on a bf16 unit', on('bf16', { accumulator: 'hopper' }), ragged], ['MX emulated on a bf16 unit', on('e4m3/e4m3', { accumulator: 'ampere-bf16' }), sequences], ['AMD', on('e4m3/bf16', { accumulator: 'cdna3' }), matrix],
    ['tf32', on('fp32', { accumulator: 'ampere-tf32', backward: 'quantized' }), ragged],
  ])('%s', async (_, s, c) => {
    const random = generator(9), unit = () => random() / 2 ** 32, tensor = (n: number, deviation: number) => Float32Array.from({ length: n }, () => (unit() + unit() + unit() - 1.5) * deviation * 2 ** (random() % 5))
    const rows = c.batch * c.length, x = tensor(rows * c.inputs, 1), w = tensor(c.outputs * c.inputs, 0.1), g = tensor(rows * c.outputs, 1e-3), expected = want(s, c, x, w, g)
    for (const ex of executors) {
      const found = await got(s, c, x, w, g, ex)
      for (const key of ['y', 'dw', 'dx'] as const) {
        const off = difference(found[key], expected[key])
        if (off) expect.fail(`${key}, ${ex.threads} threads: ${off}`)
        expect(found[key].some(v => v !== 0)).toBe(true)
      }
    }
  })

  it('accumulators differ: the unit, the f32 sum and the exact one', async () => {
    const random = generator(3), tensor = (n: number) => Float32Array.from({ length: n }, () => random() / 2 ** 32 - 0.5), c: Case = { batch: 1, length: 64, inputs: 256, outputs: 32 }
    const [x, w, g] = [tensor(c.length * c.inputs), tensor(c.outputs * c.inputs), tensor(c.length * c.outputs)]
    const outputs = await Promise.all(['f32', 'exact', 'blackwell-mxf8f6f4', 'hopper-bf16'].map(async accumulator => [...(await got(on('e4m3/e4m3', { accumulator, vector: 'fp32' }), c, x, w, g, executors[0]!)).y].join()))
    expect(new Set(outputs).size).toBe(4)
  })

  it('sequences whose length is no multiple of the block are refused by a unit that takes codes', async () => {
    const c: Case = { batch: 2, length: 9, inputs: 32, outputs: 32 }, z = (n: number) => new Float32Array(n)
    await expect(got(on('mxfp8-rceil/blackwell'), c, z(18 * 32), z(32 * 32), z(18 * 32), executors[0]!)).rejects.toThrow('needs their length 9 to be a multiple of the block size 32')
  })
})
