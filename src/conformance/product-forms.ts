// In which form the operands of a matrix product may have entered, and which units take that form; the operands, cut, permuted and converted as that needs. Both
// operands have K last.
import type { FormatName } from '../numerics/formats.ts'
import { mmaConfig, mmaModels, type MmaModel } from '../numerics/mma.ts'
import { halfCode, matrix, scalesOf, transposed, unpacked, type CodedMatrix, type Matrix, type ScaledMatrix } from '../core/operands.ts'
import { range } from './product-orders.ts'

/** An operand [rows, K] with one code per array element and plain scales. */
export type ProductOperand = Matrix | CodedMatrix | ScaledMatrix

export const isScaled = (x: ProductOperand): x is ScaledMatrix => 'scales' in x
export const isCoded = (x: ProductOperand): x is CodedMatrix => 'codes' in x

/** Unpacked, scales plain. Throws UsageError for what does not fit. */
export function plainOperand(name: string, x: ProductOperand): ProductOperand {
  if (!isCoded(x)) return x
  const codes = unpacked(name, x), { packing: _, ...rest } = x
  return isScaled(x) ? { ...rest, codes, scales: scalesOf(name, x), scaleLayout: 'plain' } as ScaledMatrix : { ...rest, codes }
}

/** Codes without their scales. */
export const unscaled = ({ shape, format, codes }: ScaledMatrix): CodedMatrix => ({ shape, format, codes })

/** A matrix with rows and columns exchanged. Throws UsageError for what is none. */
export function turned(name: string, x: Matrix | CodedMatrix): Matrix | CodedMatrix {
  const { shape, format, data, codes } = transposed(matrix(name, x))
  return data ? { shape, data } : { shape, format: format!, codes: codes! }
}

type Words = Uint8Array | Uint16Array | Uint32Array | Float32Array

/** Elements [rows[i], columns[j]] of a row-major array; bits, not numbers. */
function pick<T extends Words>(from: T, width: number, rows: readonly number[], columns: ArrayLike<number>): T {
  const to = new (from.constructor as new (n: number) => T)(rows.length * columns.length)
  const [source, target] = from instanceof Float32Array ? [new Uint32Array(from.buffer, from.byteOffset, from.length), new Uint32Array(to.buffer)] : [from as Uint8Array, to as Uint8Array]
  rows.forEach((r, i) => { for (let j = 0; j < columns.length; j++) target[i * columns.length + j] = source[r * width + columns[j]!]! })
  return to
}

/** Some rows of an operand. */
export function rowsOf<T extends ProductOperand>(x: T, rows: readonly number[]): T {
  const K = x.shape[1]!, all = range(0, K), shape = [rows.length, K]
  if (!isCoded(x)) return { ...x, shape, data: pick((x as Matrix).data, K, rows, all) }
  const codes = pick(x.codes, K, rows, all)
  if (!isScaled(x)) return { ...(x as object), shape, codes } as unknown as T
  const n = Math.ceil(K / x.scale.block)
  return { ...(x as object), shape, codes, scales: pick(x.scales, n, rows, range(0, n)) } as unknown as T
}

/** Columns `k` of an operand, which keep whole blocks together. */
export function columnsOf<T extends ProductOperand>(x: T, k: readonly number[]): T {
  const [R, K] = x.shape as [number, number], rows = range(0, R), shape = [R, k.length]
  if (!isCoded(x)) return { ...x, shape, data: pick((x as Matrix).data, K, rows, k) }
  const codes = pick(x.codes, K, rows, k)
  if (!isScaled(x)) return { ...(x as object), shape, codes } as unknown as T
  const { block } = x.scale
  return { ...(x as object), shape, codes, scales: pick(x.scales, Math.ceil(K / block), rows, range(0, Math.ceil(k.length / block)).map(j => k[j * block]! / block)) } as unknown as T
}

