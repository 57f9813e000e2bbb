// Conformance vectors of a matrix unit: dot products that provoke its rounding, alignment, cancellation, subnormals, special values and scale corners
// (mma-cases.ts), with the results of its model (src/oracle/mma.ts). As JSON of hex strings or as tensors. test/conformance/vectors.test.ts proves that a wrong
// rounding, truncation width or order fails some of them.
import { UsageError } from '../errors.ts'
import { packNibbles } from '../io/layouts.ts'
import type { Dtype, RawTensor } from '../io/safetensors.ts'
import { formats, type FormatName } from '../numerics/formats.ts'
import { codeBits, type MmaConfig } from '../numerics/mma.ts'
import { mmaElement } from '../oracle/mma.ts'
import { mmaTile } from './mma-cases.ts'

/** One dot product with its result. */
export interface Vector {
  readonly category: string
  /** Codes along k, one per entry. */
  readonly a: readonly number[]
  readonly b: readonly number[]
  /** Scale bytes per block of k. */
  readonly scaleA: readonly number[]
  readonly scaleB: readonly number[]
  /** Bits of the accumulator in and out. */
  readonly c: number
  readonly d: number
}

/** How many vectors, and which. */
export interface VectorOptions {
  readonly count: number
  readonly seed: number
  /** Chained steps of the unit along k: K = steps * length (default 2). */
  readonly steps?: number
  /** `any` (default): accumulators of every kind. `zero`: every case starts from +0, for kernels that take no C. */
  readonly start?: 'any' | 'zero'
}

/** Most vectors in one file. */
const MOST = 1_000_000

/** `count` vectors for `config`; a function of the configuration and the options alone. Throws UsageError for counts out of range. */
export function makeVectors(config: MmaConfig, { count, seed, steps = 2, start = 'any' }: VectorOptions): Vector[] {
  const whole = (name: string, n: number, least: number, most: number) => {
    if (!Number.isInteger(n) || n < least || n > most) throw new UsageError(`${name} is ${n}, must be a whole number ${least}..${most}`)
  }
  whole('count', count, 1, MOST)
  whole('seed', seed, 0, Number.MAX_SAFE_INTEGER)
  whole('steps', steps, 1, 1024)
  return Array.from({ length: count }, (_, index) => {
    const { category, a: [a], b: [b], c: [[drawn]], scaleA: [scaleA], scaleB: [scaleB] } = mmaTile(config, seed, index, 1, 1, steps) as unknown as { category: string } & Record<'a' | 'b' | 'scaleA' | 'scaleB', [number[]]> & { c: [[number]] }
    const c = start === 'zero' ? 0 : drawn
    return { category: start === 'zero' ? `${category.split('/')[0]}/zero` : category, a, b, scaleA, scaleB, c, d: mmaElement(config, a, b, c, scaleA, scaleB) }
  })
}

/** What both forms say about their origin. */
function header(config: MmaConfig, { seed, steps = 2 }: VectorOptions) {
  const { model, a, b, scale, confidence } = config
  return {
    generator: 'blockscale vectors', model: model.name, instruction: model.instruction, confidence, source: model.source,
    a_format: a, b_format: b, scale_format: scale?.format ?? 'none', block: scale?.block ?? 0, accumulator: model.accumulator, K: model.length * steps, step: model.length, seed,
    rule: 'd bit equal; any NaN equals any NaN; the sign of a zero d is not verified on hardware',
  }
}

const hex = (values: readonly number[], bits: number): string => values.map(v => v.toString(16).padStart(bits / 4, '0')).join('')

/** JSON text: the header's fields, then `cases` with hex strings, one fixed-width field per code in increasing k (a byte per FP8, FP6 or FP4 code). */
export function vectorsJson(config: MmaConfig, options: VectorOptions, vectors: readonly Vector[]): string {
  const width = config.model.accumulator === 'f16' ? 16 : 32
  const cases = vectors.map(v => JSON.stringify({
    category: v.category, a: hex(v.a, codeBits(config.a)), b: hex(v.b, codeBits(config.b)), ...config.scale && { sa: hex(v.scaleA, 8), sb: hex(v.scaleB, 8) }, c: hex([v.c], width), d: hex([v.d], width),
  }))
  return `${JSON.stringify(header(config, options)).slice(0, -1)},"cases":[\n${cases.join(',\n')}\n]}\n`
}

/** The dtype under which a format travels; formats that safetensors does not name, and FP6, one code per byte. */
const dtypes: Partial<Record<FormatName, Dtype>> = { e4m3: 'F8_E4M3', e5m2: 'F8_E5M2', fp16: 'F16', bf16: 'BF16', tf32: 'F32', e2m1: 'F4' }

/**
 * Tensors: a, b [count, K] (FP4 packed, the even k in the low half), c, d [count], and for scaled units scale_a, scale_b [count, K / block] (E8M0 as F8_E8M0, UE4M3 as F8_E4M3);
 * `metadata` is the header. Case i is row i of a with row i of b: of a whole product A B^T, the diagonal.
 */
export function vectorsTensors(config: MmaConfig, options: VectorOptions, vectors: readonly Vector[]): { tensors: [string, RawTensor][], metadata: Record<string, string> } {
  const n = vectors.length, K = vectors[0]!.a.length
  const operand = (format: FormatName, rows: readonly (readonly number[])[]): RawTensor => {
    const bits = codeBits(format), flat = rows.flat()
    const Type = bits === 8 ? Uint8Array : bits === 16 ? Uint16Array : Uint32Array
    const codes = Type.from(flat)
    return { dtype: dtypes[format] ?? 'U8', shape: [n, K], bytes: formats[format].bits === 4 ? packNibbles(codes) : new Uint8Array(codes.buffer) }
  }
  const accumulators = (values: number[]): RawTensor => config.model.accumulator === 'f16'
    ? { dtype: 'F16', shape: [n], bytes: new Uint8Array(Uint16Array.from(values).buffer) } : { dtype: 'F32', shape: [n], bytes: new Uint8Array(Uint32Array.from(values).buffer) }
  const scales = (rows: readonly (readonly number[])[]): RawTensor => ({ dtype: config.scale!.format === 'e8m0' ? 'F8_E8M0' : 'F8_E4M3', shape: [n, rows[0]!.length], bytes: Uint8Array.from(rows.flat()) })
  const tensors: [string, RawTensor][] = [
    ['a', operand(config.a, vectors.map(v => v.a))], ['b', operand(config.b, vectors.map(v => v.b))],
    ['c', accumulators(vectors.map(v => v.c))], ['d', accumulators(vectors.map(v => v.d))],
    ...config.scale ? [['scale_a', scales(vectors.map(v => v.scaleA))], ['scale_b', scales(vectors.map(v => v.scaleB))]] as [string, RawTensor][] : [],
  ]
  return { tensors, metadata: Object.fromEntries(Object.entries(header(config, options)).map(([key, value]) => [key, String(value)])) }
}
