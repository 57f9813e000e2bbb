// Worked examples of microxcaling's two quantizers (outputs of the library itself), and properties of the block quantizer.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formats, type FormatName } from '../../src/numerics/formats.ts'
import { bfloat, blockQuantizer, exact, fp } from '../../src/numerics/profiles.ts'
import type { Rounding, ScaleRule } from '../../src/numerics/quantizer.ts'
import { dequantize, quantize, roundElements } from '../../src/oracle/quantize.ts'

const tensor = (...words: number[]) => new Float32Array(Uint32Array.from(words).buffer)
const words = (x: Float32Array) => Array.from(new Uint32Array(x.buffer), w => w % 2 ** 31 > 0x7f800000 ? 'NaN' : w.toString(16).padStart(8, '0'))
const modes = ['nearest-away', 'nearest-even', 'toward-zero'] as const

describe('elementwise', () => {
  it.each([ // in, then bf16 nearest-away, nearest-even, toward-zero
    [0x3f808000, '3f810000', '3f800000', '3f800000'], [0x3f818000, '3f820000', '3f820000', '3f810000'], [0x3f807fff, '3f800000', '3f800000', '3f800000'],
    [0xbf808000, 'bf810000', 'bf800000', 'bf800000'], [0x80000000, '00000000', '00000000', '00000000'], [0x80007fff, '80000000', '80000000', '80000000'],
    [0x00008000, '00010000', '00000000', '00000000'], [0x007fffff, '00800000', '00800000', '007f0000'], [0x3fffffff, '40000000', '40000000', '3fff0000'],
    [0x40ffffff, '41000000', '41000000', '40fe0000'], [0x7f7f7fff, '7f7f0000', '7f7f0000', '7f7f0000'], [0x7f7f8000, '7f800000', '7f800000', '7f7f0000'],
    [0x7f7fffd3, '7f800000', '7f800000', '7f7f0000'], [0x7f7fffd4, 'NaN', 'NaN', 'NaN'], [0xff800000, 'ff800000', 'ff800000', 'ff800000'], [0x7fc00000, 'NaN', 'NaN', 'NaN'],
  ] as const)('bf16 of %i as microxcaling gives it', (word, ...expected) => {
    expect(modes.map(rounding => words(roundElements(tensor(word), bfloat(16, { rounding })))[0])).toEqual(expected)
  })
  it.each([
    [0x477fefff, '477fe000'], [0x477ff000, '7f800000'], [0x33000000, '33800000'], [0x33000001, '33800000'], [0x387fffff, '38800000'], [0x3f801000, '3f802000'], [0x32ffffff, '33800000'],
  ] as const)('fp16 of %i, halves away', (word, expected) => expect(words(roundElements(tensor(word), fp(16)))).toEqual([expected]))
  it('without the emulation quirks: exact halves, signed zeros, exponents from bits', () => {
    expect(words(roundElements(tensor(0x32ffffff, 0x80000000, 0x40ffffff), fp(16, { ...exact, rounding: 'toward-zero' })))).toEqual(['00000000', '80000000', '40ffe000'])
    expect(words(roundElements(tensor(0x32ffffff), fp(16, exact)))).toEqual(['00000000'])
  })
})

