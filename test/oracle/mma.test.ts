import { describe, expect, it } from 'vitest'
import { formats, type FloatFormat, type FormatName } from '../../src/numerics/formats.ts'
import { mmaConfig, mmaModels, type MmaConfig } from '../../src/numerics/mma.ts'
import { mmaElement } from '../../src/oracle/mma.ts'

/** The code of an exactly representable number, found by trying every code (16-bit formats and below) or its float32 word (tf32). */
function code(name: FormatName, x: number): number {
  if (name === 'tf32') return new Uint32Array(Float32Array.of(x).buffer)[0]!
  const f = formats[name] as FloatFormat
  for (let c = 0; c < 2 ** f.bits; c++) {
    const field = c >> f.manBits & 2 ** f.expBits - 1, fraction = c & 2 ** f.manBits - 1
    const magnitude = field ? (2 ** f.manBits + fraction) * 2 ** (field - f.bias - f.manBits) : fraction * 2 ** (1 - f.bias - f.manBits)
    if ((c >> (f.bits - 1) ? -magnitude : magnitude) === x) return c
  }
  throw new Error(`${x} is not a ${name}`)
}
const f32 = (bits: number) => new Float32Array(Uint32Array.of(bits).buffer)[0]!
const bits = (x: number) => new Uint32Array(Float32Array.of(x).buffer)[0]!

/** A dot product in decimal: numbers in, float32 number out. */
function dot(config: MmaConfig, a: number[], b: number[], c: number): number {
  const padded = (xs: number[], f: FormatName) => Array.from({ length: config.model.length }, (_, i) => code(f, xs[i] ?? 0))
  return f32(mmaElement(config, padded(a, config.a), padded(b, config.b), bits(c), [127, 127], [127, 127]))
}

describe('2^23 - 2^23 - 0.5 - 0.25 - 0.125 (arXiv:2511.10909, table 8)', () => {
  const a = [-(2 ** 13), -0.5, -0.25, -0.125], b = [2 ** 10, 1, 1, 1]
  const table: [string, FormatName, number][] = [
    ['volta-f16', 'fp16', 0], ['turing-f16', 'fp16', -0.5], ['ampere-f16', 'fp16', -0.5], ['ampere-tf32', 'tf32', -0.5], ['ampere-bf16', 'bf16', -0.5],
    ['ada-fp8', 'e5m2', 0], ['hopper-f16', 'fp16', -0.75], ['hopper-fp8', 'e5m2', 0], ['blackwell-f16', 'fp16', -0.75], ['blackwell-f8f6f4', 'e5m2', -0.75],
    ['blackwell-mxf8f6f4', 'e5m2', -0.75], ['cdna1-f16', 'fp16', -0.875], ['cdna2-bf16-1k', 'bf16', 0], ['cdna2-f16', 'fp16', 0],
    ['cdna3-f16', 'fp16', -0.5], ['cdna3-bf16', 'bf16', -0.5], ['cdna3-fp8', 'e5m2fnuz', -1],
  ]
  it.each(table)('%s', (name, format, want) => expect(dot(mmaConfig(name, { a: format }), a, b, 2 ** 23)).toBe(want))
  it.each([['cdna1-bf16', -0.875], ['cdna2-bf16', -0.375]] as const)('%s, two steps of two', (name, want) => {
    const config = mmaConfig(name)
    expect(f32(mmaElement(config, a.map(x => code('bf16', x)), b.map(x => code('bf16', x)), bits(2 ** 23)))).toBe(want)
  })
  it('blackwell-mxf4: exact groups, the scales carry the range', () => {
    const one = code('e2m1', 1), fours = [code('e2m1', -4)], halves = [-1, -1, -0.5].map(x => code('e2m1', x))
    const pad = (xs: number[], n: number) => [...xs, ...Array(n - xs.length).fill(0)]
    const x = [...pad(fours, 16), ...pad([], 16), ...pad(halves, 32)]
    const y = [...pad([code('e2m1', 4)], 16), ...pad([], 16), ...pad([one, code('e2m1', 0.5), code('e2m1', 0.5)], 32)]
    expect(f32(mmaElement(mmaConfig('blackwell-mxf4'), x, y, bits(2 ** 23), [127 + 11, 127], [127 + 8, 126]))).toBe(-0.875)
  })
})

describe('every model', () => {
  it.each(Object.keys(mmaModels))('%s: small integers are exact, infinities and NaNs behave', name => {
    const config = mmaConfig(name)
    const { model } = config
    const sa = Array(4).fill(0x38), ones = Array(4).fill(127)
    const scale = config.scale?.format === 'ue4m3' ? sa : ones
    const decode = (d: number) => model.accumulator === 'f16' ? d : f32(d)
    const encode = (x: number) => model.accumulator === 'f16' ? code('fp16', x) : bits(x)
    const values = [1, -2, 3, 1.5, -1, 0.5, 2, -3]
    const L = Math.max(model.length, 8)
    const a = Array.from({ length: L }, (_, k) => values[k % 8]!), b = Array.from({ length: L }, (_, k) => values[(k * 3 + 1) % 8]!)
    const exact = a.reduce((s, x, k) => s + x * b[k]!, 4)
    const x = a.map(v => code(config.a, v)), y = b.map(v => code(config.b, v))
    expect(mmaElement(config, x, y, encode(4), scale, scale)).toBe(encode(exact))
    const [inf, nan] = model.accumulator === 'f16' ? [0x7c00, 0x7e00] : [0x7f800000, 0x7fc00000]
    const minus = inf + (model.accumulator === 'f16' ? 0x8000 : 0x80000000)
    expect(mmaElement(config, x, y, inf, scale, scale)).toBe(inf)
    expect(mmaElement(config, x, y, minus, scale, scale)).toBe(minus)
    expect(decode(mmaElement(config, x, y, nan, scale, scale))).toSatisfy(d => Number.isNaN(d) || d === 0x7fff)
  })
})
