import { afterAll, describe, expect, it } from 'vitest'
import { Core, type ScaledMatrix } from '../../src/core/core.ts'
import { UsageError } from '../../src/errors.ts'
import { packNibbles, swizzleScales } from '../../src/io/layouts.ts'
import { mmaConfig, mmaFamilies, resolveMma, type MmaScale } from '../../src/numerics/mma.ts'
import type { FormatName } from '../../src/numerics/formats.ts'
import { mmaTile } from '../../src/conformance/mma-cases.ts'
import { epilogue } from '../../src/oracle/epilogue.ts'
import { exactDotWord } from '../../src/oracle/exact.ts'
import { wordOf } from '../../src/oracle/float.ts'
import { decodeRow, mmaElement, mmaRows } from '../../src/oracle/mma.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { PoolExecutor } from '../../src/runtime/pool.ts'

const inline = new Core(new InlineExecutor()), pool = new Core(new PoolExecutor(2))
afterAll(() => pool.executor.close())

const words = (x: Float32Array) => [...new Uint32Array(x.buffer, x.byteOffset, x.length)]

/** A block-scaled product with oracle results, from the generator of provoking tiles. */
function scaled(name: string, options: { a?: FormatName, b?: FormatName, scale?: MmaScale }, M: number, N: number, steps: number, index = 0) {
  const config = mmaConfig(name, options), tile = mmaTile(config, 5, index, M, N, steps)
  const operand = (format: FormatName, codes: number[][], scales: number[][]): ScaledMatrix => ({ shape: [codes.length, codes[0]!.length], format, codes: Uint8Array.from(codes.flat()), scales: Uint8Array.from(scales.flat()), scale: config.scale! })
  const a = operand(config.a, tile.a, tile.scaleA), b = operand(config.b, tile.b, tile.scaleB)
  const rows = tile.a.map((codes, i) => decodeRow(config, 'a', codes, tile.scaleA[i])), columns = tile.b.map((codes, j) => decodeRow(config, 'b', codes, tile.scaleB[j]))
  return { config, a, b, rows, columns, d: rows.flatMap(x => columns.map(y => mmaRows(config, x, y, 0))) }
}

describe.each([['inline', inline], ['two threads', pool]] as const)('scaledMatmul, %s', (_, core) => {
  it.each([['blackwell-mxf8f6f4', { a: 'e4m3', b: 'e5m2' }], ['blackwell-mxf8f6f4', { a: 'e3m2', b: 'e2m1' }], ['blackwell-mxf4', {}], ['blackwell-mxf4nvf4', {}], ['blackwell-mxf4nvf4', { scale: { format: 'e8m0', block: 16 } }]] as const)('%s %o', async (name, options) => {
    for (let index = 0; index < 9; index++) {
      const { a, b, d } = scaled(name, options, 21, 19, 3, index)
      const got = await core.scaledMatmul(a, b, { accumulate: name })
      expect([...got.codes]).toEqual(d)
      expect(got.model).toMatchObject({ name, confidence: options === undefined ? '' : expect.any(String) })
    }
  })
  it('takes packed codes and swizzled scales, alpha and beta, and rounds to bf16 and f16', async () => {
    const { a, b, d } = scaled('blackwell-mxf4nvf4', {}, 21, 19, 2, 1)
    const packed = (x: ScaledMatrix): ScaledMatrix => ({ ...x, codes: packNibbles(x.codes), packing: 'nibbles', scales: swizzleScales(x.scales, x.shape[0]!, x.shape[1]! / 16), scaleLayout: '128x4' })
    const c = { shape: [21, 19], data: Float32Array.from({ length: 21 * 19 }, (_, i) => Math.fround(Math.sqrt(i) - 9)) }
    for (const out of ['f32', 'bf16', 'f16'] as const) {
      const got = await core.scaledMatmul(packed(a), packed(b), { accumulate: 'blackwell', alpha: 0.37, beta: -1.25, c, out })
      expect([...got.codes]).toEqual(d.map((acc, i) => epilogue(acc, out, 0x7fffffff, 0.37, -1.25, c.data[i]!)))
      expect(got.model!.name).toBe('blackwell-mxf4nvf4')
    }
  })
  it('adds the parts of split-K and of promotion in order', async () => {
    const { config, a, b, rows, columns } = scaled('blackwell-mxf8f6f4', {}, 5, 6, 7, 1)
    const sum = (x: number, y: number) => Math.fround(x + y)
    const parts = (edges: number[]) => rows.flatMap(x => columns.map(y => {
      const values = edges.slice(1).map((to, i) => { const f = new Float32Array(Uint32Array.of(mmaRows(config, x, y, 0, edges[i]!, to)).buffer); return f[0]! })
      const d = values.reduce(sum)
      return Number.isNaN(d) ? 0x7fffffff : wordOf(d)
    }))
    expect([...(await core.scaledMatmul(a, b, { accumulate: config.model.name, splitK: 2 })).codes]).toEqual(parts([0, 4, 7]))
    expect([...(await core.scaledMatmul(a, b, { accumulate: config.model.name, promoteK: 64 })).codes]).toEqual(parts([0, 2, 4, 6, 7]))
  })
  it('f32 and exact sum the dequantized values', async () => {
    const { a, b } = scaled('blackwell-mxf8f6f4', {}, 4, 5, 3, 1)
    const [x, y] = [(await core.dequantize(a)).data, (await core.dequantize(b)).data], K = a.shape[1]!
    const exact = await core.scaledMatmul(a, b, { accumulate: 'exact' })
    const row = (m: Float32Array, i: number) => m.subarray(i * K, (i + 1) * K)
    expect(words(exact.data)).toEqual(Array.from({ length: 20 }, (_, i) => exactDotWord(row(x, Math.floor(i / 5)), row(y, i % 5))))
    const strict = await core.scaledMatmul(a, b)
    expect(words(strict.data)).toEqual(Array.from({ length: 20 }, (_, i) => { let s = 0; for (let k = 0; k < K; k++) s = Math.fround(s + Math.fround(row(x, Math.floor(i / 5))[k]! * row(y, i % 5)[k]!)); return wordOf(s) }))
  })
})

