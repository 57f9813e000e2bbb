// identify finds the arithmetic behind a product. Outputs come from the oracle (or from loops written out here), candidates from the kernels.
import { describe, expect, it } from 'vitest'
import type { ScaledMatrix } from '../../src/core/core.ts'
import { bf16Nearest, fp16Nearest, unitsFor } from '../../src/conformance/product-forms.ts'
import { formats, type FormatName } from '../../src/numerics/formats.ts'
import { mmaConfig, mmaModels, type MmaModel, type MmaScale } from '../../src/numerics/mma.ts'
import { namedQuantizer } from '../../src/numerics/named-quantizers.ts'
import type { CodedMatrix, Matrix } from '../../src/core/operands.ts'
import { encode } from '../../src/oracle/codec.ts'
import { exactDotWord } from '../../src/oracle/exact.ts'
import { valueOf, wordOf } from '../../src/oracle/float.ts'
import { decodeRow, mmaRows } from '../../src/oracle/mma.ts'
import { quantizeNvfp4 } from '../../src/oracle/nvfp4.ts'
import { quantize } from '../../src/oracle/quantize.ts'
import { generator, hardWords, kinds } from '../kernels/hard-data.ts'
import { core, identify, M, N, numbers, ordered, outputs, row, told } from './product-dumps.ts'

const { fround } = Math

function coded(x: Matrix, format: FormatName): CodedMatrix {
  const words = new Uint32Array(x.data.buffer), Type = formats[format].bits > 16 ? Uint32Array : formats[format].bits > 8 ? Uint16Array : Uint8Array
  return { shape: x.shape, format, codes: Type.from(words, w => format === 'tf32' ? w : encode(formats[format], w, { rounding: 'nearest-even', overflow: 'saturate', nan: 'max' })) }
}
const mx = (x: Matrix, format: FormatName): ScaledMatrix => { const q = quantize(x.data, x.shape, 1, namedQuantizer('ocp', { format }) as never); return { shape: x.shape, format, codes: Uint8Array.from(q.codes), scales: q.scales, scale: { format: 'e8m0', block: 32 } } }
const nv = (x: Matrix): ScaledMatrix => { const q = quantizeNvfp4(x.data, x.shape, 1, namedQuantizer('torchao-nvfp4') as never); return { shape: x.shape, format: 'e2m1', codes: q.codes, scales: q.scales, scale: { format: 'ue4m3', block: 16 }, tensorScale: q.tensorScale } }
/** The oracle's product of codes on a unit, in the given ranges of steps, whose sums are added in f32. */
function onUnit(name: string, a: CodedMatrix | ScaledMatrix, b: CodedMatrix | ScaledMatrix, edges?: number[], change: Partial<MmaModel> = {}, start: (i: number, j: number) => number = () => 0): Uint32Array {
  const scale = 'scales' in a ? a.scale as MmaScale : null, known = mmaConfig(name, { a: a.format, b: b.format, scale }), config = { ...known, model: { ...known.model, ...change } }
  const K = a.shape[1]!, rows = (side: 'a' | 'b', x: CodedMatrix | ScaledMatrix) => Array.from({ length: x.shape[0]! }, (_, i) => decodeRow(config, side, [...row(x.codes as Uint8Array, i, K)], 'scales' in x ? [...row(x.scales, i, Math.ceil(K / x.scale.block))] : []))
  const x = rows('a', a), y = rows('b', b), at = edges ?? [0, Math.ceil(K / config.model.length)]
  return outputs((i, j) => {
    const parts = at.slice(1).map((to, n) => mmaRows(config, x[i]!, y[j]!, n === 0 ? start(i, j) : 0, at[n]!, to))
    return parts.length === 1 ? parts[0]! : wordOf(parts.map(valueOf).reduce((s, p) => fround(s + p)))
  })
}
/** Strict f32, over k in the given order. */
const inF32 = (a: Float32Array, b: Float32Array, K: number, order = Array.from({ length: K }, (_, k) => k)) => outputs((i, j) => { let s = 0; for (const k of order) s = fround(s + fround(a[i * K + k]! * b[j * K + k]!)); return wordOf(s) })

