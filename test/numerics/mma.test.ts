import { describe, expect, it } from 'vitest'
import { UsageError } from '../../src/errors.ts'
import { mmaConfig, mmaModel, mmaModels } from '../../src/numerics/mma.ts'

describe('MMA models by name', () => {
  it('refuses what nobody has published, with the reason', () => {
    for (const name of ['cdna4', 'cdna4-f8f6f4', 'cdna4-fp8', 'cdna4-bf16']) expect(() => mmaModel(name)).toThrow(`${JSON.stringify(name)} is not offered: the accumulation of MI350/MI355 (v_mfma_scale_f32_*_f8f6f4) is unpublished`)
    expect(() => mmaModel('blackwell-mxf4-k96')).toThrow(/K = 96/)
    expect(() => mmaModel('blackwell')).toThrow(/use one of volta-f16, /)
  })
  it('refuses operands that the unit does not take', () => {
    expect(() => mmaConfig('hopper-fp8', { a: 'e2m1' })).toThrow(UsageError)
    expect(() => mmaConfig('blackwell-mxf4', { scale: { format: 'ue4m3', block: 16 } })).toThrow(/e8m0\/32/)
    expect(() => mmaConfig('blackwell-f8f6f4', { scale: { format: 'e8m0', block: 32 } })).toThrow(/unscaled/)
  })
  it('lowers the confidence of FP6, which nobody has tested', () => {
    expect(mmaConfig('blackwell-mxf8f6f4').confidence).toBe('simulator')
    expect(mmaConfig('blackwell-mxf8f6f4', { a: 'e3m2', b: 'e2m3' }).confidence).toBe('unverified')
  })
  it('follows the floors\' rule of MMA-Sim: -108 - F on FP32-wide paths, 3 - F for mma.sync into FP16, per generation', () => {
    const generation: Record<string, number> = { volta: 23, turing: 24, ampere: 24, ada: 24, hopper: 25, blackwell: 25 }
    for (const m of Object.values(mmaModels)) {
      const F = generation[m.name.split('-')[0]!]
      if (!F || m.algorithm === 'gst-fdpa') continue
      const wide = m.accumulator === 'f32' || /^(wgmma|tcgen05)/.test(m.instruction)
      expect([m.name, m.floor]).toEqual([m.name, wide ? -108 - F : 3 - F])
    }
  })
})