describe('matmul', () => {
  const f32 = (rows: number, cols: number, f: (i: number) => number) => ({ shape: [rows, cols], data: Float32Array.from({ length: rows * cols }, (_, i) => f(i)) })
  it('b is [K, N], or [N, K] with transB; f32 is the naive triple loop', async () => {
    const a = f32(3, 4, i => i / 3), b = f32(4, 2, i => Math.sqrt(i)), bT = f32(2, 4, i => b.data[i % 4 * 2 + Math.floor(i / 4)]!)
    const got = await inline.matmul(a, b)
    expect(words((await inline.matmul(a, bT, { transB: true })).data)).toEqual(words(got.data))
    expect([...got.data]).toEqual(Array.from({ length: 6 }, (_, i) => { let s = 0; for (let k = 0; k < 4; k++) s = Math.fround(s + Math.fround(a.data[Math.floor(i / 2) * 4 + k]! * b.data[k * 2 + i % 2]!)); return s }))
  })
  it('a unit takes f32 numbers of its format, codes, and a start', async () => {
    const a = f32(2, 20, i => (i % 7 - 3) * 0.25), b = f32(3, 20, i => (i % 5 - 2) * 1.5)
    const start = f32(2, 3, i => i * 1000.5)
    const bf16 = (x: { shape: number[], data: Float32Array }) => ({ shape: x.shape, format: 'bf16' as const, codes: Uint16Array.from(words(x.data), w => w >>> 16) })
    const config = mmaConfig('hopper-bf16')
    const want = Array.from({ length: 6 }, (_, i) => mmaElement(config, bf16(a).codes.subarray(Math.floor(i / 3) * 20, Math.floor(i / 3) * 20 + 20), bf16(b).codes.subarray(i % 3 * 20, i % 3 * 20 + 20), wordOf(start.data[i]!)))
    for (const [x, y] of [[a, b], [bf16(a), bf16(b)], [a, bf16(b)]] as const) expect([...(await inline.matmul(x, y, { accumulate: 'hopper-bf16', transB: true, start })).codes]).toEqual(want)
    expect((await inline.matmul(bf16(a), bf16(b), { accumulate: 'hopper', transB: true, start })).model).toEqual({ name: 'hopper-bf16', confidence: 'hardware', source: config.model.source })
    await expect(inline.matmul(f32(1, 1, () => 0.1), b, { accumulate: 'hopper-bf16', transB: true })).rejects.toThrow(/inner sizes/)
    await expect(inline.matmul(f32(1, 20, () => 0.1), b, { accumulate: 'hopper-bf16', transB: true })).rejects.toThrow(/a\[0, 0\] = 0.1\d* is not a number of bf16/)
  })
  it('accumulators of FP16: started, and given out, in FP16', async () => {
    const a = f32(1, 16, i => i - 8), b = f32(1, 16, () => 1)
    const got = await inline.matmul(a, b, { accumulate: 'hopper-f16-f16acc-mma', transB: true, start: f32(1, 1, () => 0.5), out: 'f16' })
    expect([...got.codes]).toEqual([0xc780]) // -7.5
    await expect(inline.matmul(a, b, { accumulate: 'hopper-f16-f16acc-mma', transB: true, start: f32(1, 1, () => 1 / 3) })).rejects.toThrow(/not an FP16 number/)
    await expect(inline.matmul(f32(1, 32, () => 1), f32(1, 32, () => 1), { accumulate: 'hopper-f16-f16acc-mma', transB: true, splitK: 2 })).rejects.toThrow(/accumulates in FP16/)
  })
  it('empty sizes give empty or zero results', async () => {
    expect((await inline.matmul(f32(0, 3, () => 0), f32(3, 2, () => 0))).shape).toEqual([0, 2])
    expect([...(await inline.matmul(f32(1, 0, () => 0), f32(0, 2, () => 0), { accumulate: 'exact' })).data]).toEqual([0, 0])
  })
  it('refuses what does not fit, in one line', async () => {
    const a = f32(2, 32, () => 1), codes: ScaledMatrix = { shape: [2, 32], format: 'e2m1', codes: new Uint8Array(64).fill(1), scales: Uint8Array.of(127, 127), scale: { format: 'e8m0', block: 32 } }
    const bad: [Promise<unknown>, RegExp][] = [
      [inline.matmul(a, a), /inner sizes 32 and 2 differ/],
      [inline.matmul(a, a, { transB: true, accumulate: 'cdna4' }), /unpublished/],
      [inline.matmul(a, a, { transB: true, accumulate: 'nope' }), /unknown accumulator "nope": use one of f32, f32-fma, f64, exact, volta, turing, .*blackwell, .*hopper-fp8/],
      [inline.matmul(a, a, { transB: true, accumulate: 'blackwell' }), /name the unit/],
      [inline.matmul(a, a, { transB: true, accumulate: 'blackwell-mxf4' }), /its operands need block scales/],
      [inline.matmul(a, a, { transB: true, splitK: 0 }), /splitK is 0/],
      [inline.matmul(a, a, { transB: true, out: 'f8' as 'f32' }), /unknown output type/],
      [inline.matmul(a, a, { transB: true, beta: 2 }), /there is no c/],
      [inline.matmul(a, { ...a, shape: [2, 33] }, { transB: true }), /66 elements, 64 are given/],
      [inline.scaledMatmul({ ...codes, scales: Uint8Array.of(1) }, codes), /1 scales; shape \[2,32\] with blocks of 32 has 2/],
      [inline.scaledMatmul({ ...codes, codes: new Uint8Array(64).fill(16) }, codes), /code 16 at element 0 is out of range/],
      [inline.scaledMatmul({ ...codes, format: 'e9m9' as 'e2m1' }, codes), /unknown format/],
      [inline.scaledMatmul({ ...codes, scaleLayout: '128x4' }, codes), /take 512/],
      [inline.scaledMatmul(codes, codes, { accumulate: 'blackwell-mxf4nvf4', start: f32(3, 3, () => 0) }), /\[2, 2\] needed/],
      [inline.scaledMatmul(codes, codes, { accumulate: 'hopper' }), /no modelled unit for e2m1 times e2m1 with scales e8m0\/32/],
    ]
    for (const [promise, rule] of bad) {
      const error = await promise.then(() => null, e => e)
      expect(error).toBeInstanceOf(UsageError)
      expect(error.message).toMatch(rule)
      expect(error.message).not.toContain('\n')
    }
  })
})