describe('every unit is named, with those alone that give the same bits', () => {
  const alone = new Set<string>()
  for (const format of ['fp16', 'bf16', 'tf32', 'e4m3', 'e2m3', 'e4m3fnuz'] as const) it.each(unitsFor(format, format, null).map(u => [u.model.name] as const))(`${format}: %s`, async name => {
    const a = coded(numbers(M, 192, 1), format), b = coded(numbers(N, 192, 2), format), half = mmaModels[name]!.accumulator === 'f16'
    const words = onUnit(name, a, b), found = half ? await identify(a, b, Uint16Array.from(words), { format: 'f16' }) : await identify(a, b, words)
    const same = unitsFor(format, format, null).map(u => u.model).filter(m => (m.accumulator === 'f16') === half && String(onUnit(m.name, a, b)) === String(words)).map(m => m.name)
    const native = found.explanations.map(e => e.candidate).filter(c => c.same.length && c.operands === 'codes as they are' && c.order === ordered && (!half || c.epilogue === 'f16, nearest even') && (mmaModels[c.accumulate]!.accumulator === 'f16') === half)
    expect(new Set(native.map(c => c.accumulate))).toEqual(new Set(same))
    if (same.length === 1) alone.add(name)
    expect(native[0]!.same).toContain(native[0]!.accumulate)
    expect(native[0]!.confidence).toBe(mmaConfig(native[0]!.accumulate, { a: format, b: format }).confidence)
  })
  it('alone, where the data tell', () => expect([...alone]).toEqual(expect.arrayContaining(['volta-f16', 'turing-f16', 'hopper-f16', 'ampere-bf16', 'hopper-bf16', 'ampere-tf32', 'hopper-tf32', 'ada-fp8', 'hopper-fp8', 'blackwell-f8f6f4', 'hopper-fp8-mma', 'cdna1-f16', 'cdna3-f16', 'cdna3-fp8'])))
})

it('roundings to bf16 and FP16 are the oracle\'s', () => {
  const random = generator(11)
  for (const kind of kinds) for (const w of hardWords(500, kind, random)) {
    if ((w & 0x7fffffff) > 0x7f800000) continue
    for (const [f, mine] of [['bf16', bf16Nearest], ['fp16', fp16Nearest]] as const) expect([w, mine(w)]).toEqual([w, encode(formats[f], w, { rounding: 'nearest-even', overflow: 'overflow', nan: 'max' })])
  }
  for (let code = 0; code < 65536; code += 7) for (const d of [-1, 0, 1]) { const w = (0x33000000 + code * 4096 + d) >>> 0; expect([w, fp16Nearest(w)]).toEqual([w, encode(formats.fp16, w, { rounding: 'nearest-even', overflow: 'overflow', nan: 'max' })]) }
})

