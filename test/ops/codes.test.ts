// Code kernels against the oracle: blocks to codes and scales, back to values, and casts; exhaustive where there are few codes.
import { describe, expect, it } from 'vitest'
import { castPolicies, type CastPolicy } from '../../src/numerics/cast.ts'
import { formats, type FormatName } from '../../src/numerics/formats.ts'
import { blockQuantizer } from '../../src/numerics/profiles.ts'
import { codesTensor, codeWidth, decodeElements, dequantize, encodeElements, encodeScales, quantizeCodes, scaleShape, type Codes } from '../../src/ops/codes.ts'
import { decode, decodeScale, encode, encodeE8M0 } from '../../src/oracle/codec.ts'
import { wordOf } from '../../src/oracle/float.ts'
import { quantize } from '../../src/oracle/quantize.ts'
import { Program } from '../../src/runtime/program.ts'
import { difference, generator, hardWords, kinds } from '../kernels/hard-data.ts'
import { anyQuantizer, ex, execute, names, pick, randomBits, seed, stepPtr, stream } from './quantize-data.ts'

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)
const bytes = (c: Codes) => c.width === 1 ? ex.arena.u8(c.ptr, size(c.shape)).slice() : new Uint16Array(ex.arena.memory.buffer, c.ptr, size(c.shape)).slice()
const narrow = names.filter(n => formats[n].bits <= 8)

describe('quantizeCodes and dequantize equal the oracle', () => {
  it.each(narrow)('%s', name => {
    const random = generator(100 + names.indexOf(name))
    for (let round = 0; round < 100; round++) {
      let q = anyQuantizer(random, name)
      if (q.bump === 'as-released') q = { ...q, bump: 'none' }
      const [shape, axis] = pick<[number[], number | [number, number]]>(random, [[7, 96], 1], [[23, 192], 1], [[3, 70], -1], [[70, 9], 0], [[64, 40], 0], [[2, 36, 4], 1], [[2, 33, 65], -2], [[5, 2, 33], 2], [[100], 0], [[1, 1], 0], [[35, 50], [0, 1]], [[2, 20, 37], [-2, -1]])
      const kind = pick(random, ...kinds), x = new Float32Array(hardWords(size(shape), kind, random).buffer)
      const label = `round ${round}, ${kind} data [${shape}] axis ${axis}, ${JSON.stringify(q)}`

      const mark = ex.arena.mark()
      const src = ex.arena.tensor(...shape), dst = ex.arena.tensor(...shape), codes = codesTensor(ex.arena, shape), scales = codesTensor(ex.arena, scaleShape(shape, axis, q.blockSize))
      ex.arena.u32(src).set(new Uint32Array(x.buffer))
      const p = new Program(ex.arena)
      quantizeCodes(p, src, codes, scales, axis, q, { seed, stream, stepPtr })
      if (typeof axis === 'number') dequantize(p, codes, scales, dst, axis, name, q.blockSize)
      execute(p, 1 + random() % 3)
      const want = quantize(x, shape, axis, q, randomBits(q.randomBits))
      expect(bytes(scales), label).toEqual(want.scales)
      const got = bytes(codes), wrong = got.findIndex((c, i) => c !== want.codes[i])
      if (wrong >= 0) expect.fail(`${label}: code [${wrong}] is ${got[wrong]!.toString(16)}, want ${want.codes[wrong]!.toString(16)}, from ${wordOf(x[wrong]!).toString(16)}`)
      const back = typeof axis === 'number' && difference(ex.arena.f32(dst), Float32Array.from(got, (c, i) => Math.fround(decode(formats[name], c) * decodeScale('e8m0', want.elementScales[i]!))))
      if (back) expect.fail(`${label}: ${back}`)
      ex.arena.release(mark)
    }
  })
  it.each(narrow)('%s: every code under every scale', name => {
    const count = 2 ** formats[name].bits, shape = [256, count]
    const codes = codesTensor(ex.arena, shape), scales = codesTensor(ex.arena, [256, 1]), dst = ex.arena.tensor(...shape)
    ex.arena.u8(codes.ptr, 256 * count).set(Uint8Array.from({ length: 256 * count }, (_, i) => i % count))
    ex.arena.u8(scales.ptr, 256).set(Uint8Array.from({ length: 256 }, (_, i) => i))
    const p = new Program(ex.arena)
    dequantize(p, codes, scales, dst, 1, name, 0)
    execute(p)
    const want = Float32Array.from({ length: 256 * count }, (_, i) => decode(formats[name], i % count) * decodeScale('e8m0', Math.floor(i / count)))
    expect(difference(ex.arena.f32(dst), want)).toBe(null)
  })
})

