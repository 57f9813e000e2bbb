// Core.quantize and Core.dequantize against the oracle: every profile and format, every axis, tiles, Hadamard transforms, stochastic rounding.
import { describe, expect, it } from 'vitest'
import { Core, teHadamard } from '../../src/core/core.ts'
import { UsageError } from '../../src/errors.ts'
import { formats, type FormatName } from '../../src/numerics/formats.ts'
import { namedQuantizer, profileNotes, type ProfileName } from '../../src/numerics/named-quantizers.ts'
import { bf16Even } from '../../src/numerics/profiles.ts'
import { decode, encode } from '../../src/index.ts'
import { hadamard } from '../../src/oracle/hadamard.ts'
import { decodingScale, quantizeNvfp4, tensorScale } from '../../src/oracle/nvfp4.ts'
import { dequantize, quantize, roundElements } from '../../src/oracle/quantize.ts'
import { rowScales } from '../../src/core/quantized.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { generator, hardWords, kinds } from '../kernels/hard-data.ts'

const core = new Core(new InlineExecutor())
const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)
const same = (got: Float32Array, want: Float32Array) => got.length === want.length && got.every((v, i) => Object.is(v, want[i]))

const layouts: [number[], number | [number, number]][] = [[[5, 70], -1], [[70, 5], 0], [[2, 36, 4], 1], [[35, 50], [0, 1]], [[2, 32, 48], [-2, -1]]]

describe.each(Object.keys(profileNotes) as ProfileName[])('%s', name => {
  const allowed = (profileNotes[name].formats ?? ['e4m3', 'int8', 'e4m3fnuz']).filter(f => formats[f].bits <= 8) as FormatName[]
  it.each(allowed)('%s: codes, scales and values are the oracle\'s', async format => {
    const random = generator(7)
    for (const [shape, axis] of layouts) {
      const kind = kinds[random() % kinds.length]!, x = new Float32Array(hardWords(size(shape), kind, random).buffer), q = namedQuantizer(name, { format }), label = `${kind} [${shape}] along ${axis}`
      const got = await core.quantize({ shape, data: x }, name, { format, axis })
      const want = q.kind === 'nvfp4' ? quantizeNvfp4(x, shape, axis, q) : quantize(x, shape, axis, q)
      expect([...got.codes], label).toEqual([...want.codes])
      expect([...got.scales], label).toEqual([...want.scales])
      if (q.kind === 'nvfp4' && 'tensorScale' in want) expect(got.tensorScale, label).toBe(decodingScale(q.recipe, want.tensorScale))
      const values = q.kind === 'nvfp4' ? want.values : dequantize(want.codes, want.elementScales, formats[format]) // integers have no -0
      expect(same((await core.dequantize(got)).data, values), label).toBe(true)
    }
  })
})

it('tiles become one scale per block of each row', async () => {
  const x = { shape: [35, 50], data: Float32Array.from({ length: 1750 }, (_, i) => Math.fround(Math.sqrt(i) * (i % 3 - 1))) }
  for (const profile of ['te-nvfp4', 'ocp'] as const) {
    const tiled = await core.quantize(x, profile, { axis: [-2, -1] })
    expect([...(await core.dequantize({ ...rowScales(tiled), tensorScale: tiled.tensorScale })).data]).toEqual([...(await core.dequantize(tiled)).data])
  }
  expect(() => rowScales({ shape: [4, 4], format: 'e4m3', codes: new Uint8Array(16), scales: new Uint8Array(4), scale: { format: 'e8m0', block: 4 }, axis: 0, tensorScale: 1 })).toThrow(/along axis 0, a product takes them along K/)
})

it('a Hadamard transform comes first; TransformerEngine\'s is rounded to bf16', async () => {
  const x = Float32Array.from({ length: 3 * 64 }, (_, i) => Math.fround(Math.sin(i) * 2 ** (i % 7)))
  const turned = new Float32Array(x.length)
  for (let i = 0; i < x.length; i += 16) turned.set(hadamard(x.subarray(i, i + 16), teHadamard.signs), i)
  const want = quantizeNvfp4(roundElements(turned, bf16Even), [3, 64], 1, namedQuantizer('te-nvfp4') as never)
  const got = await core.quantize({ shape: [3, 64], data: x }, 'te-nvfp4', { hadamard: teHadamard })
  expect([[...got.codes], [...got.scales]]).toEqual([[...want.codes], [...want.scales]])
  const exact = quantize(turned, [3, 64], 1, namedQuantizer('ocp', { format: 'e2m3' }) as never)
  expect([...(await core.quantize({ shape: [3, 64], data: x }, 'ocp', { format: 'e2m3', hadamard: { signs: teHadamard.signs } })).codes]).toEqual([...exact.codes])
})

