// The NVFP4 recipes of src/numerics/nvfp4.ts, one number at a time.
import { formats } from '../numerics/formats.ts'
import { NVFP4_BLOCK, NVFP4_RANGE, type Nvfp4Quantizer, type Nvfp4Recipe } from '../numerics/nvfp4.ts'
import { decode, encode } from './codec.ts'
import { wordOf } from './float.ts'
import { blocking, type RandomBits } from './quantize.ts'

const { fround } = Math
const FLT_MAX = (2 - 2 ** -23) * 2 ** 127
/** C's fminf: a NaN loses. */
const minimum = (a: number, b: number) => Number.isNaN(a) ? b : Math.min(a, b)
const cast = { overflow: 'saturate', nan: 'max' } as const

/** The tensor's scale as its recipe computes it from the largest magnitude: S or t; 1 where there is none. */
export function tensorScale(recipe: Nvfp4Recipe, amax: number): number {
  if (recipe === 'torchao-one-level') return 1
  if (recipe === 'torchao' || recipe === 'modelopt') return fround(amax / NVFP4_RANGE)
  const scale = minimum(fround(NVFP4_RANGE / amax), FLT_MAX)
  return amax === 0 || scale === 0 ? 1 : scale
}

/** The factor d of the value p (s d). */
export const decodingScale = (recipe: Nvfp4Recipe, scale: number): number => recipe === 'te' || recipe === 'cublas' ? fround(1 / scale) : scale

/** Do NaNs count in the maxima? */
const nanCounts = (recipe: Nvfp4Recipe): boolean => recipe === 'torchao' || recipe === 'torchao-one-level' || recipe === 'modelopt'

/** The E4M3 byte of a block with largest magnitude amax. */
function blockScale(recipe: Nvfp4Recipe, amax: number, scale: number): number {
  const e4m3 = (v: number) => encode(formats.e4m3, wordOf(v), { rounding: 'nearest-even', ...cast })
  const clamp = (v: number) => Number.isNaN(v) ? v : Math.min(Math.max(v, 2 ** -6), 448)
  switch (recipe) {
    case 'te': return e4m3(minimum(fround(amax * fround(scale * fround(1 / 6))), FLT_MAX))
    case 'torchao': return e4m3(clamp(fround(fround(amax / 6) / scale)))
    case 'torchao-one-level': return e4m3(clamp(fround(amax / 6)))
    case 'modelopt': { const v = fround(amax / fround(6 * scale)); return e4m3(v === 0 ? 1 : v) }
    case 'cublas': return e4m3(fround(fround(amax * scale) / 6))
  }
}

/** x as E2M1 takes it in: divided by the scales. */
function scaled(recipe: Nvfp4Recipe, x: number, s: number, scale: number): number {
  switch (recipe) {
    case 'te': return fround(x * minimum(fround(1 / fround(s * fround(1 / scale))), FLT_MAX))
    case 'torchao': return fround(x * fround(fround(1 / scale) / s))
    case 'torchao-one-level': return fround(x * fround(1 / s))
    case 'modelopt': return fround(x / fround(s * scale)) + 0 // -0 + 0 is +0
    case 'cublas': return fround(fround(x * scale) * minimum(fround(1 / s), FLT_MAX))
  }
}

export interface Nvfp4Quantized {
  readonly values: Float32Array
  /** E2M1 codes, one each. */
  readonly codes: Uint8Array
  /** E4M3 byte per block, row-major over `blockShape`, and the same for every element. */
  readonly scales: Uint8Array
  readonly elementScales: Uint8Array
  readonly blockShape: readonly number[]
  /** S or t. */
  readonly tensorScale: number
}

/** Largest magnitude, NaN if there is one and it counts. */
function amaxOf(x: Float32Array, recipe: Nvfp4Recipe): number {
  return x.reduce((m, v) => Number.isNaN(v) ? nanCounts(recipe) ? NaN : m : m >= Math.abs(v) || Number.isNaN(m) ? m : Math.abs(v), 0)
}

/** Quantize x of `shape` in blocks of 16 along an axis, or tiles of 16 x 16 over two. `scale`: the tensor's scale (S or t) instead of the computed one. */
export function quantizeNvfp4(x: Float32Array, shape: readonly number[], axes: number | readonly number[], q: Nvfp4Quantizer, scale = tensorScale(q.recipe, amaxOf(x, q.recipe)), random?: RandomBits): Nvfp4Quantized {
  const { blockShape, blockOf } = blocking(shape, axes, NVFP4_BLOCK)
  const amax = new Float32Array(blockShape.reduce((a, b) => a * b, 1))
  x.forEach((v, i) => {
    const b = blockOf[i]!, a = Math.abs(v)
    if (Number.isNaN(v) ? nanCounts(q.recipe) : a > amax[b]!) amax[b] = Number.isNaN(amax[b]!) ? NaN : a
  })
  const scales = Uint8Array.from(amax, a => blockScale(q.recipe, a, scale)), d = decodingScale(q.recipe, scale)
  const nan = nanCounts(q.recipe) && q.recipe !== 'modelopt' ? 'rebiased' : 'max'
  const codes = Uint8Array.from(x, (v, i) => {
    const t = scaled(q.recipe, v, decode(formats.e4m3, scales[blockOf[i]!]!), scale)
    return encode(formats.e2m1, wordOf(t), { rounding: q.rounding, overflow: 'saturate', nan }, random?.(i), q.randomBits)
  })
  const elementScales = Uint8Array.from(x, (_, i) => scales[blockOf[i]!]!)
  return { values: dequantizeNvfp4(codes, elementScales, d), codes, scales, elementScales, blockShape, tensorScale: scale }
}

/** p (s d), both products rounded to f32; `d`: decodingScale. The scale's sign bit is ignored, as the tensor cores do. */
export function dequantizeNvfp4(codes: ArrayLike<number>, elementScales: ArrayLike<number>, d: number): Float32Array {
  return Float32Array.from(codes, (code, i) => fround(decode(formats.e2m1, code) * fround(decode(formats.e4m3, elementScales[i]! & 0x7f) * d)))
}

/** A product of two NVFP4 tensors from its sum over codes and block scales: `a` and `b` are the tensors' scales. */
export const rescale = (recipe: Nvfp4Recipe, sum: number, a: number, b: number): number => fround(sum * fround(decodingScale(recipe, a) * decodingScale(recipe, b)))