describe('architectures', () => {
  it('find the unit for the operands', () => {
    expect(mmaFamilies).toEqual(['volta', 'turing', 'ampere', 'ada', 'hopper', 'blackwell', 'cdna1', 'cdna2', 'cdna3'])
    const name = (family: string, a: FormatName, b = a, scale: MmaScale | null = null) => resolveMma(family, { a, b, scale }).model.name
    const mx: MmaScale = { format: 'e8m0', block: 32 }
    expect([name('hopper', 'e4m3'), name('hopper', 'bf16'), name('blackwell', 'e4m3', 'e2m1'), name('blackwell', 'e4m3', 'e5m2', mx), name('blackwell', 'e2m1', 'e2m1', mx), name('blackwell', 'e2m1', 'e4m3', mx), name('cdna3', 'e4m3fnuz')])
      .toEqual(['hopper-fp8', 'hopper-bf16', 'blackwell-f8f6f4', 'blackwell-mxf8f6f4', 'blackwell-mxf4', 'blackwell-mxf8f6f4', 'cdna3-fp8'])
  })
})

describe('quantize', () => {
  it('gives codes and scales that dequantize to the values', async () => {
    const x = { shape: [3, 40], data: Float32Array.from({ length: 120 }, (_, i) => Math.fround((i % 17 - 8) * 2 ** (i % 5))) }
    const q = await pool.quantize(x, 'ocp', { format: 'e4m3' })
    expect([q.format, q.scales.length, q.scale, q.axis]).toEqual(['e4m3', 6, { format: 'e8m0', block: 32 }, 1])
    expect([...(await inline.dequantize(q)).data]).toEqual([...x.data]) // small integers times powers of two within a block's range
    const down = await inline.quantize(x, 'ocp', { format: 'e5m2', axis: 0 })
    expect([down.scales.length, down.axis]).toEqual([40, 0])
    await expect(inline.quantize(x, 'nope' as 'ocp', { format: 'e4m3' })).rejects.toThrow(/unknown quantizer profile/)
    await expect(inline.quantize({ ...x, shape: [3, 41] }, 'ocp')).rejects.toThrow(/123 elements/)
  })
})
