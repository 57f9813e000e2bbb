// Operands of the numeric API as typed arrays, and their checks: shapes, packings, code ranges, numbers of scales.
import { UsageError, lookup } from '../errors.ts'
import { unpackNibbles, unpackSixBits, unswizzleScales } from '../io/layouts.ts'
import { formats, type FormatName } from '../numerics/formats.ts'
import { codeBits } from '../numerics/mma.ts'
import { size } from '../runtime/memory.ts'

/** f32 numbers, row-major. */
export interface Matrix { readonly shape: readonly number[], readonly data: Float32Array }

/** Element codes, row-major. `shape` counts elements. tf32 codes are float32 words. */
export interface CodedMatrix {
  readonly shape: readonly number[]
  readonly format: FormatName
  readonly codes: Uint8Array | Uint16Array | Uint32Array
  /** `bytes` (default): one code per array element. `nibbles`: two 4-bit codes per byte, the even one in the low half. `six-bits`: four codes in three bytes. */
  readonly packing?: 'bytes' | 'nibbles' | 'six-bits'
}

/** Codes with one scale per block along the last axis. */
export interface ScaledMatrix extends CodedMatrix {
  readonly scales: Uint8Array
  /** Type of the scales and elements per block. */
  readonly scale: { readonly format: 'e8m0' | 'ue4m3', readonly block: number }
  /** `plain` (default): [rows, ceil(K / block)], row-major. `128x4`: the tiles of cuBLAS and tcgen05, rows padded to 128 and columns to 4. */
  readonly scaleLayout?: 'plain' | '128x4'
  /** NVFP4: decoding scale of the whole tensor, default 1. In a product it goes into alpha. */
  readonly tensorScale?: number
}

/** A checked operand, row-major, one code per array element. */
export interface Operand { readonly shape: readonly [number, number], readonly data?: Float32Array, readonly format?: FormatName, readonly codes?: Uint8Array | Uint16Array | Uint32Array }

/** Sizes are whole numbers and give `count` elements. */
export function dense(name: string, shape: readonly number[], count: number): void {
  if (!shape.every(d => Number.isSafeInteger(d) && d >= 0)) throw new UsageError(`${name}: shape [${shape}] must hold whole numbers`)
  if (size(shape) !== count) throw new UsageError(`${name}: shape [${shape}] has ${size(shape)} elements, ${count} are given`)
}

/** One code per array element, in range. */
export function unpacked(name: string, { shape, format, codes: given, packing = 'bytes' }: CodedMatrix): Uint8Array | Uint16Array | Uint32Array {
  const f = lookup(formats, format, 'format'), bits = codeBits(format)
  let codes = given
  if (packing !== 'bytes') {
    const [needs, unpack] = packing === 'nibbles' ? [4, unpackNibbles] as const : packing === 'six-bits' ? [6, unpackSixBits] as const : [0, null] as const
    if (!unpack) throw new UsageError(`${name}: unknown packing ${JSON.stringify(packing)}: use one of bytes, nibbles, six-bits`)
    if (f.bits !== needs || !(codes instanceof Uint8Array)) throw new UsageError(`${name}: packing ${packing} goes with ${needs}-bit codes in bytes, not with ${format}`)
    codes = unpack(codes)
  }
  const Type = bits === 8 ? Uint8Array : bits === 16 ? Uint16Array : Uint32Array
  if (!(codes instanceof Type)) throw new UsageError(`${name}: codes of ${format} come as ${Type.name}, got ${(codes as object)?.constructor?.name}`)
  dense(name, shape, codes.length)
  if (f.bits < 8) {
    const count = 2 ** f.bits
    let wrong = 0
    while (wrong < codes.length && codes[wrong]! < count) wrong++ // findIndex is a call per code
    if (wrong < codes.length) throw new UsageError(`${name}: code ${codes[wrong]} at element ${wrong} is out of range, ${format} has ${count} codes`)
  }
  return codes
}

/** A matrix as an operand. Throws UsageError. */
export function matrix(name: string, x: Matrix | CodedMatrix): Operand {
  if (x.shape.length !== 2) throw new UsageError(`${name}: shape [${x.shape}], a matrix is needed`)
  const shape = x.shape as readonly [number, number]
  if ('format' in x) return { shape, format: x.format, codes: unpacked(name, x) }
  if (!(x.data instanceof Float32Array)) throw new UsageError(`${name}: data must be a Float32Array`)
  dense(name, shape, x.data.length)
  return { shape, data: x.data }
}

/** The same with rows and columns exchanged. */
export function transposed(x: Operand): Operand {
  const [R, C] = x.shape
  const turn = <T extends Float32Array | Uint8Array | Uint16Array | Uint32Array>(from: T): T => {
    const to = new (from.constructor as new (n: number) => T)(R * C)
    // Bits, not numbers: a NaN keeps its payload.
    const [source, target] = from instanceof Float32Array ? [new Uint32Array(from.buffer, from.byteOffset, from.length), new Uint32Array(to.buffer)] : [from, to]
    for (let r = 0; r < R; r++) for (let c = 0; c < C; c++) target[c * R + r] = source[r * C + c]!
    return to
  }
  return { shape: [C, R], ...x.format && { format: x.format }, ...x.data && { data: turn(x.data) }, ...x.codes && { codes: turn(x.codes) } }
}

/** Plain scales [rows, ceil(K / block)] of a matrix, in range. */
export function scalesOf(name: string, { shape, scales, scale, scaleLayout = 'plain' }: ScaledMatrix): Uint8Array {
  if (scale.format !== 'e8m0' && scale.format !== 'ue4m3') throw new UsageError(`${name}: unknown scale format ${JSON.stringify(scale.format)}: use one of e8m0, ue4m3`)
  if (!Number.isInteger(scale.block) || scale.block < 1) throw new UsageError(`${name}: block is ${scale.block}, must be a positive integer`)
  const [rows, columns] = [shape[0]!, Math.ceil(shape[1]! / scale.block)]
  if (scaleLayout === '128x4') return unswizzleScales(scales, rows, columns)
  if (scaleLayout !== 'plain') throw new UsageError(`${name}: unknown scale layout ${JSON.stringify(scaleLayout)}: use one of plain, 128x4`)
  if (scales.length !== rows * columns) throw new UsageError(`${name}: ${scales.length} scales; shape [${shape}] with blocks of ${scale.block} has ${rows * columns}`)
  return scales
}

/** FP16 code of a number, or null if it is none. */
export function halfCode(x: number): number | null {
  const word = new Uint32Array(Float32Array.of(x).buffer)[0]!
  const sign = word >>> 16 & 0x8000, field = word >>> 23 & 255, fraction = word & 0x7fffff
  if (field === 255) return sign | 0x7c00 | fraction >>> 13
  const magnitude = Math.abs(x)
  if (magnitude >= 65536 || !Number.isInteger(magnitude * 2 ** 24)) return null
  if (magnitude < 2 ** -14) return sign | magnitude * 2 ** 24
  return fraction & 0x1fff ? null : sign | (field - 112) << 10 | fraction >>> 13
}

