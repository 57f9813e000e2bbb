// NVFP4 quantizers by name: E2M1 elements, one E4M3 scale per block of 16 (or per 16 x 16 tile), and mostly one float32 scale for the tensor.
// All steps are float32 operations; the libraries agree on the idea and differ in their order, so a recipe is its formulas. With amax_t and amax_b the
// largest magnitudes of tensor and block, e4m3() and e2m1() rounding to nearest even and saturating, every operation rounded to float32:
//
//   te                 S = min(2688 / amax_t, FLT_MAX), 1 if amax_t or S is 0;  s = e4m3(amax_b * (S * (1/6)));  p = e2m1(x * min(1 / (s * (1/S)), FLT_MAX))
//   torchao            t = amax_t / 2688;  s = e4m3(clamp(amax_b / 6 / t, 2^-6, 448));  p = e2m1(x * ((1/t) / s))
//   torchao-one-level  s = e4m3(clamp(amax_b / 6, 2^-6, 448));  p = e2m1(x * (1/s))
//   modelopt           t = amax_t / 2688;  s = e4m3(amax_b / (6 t)), of 1 if the quotient is 0;  p = e2m1(x / (s t)), where -0 becomes +0 before
//   cublas             S = 2688 / amax_t;  x' = x S;  s = e4m3(amax_b' / 6);  p = e2m1(x' * min(1/s, FLT_MAX))
//
// The value is p (s d) with d the tensor's decoding scale: 1/S, t, or 1. 2688 = 448 * 6, the largest E4M3 times the largest E2M1 value.
import type { Rounding } from './quantizer.ts'
import type { ProfileNote } from './profiles.ts'

export const nvfp4Recipes = ['te', 'torchao', 'torchao-one-level', 'modelopt', 'cublas'] as const
/** Whose order of float32 operations. */
export type Nvfp4Recipe = typeof nvfp4Recipes[number]

/** Quantizes blocks of 16, or tiles of 16 x 16, of E2M1 with E4M3 scales. */
export interface Nvfp4Quantizer {
  readonly kind: 'nvfp4'
  readonly recipe: Nvfp4Recipe
  readonly rounding: Extract<Rounding, 'nearest-even' | 'stochastic'>
  /** `stochastic` only: random bits added to each element's discarded bits. */
  readonly randomBits: 8 | 16
}

const nvfp4 = (recipe: Nvfp4Recipe): Nvfp4Quantizer => ({ kind: 'nvfp4', recipe, rounding: 'nearest-even', randomBits: 8 })

/** te-nvfp4 serves both scalings of TransformerEngine: blocks of 16 along an axis, and tiles of 16 x 16 (weights), chosen by the axes of the call. */
export const nvfp4Profiles = {
  'te-nvfp4': nvfp4('te'),
  'torchao-nvfp4': nvfp4('torchao'),
  'torchao-nvfp4-one-level': nvfp4('torchao-one-level'),
  'modelopt-nvfp4': nvfp4('modelopt'),
  'cublas-nvfp4': nvfp4('cublas'),
} as const satisfies Record<string, Nvfp4Quantizer>

/** A profile's name. */
export type Nvfp4ProfileName = keyof typeof nvfp4Profiles

export const nvfp4ProfileNotes: Readonly<Record<Nvfp4ProfileName, ProfileNote>> = {
  'te-nvfp4': { formats: ['e2m1'], source: 'NVIDIA/TransformerEngine d0067d0, core_nvfp4.cuh and quantize_transpose_nvfp4.cuh', verified: 'text', remark: 'NaN does not count in the maxima (fmaxf)' },
  'torchao-nvfp4': { formats: ['e2m1'], source: 'pytorch/ao 36027d8, nvfp4_quantize with per_tensor_scale', verified: 'output' },
  'torchao-nvfp4-one-level': { formats: ['e2m1'], source: 'pytorch/ao 36027d8, nvfp4_quantize without per_tensor_scale', verified: 'output' },
  'modelopt-nvfp4': { formats: ['e2m1'], source: 'NVIDIA/TensorRT-Model-Optimizer 5a4242f, nvfp4_tensor.py', verified: 'text' },
  'cublas-nvfp4': { formats: ['e2m1'], source: 'cuBLAS documentation, D block quantization', verified: 'text', remark: 'zero blocks, Inf and NaN are not described: taken as in TransformerEngine' },
}

/** Largest E4M3 times largest E2M1 value. */
export const NVFP4_RANGE = 2688
/** Elements per block scale. */
export const NVFP4_BLOCK = 16
