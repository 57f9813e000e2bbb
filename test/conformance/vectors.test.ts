// The vectors are not vacuous: mutants of the oracle, each wrong in one way, fail some of a few hundred.
import { describe, expect, it } from 'vitest'
import { configurationsOf } from '../../src/conformance/mma-cases.ts'
import { makeVectors, vectorsJson, vectorsTensors, type Vector } from '../../src/conformance/vectors.ts'
import { formatSafetensors, parseSafetensors } from '../../src/io/safetensors.ts'
import { formats, type FloatFormat } from '../../src/numerics/formats.ts'
import { mmaConfig, mmaModels, type MmaConfig, type MmaModel } from '../../src/numerics/mma.ts'
import { decodeRow, mmaElement, mmaRows } from '../../src/oracle/mma.ts'

const isNaN = (bits: number, f16: boolean) => bits % (f16 ? 0x8000 : 0x80000000) > (f16 ? 0x7c00 : 0x7f800000)
const float = (bits: number) => new Float32Array(Uint32Array.of(bits).buffer)[0]!
const word = (x: number) => new Uint32Array(Float32Array.of(x).buffer)[0]!

type Mutant = (config: MmaConfig, v: Vector) => number
const element = (config: MmaConfig, v: Vector, c = v.c) => mmaElement(config, v.a, v.b, c, v.scaleA, v.scaleB)
const changed = (config: MmaConfig, change: Partial<MmaModel>): MmaConfig => ({ ...config, model: { ...config.model, ...change } })

/** Can a product lie so far below another that alignment cuts it? Not with narrow formats; then c alone is cut, and an FP16 result hardly ever shows it. */
const cuts = ({ a, b, model }: MmaConfig) => {
  const [x, y] = [a, b].map(f => formats[f] as FloatFormat) as [FloatFormat, FloatFormat]
  return model.accumulator === 'f32' || x.emax + y.emax - model.fraction - 1 >= 2 - x.bias - y.bias - x.manBits - y.manBits
}

/** Arithmetic that somebody might take the unit's for. */
function mutants(config: MmaConfig): Record<string, Mutant> {
  const { model } = config, { length, rounding, algorithm, fraction } = model
  const aligned = fraction > 0 && cuts(config), f16 = model.accumulator === 'f16'
  return {
    ...algorithm !== 'ftz-addmul' && { 'other rounding': ((config, v) => f16 ? truncatedToHalf(config, v) : element(changed(config, { rounding: rounding === 'rne-f32' ? 'rz-f32' : 'rne-f32' }), v)) as Mutant },
    ...rounding === 'rz-e8m13' && { 'all 23 fraction bits kept': ((config, v) => element(changed(config, { rounding: 'rz-f32' }), v)) as Mutant },
    ...aligned && {
      'one bit more': ((config, v) => element(changed(config, { fraction: fraction + 1 }), v)) as Mutant,
      'one bit less': ((config, v) => element(changed(config, { fraction: fraction - 1 }), v)) as Mutant,
    },
    'steps in the other order': (config, v) => {
      const a = decodeRow(config, 'a', v.a, v.scaleA), b = decodeRow(config, 'b', v.b, v.scaleB), steps = v.a.length / length
      let d = v.c
      for (let s = steps - 1; s >= 0; s--) d = mmaRows(config, a, b, d, s, s + 1)
      return d
    },
    'c added after the sum': (config, v) => f16 ? halfSum(element(config, v, 0), v.c) : word(Math.fround(float(element(config, v, 0)) + float(v.c))),
    ...algorithm !== 'gst-fdpa' && algorithm !== 'st-fdpa' && algorithm !== 'split-fp8' && algorithm !== 'ftz-addmul' && length > 1 && { 'steps half as long': ((config, v) => element(changed(config, { length: length / 2 }), v)) as Mutant },
    ...algorithm === 't-fdpa' && { 'steps twice as long': ((config, v) => element(changed(config, { length: length * 2 }), v)) as Mutant },
    ...algorithm === 'gst-fdpa' && { 'groups of 32': ((config, v) => element(changed(config, { group: Math.min(32, config.scale!.block) === 32 ? 32 : 16, fraction: 25 }), v)) as Mutant },
    ...algorithm === 'st-fdpa' && { 'scales applied after the sum': ((config, v) => scaledAfter(config, v)) as Mutant },
    ...algorithm === 'split-fp8' && { 'FP8 of the tensor core': ((config, v) => element(changed(config, { algorithm: 't-fdpa' }), v)) as Mutant },
    ...algorithm === 'tr-fdpa' && { 'c in the fused sum': ((config, v) => element(changed(config, { algorithm: 't-fdpa', floor: -200 }), v)) as Mutant },
    ...algorithm === 'gtr-fdpa' && { 'even and odd together': ((config, v) => element(changed(config, { algorithm: 'tr-fdpa' }), v)) as Mutant },
    ...algorithm === 'ftz-addmul' && length === 4 && { 'summed in pairs': ((config, v) => element(changed(config, { length: 2 }), v)) as Mutant },
    ...algorithm === 'ftz-addmul' && { 'rounded once, subnormals kept': ((config, v) => element(changed(config, { algorithm: 'e-fdpa' }), v)) as Mutant },
  }
}