describe('block scales', () => {
  const x = numbers(M, 256, 3), y = numbers(N, 256, 4), a = mx(x, 'e4m3'), b = mx(y, 'e5m2'), p = nv(x), q = nv(y)
  it('in the unit', async () => {
    expect(told(await identify(a, b, onUnit('blackwell-mxf8f6f4', a, b)))).toEqual([`blackwell-mxf8f6f4 | codes and scales | in the unit | ${ordered} | f32`])
    const alpha = fround(p.tensorScale! * q.tensorScale!), words = onUnit('blackwell-mxf4nvf4', p, q).map(w => wordOf(fround(alpha * valueOf(w))))
    expect(told(await identify(p, q, words))).toEqual([`blackwell-mxf4nvf4 | codes and scales | in the unit | ${ordered} | f32`])
  })
  it('on the operands before', async () => {
    const [u, v] = [(await core.dequantize(a)).data, (await core.dequantize(b)).data]
    expect(told(await identify(a, b, inF32(u, v, 256)))).toEqual([`f32 | f32 numbers | on the operands before | ${ordered} | f32`])
    expect(told(await identify(a, b, onUnit('hopper-bf16', coded({ shape: a.shape, data: u }, 'bf16'), coded({ shape: b.shape, data: v }, 'bf16'))))).toContain(`hopper-bf16 | bf16 numbers | on the operands before | ${ordered} | f32`) // and the FP16 unit, if no exponent is beyond it
    const [s, t] = [(await core.dequantize(p)).data, (await core.dequantize(q)).data]
    expect(told(await identify(p, q, inF32(s, t, 256)))).toEqual([`f32 | f32 numbers | on the operands before, the tensors' scales too | ${ordered} | f32`])
  })
  it('on each block\'s sum', async () => {
    const bare = ({ shape, format, codes }: ScaledMatrix, k: number): CodedMatrix => ({ shape: [shape[0]!, 32], format, codes: Uint8Array.from({ length: shape[0]! * 32 }, (_, i) => codes[Math.floor(i / 32) * 256 + k * 32 + i % 32]!) })
    const parts = Array.from({ length: 8 }, (_, k) => onUnit('hopper-fp8', bare(a, k), bare(b, k)))
    const words = outputs((i, j) => wordOf(parts.reduce((d, part, k) => fround(d + fround(valueOf(part[i * N + j]!) * fround(2 ** (a.scales[i * 8 + k]! - 127) * 2 ** (b.scales[j * 8 + k]! - 127)))), 0)))
    expect(told(await identify(a, b, words))).toEqual(['hopper-fp8 | codes as they are | on each block\'s sum | block by block in order of k | f32'])
  })
})

describe('f32 numbers', () => {
  const a = numbers(M, 96, 5), b = numbers(N, 96, 6)
  it('strict, exact, cut off or rounded', async () => {
    expect(told(await identify(a, b, inF32(a.data, b.data, 96)))).toEqual([`f32 | f32 numbers | - | ${ordered} | f32`])
    expect(told(await identify(a, b, outputs((i, j) => exactDotWord(row(a.data, i, 96), row(b.data, j, 96)))))[0]).toBe('exact | f32 numbers | - | any order | f32') // f64 may give the same
    expect(told(await identify(a, b, onUnit('ampere-tf32', coded(a, 'tf32'), coded(b, 'tf32'))))).toEqual([`ampere-tf32 | cut off to tf32 | - | ${ordered} | f32`])
    expect(told(await identify(a, b, onUnit('hopper-bf16', coded(a, 'bf16'), coded(b, 'bf16'))))).toEqual([`hopper-bf16 | rounded to bf16, nearest even | - | ${ordered} | f32`])
  })
  it('orders of k', async () => {
    const k = Array.from({ length: 96 }, (_, i) => i), add = (parts: number[][]) => { const sums = parts.map(order => inF32(a.data, b.data, 96, order)); return outputs((i, j) => wordOf(sums.map(s => valueOf(s[i * N + j]!)).reduce((s, p) => fround(s + p)))) }
    expect(told(await identify(a, b, inF32(a.data, b.data, 96, [...k].reverse())))).toEqual(['f32 | f32 numbers | - | in reverse order of k | f32'])
    expect(told(await identify(a, b, add([k.slice(0, 32), k.slice(32, 64), k.slice(64)])))[0]).toContain('in 3 parts of 32 k')
    expect(told(await identify(a, b, add([0, 1, 2, 3].map(r => k.filter(i => i % 4 === r)))))[0]).toContain('by 4 accumulators in turn')
  })
})

