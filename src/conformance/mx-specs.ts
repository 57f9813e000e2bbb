// microxcaling's dictionary of options (`mx_specs`), read into this library's named values. Semantics: microsoft/microxcaling 7bc4195, mx/specs.py,
// with the switches that the systems-scaling copy (8aa0ac8) added. An option with a value that has no counterpart here is an error, never ignored.
import { allSequential } from '../numerics/accumulation.ts'
import type { FormatName } from '../numerics/formats.ts'
import { bfloat, blockQuantizer, fp, torchEmulation } from '../numerics/profiles.ts'
import type { BlockQuantizer, ElementRounding, Rounding } from '../numerics/quantizer.ts'
import type { LinearPrecision, ModelPrecision } from '../model/precision.ts'
import type { MxSettings } from '../oracle/mxops.ts'
import { lookup } from '../errors.ts'

const mxFormats: Readonly<Record<string, FormatName>> = {
  fp8_e4m3: 'e4m3', fp8_e5m2: 'e5m2', fp6_e3m2: 'e3m2', fp6_e2m3: 'e2m3', fp4_e2m1: 'e2m1', fp4: 'e2m1', int8: 'int8', int4: 'int4', int2: 'int2',
  bfloat16: 'bf16', bf16: 'bf16', float16: 'fp16', fp16: 'fp16',
}
const mxRoundings: Readonly<Record<string, 'nearest-away' | 'nearest-even' | 'toward-zero'>> = { nearest: 'nearest-away', even: 'nearest-even', floor: 'toward-zero' }

/** The options as a vector file gives them: missing keys take the library's defaults. */
export type MxSpecs = Readonly<Record<string, string | number | boolean | null>>

const defaults = {
  scale_bits: 0, w_elem_format: null, a_elem_format: null, w_elem_format_bp: null, a_elem_format_bp: null, a_elem_format_bp_ex: null, a_elem_format_bp_os: null,
  mx_flush_fp32_subnorms: false, shared_exp_method: 'max', block_size: 0, bfloat: 0, fp: 0, bfloat_subnorms: true, quantize_backprop: true,
  round: 'nearest', round_m: 'nearest', round_weight: 'nearest', round_output: 'nearest', round_grad_weight: 'nearest', round_grad_input: 'nearest',
  round_mx_output: 'nearest', round_mx_input_grad_input: 'nearest', round_mx_weight_grad_input: 'nearest', round_mx_grad_output_grad_input: 'nearest',
  round_mx_input_grad_weight: 'nearest', round_mx_grad_output_grad_weight: 'nearest',
  softmax_exp2: false, vec_use_exp2: false, vec_use_recip: false, custom_cuda: false,
  bump_up_overflow_exponent: false, dont_quantize_layernorm: false, dont_quantize_gelu: false,
} satisfies MxSpecs

type Key = keyof typeof defaults
export type FinalSpecs = Readonly<Record<Key, any>>

/** From a missing entry to the entry it inherits from (mx/specs.py, finalize_mx_specs); `round` is inherited only if it was given. */
const inherits: readonly [Key, Key][] = [
  ['w_elem_format_bp', 'w_elem_format'], ['a_elem_format_bp', 'a_elem_format'], ['a_elem_format_bp_os', 'a_elem_format'], ['a_elem_format_bp_ex', 'a_elem_format'],
  ['round_m', 'round'], ['round_output', 'round'], ['round_grad_weight', 'round'], ['round_grad_input', 'round'], ['round_weight', 'round'], ['round_mx_output', 'round'],
  ['round_mx_input_grad_input', 'round_grad_input'], ['round_mx_weight_grad_input', 'round_grad_input'], ['round_mx_grad_output_grad_input', 'round_grad_input'],
  ['round_mx_input_grad_weight', 'round_grad_input'], ['round_mx_grad_output_grad_weight', 'round_grad_input'],
]

/** Complete `specs` as finalize_mx_specs does. Throws on an unknown key. */
export function finalizeSpecs(specs: MxSpecs): FinalSpecs {
  const given: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(specs)) {
    lookup(defaults as Record<string, unknown>, key, 'mx_specs key')
    if (value !== null) given[key] = value
  }
  for (const [key, from] of inherits) if (given[key] === undefined && given[from] !== undefined) given[key] = given[from]
  return { ...defaults, ...given }
}

/** EW of one tensor: bfloat or fp rounding with `round`; null where both are off. */
function elementRounding(s: FinalSpecs, round: string): ElementRounding | null {
  if (s.bfloat > 0 && s.fp > 0) throw new Error('bfloat and fp together are not supported')
  const options = { rounding: lookup(mxRoundings, round, 'round'), subnormals: s.bfloat_subnorms ? 'keep' as const : 'flush' as const }
  return s.bfloat > 0 && s.bfloat < 32 ? bfloat(s.bfloat, options) : s.fp > 0 ? fp(s.fp, options) : null
}

/** The block quantizer of one operand; null where its format is None. */
function operandQuantizer(s: FinalSpecs, format: Key, round: Key): BlockQuantizer | null {
  if (s[format] === null) return null
  if (s.shared_exp_method !== 'max' && s.shared_exp_method !== 'none') throw new Error(`shared_exp_method ${s.shared_exp_method} is not supported`)
  const rounding: Rounding = lookup(mxRoundings, s[round], round), name = lookup(mxFormats, s[format], format)
  if (s.bump_up_overflow_exponent && (name !== 'e4m3' || s.shared_exp_method === 'none')) throw new Error(`bump_up_overflow_exponent with ${format} ${s[format]}, shared_exp_method ${s.shared_exp_method} is not supported`)
  return blockQuantizer('microxcaling', name, {
    ...torchEmulation, rounding, scaleBits: s.scale_bits || 8, flushSubnormals: s.mx_flush_fp32_subnorms,
    blockSize: s.shared_exp_method === 'none' ? 1 : s.block_size, bump: s.bump_up_overflow_exponent ? 'as-released' : 'none',
  })
}