it('the tensor\'s scale may come from a given maximum', async () => {
  const x = Float32Array.from({ length: 64 }, (_, i) => i - 20), q = namedQuantizer('torchao-nvfp4') as never
  const want = quantizeNvfp4(x, [64], 0, q, tensorScale('torchao', 1000))
  const got = await core.quantize({ shape: [64], data: x }, 'torchao-nvfp4', { tensorAmax: 1000 })
  expect([[...got.codes], [...got.scales], got.tensorScale]).toEqual([[...want.codes], [...want.scales], want.tensorScale])
})

it('stochastic rounding is a function of seed, stream and step', async () => {
  const x = { shape: [4, 64], data: Float32Array.from({ length: 256 }, (_, i) => Math.fround(Math.sin(i))) }
  const run = async (profile: ProfileName, seed: bigint, step = 0n) => [...(await core.quantize(x, profile, { format: 'e2m1', rounding: 'stochastic', random: { seed, step } })).codes]
  for (const profile of ['ocp', 'te-nvfp4'] as const) {
    expect(await run(profile, 1n)).toEqual(await run(profile, 1n))
    expect(await run(profile, 1n)).not.toEqual(await run(profile, 2n))
    expect(await run(profile, 1n)).not.toEqual(await run(profile, 1n, 1n))
  }
})

it('one number with explicit random bits: the carry out of the discarded bits plus them (PTX cvt.rs)', () => {
  const policy = { rounding: 'stochastic', overflow: 'saturate', nan: 'max' } as const, word = new Uint32Array(Float32Array.of(1.2).buffer)[0]! // 0.4 steps above 1
  const codes = Array.from({ length: 256 }, (_, bits) => encode(formats.e2m1, word, policy, bits, 8))
  expect(codes).toEqual(Array.from({ length: 256 }, (_, bits) => decode(formats.e2m1, 2) + (0.4 * 256 + bits >= 256 ? 0.5 : 0) === 1 ? 2 : 3))
})

it('refuses what does not fit, in one line', async () => {
  const x = { shape: [4, 32], data: new Float32Array(128) }, q = await core.quantize(x, 'te-nvfp4')
  const bad: [Promise<unknown>, RegExp][] = [
    [core.quantize(x, 'nope' as 'ocp'), /unknown quantizer profile "nope": use one of ocp, .*cublas-nvfp4/],
    [core.quantize(x, 'te-nvfp4', { format: 'e4m3' }), /te-nvfp4 quantizes to e2m1, not to e4m3/],
    [core.quantize(x, 'te-nvfp4', { format: 'e9' as 'e4m3' }), /unknown format "e9": use one of/],
    [core.quantize(x, 'te-nvfp4', { block: 32 }), /blocks of 16, not of 32/],
    [core.quantize(x, 'te-nvfp4', { rounding: 'toward-zero' }), /rounds nearest-even or stochastic/],
    [core.quantize(x, 'ocp', { rounding: 'up' as 'toward-zero' }), /unknown rounding "up": use one of nearest-even/],
    [core.quantize(x, 'ocp', { block: -1 }), /block is -1/],
    [core.quantize(x, 'ocp', { rounding: 'stochastic' }), /needs random/],
    [core.quantize(x, 'ocp', { axis: 2 }), /axis is 2, must be in \[-2, 1\]/],
    [core.quantize(x, 'ocp', { axis: [1, 0] }), /tiles lie over the last two axes/],
    [core.quantize(x, 'ocp', { axis: [0, 1], hadamard: teHadamard }), /not with tiles/],
    [core.quantize(x, 'ocp', { axis: 0, hadamard: teHadamard }), /multiple of the Hadamard block 16/],
    [core.quantize(x, 'ocp', { tensorAmax: 3 }), /goes with NVFP4/],
    [core.quantize(x, 'te-nvfp4', { tensorAmax: -3 }), /tensorAmax is -3/],
    [core.quantize({ ...x, shape: [4, 33] }, 'ocp'), /132 elements, 128 are given/],
    [core.dequantize({ ...q, scales: q.scales.subarray(1) }), /7 scales; shape \[4,32\] with blocks of 16 along axis 1 has 8/],
    [core.dequantize({ ...q, scale: { format: 'ue4m3', block: 32 }, scales: q.scales.subarray(4) }), /ue4m3 scales go with e2m1 in blocks of 16/],
    [core.dequantize({ ...q, codes: q.codes.map(() => 16) as Uint8Array }), /code 16 at element 0 is out of range/],
    [core.dequantize({ ...q, scale: { format: 'e8m0', block: 16 }, tensorScale: 2 }), /e8m0 scales go without one/],
    [core.dequantize({ ...q, axis: 0, scales: q.scales.subarray(0, 32), scaleLayout: '128x4' }), /128x4 goes with a matrix in blocks along its last axis/],
  ]
  for (const [promise, rule] of bad) {
    const error = await promise.then(() => null, e => e)
    expect(error?.message).toMatch(rule)
    expect(error).toBeInstanceOf(UsageError)
    expect(error.message).not.toContain('\n')
  }
})
