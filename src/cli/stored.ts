// Tensors in files as the numeric commands take and give them: numbers, element codes, or codes with scales. What a file does not say (an .npy knows no FP8),
// options say.
//
// A quantized tensor in a safetensors file: `codes` and `scales` (in OUT.safetensors:w: `w.codes`, `w.scales`), for NVFP4 `tensor_scale`, and metadata that say
// profile, format, block, axis, packing and layout, so that it is read back without options. In .npy: OUT.npy, OUT.scales.npy, OUT.tensor_scale.npy.
// GGUF: one U8 tensor of MXFP4 blocks.
import type { QuantizerOutput } from '../conformance/identify-quantizer.ts'
import type { Quantized } from '../core/core.ts'
import { lookup, UsageError } from '../errors.ts'
import { packGguf, packNibbles, packSixBits, swizzleScales, unpackGguf, unpackNibbles, unpackSixBits } from '../io/layouts.ts'
import { typed, type Dtype, type RawTensor } from '../io/safetensors.ts'
import { parseAddress, readSafetensorsHeader, readTensor, writeSafetensors, writeTensor } from '../io/tensor-file.ts'
import { formats, type FormatName } from '../numerics/formats.ts'
import { codeBits } from '../numerics/mma.ts'
import { scalesShape, type Axes } from '../core/quantized.ts'
import type { CodedMatrix, Matrix } from '../core/operands.ts'
import { decode } from '../oracle/codec.ts'

/** Formats that dtypes stand for. */
const formatOf: Partial<Record<Dtype, FormatName>> = { F8_E4M3: 'e4m3', F8_E5M2: 'e5m2', F6_E2M3: 'e2m3', F6_E3M2: 'e3m2', F4: 'e2m1', F16: 'fp16', BF16: 'bf16' }
const dtypeOf: Partial<Record<FormatName, Dtype>> = { e4m3: 'F8_E4M3', e5m2: 'F8_E5M2', int8: 'I8' }
const packedDtype: Partial<Record<FormatName, Dtype>> = { e2m1: 'F4', e2m3: 'F6_E2M3', e3m2: 'F6_E3M2' }

/** What options say of a stored tensor; each replaces what the file says. */
export interface StoredOptions {
  readonly format?: string
  /** The option that says it, for errors (default --format). */
  readonly formatOption?: string
  /** Address of the scales. */
  readonly scales?: string
  /** `e8m0/32`, `ue4m3/16`: type and block. */
  readonly scale?: string
  readonly axis?: string
  readonly scaleLayout?: string
  readonly tensorScale?: string
  /** Two FP4 codes per byte, four FP6 in three. */
  readonly packed?: boolean
  /** MXFP4 blocks of GGUF. */
  readonly gguf?: boolean
}

export type Stored = { kind: 'numbers', value: Matrix, dtype: Dtype } | { kind: 'codes', value: CodedMatrix } | { kind: 'quantized', value: Quantized, profile?: string }

let halves: Float32Array | undefined
/** A tensor of floating-point numbers as f32. Throws UsageError for other types. */
function numbersOf(address: string, t: RawTensor): Matrix {
  const { dtype, shape } = t
  if (dtype === 'F32') return { shape, data: typed(t, Float32Array) }
  if (dtype === 'BF16') return { shape, data: new Float32Array(Uint32Array.from(typed(t, Uint16Array), code => code << 16 >>> 0).buffer) }
  if (dtype === 'F16') {
    const table = halves ??= Float32Array.from({ length: 65536 }, (_, code) => decode(formats.fp16, code))
    return { shape, data: Float32Array.from(typed(t, Uint16Array), code => table[code]!) }
  }
  throw new UsageError(`${address}: ${dtype} numbers, F32, BF16 or F16 are needed${dtype === 'F64' ? ' (convert them to float32 first)' : ''}`)
}

/** Numbers in a file, as f32. Throws UsageError. */
export const readNumbers = (address: string): Matrix => numbersOf(address, readTensor(address))

/** `-1`, `0`, or two axes for tiles, `-2,-1`. Throws UsageError. */
export function parseAxes(option: string, text: string): Axes {
  const list = text.split(',').map(Number)
  if (!/^-?\d+(,-?\d+)?$/.test(text)) throw new UsageError(`${option} ${text}: must be an axis, such as -1, or two, such as -2,-1`)
  return list.length === 1 ? list[0]! : [list[0]!, list[1]!]
}