/** FP16 accumulator rounded toward zero instead of to nearest. */
function truncatedToHalf(config: MmaConfig, v: Vector): number {
  const a = decodeRow(config, 'a', v.a, v.scaleA), b = decodeRow(config, 'b', v.b, v.scaleB)
  const half = decodeRow({ ...config, a: 'fp16', model: { ...config.model, length: 1, algorithm: 't-fdpa' } } as MmaConfig, 'a', [v.c]).value[0]!
  if (!Number.isFinite(half)) return element(config, v)
  let d = word(half)
  for (let s = 0; s < v.a.length / config.model.length; s++) {
    d = mmaRows(changed(config, { accumulator: 'f32', rounding: 'rz-f32' }), a, b, d, s, s + 1)
    d = (d & 0xffffe000) >>> 0 // ten fraction bits
  }
  const x = Math.abs(float(d))
  if (!(x >= 2 ** -14 && x < 65536)) return element(config, v)
  return (d >>> 16 & 0x8000) + ((d >>> 13 & 0x3ffff) - 112 * 1024)
}

const value16 = (code: number) => { const f = code >> 10 & 31, m = code & 1023, s = code >> 15 ? -1 : 1; return f === 31 ? m ? NaN : s * Infinity : s * (f ? (1024 + m) * 2 ** (f - 25) : m * 2 ** -24) }
function halfSum(x: number, y: number): number {
  const sum = value16(x) + value16(y)
  for (let code = 0; code < 65536; code++) if (value16(code) === sum) return code
  return Number.isNaN(sum) ? 0x7fff : x // a sum between two numbers: any wrong answer will do
}

function scaledAfter(config: MmaConfig, v: Vector): number {
  let d = v.c
  const one = changed(config, { algorithm: 't-fdpa' }), a = decodeRow(config, 'a', v.a, v.scaleA), b = decodeRow(config, 'b', v.b, v.scaleB)
  for (let s = 0; s < v.a.length / config.model.length; s++) {
    const p = float(mmaRows(one, a, b, 0, s, s + 1))
    d = word(Math.fround(float(d) + Math.fround(p * a.scale[s]!.value * b.scale[s]!.value)))
  }
  return d
}

describe('vectors fail what is wrong', () => {
  it.each(Object.values(mmaModels).map(m => [m.name, m] as const))('%s', (name, model) => {
    for (const options of configurationsOf(model).slice(0, 3)) {
      const config = mmaConfig(name, options), f16 = model.accumulator === 'f16'
      const vectors = makeVectors(config, { count: 600, seed: 4 })
      expect(vectors.every(v => element(config, v) === v.d)).toBe(true)
      for (const [what, mutant] of Object.entries(mutants(config))) {
        const failed = vectors.filter(v => { const d = mutant(config, v); return d !== v.d && !(isNaN(d, f16) && isNaN(v.d, f16)) }).length
        expect([name, config.a, config.b, what, failed > 0]).toEqual([name, config.a, config.b, what, true])
      }
    }
  })
})

describe('vectors as files', () => {
  const config = mmaConfig('blackwell-mxf4nvf4'), options = { count: 20, seed: 3, steps: 2 }, vectors = makeVectors(config, options)
  it('JSON: hex fields that give the case back', () => {
    const { cases, ...header } = JSON.parse(vectorsJson(config, options, vectors))
    expect(header).toMatchObject({ model: 'blackwell-mxf4nvf4', confidence: 'simulator', K: 128, step: 64, scale_format: 'ue4m3', block: 16, seed: 3 })
    const codes = (text: string) => Array.from({ length: text.length / 2 }, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16))
    cases.forEach((x: Record<string, string>, i: number) => expect([codes(x.a!), codes(x.b!), codes(x.sa!), codes(x.sb!), parseInt(x.c!, 16), parseInt(x.d!, 16)]).toEqual([vectors[i]!.a, vectors[i]!.b, vectors[i]!.scaleA, vectors[i]!.scaleB, vectors[i]!.c, vectors[i]!.d]))
  })
  it('safetensors: FP4 packed, scales by their dtype', () => {
    const { tensors, metadata } = vectorsTensors(config, options, vectors)
    const file = parseSafetensors(formatSafetensors(tensors, metadata))
    expect(file.metadata.model).toBe('blackwell-mxf4nvf4')
    expect(Object.fromEntries([...file.tensors].map(([name, { dtype, shape }]) => [name, `${dtype} ${shape}`]))).toEqual({ a: 'F4 20,128', b: 'F4 20,128', c: 'F32 20', d: 'F32 20', scale_a: 'F8_E4M3 20,8', scale_b: 'F8_E4M3 20,8' })
    expect(file.tensors.get('a')!.bytes[0]).toBe(vectors[0]!.a[0]! | vectors[0]!.a[1]! << 4)
  })
  it('the same seed gives the same vectors, another one others; start zero starts from zero', () => {
    expect(makeVectors(config, options)).toEqual(vectors)
    expect(makeVectors(config, { ...options, seed: 4 })).not.toEqual(vectors)
    expect(makeVectors(config, { ...options, start: 'zero' }).every(v => v.c === 0)).toBe(true)
    for (const bad of [{ count: 0 }, { count: 1.5 }, { count: 1e9 }, { seed: -1 }, { steps: 0 }]) expect(() => makeVectors(config, { ...options, ...bad })).toThrow(/must be a whole number/)
  })
})
