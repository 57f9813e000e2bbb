import { describe, expect, it } from 'vitest'
import { castPolicies, maxCode, nanCode, type CastPolicy } from '../../src/numerics/cast.ts'
import { formats, grid, hasNegativeZero, type FormatName } from '../../src/numerics/formats.ts'
import { decode, decodeScale, encode, encodeE8M0 } from '../../src/oracle/codec.ts'
import { runs } from '../encoder-runs.ts'
import { exponentOf, torchLog2, valueOf, wordOf } from '../../src/oracle/float.ts'

const names = Object.keys(formats) as FormatName[]
const narrow = names.filter(n => formats[n].bits <= 16)
const ocp: CastPolicy = castPolicies['ptx-satfinite']

describe.each(narrow)('%s', name => {
  const f = formats[name]
  const codes = Array.from({ length: 2 ** f.bits }, (_, code) => code)
  const finite = codes.map(code => ({ code, value: decode(f, code) })).filter(c => Number.isFinite(c.value))

  it('encodes every value of its own to its code', () => {
    const used = finite.filter(c => f.kind === 'float' || c.value >= -f.max) // the two's complement minimum is not used
    expect(used.map(c => encode(f, wordOf(c.value), ocp))).toEqual(used.map(c => c.code))
  })

  it('has the maximum and the special codes that the table says', () => {
    expect(Math.max(...finite.map(c => c.value))).toBe(f.max)
    expect(decode(f, maxCode(f))).toBe(f.max)
    expect(finite.some(c => Object.is(c.value, -0))).toBe(hasNegativeZero(f))
    const specials = { ieee: f.kind === 'float' ? 2 ** (f.manBits + 1) : 0, 'nan-only': 2, none: 0, fnuz: 1 }
    expect(codes.length - finite.length).toBe(f.kind === 'float' ? specials[f.specials] : 0)
    if (f.kind === 'float' && f.specials !== 'none') expect(decode(f, nanCode(f, 'max'))).toBeNaN()
  })

  it('rounds to a neighbour, halves as each mode says, on every midpoint and its neighbours', () => {
    const magnitudes = finite.filter(c => c.code < 2 ** (f.bits - 1)).sort((a, b) => a.value - b.value)
    const got: number[] = [], want: number[] = []
    for (let i = 0; i + 1 < magnitudes.length; i++) {
      const low = magnitudes[i]!, high = magnitudes[i + 1]!, middle = (low.value + high.value) / 2
      if (Math.fround(middle) !== middle || wordOf(middle) === 0) continue
      const word = wordOf(middle)
      const check = (expected: number, word: number, rounding: CastPolicy['rounding'], random = 0) => { got.push(encode(f, word, { ...ocp, rounding }, random)); want.push(expected) }
      for (const rounding of ['nearest-even', 'nearest-away'] as const) {
        if (valueOf(word - 1) > low.value) check(low.code, word - 1, rounding)
        if (valueOf(word + 1) < high.value) check(high.code, word + 1, rounding)
      }
      check(high.code, word, 'nearest-away')
      check(low.code % 2 === 0 ? low.code : high.code, word, 'nearest-even')
      check(low.code, wordOf(high.value) - 1, 'toward-zero')
      check(low.code, word, 'stochastic', 0x7fff)
      check(high.code, word, 'stochastic', 0x8000)
    }
    expect(want.length).toBeGreaterThan(0)
    expect(got).toEqual(want)
  })

  it('changes code exactly where the values say, up to Inf and NaN', () => {
    for (const policy of Object.values(castPolicies)) for (const negative of [false, true]) {
      const list = runs(name, policy, negative), sign = negative ? 0x80000000 : 0
      const ends = list.map(([, code], i) => [(list[i + 1]?.[0] ?? 0x80000000) - 1, code] as const)
      const edges = [...list, ...ends].filter(([word], i) => i < list.length || word >= list[i - list.length]![0])
      expect(edges.map(([word]) => encode(f, word + sign, policy))).toEqual(edges.map(([, code]) => code))
    }
  })

  it('saturates or overflows, by policy', () => {
    const beyond = [wordOf(2 * f.max), 0x7f800000].filter(w => Number.isFinite(f.max * 2) || w === 0x7f800000)
    for (const word of beyond) {
      expect(encode(f, word, ocp)).toBe(maxCode(f))
      const over = encode(f, word, castPolicies.ml_dtypes)
      if (f.kind === 'int' || f.specials === 'none') expect(over).toBe(maxCode(f))
      else if (f.specials === 'ieee') expect(decode(f, over)).toBe(Infinity)
      else expect(decode(f, over)).toBeNaN()
    }
  })
})

