// Named quantizers: for every library or standard, the combination of choices that gives its bits.
// `source` is what the choices were read from or checked against.
import { lookup, UsageError } from '../errors.ts'
import { formats, type FormatName } from './formats.ts'
import type { Arithmetic, BlockQuantizer, ElementRounding } from './quantizer.ts'

/** Decisions on the exact value, signs kept: OCP MX v1.0, IEEE 754, hardware conversions. */
export const exact: Arithmetic = { exponent: 'bits', half: 'exact', zeroSign: 'preserve', nan: 'propagate' }
/** microxcaling 7bc4195 in PyTorch on float32 tensors (custom_cuda = False). */
export const torchEmulation: Arithmetic = { exponent: 'torch-log2', half: 'add-half', zeroSign: 'torch', nan: 'propagate' }
/** microxcaling 7bc4195, its compiled kernels (custom_cuda = True). */
export const bitEmulation: Arithmetic = { exponent: 'bits', half: 'exact', zeroSign: 'positive', nan: 'as-number' }

const mx: Omit<BlockQuantizer, 'format'> = {
  ...exact, kind: 'mx', blockSize: 32, scaleRule: 'floor', rounding: 'nearest-even', bump: 'none', scaleBits: 8, flushSubnormals: false, nonFinite: 'poison', nanCode: 'max', randomBits: 16,
}

/** A quantizer but for its element format. */
export type BlockProfile = Omit<BlockQuantizer, 'format'>

export const blockProfiles = {
  /** OCP MX v1.0 section 6.3: floor scale, round to nearest even, saturate. */
  'ocp': mx,
  /** microxcaling's default on float32 tensors: halves away from zero, exponents from torch's log2. */
  'microxcaling': { ...mx, ...torchEmulation, rounding: 'nearest-away' },
  /** microxcaling's compiled kernels. */
  'microxcaling-bits': { ...mx, ...bitEmulation, rounding: 'nearest-away' },
} as const satisfies Record<string, BlockProfile>

export type BlockProfileName = keyof typeof blockProfiles

/** The quantizer of `profile` for `format`, with some choices replaced. */
export function blockQuantizer(profile: BlockProfileName, format: FormatName, changes: Partial<BlockProfile> = {}): BlockQuantizer {
  lookup(formats, format, 'format')
  return { ...lookup<BlockProfile>(blockProfiles, profile, 'quantizer profile'), format, ...changes }
}

/** bfloatN: 8 exponent bits, N - 9 fraction bits, 10 <= N <= 32 (32 is the identity). bf16 is bfloat(16). */
export function bfloat(bits: number, changes: Partial<ElementRounding> = {}): ElementRounding {
  if (!Number.isInteger(bits) || bits < 10 || bits > 32) throw new UsageError(`bfloat bits must be an integer 10..32, got ${bits}`)
  return { ...torchEmulation, kind: 'element', expBits: 8, manBits: bits - 9, rounding: 'nearest-away', subnormals: 'keep', ...changes }
}

/** fpN: 5 exponent bits, N - 6 fraction bits, 7 <= N <= 29. fp16 is fp(16). */
export function fp(bits: number, changes: Partial<ElementRounding> = {}): ElementRounding {
  if (!Number.isInteger(bits) || bits < 7 || bits > 29) throw new UsageError(`fp bits must be an integer 7..29, got ${bits}`)
  return { ...torchEmulation, kind: 'element', expBits: 5, manBits: bits - 6, rounding: 'nearest-away', subnormals: 'keep', ...changes }
}

/** bf16 as microxcaling emulates it (bfloat = 16, round = nearest): halves away from zero. */
export const bf16Away = bfloat(16)
/** bf16 as hardware and torch casts do it. */
export const bf16Even = bfloat(16, { ...exact, rounding: 'nearest-even' })