/** `e8m0/32` as type and block; `where` it was said, for errors. Throws UsageError. */
export function parseScaleType(where: string, text: string): Quantized['scale'] {
  const match = /^(e8m0|ue4m3)\/(\d{1,9})$/.exec(text)
  if (!match || match[2] === '0') throw new UsageError(`${where} ${text}: must be a type and a block, such as e8m0/32 or ue4m3/16`)
  return { format: match[1] as 'e8m0' | 'ue4m3', block: Number(match[2]) }
}

/** Parts of a quantized tensor at `address`, or null if one plain tensor is addressed. */
function group(address: string): { codes: string, scales: string, tensorScale?: string, metadata: Readonly<Record<string, string>> } | null {
  const { file, kind, name } = parseAddress(address)
  if (kind !== 'safetensors') return null
  const { extents, metadata } = readSafetensorsHeader(file), prefix = name === undefined ? '' : `${name}.`
  if (name !== undefined && extents.has(name) || !extents.has(`${prefix}codes`) || !extents.has(`${prefix}scales`)) return null
  const at = (part: string) => `${file}:${prefix}${part}`
  return { codes: at('codes'), scales: at('scales'), metadata, ...extents.has(`${prefix}tensor_scale`) && { tensorScale: at('tensor_scale') } }
}

/** The tensor at `address`. Throws UsageError that names it. */
export function readStored(address: string, options: StoredOptions = {}): Stored {
  const parts = group(address), metadata = parts?.metadata ?? {}
  const t = readTensor(parts?.codes ?? address)
  if (options.gguf || metadata.layout === 'gguf') return readGguf(address, t)
  const named = options.format ?? metadata.format ?? formatOf[t.dtype]
  const scalesAt = options.scales ?? parts?.scales
  if (scalesAt === undefined) {
    if (t.dtype === 'F32' && options.format === undefined) return { kind: 'numbers', value: numbersOf(address, t), dtype: 'F32' }
    if (options.scale !== undefined || options.scaleLayout !== undefined) throw new UsageError(`${address}: has no scales; say where they are`)
  }
  if (named === undefined) throw new UsageError(`${address}: ${t.dtype} says no element format; say it, as ${options.formatOption ?? '--format'} e4m3`)
  lookup(formats, named, 'format')
  const coded = { ...codesOf(address, t, named as FormatName, options.packed ?? (metadata.packing !== undefined && metadata.packing !== 'bytes')) }
  if (scalesAt === undefined) return { kind: 'codes', value: coded }
  const s = readTensor(scalesAt)
  const byDtype = s.dtype === 'F8_E8M0' ? 'e8m0' : s.dtype === 'F8_E4M3' ? 'ue4m3' : undefined
  if (!byDtype && s.dtype !== 'U8') throw new UsageError(`${scalesAt}: ${s.dtype} scales, F8_E8M0, F8_E4M3 or U8 are needed`)
  const known = metadata.scale_format ?? byDtype ?? 'e8m0'
  const scale = parseScaleType(options.scale === undefined ? `${scalesAt}: scales` : '--scale', options.scale ?? `${known}/${metadata.block ?? (known === 'e8m0' ? 32 : 16)}`)
  const scaleLayout = lookup({ 'plain': 'plain', '128x4': '128x4' } as const, options.scaleLayout ?? metadata.scale_layout ?? 'plain', 'scale layout')
  const axis = parseAxes('--axis', options.axis ?? metadata.axis ?? '-1')
  const tensorScale = options.tensorScale !== undefined ? number('--tensor-scale', options.tensorScale) : parts?.tensorScale ? readNumbers(parts.tensorScale).data[0]! : 1
  return { kind: 'quantized', value: { ...coded, scales: new Uint8Array(s.bytes), scale, scaleLayout, axis, tensorScale }, ...metadata.profile !== undefined && { profile: metadata.profile } }
}

/** Formats that codes may have when nothing says: those of OCP MX. */
const usual: readonly FormatName[] = ['e4m3', 'e5m2', 'e3m2', 'e2m3', 'e2m1', 'int8']

