// The vector set `mxops`, proof that its comparison can fail, and the options dictionary.
import { describe, expect, it } from 'vitest'
import { finalizeSpecs, mxSettings } from '../../src/conformance/mx-specs.ts'
import { kernels } from '../../src/conformance/sets/mxops-kernels.ts'
import { oracle, run, runMxops } from '../../src/conformance/sets/mxops.ts'

const dir = 'test/vectors/mxops'

it('every case', async () => {
  const { cases, passed, failures } = await run(dir)
  expect(failures).toEqual([])
  expect([cases, passed]).toEqual([340, 340])
})

it('the kernels compute every matrix product, norm and activation, and are right where they compute', async () => {
  const { failures } = await runMxops(dir, { kernels: kernels() }, ['kernels'])
  expect(failures.filter(f => !f.endsWith('is not computed'))).toEqual([])
  const missing = failures.map(f => /\((\S+)/.exec(f)![1]!).filter(op => !/^simd_|^softmax$/.test(op))
  // the library's switch that computes e^x as a power of two
  expect(missing).toEqual(['gelu', 'silu', 'gelu', 'silu', 'gelu', 'silu', 'gelu', 'silu'])
})

it('wrong settings fail in every operator that they concern', async () => {
  const { failures } = await runMxops(dir, { mutant: (c, s, inputs) => oracle(c, { ...s, round: { ...s.round, vector: null, output: null } }, inputs) })
  const failed = new Set(failures.map(f => /\((\S+)/.exec(f)![1]))
  for (const op of ['linear', 'matmul', 'bmm', 'layer_norm', 'rms_norm', 'softmax', 'gelu', 'gelu_first_order', 'silu', 'relu', 'relu6', 'leaky_relu', 'sigmoid', 'tanh',
    'simd_add', 'simd_sub', 'simd_mul', 'simd_div', 'simd_square', 'simd_exp', 'simd_reduce_sum', 'simd_reduce_mean']) expect(failed).toContain(op)
})

it('a switched backward format fails', async () => {
  const { failures } = await runMxops(dir, { mutant: (c, s, inputs) => oracle(c, { ...s, dgrad: s.wgrad as never, wgrad: s.dgrad as never }, inputs) })
  expect(failures.length).toBeGreaterThan(10)
})

describe('options dictionary', () => {
  it('backward formats and roundings inherit from the forward ones', () => {
    const specs = finalizeSpecs({ w_elem_format: 'fp8_e4m3', a_elem_format: 'fp8_e5m2', a_elem_format_bp_ex: 'int8', round: 'even', round_grad_input: 'floor', a_elem_format_bp: null })
    expect(specs).toMatchObject({
      w_elem_format_bp: 'fp8_e4m3', a_elem_format_bp: 'fp8_e5m2', a_elem_format_bp_os: 'fp8_e5m2', a_elem_format_bp_ex: 'int8',
      round_output: 'even', round_mx_output: 'even', round_mx_weight_grad_input: 'floor', round_mx_grad_output_grad_weight: 'floor', scale_bits: 0, quantize_backprop: true,
    })
  })
  it('an unquantized backward has no quantizers', () => {
    const s = mxSettings({ w_elem_format: 'fp8_e4m3', a_elem_format: 'fp8_e4m3', bfloat: 16, quantize_backprop: false })
    expect([s.dgrad, s.wgrad, s.quantizeBackward]).toEqual([{ gradient: null, weight: null }, { gradient: null, activation: null }, false])
    expect(s.forward.weight).toMatchObject({ format: 'e4m3', blockSize: 0, scaleBits: 8, rounding: 'nearest-away' })
  })
  it.each([
    [{ formatt: 'fp8_e4m3' }, /mx_specs key "formatt"/], [{ w_elem_format: 'fp9' }, /w_elem_format "fp9"/], [{ round: 'dither', bfloat: 16 }, /round "dither"/],
    [{ bfloat: 16, fp: 16 }, /together/], [{ custom_cuda: true }, /custom_cuda/], [{ bump_up_overflow_exponent: true, w_elem_format: 'int8' }, /bump_up_overflow_exponent/], [{ bfloat: 16, block_size: -1 }, /block_size/],
  ])('%o is refused', (specs, message) => expect(() => mxSettings(specs)).toThrow(message))
})
