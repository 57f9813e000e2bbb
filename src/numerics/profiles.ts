// Named quantizers: for every library or standard, the combination of choices that gives its bits, what it was read from and how it was checked.
// NVFP4 has profiles of its own (nvfp4.ts): its scales are not powers of two.
import { lookup, UsageError } from '../errors.ts'
import { formats, type FormatName } from './formats.ts'
import type { Arithmetic, BlockQuantizer, ElementRounding } from './quantizer.ts'

/** Decisions on the exact value, signs kept: OCP MX v1.0, IEEE 754, hardware conversions. */
export const exact: Arithmetic = { exponent: 'bits', half: 'exact', zeroSign: 'preserve', nan: 'propagate' }
/** microxcaling 7bc4195 in PyTorch on float32 tensors (custom_cuda = False). */
export const torchEmulation: Arithmetic = { exponent: 'torch-log2', half: 'add-half', zeroSign: 'torch', nan: 'propagate' }
/** microxcaling 7bc4195, its compiled kernels (custom_cuda = True). */
export const bitEmulation: Arithmetic = { exponent: 'bits', half: 'exact', zeroSign: 'positive', nan: 'as-number' }

/** A quantizer but for its element format. */
export type BlockProfile = Omit<BlockQuantizer, 'format'>

const mx: BlockProfile = {
  ...exact, kind: 'mx', blockSize: 32, scaleRule: 'floor', rounding: 'nearest-even', bump: 'none', scaleBits: 8, flushSubnormals: false,
  nonFinite: 'poison', nanCode: 'max', randomBits: 16,
}
const torchao: BlockProfile = { ...mx, nanCode: 'rebiased' }
const satfinite: BlockProfile = { ...mx, nonFinite: 'element' }

/** The named quantizers; docs/numerics.md says what each is from and how it was checked. */
export const blockProfiles = {
  'ocp': mx,
  'microxcaling': { ...mx, ...torchEmulation, rounding: 'nearest-away' },
  'microxcaling-cuda': { ...mx, ...bitEmulation, rounding: 'nearest-away' },
  'torchao-floor': torchao,
  'torchao-ceil': { ...torchao, scaleRule: 'ceil' },
  'torchao-even': { ...torchao, scaleRule: 'even' },
  'torchao-rceil': { ...torchao, scaleRule: 'rceil' },
  'te-mxfp8': { ...satfinite, scaleRule: 'rceil' },
  'cublas-mxfp8': { ...satfinite, scaleRule: 'rceil-divide' },
  'quark-even': { ...mx, scaleRule: 'even' },
  'compressed-tensors-mxfp4': { ...mx, scaleRule: 'even-1' },
  'compressed-tensors-mxfp8': { ...mx, scaleRule: 'even-1' },
  // log2f of the C library, rounded to float32, misreads as torch's does; the search starts at +0, which a tie between the two zeros keeps.
  'ggml-mxfp4': { ...mx, exponent: 'torch-log2', rounding: 'nearest-zero', zeroSign: 'positive', half: 'exact' },
} as const satisfies Record<string, BlockProfile>

/** The name of a quantizer profile. */
export type BlockProfileName = keyof typeof blockProfiles

/** Where a profile comes from. */
export interface ProfileNote {
  /** Element formats that the source quantizes; null: any. */
  readonly formats: readonly FormatName[] | null
  readonly source: string
  /** `output`: compared bit for bit with the source's own output. `text`: read from its text or code alone. */
  readonly verified: 'output' | 'text'
  /** What the source leaves open or where its inputs are narrower than ours. */
  readonly remark?: string
}

const ocpFloats = ['e4m3', 'e5m2', 'e3m2', 'e2m3', 'e2m1'] as const
const microxcalingFormats = [...ocpFloats, 'int8', 'int4', 'int2', 'bf16', 'fp16'] as const