/** Every option, for the operators of src/oracle/mxops.ts. Throws for what they do not compute. */
export function mxSettings(specs: MxSpecs): MxSettings {
  const s = finalizeSpecs(specs)
  if (s.custom_cuda) throw new Error('custom_cuda is not supported: its elementwise operators run in the GPU\'s own arithmetic')
  for (const key of ['block_size', 'scale_bits', 'bfloat', 'fp'] as const) if (!Number.isInteger(s[key]) || s[key] < 0) throw new Error(`${key} must be an integer >= 0, got ${s[key]}`)
  const operand = (format: Key, round: Key) => s.quantize_backprop ? operandQuantizer(s, format, round) : null
  return {
    round: {
      vector: elementRounding(s, s.round), output: elementRounding(s, s.round_output), weight: elementRounding(s, s.round_weight),
      gradInput: elementRounding(s, s.round_grad_input), gradWeight: elementRounding(s, s.round_grad_weight),
    },
    forward: { activation: operandQuantizer(s, 'a_elem_format', 'round_mx_output'), weight: operandQuantizer(s, 'w_elem_format', 'round_mx_output') },
    dgrad: { gradient: operand('a_elem_format_bp_os', 'round_mx_grad_output_grad_input'), weight: operand('w_elem_format_bp', 'round_mx_weight_grad_input') },
    wgrad: { gradient: operand('a_elem_format_bp_ex', 'round_mx_grad_output_grad_weight'), activation: operand('a_elem_format_bp', 'round_mx_input_grad_weight') },
    matmulBackward: {
      gradient: operand('a_elem_format_bp_os', 'round_mx_grad_output_grad_input'),
      activation: operand('a_elem_format_bp', 'round_mx_input_grad_input'), weight: operand('w_elem_format_bp', 'round_mx_input_grad_input'),
    },
    quantizeBackward: s.quantize_backprop, expByExp2: s.vec_use_exp2, divideByReciprocal: s.vec_use_recip, softmaxExp2: s.softmax_exp2,
    halfLayerNorm: s.dont_quantize_layernorm, plainGelu: s.dont_quantize_gelu,
  }
}

/** The linear layer under `specs`. Q has one rounding forward and one backward here: specs that mix them are refused. */
export function linearPrecision(s: FinalSpecs): LinearPrecision {
  const single = (what: string, ...keys: Key[]): ElementRounding | null => {
    const rounds = new Set(keys.map(k => s[k]))
    if (rounds.size > 1) throw new Error(`different ${what} roundings (${keys.map(k => `${k} ${s[k]}`).join(', ')}) are not supported`)
    return elementRounding(s, s[keys[0]!])
  }
  const backward = s.quantize_backprop
  const operand = (format: Key, round: Key) => backward ? operandQuantizer(s, format, round) : null
  return {
    forward: { activation: operandQuantizer(s, 'a_elem_format', 'round_mx_output'), weight: operandQuantizer(s, 'w_elem_format', 'round_mx_output') },
    dgrad: { gradient: operand('a_elem_format_bp_os', 'round_mx_grad_output_grad_input'), weight: operand('w_elem_format_bp', 'round_mx_weight_grad_input') },
    wgrad: { gradient: operand('a_elem_format_bp_ex', 'round_mx_grad_output_grad_weight'), activation: operand('a_elem_format_bp', 'round_mx_input_grad_weight') },
    round: single('forward', 'round_output', 'round_weight'), roundBackward: backward ? single('backward', 'round_grad_input', 'round_grad_weight') : null, hadamard: { dgrad: null, wgrad: null }, tiles: false,
    accumulation: allSequential, random: null,
  }
}

/**
 * A whole model under injected operators. `studentGelu: 'exact'`: GELU escaped the injection, as the student's does in student_teacher.py;
 * `chain`: it did not. `betaGradient: 'dropped'`: the systems-scaling copy's layer norm.
 */
export function modelPrecision(specs: MxSpecs, options: { layerNormEps: number, betaGradient: 'computed' | 'dropped', studentGelu: 'exact' | 'chain' }): ModelPrecision {
  const s = finalizeSpecs(specs), chain = elementRounding(s, s.round)
  for (const key of ['vec_use_exp2', 'vec_use_recip', 'custom_cuda'] as const) if (s[key]) throw new Error(`${key} is not supported`)
  if (!chain || s.bfloat !== 16 || !s.bfloat_subnorms || chain.rounding === 'toward-zero') throw new Error(`vector operations with bfloat ${s.bfloat}, fp ${s.fp}, round ${s.round} are not supported`)
  const backward = s.quantize_backprop ? 'bf16' as const : 'fp32' as const, { rounding } = chain, eps = options.layerNormEps
  const linear = linearPrecision(s)
  return {
    linear, high: { first: 0, last: 0 }, unquantized: linear,
    norm: { mode: s.dont_quantize_layernorm ? { kind: 'bf16-half', eps, rounding } : { kind: 'bf16', eps, rounding, backward }, affine: null, rounded: true, betaGradient: options.betaGradient },
    activation: name => name === 'gelu' && options.studentGelu === 'exact' ? { kind: 'exact' } : name === 'gelu' && s.dont_quantize_gelu ? { kind: 'sigmoid-form' } : { kind: 'bf16', rounding, backward },
  }
}
