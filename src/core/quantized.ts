// Quantized tensors of the numeric API: any profile, along any axis or in tiles, to codes and scales, and back. The arithmetic is that of the ops; here axes are
// brought into the order that they take.
//
// MX: value = code * 2^(scale byte - 127). NVFP4: value = code * (scale * tensorScale), both products rounded to f32; tensorScale is the tensor's decoding scale
// (1 / S or t of src/numerics/nvfp4.ts). Tiles of n x n (block n over the last two axes) have one scale per tile.
import { UsageError } from '../errors.ts'
import { NVFP4_BLOCK } from '../numerics/nvfp4.ts'
import type { Quantizer } from '../numerics/named-quantizers.ts'
import { bf16Even } from '../numerics/profiles.ts'
import { codesTensor, dequantize, quantizeCodes, scaleShape, type Codes } from '../ops/codes.ts'
import { hadamard, signVector, TE_SIGNS } from '../ops/hadamard.ts'
import { isInverse, nvfp4ScaleShape, nvfp4TensorScale, quantizeNvfp4 } from '../ops/nvfp4.ts'
import { around, roundElements, type RandomSource } from '../ops/quantize.ts'
import { size, type Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import { dense, scalesOf, unpacked, type Matrix, type ScaledMatrix } from './operands.ts'

/** One axis to block, or the last two for tiles. */
export type Axes = number | readonly [number, number]

/** A quantized tensor: scales along `axis`, or one per tile. */
export interface Quantized extends ScaledMatrix {
  readonly axis: Axes
  /** The tensor's decoding scale; 1 for MX. */
  readonly tensorScale: number
}

/** A random Hadamard transform in blocks of signs.length along the blocked axis, before quantization; `round`: its result to bf16, nearest even. */
export interface Transform { readonly signs: readonly number[], readonly round?: 'bf16' }

/** TransformerEngine's: blocks of 16, fixed signs, rounded to bf16. */
export const teHadamard: Transform = { signs: TE_SIGNS, round: 'bf16' }

/** Where the blocks lie, and what happens before and beside their quantization. */
export interface QuantizeOptions {
  /** Axis of the blocks, default the last; or the last two: tiles. */
  readonly axis?: Axes
  /** For stochastic rounding: element i takes its bits from Philox under this seed, stream (default 0) and step (default 0). */
  readonly random?: { readonly seed: bigint, readonly stream?: number, readonly step?: bigint }
  readonly hadamard?: Transform
  /** NVFP4: the largest magnitude from which the tensor's scale is made; default that of the tensor. */
  readonly tensorAmax?: number
}

/** Non-negative axes in order; two must be the last two. Throws UsageError. */
export function resolveAxes(shape: readonly number[], axis: Axes): number | readonly [number, number] {
  const rank = shape.length, list = (typeof axis === 'number' ? [axis] : axis).map(a => { around(shape, a); return a < 0 ? a + rank : a })
  if (list.length === 1) return list[0]!
  if (list[0] !== rank - 2 || list[1] !== rank - 1) throw new UsageError(`axis is ${axis}: tiles lie over the last two axes of shape [${shape}]`)
  return [list[0], list[1]]
}

/** Shape of the scales: blocked axes counted in blocks (0: the whole axis). */
export const scalesShape = (shape: readonly number[], axis: Axes, block: number): number[] => scaleShape(shape, resolveAxes(shape, axis), block)

/** Emit the quantization of x; the function given back reads the result after the run. Throws UsageError. */
export function emitQuantize(p: Program, x: Matrix, q: Quantizer, { axis = -1, random, hadamard: transform, tensorAmax }: QuantizeOptions): () => Quantized {
  dense('x', x.shape, x.data.length)
  const { arena } = p, { shape } = x, axes = resolveAxes(shape, axis)
  const nvfp4 = q.kind === 'nvfp4', format = nvfp4 ? 'e2m1' : q.format
  const longest = Math.max(1, ...(typeof axes === 'number' ? [shape[axes]!] : [shape[axes[0]]!, shape[axes[1]]!]))
  const block = nvfp4 ? NVFP4_BLOCK : q.blockSize || longest
  if (tensorAmax !== undefined && !nvfp4) throw new UsageError('tensorAmax goes with NVFP4 profiles: the others have no scale of the whole tensor')
  if (tensorAmax !== undefined && !(tensorAmax >= 0)) throw new UsageError(`tensorAmax is ${tensorAmax}, must be a number of at least 0`)
  if (q.rounding === 'stochastic' && !random) throw new UsageError('rounding stochastic needs random: { seed }')
  const source = random && randomSource(p, random)
  let from = write(p, x.data, shape)
  if (transform) from = emitTransform(p, from, axes, transform)
  if (nvfp4) {
    const scales = codesTensor(arena, nvfp4ScaleShape(shape, axes)), codes = codesTensor(arena, shape), scale = arena.tensor(1)
    nvfp4TensorScale(p, tensorAmax === undefined ? from : arena.from([tensorAmax], 1), scale, q.recipe)
    quantizeNvfp4(p, from, { codes, scales }, axes, q, scale, source)
    return () => {
      const s = arena.f32(scale)[0]!, tensorScale = isInverse(q.recipe) ? Math.fround(1 / s) : s
      return { shape, format, codes: bytes(p, codes), scales: bytes(p, scales), scale: { format: 'ue4m3', block }, axis: axes, tensorScale }
    }
  }
  const codes = codesTensor(arena, shape), scales = codesTensor(arena, scaleShape(shape, axes, q.blockSize))
  quantizeCodes(p, from, codes, scales, axes, q, source)
  return () => ({ shape, format, codes: bytes(p, codes), scales: bytes(p, scales), scale: { format: 'e8m0', block }, axis: axes, tensorScale: 1 })
}

/** Emit dst = the values of x. Throws UsageError for shapes, codes and scales that do not fit. */
export function emitDequantize(p: Program, x: ScaledMatrix & { readonly axis?: Axes, readonly tensorScale?: number }): () => Matrix {
  const { shape, scale, tensorScale = 1 } = x, axes = resolveAxes(shape, x.axis ?? -1)
  const wanted = scalesShape(shape, axes, scale.block)
  const codes = unpacked('x', x)
  if (x.scaleLayout === '128x4' && (shape.length !== 2 || axes !== 1)) throw new UsageError(`x: scale layout 128x4 goes with a matrix in blocks along its last axis, not with shape [${shape}] along ${axes}`)
  const given = x.scaleLayout === '128x4' ? scalesOf('x', x) : x.scales
  if (given.length !== size(wanted)) throw new UsageError(`x: ${given.length} scales; shape [${shape}] with blocks of ${scale.block} along axis ${axes} has ${size(wanted)}`)
  const [axis, scales] = typeof axes === 'number' ? [axes, given] : [axes[1], repeatRows(given, wanted, shape[axes[0]]!, scale.block)]
  if (scale.format === 'e8m0' && tensorScale !== 1) throw new UsageError(`tensorScale is ${tensorScale}: e8m0 scales go without one`)
  const out = emitValues(p, x, shape, axis, codes, scales, tensorScale)
  return () => ({ shape, data: p.arena.f32(out).slice() })
}

/** Emit the values of codes with plain scales along `axis`. Throws UsageError. */
export function emitValues(p: Program, { format, scale }: ScaledMatrix, shape: readonly number[], axis: number, codes: Uint8Array | Uint16Array | Uint32Array, scales: Uint8Array, tensorScale = 1): Tensor {
  const out = p.arena.tensor(...shape), c = writeCodes(p, codes, shape), s = writeCodes(p, scales, scaleShape(shape, axis, scale.block))
  const nvfp4 = scale.format === 'ue4m3'
  if (nvfp4 && (format !== 'e2m1' || scale.block !== NVFP4_BLOCK)) throw new UsageError(`ue4m3 scales go with e2m1 in blocks of ${NVFP4_BLOCK}, not with ${format} in blocks of ${scale.block}`)
  dequantize(p, c, s, out, axis, format, scale.block, nvfp4 ? { scale: p.arena.from([tensorScale], 1), inverse: false } : undefined)
  return out
}

/** A matrix quantized in blocks along its last axis, or in tiles, with one scale per block of each row: as a product takes it. Throws UsageError for another axis. */
export function rowScales(x: Quantized): Quantized {
  const axes = resolveAxes(x.shape, x.axis), last = x.shape.length - 1
  if (typeof axes !== 'number') return { ...x, axis: last, scales: repeatRows(x.scales, scalesShape(x.shape, axes, x.scale.block), x.shape[axes[0]]!, x.scale.block) }
  if (axes !== last) throw new UsageError(`blocks of shape [${x.shape}] run along axis ${axes}, a product takes them along K, the last one`)
  return x
}

/** Numbers to core memory, bit for bit. */
export function write(p: Program, data: Float32Array, shape: readonly number[]): Tensor {
  const t = p.arena.tensor(...shape)
  p.arena.u32(t).set(new Uint32Array(data.buffer, data.byteOffset, data.length))
  return t
}

/** Codes to core memory. */
export function writeCodes(p: Program, codes: Uint8Array | Uint16Array | Uint32Array, shape: readonly number[]): Codes {
  const ptr = p.arena.allocBytes(codes.byteLength)
  p.arena.u8(ptr, codes.byteLength).set(new Uint8Array(codes.buffer, codes.byteOffset, codes.byteLength))
  return { ptr, shape, width: codes.BYTES_PER_ELEMENT as 1 | 2 }
}

/** Codes as they lie in core memory, copied. */
export const bytes = (p: Program, c: Codes): Uint8Array => p.arena.u8(c.ptr, size(c.shape) * c.width).slice()

function randomSource(p: Program, { seed, stream = 0, step = 0n }: NonNullable<QuantizeOptions['random']>): RandomSource {
  const stepPtr = p.arena.allocBytes(8)
  new DataView(p.arena.memory.buffer).setBigUint64(stepPtr, step, true)
  return { seed, stream, stepPtr }
}

function emitTransform(p: Program, x: Tensor, axes: Axes, { signs, round }: Transform): Tensor {
  if (typeof axes !== 'number') throw new UsageError('hadamard goes with blocks along one axis, not with tiles')
  hadamard(p, x, x, axes, signVector(p.arena, signs))
  if (round !== undefined && round !== 'bf16') throw new UsageError(`hadamard: round is ${JSON.stringify(round)}, must be bf16 or left out`)
  if (round) roundElements(p, x, x, bf16Even)
  return x
}

/** One scale per tile -> one per block of each row: [..., bands, n] -> [..., rows, n]. */
function repeatRows(scales: Uint8Array, shape: readonly number[], rows: number, block: number): Uint8Array {
  const n = shape.at(-1)!, bands = shape.at(-2)!, outer = size(shape.slice(0, -2))
  const out = new Uint8Array(outer * rows * n)
  for (let o = 0; o < outer; o++) for (let r = 0; r < rows; r++) out.set(scales.subarray((o * bands + Math.floor(r / block)) * n, (o * bands + Math.floor(r / block) + 1) * n), (o * rows + r) * n)
  return out
}