export const blockProfileNotes: Readonly<Record<BlockProfileName, ProfileNote>> = {
  'ocp': { formats: null, source: 'OCP Microscaling Formats (MX) v1.0, section 6.3', verified: 'text', remark: 'floor scale, nearest even, saturating; Inf and NaN are not pinned by the text: here they poison the block' },
  'microxcaling': { formats: microxcalingFormats, source: 'microsoft/microxcaling 7bc4195, PyTorch path, float32 tensors', verified: 'output' },
  'microxcaling-cuda': { formats: microxcalingFormats, source: 'microsoft/microxcaling 7bc4195, compiled kernels (custom_cuda)', verified: 'output', remark: 'elementwise rounding of NaN payloads: from its code' },
  'torchao-floor': { formats: ocpFloats, source: 'pytorch/ao 36027d8, to_mx, FLOOR', verified: 'output' },
  'torchao-ceil': { formats: ocpFloats, source: 'pytorch/ao 36027d8, to_mx, CEIL', verified: 'output' },
  'torchao-even': { formats: ocpFloats, source: 'pytorch/ao 36027d8, to_mx, EVEN', verified: 'output' },
  'torchao-rceil': { formats: ocpFloats, source: 'pytorch/ao 36027d8, to_mx, RCEIL', verified: 'output' },
  'te-mxfp8': { formats: ['e4m3', 'e5m2'], source: 'NVIDIA/TransformerEngine d0067d0, quantize_mxfp8.cuh and ptx.cuh', verified: 'text' },
  'cublas-mxfp8': { formats: ['e4m3', 'e5m2'], source: 'cuBLAS documentation, D block quantization', verified: 'text', remark: 'Inf and NaN are not described: taken as in TransformerEngine' },
  'quark-even': { formats: ocpFloats, source: 'AMD Quark, scale rule EVEN', verified: 'text', remark: 'the same arithmetic as torchao-even, which is compared with output' },
  'compressed-tensors-mxfp4': { formats: ['e2m1'], source: 'neuralmagic/compressed-tensors 52792be, mxfp4_utils.py', verified: 'text', remark: 'the library takes bfloat16 maxima' },
  'compressed-tensors-mxfp8': { formats: ['e4m3'], source: 'neuralmagic/compressed-tensors ac8e2ba, mxfp4_utils.py', verified: 'text', remark: 'the rule rounds to the FP4 fraction width here too; the library takes bfloat16 maxima' },
  'ggml-mxfp4': { formats: ['e2m1'], source: 'ggml, quantize_row_mxfp4_ref', verified: 'text', remark: 'values are stored doubled with half the scale, and codes j and j + 16 share a byte (layouts.ts); maxima below 2^-125, Inf and NaN are undefined in C' },
}

/** The quantizer of `profile` for `format`, with some choices replaced; docs/numerics.md has the formulas that the choices stand for. Throws UsageError for a format that the profile's source does not quantize. */
export function blockQuantizer(profile: BlockProfileName, format: FormatName, changes: Partial<BlockProfile> = {}): BlockQuantizer {
  lookup(formats, format, 'format')
  const quantizer = lookup<BlockProfile>(blockProfiles, profile, 'quantizer profile'), { formats: allowed } = blockProfileNotes[profile]
  if (allowed && !allowed.includes(format)) throw new UsageError(`profile ${profile} quantizes to ${allowed.join(', ')}, not to ${format}`)
  return { ...quantizer, format, ...changes }
}

/**
 * bfloatN: 8 exponent bits, N - 9 fraction bits, 10 <= N <= 32 (32 is the identity), rounded as microxcaling 7bc4195 does unless `changes` say otherwise.
 * bf16 is bfloat(16). Throws UsageError for other N.
 */
export function bfloat(bits: number, changes: Partial<ElementRounding> = {}): ElementRounding {
  if (!Number.isInteger(bits) || bits < 10 || bits > 32) throw new UsageError(`bfloat bits must be an integer 10..32, got ${bits}`)
  return { ...torchEmulation, kind: 'element', expBits: 8, manBits: bits - 9, rounding: 'nearest-away', subnormals: 'keep', ...changes }
}

/** fpN: 5 exponent bits, N - 6 fraction bits, 7 <= N <= 29, rounded as microxcaling 7bc4195 does unless `changes` say otherwise. fp16 is fp(16). Throws UsageError for other N. */
export function fp(bits: number, changes: Partial<ElementRounding> = {}): ElementRounding {
  if (!Number.isInteger(bits) || bits < 7 || bits > 29) throw new UsageError(`fp bits must be an integer 7..29, got ${bits}`)
  return { ...torchEmulation, kind: 'element', expBits: 5, manBits: bits - 6, rounding: 'nearest-away', subnormals: 'keep', ...changes }
}

/** bf16 as microxcaling emulates it (bfloat = 16, round = nearest): halves away from zero. */
export const bf16Away = bfloat(16)
/** bf16 as hardware and torch casts do it: to nearest, ties to even (IEEE 754), beyond the largest value to Inf. */
export const bf16Even = bfloat(16, { ...exact, rounding: 'nearest-even' })