/** Are these f32 bits a NaN? */
export const isNaNWord = (w: number): boolean => (w & 0x7fffffff) > 0x7f800000
const nearest = (w: number, bits: number): number => isNaNWord(w) ? w : w + (2 ** (bits - 1) - 1) + (w >>> bits & 1)

/** bf16 code of an f32 word, nearest even. */
export const bf16Nearest = (w: number): number => isNaNWord(w) ? w >>> 16 | 0x40 : nearest(w, 16) >>> 16

/** FP16 code of an f32 word, nearest even, beyond the largest number Inf. */
export function fp16Nearest(w: number): number {
  const sign = w >>> 16 & 0x8000, exponent = (w >>> 23 & 255) - 112, fraction = w & 0x7fffff
  if (exponent === 143) return sign | 0x7c00 | (fraction ? 0x200 : 0)
  if (exponent > 30) return sign | 0x7c00
  if (exponent < -10) return sign
  // Subnormal: the significand moves down until the last place is 2^-24.
  const shift = exponent > 0 ? 13 : 14 - exponent, significand = exponent > 0 ? exponent << 23 | fraction : fraction | 0x800000
  return sign | significand + (2 ** (shift - 1) - 1) + (significand >>> shift & 1) >>> shift
}

/** Numbers rounded to nearest even in a format, as codes; tf32 as float32 words. */
export function rounded({ shape, data }: Matrix, format: 'bf16' | 'fp16' | 'tf32'): CodedMatrix {
  const words = new Uint32Array(data.buffer, data.byteOffset, data.length), codes = new (format === 'tf32' ? Uint32Array : Uint16Array)(words.length)
  if (format === 'bf16') for (let i = 0; i < words.length; i++) codes[i] = bf16Nearest(words[i]!)
  else if (format === 'fp16') for (let i = 0; i < words.length; i++) codes[i] = fp16Nearest(words[i]!)
  else for (let i = 0; i < words.length; i++) codes[i] = nearest(words[i]!, 13) & 0xffffe000
  return { shape, format, codes }
}

/** Numbers without their low 13 bits. */
export const cutToTf32 = ({ shape, data }: Matrix): CodedMatrix => ({ shape, format: 'tf32', codes: Uint32Array.from(new Uint32Array(data.buffer, data.byteOffset, data.length), w => w & 0xffffe000) })

/** Are all numbers of the format? */
export function areOf({ data }: Matrix, format: 'bf16' | 'fp16' | 'tf32'): boolean {
  if (format === 'fp16') return data.every(x => Number.isNaN(x) || halfCode(x) !== null)
  const mask = format === 'bf16' ? 0xffff : 0x1fff
  return new Uint32Array(data.buffer, data.byteOffset, data.length).every((w, i) => (w & mask) === 0 || Number.isNaN(data[i]!))
}

/** Models of one arithmetic: the first stands for all. */
interface Unit { readonly model: MmaModel, readonly names: readonly string[] }

const arithmeticOf = ({ algorithm, length, fraction, floor, rounding, accumulator, group }: MmaModel) => JSON.stringify([algorithm, length, fraction, floor, rounding, accumulator, group])

/** The units that take these operands, one per arithmetic. */
export function unitsFor(a: FormatName, b: FormatName, scale: ScaledMatrix['scale'] | null): Unit[] {
  const found = new Map<string, { model: MmaModel, names: string[] }>()
  for (const model of Object.values(mmaModels)) {
    if (!model.formats.includes(a) || !model.formats.includes(b)) continue
    if (scale ? !model.scales.some(s => s.format === scale.format && s.block === scale.block) : model.scales.length) continue
    const key = arithmeticOf(model), known = found.get(key)
    if (known) known.names.push(model.name)
    else found.set(key, { model, names: [model.name] })
  }
  return [...found.values()]
}

/** The confidence with which a unit's name is known for these operands. */
export const confidenceOf = (name: string, a: FormatName, b: FormatName): string => mmaConfig(name, { a, b }).confidence