describe('units beyond one chain', () => {
  const a = coded(numbers(M, 512, 7), 'e4m3'), b = coded(numbers(N, 512, 8), 'e4m3')
  it('promotion of short sums, split-K', async () => {
    expect(told(await identify(a, b, onUnit('hopper-fp8', a, b, [0, 4, 8, 12, 16])))).toContain('hopper-fp8 | codes as they are | - | in 4 parts of 128 k (split-K, or promotion after every 128) | f32')
    expect(told(await identify(a, b, onUnit('blackwell-f8f6f4', a, b, [0, 8, 16])))).toEqual(['blackwell-f8f6f4 | codes as they are | - | in 2 parts of 256 k (split-K, or promotion after every 256) | f32'])
  })
  it('roundings of the output', async () => {
    const words = onUnit('hopper-fp8', a, b)
    const bf16 = words.map(w => w + 0x7fff + (w >>> 16 & 1) >>> 16), cut = words.map(w => w >>> 16)
    expect(told(await identify(a, b, Uint16Array.from(bf16), { format: 'bf16' }))).toContain(`hopper-fp8 | codes as they are | - | ${ordered} | bf16, nearest even`)
    expect(told(await identify(a, b, Uint16Array.from(cut), { format: 'bf16' })).every(t => t.endsWith('bf16, cut off'))).toBe(true)
    expect(told(await identify(a, b, bf16.map(w => w << 16)))).toContain(`hopper-fp8 | codes as they are | - | ${ordered} | bf16, nearest even, stored as f32`)
    const f16 = Uint16Array.from(words, w => encode(formats.fp16, w, { rounding: 'toward-zero', overflow: 'saturate', nan: 'max' }))
    expect(told(await identify(a, b, f16, { format: 'f16' })).every(t => t.endsWith('f16, toward zero'))).toBe(true)
  })
  it('C where the sums start, or after them', async () => {
    const c = { shape: [M, N], data: Float32Array.from({ length: M * N }, (_, i) => fround(Math.sqrt(i) * 7)) }, started = onUnit('hopper-fp8', a, b, undefined, {}, (i, j) => wordOf(c.data[i * N + j]!))
    expect((await identify(a, b, started, { c })).explanations.map(e => `${e.candidate.accumulate}: ${e.candidate.c}`)).toEqual(['hopper-fp8: where the sums start'])
    const added = onUnit('hopper-fp8', a, b).map((w, i) => wordOf(fround(valueOf(w) + c.data[i]!)))
    expect((await identify(a, b, added, { c })).explanations.map(e => `${e.candidate.accumulate}: ${e.candidate.c}`)).toEqual(['hopper-fp8: added after the sum'])
    const scaled = onUnit('hopper-fp8', a, b).map((w, i) => wordOf(fround(fround(0.3) * valueOf(w)) + 0 * i))
    expect((await identify(a, b, scaled, { alpha: fround(0.3) })).explanations.map(e => e.candidate.accumulate)).toEqual(['hopper-fp8'])
  })
})

describe('what no model explains', () => {
  const a = coded(numbers(M, 256, 9), 'e4m3'), b = coded(numbers(N, 256, 10), 'e4m3')
  it('mutants: one bit of alignment more or less, steps of another length', async () => {
    for (const change of [{ fraction: 14 }, { fraction: 12 }, { fraction: 18 }] as Partial<MmaModel>[]) {
      const found = await identify(a, b, onUnit('hopper-fp8', a, b, undefined, change))
      expect([change, found.explanations]).toEqual([change, []])
      expect(found.near[0]!.counterexample).toBeDefined()
    }
  })
  it('one wrong output: the counterexample is it', async () => {
    const words = onUnit('hopper-fp8', a, b), wrong = words.slice()
    wrong[0 * N + 4]! ^= 0x400
    const { explanations, near: [best] } = await identify(a, b, wrong)
    expect(explanations).toEqual([])
    expect(best).toMatchObject({ candidate: { accumulate: 'hopper-fp8', order: ordered }, checked: M * N, explained: M * N - 1, counterexample: { row: 0, column: 4, expected: valueOf(words[4]!), actual: valueOf(wrong[4]!), expectedCode: words[4], actualCode: wrong[4] } })
  })
  it('sizes that do not fit are refused', async () => {
    const bad: [Promise<unknown>, RegExp][] = [
      [identify(a, coded(numbers(N, 128, 1), 'e4m3'), new Uint32Array(M * N)), /256 and 128 differ/], [identify(a, b, new Uint32Array(7)), /has 7 elements.*has 30/],
      [identify(a, mx(numbers(N, 256, 1), 'e4m3'), new Uint32Array(M * N)), /or neither has/], [identify(a, b, new Uint32Array(M * N), { c: numbers(M, 9, 1) }), /c has shape \[5,9\]/],
    ]
    for (const [promise, rule] of bad) await expect(promise).rejects.toThrow(rule)
  })
})