/** What some quantizer gave, as `identify` takes it: which formats and which scales these may be is not settled here. Throws UsageError. */
export function readDump(address: string, options: Pick<StoredOptions, 'format' | 'scales' | 'packed' | 'gguf'> = {}): { shape: readonly number[], output: QuantizerOutput } {
  const parts = group(address), t = readTensor(parts?.codes ?? address), metadata = parts?.metadata ?? {}, scalesAt = options.scales ?? parts?.scales
  if (options.format !== undefined) lookup(formats, options.format, 'format')
  if (options.gguf) {
    const { value: { shape, codes, scales } } = readGguf(address, t) as { value: Quantized }
    return { shape, output: { kind: 'codes', codes: codes as Uint8Array, formats: ['e2m1'], scales: { bytes: scales, shape: [...shape.slice(0, -1), shape.at(-1)! / 32], format: 'e8m0' } } }
  }
  if (scalesAt === undefined && (t.dtype === 'F32' || t.dtype === 'BF16' || t.dtype === 'F16')) {
    return { shape: t.shape, output: { kind: 'values', values: numbersOf(address, t).data, ...t.dtype !== 'F32' && { rounded: t.dtype === 'BF16' ? 'bf16' : 'fp16' } } }
  }
  const packed = options.packed ?? (metadata.packing !== undefined && metadata.packing !== 'bytes')
  const known = (options.format ?? (t.dtype === 'I8' ? 'int8' : formatOf[t.dtype]) ?? (packed ? metadata.format ?? 'e2m1' : undefined)) as FormatName | undefined
  const { shape, codes } = codesOf(address, t, known ?? 'e4m3', packed), most = (codes as Uint32Array).reduce((m, c) => Math.max(m, c), 0)
  if (!(codes instanceof Uint8Array)) throw new UsageError(`${address}: ${known} is no block format`)
  if (known && most >= 2 ** formats[known].bits) throw new UsageError(`${address}: code ${most} is out of range, ${known} has ${2 ** formats[known].bits} codes`)
  const some = known ? [known] : usual.filter(f => most < 2 ** formats[f].bits)
  if (scalesAt === undefined) return { shape, output: { kind: 'codes', codes, formats: some } }
  const s = readTensor(scalesAt), format = s.dtype === 'F8_E8M0' ? 'e8m0' : s.dtype === 'F8_E4M3' ? 'ue4m3' : undefined
  if (!format && s.dtype !== 'U8') throw new UsageError(`${scalesAt}: ${s.dtype} scales, F8_E8M0, F8_E4M3 or U8 are needed`)
  return { shape, output: { kind: 'codes', codes, formats: some, scales: { bytes: new Uint8Array(s.bytes), shape: s.shape, ...format && { format } } } }
}

/** A finite number, rounded to f32. Throws UsageError. */
export function number(option: string, text: string): number {
  const x = Math.fround(Number(text))
  if (text.trim() === '' || !Number.isFinite(x)) throw new UsageError(`${option} ${text}: must be a number`)
  return x
}

/** Codes one per array element. */
function codesOf(address: string, { dtype, shape, bytes }: RawTensor, format: FormatName, packed: boolean): CodedMatrix {
  const { bits } = formats[format], width = codeBits(format)
  const longer = (factor: number): number[] => [...shape.slice(0, -1), shape.at(-1)! * factor]
  if (dtype === 'F4' || dtype === 'F6_E2M3' || dtype === 'F6_E3M2') {
    if (bits !== (dtype === 'F4' ? 4 : 6)) throw new UsageError(`${address}: ${dtype} codes are not those of ${format}`)
    return { shape, format, codes: dtype === 'F4' ? unpackNibbles(bytes) : unpackSixBits(bytes) }
  }
  if (packed) {
    if (bits !== 4 && bits !== 6 || dtype !== 'U8') throw new UsageError(`${address}: packed codes are FP4 or FP6 in U8, not ${format} in ${dtype}`)
    if (shape.length === 0 || bits === 6 && shape.at(-1)! % 3) throw new UsageError(`${address}: shape [${shape}] does not hold whole groups of packed ${format} codes`)
    return bits === 4 ? { shape: longer(2), format, codes: unpackNibbles(bytes) } : { shape: longer(4 / 3), format, codes: unpackSixBits(bytes) }
  }
  const fits = { 8: ['U8', 'I8', 'F8_E4M3', 'F8_E5M2'], 16: ['U16', 'I16', 'F16', 'BF16'], 32: ['U32', 'I32', 'F32'] }[width]
  if (!fits.includes(dtype)) throw new UsageError(`${address}: ${dtype} does not hold codes of ${format}: use one of ${fits.join(', ')}`)
  const t = { dtype, shape, bytes }
  return { shape, format, codes: width === 8 ? typed(t, Uint8Array) : width === 16 ? typed(t, Uint16Array) : typed(t, Uint32Array) }
}

function readGguf(address: string, { dtype, shape, bytes }: RawTensor): Stored {
  if (dtype !== 'U8' || shape.length === 0 || shape.at(-1)! % 17) throw new UsageError(`${address}: GGUF's MXFP4 blocks are U8 of 17 bytes a block, not ${dtype} [${shape}]`)
  const { codes, scales } = unpackGguf(bytes)
  return { kind: 'quantized', value: { shape: [...shape.slice(0, -1), shape.at(-1)! / 17 * 32], format: 'e2m1', codes, scales, scale: { format: 'e8m0', block: 32 }, axis: -1, tensorScale: 1 } }
}