describe('block of microxcaling', () => {
  const block = tensor(0x3ff9db23, 0xbf9e0652, 0x3f19999a, 0xbe2e147b, 0x3ca3d70a, 0xb9d1b717, 0x3fc00001, 0x80000000)
  it.each([
    ['e4m3', '3fe00000 bfa00000 3f200000 be300000 3ca00000 b9d00000 3fc00000 00000000'],
    ['e5m2', '3fe00000 bfa00000 3f200000 be200000 3ca00000 b9e00000 3fc00000 00000000'],
    ['e3m2', '3fe00000 bfa00000 3f200000 be200000 3ca00000 80000000 3fc00000 00000000'],
    ['e2m3', '3ff00000 bfa00000 3f200000 be200000 3d000000 80000000 3fc00000 00000000'],
    ['e2m1', '3fc00000 bf800000 3f000000 be000000 00000000 80000000 3fc00000 00000000'],
    ['int8', '3ffa0000 bf9e0000 3f180000 be300000 3c800000 80000000 3fc00000 00000000'],
    ['int4', '3fe00000 bfa00000 3f000000 be800000 00000000 80000000 3fc00000 00000000'],
    ['int2', '3f800000 bf800000 3f800000 80000000 00000000 80000000 3f800000 00000000'],
    ['bf16', '3ffa0000 bf9e0000 3f1a0000 be2e0000 3ca40000 b9d20000 3fc00000 00000000'],
    ['fp16', '3ff9e000 bf9e0000 3f19a000 be2e2000 3ca3e000 b9d1c000 3fc00000 00000000'],
  ] as const)('%s', (format, expected) => {
    expect(words(quantize(block, [8], 0, blockQuantizer('microxcaling', format)).values).join(' ')).toBe(expected)
  })
  it('the ends of the range: misfloor, Inf, NaN, subnormals with and without flush', () => {
    const e4m3 = blockQuantizer('microxcaling', 'e4m3')
    const of = (q: typeof e4m3, ...w: number[]) => words(quantize(tensor(...w), [w.length], 0, q).values).join(' ')
    expect(of(e4m3, 0x417fffff, 0x417ffffe, 0x417ffffd)).toBe('41800000 41800000 41800000')
    expect(of(e4m3, 0x417ffffe, 0x417ffffd)).toBe('41600000 41600000')
    expect(of(blockQuantizer('microxcaling-cuda', 'e4m3'), 0x417fffff)).toBe('41600000')
    expect(of(e4m3, 0x3f800000, 0x7f800000, 0x40000000)).toBe('NaN NaN NaN')
    expect(of(e4m3, 0x00400000, 0x00001000, 0x00000fff)).toBe('00400000 00002000 00000000')
    expect(of({ ...e4m3, flushSubnormals: true }, 0x00400000, 0x80400000)).toBe('00000000 00000000')
    expect(of(blockQuantizer('microxcaling', 'int8'), 0x00800000, 0x00010000, 0x00018000)).toBe('00800000 00020000 00020000')
    expect(of(blockQuantizer('microxcaling', 'int8'), 0x7f7fffd4)).toBe('NaN')
    expect(of(e4m3, 0x7f7fffd4)).toBe('7f800000')
  })
  it('tile over two axes', () => {
    const x = Float32Array.from({ length: 16 }, (_, i) => i)
    const { values, blockShape } = quantize(x, [4, 4], [0, 1], blockQuantizer('microxcaling', 'e4m3', { blockSize: 2 }))
    expect([10, 11, 14, 15].map(i => values[i])).toEqual([10, 11, 14, 14])
    expect(blockShape).toEqual([2, 2])
  })
  it('exponent bump: intended by block, as released by position', () => {
    const a = Float32Array.of(1.5, 1, 1.1, 1.2, 0.2, 0.9375, 0.3, 0.45)
    const second = (bump: 'none' | 'intended' | 'as-released') => quantize(a, [8], 0, blockQuantizer('microxcaling', 'e4m3', { blockSize: 4, bump })).values[5]
    expect([second('none'), second('intended'), second('as-released')]).toEqual([0.875, 0.9375, 0.875])
    const one = Float32Array.of(448, 464, 470, 500, 511, 460, 240, 30)
    expect([...quantize(one, [8], 0, blockQuantizer('microxcaling', 'e4m3', { bump: 'as-released' })).values]).toEqual([448, 480, 480, 512, 512, 448, 240, 30])
  })
})

describe('properties', () => {
  const element = fc.integer({ min: 0, max: 0xffffffff })
  const anyFormat = fc.constantFrom(...(Object.keys(formats) as FormatName[]).filter(f => formats[f].bits <= 16))
  const anyRounding = fc.constantFrom<Rounding>('nearest-even', 'nearest-away', 'toward-zero', 'stochastic')
  const anyRule = fc.constantFrom<ScaleRule>('floor', 'ceil', 'even', 'rceil')

  it('codes and scales decode to the fake-quantized values', () => {
    fc.assert(fc.property(fc.array(element, { minLength: 1, maxLength: 40 }), anyFormat, anyRounding, anyRule, fc.integer({ min: 2, max: 8 }), (w, format, rounding, scaleRule, scaleBits) => {
      const q = blockQuantizer('ocp', format, { rounding, scaleRule, scaleBits, blockSize: 7 })
      const { values, codes, elementScales } = quantize(tensor(...w), [w.length], 0, q, i => i * 7919 & 0xffff)
      expect(words(dequantize(codes, elementScales, formats[format]))).toEqual(words(values))
    }))
  })
  it('quantizing twice changes nothing (floor scale, nearest)', () => {
    fc.assert(fc.property(fc.array(element, { minLength: 1, maxLength: 40 }), anyFormat, (w, format) => {
      const q = blockQuantizer('ocp', format, { blockSize: 16 })
      const once = quantize(tensor(...w), [w.length], 0, q).values
      expect(words(quantize(once, [w.length], 0, q).values)).toEqual(words(once))
    }))
  })
  it('rounded-up scales never saturate', () => {
    fc.assert(fc.property(fc.array(fc.float({ noNaN: true, noDefaultInfinity: true, min: Math.fround(-1e30), max: Math.fround(1e30) }), { minLength: 1, maxLength: 32 }), anyFormat, (x, format) => {
      const { scales } = quantize(Float32Array.from(x), [x.length], 0, blockQuantizer('ocp', format, { scaleRule: 'rceil' }))
      const amax = Math.max(...x.map(Math.abs))
      expect(amax / 2 ** (scales[0]! - 127)).toBeLessThanOrEqual(formats[format].max * (1 + 2 ** -23))
    }))
  })
})
