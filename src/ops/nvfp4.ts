// NVFP4 in programs: the tensor's scale from its largest magnitude, then values, or codes with E4M3 bytes, and back. Formulas: src/numerics/nvfp4.ts.
import { UsageError } from '../errors.ts'
import { NVFP4_BLOCK, nvfp4Recipes, type Nvfp4Quantizer, type Nvfp4Recipe } from '../numerics/nvfp4.ts'
import { size, type Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import { dequantize, scaleShape, type Codes } from './codes.ts'
import { around, castChoices, randomWords, tiled, WORTH, type RandomSource } from './quantize.ts'
import { sameSize } from './shapes.ts'

const recipeNumber = (recipe: Nvfp4Recipe): number => nvfp4Recipes.indexOf(recipe)
/** Is the tensor's scale the reciprocal of its decoding scale? */
export const isInverse = (recipe: Nvfp4Recipe): boolean => recipe === 'te' || recipe === 'cublas'

/** Emit scale[0] = the tensor's scale (S or t of the recipe) from src. Takes a buffer of the program for partial maxima. */
export function nvfp4TensorScale(p: Program, src: Tensor, scale: Tensor, recipe: Nvfp4Recipe): void {
  if (size(scale.shape) !== 1) throw new UsageError(`scale has shape [${scale.shape}], must hold one number`)
  const n = size(src.shape), chunks = Math.ceil(n / 16384), partials = p.temp(Math.max(chunks, 1))
  p.emit('nvfp4_amax', [partials.ptr, src.ptr, n, recipeNumber(recipe)], chunks)
  p.emit('nvfp4_tensor_scale', [scale.ptr, partials.ptr, chunks, recipeNumber(recipe)], 1)
  p.free(partials)
}

/** What to write: any of the dequantized values, the E2M1 codes (a byte each), the E4M3 byte of each block. */
export interface Nvfp4Outputs { readonly values?: Tensor, readonly codes?: Codes, readonly scales?: Codes }

/** Shape of the block scales: the axis, or both axes of tiles, counted in blocks of 16. */
export const nvfp4ScaleShape = (shape: readonly number[], axis: number | readonly [number, number]): number[] => scaleShape(shape, axis, NVFP4_BLOCK)

/**
 * Quantize src along `axis` in blocks of 16, or in tiles of 16 x 16 over the last two axes. `tensorScale` holds S or t (nvfp4TensorScale, or a caller's own;
 * read when the program runs). Values may be src itself. `random` is needed by stochastic rounding. Throws UsageError for a wrong shape or axis.
 */
export function quantizeNvfp4(p: Program, src: Tensor, out: Nvfp4Outputs, axis: number | readonly [number, number], q: Nvfp4Quantizer, tensorScale: Tensor, random?: RandomSource): void {
  const same = (what: string, got: { readonly shape: readonly number[] } | undefined, want: readonly number[]) => {
    if (got && (got.shape.length !== want.length || got.shape.some((d, i) => d !== want[i]))) throw new UsageError(`${what} has shape [${got.shape}], must have [${want}]`)
  }
  same('values', out.values, src.shape)
  same('codes', out.codes, src.shape)
  same('scales', out.scales, nvfp4ScaleShape(src.shape, axis))
  if (!out.values && !out.codes && !out.scales) throw new UsageError('nothing to write: give values, codes or scales')
  // NaN aside in the maxima of te and cublas: what nonFinite `element` says to the shared helpers.
  const choices = castChoices({ rounding: q.rounding }) | (q.recipe === 'te' || q.recipe === 'cublas' ? 0x80000 : 0) | (q.randomBits === 16 ? 0x10000 : 0)
  const outputs = [out.values?.ptr ?? 0, out.codes?.ptr ?? 0, out.scales?.ptr ?? 0, src.ptr] as const
  const words = [tensorScale.ptr, recipeNumber(q.recipe), choices, ...randomWords(q, random)] as const
  if (typeof axis !== 'number') {
    const [outer, rows, cols] = tiled(src.shape, axis)
    p.emit('nvfp4_tiles', [...outputs, rows, cols, ...words], outer * Math.ceil(rows / NVFP4_BLOCK), Math.ceil(WORTH / Math.max(1, NVFP4_BLOCK * cols)))
    return
  }
  const [outer, length, inner] = around(src.shape, axis), blocks = Math.ceil(length / NVFP4_BLOCK)
  if (inner === 1) {
    p.emit('nvfp4_rows', [...outputs, length, ...words], outer * blocks, WORTH / NVFP4_BLOCK)
    return
  }
  const panel = outer * blocks >= 16 ? 512 : 64
  p.emit('nvfp4_columns', [...outputs, length, inner, panel, ...words], outer * blocks * Math.ceil(inner / panel), Math.max(1, Math.ceil(WORTH / (NVFP4_BLOCK * Math.min(panel, inner)))))
}

/** dst = values of codes under their E4M3 bytes, one per block of 16 along `axis`, and the tensor's scale. Throws UsageError. */
export function dequantizeNvfp4(p: Program, codes: Codes, scales: Codes, tensorScale: Tensor, dst: Tensor, recipe: Nvfp4Recipe, axis = -1): void {
  dequantize(p, codes, scales, dst, axis, 'e2m1', NVFP4_BLOCK, { scale: tensorScale, inverse: isInverse(recipe) })
}

/** dst = sums of a product over codes and block scales, times both tensors' decoding scales. dst may be the sums. Throws UsageError for another size. */
export function rescaleNvfp4(p: Program, sums: Tensor, dst: Tensor, a: Tensor, b: Tensor, recipe: Nvfp4Recipe): void {
  p.emit('nvfp4_rescale', [dst.ptr, sums.ptr, a.ptr, b.ptr, recipeNumber(recipe)], sameSize('rescaleNvfp4', { sums, dst }), WORTH)
}