it('quantum doubles from emin upwards', () => {
  for (const name of narrow) {
    const { man, emin, emax } = grid(formats[name])
    expect(decode(formats[name], 1)).toBe(2 ** (emin - man))
    expect(emax).toBe(formats[name].emax)
  }
})

describe('scale formats', () => {
  it('E8M0: powers of two from 2^-127, 255 is NaN', () => {
    for (let byte = 0; byte < 255; byte++) {
      expect(decodeScale('e8m0', byte)).toBe(2 ** (byte - 127))
      for (const mode of ['up', 'toward-zero', 'nearest'] as const) expect(encodeE8M0(wordOf(2 ** (byte - 127)), mode)).toBe(byte)
      expect(encodeE8M0(wordOf(2 ** (byte - 127)) + 1, 'up')).toBe(Math.min(byte + 1, 254))
      if (byte > 0) expect(encodeE8M0(wordOf(2 ** (byte - 127)) - 1, 'toward-zero')).toBe(byte - 1)
    }
    expect(decodeScale('e8m0', 255)).toBeNaN()
    expect([encodeE8M0(0x7fc00000, 'up'), encodeE8M0(0x7f800000, 'up'), encodeE8M0(0, 'up'), encodeE8M0(0x7f800000, 'nearest')]).toEqual([255, 254, 0, 255])
  })
  it('UE4M3: E4M3 without its sign', () => {
    for (let byte = 0; byte < 256; byte++) expect(decodeScale('ue4m3', byte)).toEqual(decode(formats.e4m3, byte & 0x7f))
  })
})

describe('exponents', () => {
  it('exponentOf is exact at and beside every power of two', () => {
    for (let e = -149; e <= 127; e++) {
      expect(exponentOf(2 ** e)).toBe(e)
      if (e > -149) expect(exponentOf(valueOf(wordOf(2 ** e) - 1))).toBe(e - 1)
    }
  })
  // Numbers of float32 below 2^E whose torch log2 rounds up to E, measured on all positive float32.
  const counts: [number, number, number][] = [[-1, 2, 0], [3, 4, 1], [-3, -2, 1], [5, 8, 2], [-7, -4, 2], [9, 16, 5], [-15, -8, 5], [17, 32, 11], [-31, -16, 11], [33, 64, 22], [-63, -32, 22], [65, 128, 44], [-125, -64, 44]]
  it.each(counts)('torchLog2 is one too high below 2^E, E in [%i, %i], for %i values', (from, to, count) => {
    for (let E = from; E <= to; E++) {
      const next = E === 128 ? 0x7f800000 : wordOf(2 ** E)
      for (let n = 1; n <= 60; n++) expect(torchLog2(valueOf(next - n))).toBe(n <= count ? E : E - 1)
    }
  })
  it('torchLog2 of subnormals', () => {
    const high = [[0x3ffff, 0x3ffff], [0x7fffe, 0x7ffff], [0xffffb, 0xfffff], [0x1ffff5, 0x1fffff], [0x3ffff5, 0x3fffff], [0x7fffea, 0x7fffff]]
    let found = 0
    for (let E = -148; E <= -126; E++) {
      const next = wordOf(2 ** E)
      for (let word = next - 1; word >= Math.max(next / 2, next - 60); word--) {
        const expected = high.some(([a, b]) => word >= a! && word <= b!)
        if (expected) found++
        expect(torchLog2(valueOf(word))).toBe(expected ? E : E - 1)
      }
    }
    expect(found).toBe(52)
  })
})