describe('casts equal the oracle', () => {
  const policies: CastPolicy[] = [...Object.values(castPolicies), { rounding: 'nearest-away', overflow: 'overflow', nan: 'rebiased' }, { rounding: 'toward-zero', overflow: 'saturate', nan: 'quiet' }]
  it.each(names.filter(n => formats[n].bits <= 16))('%s', (name: FormatName) => {
    const f = formats[name], random = generator(200 + names.indexOf(name)), width = codeWidth(f)
    const all = Array.from({ length: 2 ** f.bits }, (_, code) => code), mark = ex.arena.mark()
    const codes = codesTensor(ex.arena, [all.length], width), values = ex.arena.tensor(all.length)
    if (width === 1) ex.arena.u8(codes.ptr, all.length).set(all)
    else new Uint16Array(ex.arena.memory.buffer, codes.ptr, all.length).set(all)
    const p = new Program(ex.arena)
    decodeElements(p, codes, values, name)
    execute(p, 3)
    expect(difference(ex.arena.f32(values), Float32Array.from(all, code => decode(f, code)))).toBe(null)
    for (const policy of policies) for (const kind of kinds) {
      // Values of the format, midpoints and their neighbours too: 'ties' around the format's own numbers.
      const words = kind === 'ties' ? Uint32Array.from({ length: 600 }, () => { const v = Math.abs(decode(f, random() % all.length)); return wordOf(v * (1 + (random() % 4) * 2 ** -(2 + random() % 12))) + random() % 3 - 1 >>> 0 | random() & 0x80000000 }) : hardWords(600, kind, random)
      const src = ex.arena.tensor(600), to = codesTensor(ex.arena, [600], width), inner = ex.arena.mark()
      ex.arena.u32(src).set(words)
      const p = new Program(ex.arena)
      encodeElements(p, src, to, name, policy)
      execute(p, 2)
      const got = bytes(to), wrong = got.findIndex((c, i) => c !== encode(f, words[i]! >>> 0, policy))
      if (wrong >= 0) expect.fail(`${JSON.stringify(policy)} ${kind}: code of ${(words[wrong]! >>> 0).toString(16)} is ${got[wrong]!.toString(16)}, want ${encode(f, words[wrong]! >>> 0, policy).toString(16)}`)
      ex.arena.release(inner)
    }
    ex.arena.release(mark)
  })
  it.each(['toward-zero', 'up', 'nearest'] as const)('E8M0, %s', mode => {
    const random = generator(7)
    const words = Uint32Array.from([...kinds].flatMap(kind => [...hardWords(500, kind, random)]).concat(Array.from({ length: 768 }, (_, i) => (Math.floor(i / 3) << 23) + i % 3 - 1 >>> 0), Array.from({ length: 300 }, (_, i) => 0x400000 - 150 + i)))
    const src = ex.arena.tensor(words.length), to = codesTensor(ex.arena, [words.length])
    ex.arena.u32(src).set(words)
    const p = new Program(ex.arena)
    encodeScales(p, src, to, mode)
    execute(p, 2)
    expect(bytes(to)).toEqual(Uint8Array.from(words, w => encodeE8M0(w, mode)))
  })
})

it('bad input is refused in one line', () => {
  const p = new Program(ex.arena), t = ex.arena.tensor(4, 64), codes = codesTensor(ex.arena, [4, 64]), scales = codesTensor(ex.arena, [4, 2]), q = blockQuantizer('ocp', 'e4m3')
  expect(() => quantizeCodes(p, t, codesTensor(ex.arena, [4, 32]), scales, 1, q)).toThrow('codes has shape [4,32], must have [4,64]')
  expect(() => quantizeCodes(p, t, codes, codesTensor(ex.arena, [4, 3]), 1, q)).toThrow('scales has shape [4,3], must have [4,2]')
  expect(() => quantizeCodes(p, t, codes, scales, 1, { ...q, format: 'bf16' })).toThrow('format bf16 has 16 bits, block codes take at most 8')
  expect(() => quantizeCodes(p, t, codes, scales, 1, { ...q, bump: 'as-released' })).toThrow('bump as-released leaves no scale that a block shares')
  expect(() => dequantize(p, codes, scales, ex.arena.tensor(4, 4), 1, 'e4m3', 32)).toThrow('dst has shape [4,4], must have [4,64]')
  expect(() => encodeElements(p, t, codes, 'fp16', castPolicies.ml_dtypes)).toThrow('codes has 1-byte codes, format fp16 has 2-byte ones')
  expect(() => codeWidth(formats.tf32)).toThrow('format tf32 has 19 bits, codes take at most 16')
  expect(p.calls).toEqual([])
})
