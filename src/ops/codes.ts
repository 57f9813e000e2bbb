// Codes in programs: blocks to element codes and E8M0 scales and back, and casts of single elements. The same choices and the same bits as
// src/ops/quantize.ts (dequantize after quantizeCodes is fakeQuantize); the arithmetic: src/oracle/codec.ts, src/oracle/quantize.ts.
import { UsageError } from '../errors.ts'
import { maxCode, nanCode, overflowCode, type CastPolicy } from '../numerics/cast.ts'
import { formats, grid, type Format, type FormatName } from '../numerics/formats.ts'
import type { BlockQuantizer } from '../numerics/quantizer.ts'
import { size, type Arena, type Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import { around, castChoices, quantizerChoices, randomWords, tiled, WORTH, type RandomSource } from './quantize.ts'

/** Dense row-major bytes in core memory, `width` per number (little-endian). `ptr` is a byte offset. */
export interface Codes {
  readonly ptr: number
  readonly shape: readonly number[]
  readonly width: 1 | 2
}

/** Reserve codes, contents undefined. */
export const codesTensor = (arena: Arena, shape: readonly number[], width: 1 | 2 = 1): Codes => ({ ptr: arena.allocBytes(size(shape) * width), shape, width })

/** Bytes of a format's codes: 1 up to 8 bits, 2 up to 16. Throws UsageError for wider formats. */
export function codeWidth(f: Format): 1 | 2 {
  if (f.bits > 16) throw new UsageError(`format ${f.name} has ${f.bits} bits, codes take at most 16`)
  return f.bits > 8 ? 2 : 1
}

/** 0: has -0; 1: two's complement integers; 2: fnuz (assembly/codec.ts). */
const kindOf = (f: Format): number => f.kind === 'int' ? 1 : f.specials === 'fnuz' ? 2 : 0

/** Shape of the block scales of a tensor: `shape` with the axis, or both axes of tiles, counted in blocks. Throws UsageError for an axis out of range. */
export function scaleShape(shape: readonly number[], axis: number | readonly [number, number], blockSize: number): number[] {
  const axes = (typeof axis === 'number' ? [axis] : axis).map(a => { around(shape, a); return a < 0 ? a + shape.length : a })
  return shape.map((d, i) => axes.includes(i) ? Math.ceil(d / (blockSize || Math.max(d, 1))) : d)
}

function check(what: string, got: { readonly shape: readonly number[] }, want: readonly number[]): void {
  if (got.shape.length !== want.length || got.shape.some((d, i) => d !== want[i])) throw new UsageError(`${what} has shape [${got.shape}], must have [${want}]`)
}

function checkBytes(what: string, codes: Codes, f: Format): void {
  if (codes.width !== codeWidth(f)) throw new UsageError(`${what} has ${codes.width}-byte codes, format ${f.name} has ${codeWidth(f)}-byte ones`)
}

/** How a block kernel cuts a tensor: rows of blocks if the axis is last, else panels of columns. */
function cut(shape: readonly number[], axis: number, blockSize: number) {
  const [outer, length, inner] = around(shape, axis)
  const block = blockSize || Math.max(length, 1), blocks = Math.ceil(length / block)
  const panel = outer * blocks >= 16 ? 512 : 64
  const items = outer * blocks * (inner === 1 ? 1 : Math.ceil(inner / panel))
  return { length, inner, block, panel, items, grain: Math.max(1, Math.ceil(WORTH / (block * Math.min(inner, panel)))) }
}

/**
 * codes = element codes of src (shape of src), scales = one E8M0 byte per block along `axis` (scaleShape), or per tile of blockSize x blockSize over the last two axes.
 * Formats of at most 8 bits.
 * Throws UsageError for a wrong shape, axis, format or combination of choices; the as-released bump has no shared scale to give.
 */
export function quantizeCodes(p: Program, src: Tensor, codes: Codes, scales: Codes, axis: number | readonly [number, number], q: BlockQuantizer, random?: RandomSource): void {
  const f: Format = formats[q.format]
  check('codes', codes, src.shape)
  check('scales', scales, scaleShape(src.shape, axis, q.blockSize))
  if (f.bits > 8) throw new UsageError(`format ${f.name} has ${f.bits} bits, block codes take at most 8`)
  if (q.bump === 'as-released') throw new UsageError('bump as-released leaves no scale that a block shares')
  checkBytes('codes', codes, f)
  const words = [...quantizerChoices(q), f.bits, kindOf(f), maxCode(f), nanCode(f, q.nanCode), ...randomWords(q, random)] as const
  if (typeof axis !== 'number') {
    const [outer, rows, cols] = tiled(src.shape, axis), block = q.blockSize || Math.max(rows, cols, 1)
    p.emit('quantize_codes_tiles', [codes.ptr, scales.ptr, src.ptr, rows, cols, block, ...words], outer * Math.ceil(rows / block), Math.ceil(WORTH / Math.max(1, block * cols)))
    return
  }
  const { length, inner, block, panel, items, grain } = cut(src.shape, axis, q.blockSize)
  if (inner === 1) p.emit('quantize_codes_rows', [codes.ptr, scales.ptr, src.ptr, length, block, ...words], items, grain)
  else p.emit('quantize_codes_columns', [codes.ptr, scales.ptr, src.ptr, length, inner, block, panel, ...words], items, grain)
}

/**
 * dst = value of each code times its block's scale, rounded to f32 once; NaN where either is NaN. Scales are E8M0 bytes or, with `tensor`, E4M3 bytes times the tensor's
 * decoding scale, tensor.scale or (`inverse`) its reciprocal. Throws UsageError for a wrong shape, axis or format.
 */
export function dequantize(p: Program, codes: Codes, scales: Codes, dst: Tensor, axis: number, format: FormatName, blockSize: number, tensor?: { readonly scale: Tensor, readonly inverse: boolean }): void {
  const f: Format = formats[format], { man, emin } = grid(f)
  check('dst', dst, codes.shape)
  check('scales', scales, scaleShape(codes.shape, axis, blockSize))
  if (f.bits > 8) throw new UsageError(`format ${f.name} has ${f.bits} bits, block codes take at most 8`)
  checkBytes('codes', codes, f)
  const { length, inner, block, panel, items, grain } = cut(codes.shape, axis, blockSize)
  const words = [man, emin, f.bits, kindOf(f), maxCode(f)] as const
  const from = [dst.ptr, codes.ptr, scales.ptr, tensor?.scale.ptr ?? 0, tensor?.inverse ? 1 : 0] as const
  if (inner === 1) p.emit('dequantize_rows', [...from, length, block, ...words], items, grain)
  else p.emit('dequantize_columns', [...from, length, inner, block, panel, ...words], items, grain)
}

/** codes = each element of src by itself under a cast policy (not stochastic). Throws UsageError. */
export function encodeElements(p: Program, src: Tensor, codes: Codes, format: FormatName, policy: CastPolicy): void {
  const f: Format = formats[format], { man, emin, emax, max } = grid(f)
  check('codes', codes, src.shape)
  checkBytes('codes', codes, f)
  if (policy.rounding === 'stochastic') throw new UsageError('rounding stochastic needs a block quantizer')
  p.emit('encode_f32', [codes.ptr, src.ptr, codes.width, man, emin, emax, max, castChoices(policy), f.bits, kindOf(f), maxCode(f), overflowCode(f, policy), nanCode(f, policy.nan), nanCode(f, policy.nan, true)], size(src.shape), WORTH)
}

/** dst = value of each code. Throws UsageError. */
export function decodeElements(p: Program, codes: Codes, dst: Tensor, format: FormatName): void {
  const f: Format = formats[format], { man, emin } = grid(f)
  check('dst', dst, codes.shape)
  checkBytes('codes', codes, f)
  p.emit('decode_f32', [dst.ptr, codes.ptr, codes.width, man, emin, f.bits, kindOf(f), maxCode(f)], size(codes.shape), WORTH)
}

const e8m0Modes = ['toward-zero', 'up', 'nearest'] as const

/** codes = E8M0 byte of each element of src; modes as encodeE8M0 of src/oracle/codec.ts. Throws UsageError. */
export function encodeScales(p: Program, src: Tensor, codes: Codes, mode: typeof e8m0Modes[number]): void {
  check('codes', codes, src.shape)
  p.emit('encode_e8m0_f32', [codes.ptr, src.ptr, e8m0Modes.indexOf(mode)], size(src.shape), WORTH)
}
