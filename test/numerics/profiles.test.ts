import { expect, it } from 'vitest'
import { formats, type FormatName } from '../../src/numerics/formats.ts'
import { nvfp4ProfileNotes, nvfp4Profiles } from '../../src/numerics/nvfp4.ts'
import { blockProfileNotes, blockProfiles, blockQuantizer, type BlockProfileName } from '../../src/numerics/profiles.ts'
import { quantize } from '../../src/oracle/quantize.ts'

it('every profile says its source and how it was checked', () => {
  expect(Object.keys(blockProfileNotes)).toEqual(Object.keys(blockProfiles))
  expect(Object.keys(nvfp4ProfileNotes)).toEqual(Object.keys(nvfp4Profiles))
  for (const note of [...Object.values(blockProfileNotes), ...Object.values(nvfp4ProfileNotes)]) {
    expect(note.source).not.toBe('')
    expect(['output', 'text']).toContain(note.verified)
    for (const f of note.formats ?? []) expect(Object.keys(formats)).toContain(f)
  }
})

it('unknown names and formats that a source does not quantize are refused', () => {
  expect(() => blockQuantizer('mx' as BlockProfileName, 'e4m3')).toThrow('unknown quantizer profile "mx": use one of ocp, microxcaling')
  expect(() => blockQuantizer('ocp', 'fp5' as FormatName)).toThrow('unknown format "fp5": use one of e4m3')
  expect(() => blockQuantizer('ggml-mxfp4', 'e4m3')).toThrow('profile ggml-mxfp4 quantizes to e2m1, not to e4m3')
})

/** E8M0 byte of a block with this maximum, and its value after quantization. */
const of = (profile: BlockProfileName, format: FormatName, x: number, ...rest: number[]) => {
  const { scales, values } = quantize(Float32Array.of(x, ...rest), [1 + rest.length], 0, blockQuantizer(profile, format))
  return [scales[0]! - 127, ...values]
}

it('scale rules part where the maximum\'s significand does', () => {
  // E4M3 (emax 8, max 448 = 1.75 * 2^8): significands 1.5, 1.8, 1.9375.
  expect([1.5, 1.8, 1.9375].map(x => of('ocp', 'e4m3', x)[0])).toEqual([-8, -8, -8])
  expect([1, 1.5, 1.8].map(x => of('torchao-ceil', 'e4m3', x)[0])).toEqual([-8, -7, -7])
  expect([1.75, 1.9374, 1.9375].map(x => of('torchao-even', 'e4m3', x)[0])).toEqual([-8, -8, -7])
  expect([1.75, 1.7501].map(x => of('torchao-rceil', 'e4m3', x)[0])).toEqual([-8, -7])
  expect([1.4, 1.75].map(x => of('compressed-tensors-mxfp8', 'e4m3', x)[0])).toEqual([-8, -7])
  expect([1.7499, 1.75].map(x => of('compressed-tensors-mxfp4', 'e2m1', x)[0])).toEqual([-2, -1])
  // 7 * 2^k / 448: exact by division, one ulp high or low by reciprocal.
  expect(of('cublas-mxfp8', 'e4m3', 7)[0]).toBe(-6)
})

it('Inf and NaN: poison the block, or stand alone', () => {
  expect(of('ocp', 'e4m3', 1, Infinity)).toEqual([128, NaN, NaN])
  expect(of('te-mxfp8', 'e4m3', 1, NaN)).toEqual([-8, 1, NaN])
  expect(of('te-mxfp8', 'e4m3', 1, Infinity)).toEqual([127, 0, Infinity]) // 448 * 2^127 is beyond float32
})

it('ggml: halves go toward zero, there is no -0', () => {
  const [, ...values] = of('ggml-mxfp4', 'e2m1', 4, 0.25, -0.25, 0.75, 1.25, 1.75, 2.5, 3.5, -2.5)
  expect(values).toEqual([4, 0, 0, 0.5, 1, 1.5, 2, 3, -2])
  expect(Object.is(values[2], -0)).toBe(false)
})