export interface WriteOptions { readonly packed?: boolean, readonly scaleLayout?: string, readonly gguf?: boolean, readonly metadata?: Readonly<Record<string, string>> }

/** Write q at `out`. The names of what was written. Throws UsageError for a layout that does not fit. */
export function writeQuantized(out: string, q: Quantized, { packed = false, scaleLayout = 'plain', gguf = false, metadata = {} }: WriteOptions): string[] {
  const { file, kind, name } = parseAddress(out), { shape, format, axis, scale } = q
  if (gguf && (packed || scaleLayout !== 'plain')) throw new UsageError('--gguf has its own packing and scale layout')
  const parts: Record<string, RawTensor> = gguf ? { blocks: ggufTensor(q) } : {
    codes: codesTensor(q, packed, kind),
    scales: { dtype: scale.format === 'e8m0' ? 'F8_E8M0' : 'F8_E4M3', ...scaleBytes(q, scaleLayout) },
    ...scale.format === 'ue4m3' && { tensor_scale: { dtype: 'F32', shape: [], bytes: new Uint8Array(Float32Array.of(q.tensorScale).buffer) } },
  }
  if (kind === 'npy') {
    const names = Object.keys(parts).map((part, i) => i === 0 ? file : file.replace(/\.npy$/, `.${part}.npy`))
    Object.values(parts).forEach((tensor, i) => writeTensor(names[i]!, tensor))
    return names
  }
  if (gguf) {
    writeSafetensors(file, [[name ?? 'blocks', parts.blocks!]], { ...metadata, format, layout: 'gguf' })
    return [`${file}:${name ?? 'blocks'}`]
  }
  const prefix = name === undefined ? '' : `${name}.`
  writeSafetensors(file, Object.entries(parts).map(([part, tensor]) => [`${prefix}${part}`, tensor] as const), {
    ...metadata, format, scale_format: scale.format, block: String(scale.block), axis: String(axis), packing: packed ? formats[format].bits === 4 ? 'nibbles' : 'six-bits' : 'bytes', scale_layout: scaleLayout, shape: JSON.stringify(shape),
  })
  return Object.keys(parts).map(part => `${file}:${prefix}${part}`)
}

function codesTensor({ shape, format, codes }: Quantized, packed: boolean, kind: 'npy' | 'safetensors'): RawTensor {
  if (!packed) return { dtype: dtypeOf[format] ?? 'U8', shape, bytes: codes as Uint8Array }
  const dtype = packedDtype[format], group = format === 'e2m1' ? 2 : 4
  if (!dtype) throw new UsageError(`--packed goes with ${Object.keys(packedDtype).join(', ')}, not with ${format}`)
  if (shape.at(-1)! % group) throw new UsageError(`--packed: the last axis of [${shape}] must be a multiple of ${group} for ${format}`)
  const bytes = format === 'e2m1' ? packNibbles(codes) : packSixBits(codes)
  return kind === 'npy' ? { dtype: 'U8', shape: [...shape.slice(0, -1), format === 'e2m1' ? shape.at(-1)! / 2 : shape.at(-1)! / 4 * 3], bytes } : { dtype, shape, bytes }
}

function scaleBytes({ shape, scales, scale, axis }: Quantized, layout: string): { shape: number[], bytes: Uint8Array } {
  const plain = scalesShape(shape, axis, scale.block)
  if (lookup({ 'plain': 0, '128x4': 1 }, layout, 'scale layout') === 0) return { shape: plain, bytes: scales }
  if (shape.length !== 2 || axis !== 1) throw new UsageError(`--scale-layout 128x4 goes with a matrix in blocks along its last axis, not with shape [${shape}] along ${axis}`)
  return { shape: [Math.ceil(plain[0]! / 128) * 128, Math.ceil(plain[1]! / 4) * 4], bytes: swizzleScales(scales, plain[0]!, plain[1]!) }
}

function ggufTensor({ shape, format, codes, scales, scale, axis }: Quantized): RawTensor {
  if (format !== 'e2m1' || scale.format !== 'e8m0' || scale.block !== 32 || axis !== shape.length - 1 || shape.at(-1)! % 32) throw new UsageError(`--gguf goes with e2m1, e8m0 scales per 32 along a last axis of whole blocks, not with ${format}, ${scale.format}/${scale.block} along ${axis} of [${shape}]`)
  return { dtype: 'U8', shape: [...shape.slice(0, -1), shape.at(-1)! / 32 * 17], bytes: packGguf(codes as Uint8Array, scales) }
}
