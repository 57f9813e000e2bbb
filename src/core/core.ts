// The numeric API over one executor: matrices in, matrices out, as typed arrays. Works on any executor, with the same bits on any number of threads.
//
// A product is D = alpha * (A B) + beta * C in the conventions of torch and cuBLAS; which arithmetic sums it is chosen by name (`accumulate`): f32, with fused
// multiply-adds or without, f64, exact, or a modelled matrix unit (src/numerics/mma.ts). Block-scaled operands are both stored with K contiguous, [M, K] and [N, K], as cuBLAS and torch._scaled_mm take them
// (torch's `b.t()` of an [N, K] tensor). NVFP4's tensor scales go into alpha.
import { UsageError, lookup } from '../errors.ts'
import { castPolicies } from '../numerics/cast.ts'
import { formats, type FormatName } from '../numerics/formats.ts'
import { mmaConfig, mmaFamilies, mmaModelBeside, mmaModels, resolveMma, type Confidence, type MmaConfig, type MmaScale } from '../numerics/mma.ts'
import { namedQuantizer, type ProfileName, type Quantizer, type QuantizerChanges } from '../numerics/named-quantizers.ts'
import { codesTensor, codeWidth, decodeElements, encodeElements } from '../ops/codes.ts'
import { accumulate as emitAccumulate, epilogue, isPlainSum, nanOf, outputs, plainSums, type Output, type PlainSum, type Product } from '../ops/matmul.ts'
import type { MmaCodes } from '../ops/mma.ts'
import type { Executor } from '../runtime/executor.ts'
import type { Tensor } from '../runtime/memory.ts'
import { Program } from '../runtime/program.ts'
import { halfCode, matrix, scalesOf, transposed, type CodedMatrix, type Matrix, type Operand, type ScaledMatrix } from './operands.ts'
import { bytes, emitDequantize, emitQuantize, emitValues, write, writeCodes, type Axes, type Quantized, type QuantizeOptions } from './quantized.ts'

export type { CodedMatrix, Matrix, ScaledMatrix } from './operands.ts'
export { teHadamard, type Axes, type Quantized, type QuantizeOptions, type Transform } from './quantized.ts'

/** `f32`, `f32-fma`, `f64`, `exact`, an MMA model's name, or an architecture whose unit for the operands is meant. */
export type Accumulate = 'f32' | 'f32-fma' | 'f64' | 'exact' | (string & {})

/** How a product is computed and what is done with it: D = alpha (A B) + beta C. */
export interface ProductOptions {
  /** Default `f32`. */
  readonly accumulate?: Accumulate
  /** Factor of the product, f32; default 1. */
  readonly alpha?: number
  /** Factor of `c`, f32; default 0, or 1 where c is given. */
  readonly beta?: number
  /** [M, N], added after the product. */
  readonly c?: Matrix
  /** [M, N], where the sums start (D = A B + C of one instruction). Not with splitK, not for `exact`. */
  readonly start?: Matrix
  /** Output type; default f32. bf16 and f16 are rounded from f32 to nearest even. */
  readonly out?: Output
  /** Cut K into this many parts, as equal as the unit's step allows; they are summed apart and added in f32, in order. Default 1. */
  readonly splitK?: number
  /** Cut K into parts of this length instead: promotion of short sums to f32. */
  readonly promoteK?: number
}

/** A product: `data` for f32, else `codes` of bf16 or FP16; and what is known of the arithmetic. */
export interface ProductResult {
  readonly shape: readonly [number, number]
  readonly format: Output
  readonly data: Float32Array
  /** The output as it is stored: f32 words, or bf16 or FP16 codes. */
  readonly codes: Uint32Array | Uint16Array
  /** The matrix unit modelled, and how sure its model is; null for sums that are no unit's. */
  readonly model: { readonly name: string, readonly confidence: Confidence, readonly source: string } | null
}

/**
 * Products and quantizers over typed arrays, on any executor; calls wait for each other. Each builds a small program and gives its memory back, so a caller that
 * repeats the same shapes is faster with a `Program` of its own.
 */
export class Core {
  readonly executor: Executor
  /** Calls wait for each other: they share the executor's memory. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(executor: Executor) { this.executor = executor }

  /**
   * a [M, K] times b [K, N] (with transB: [N, K]), unscaled: f32 numbers or codes. A matrix unit takes numbers only if each is exactly one of its format's, except
   * tf32, which drops the low 13 bits as the hardware does. Throws UsageError for shapes, codes and names that do not fit.
   */
  async matmul(a: Matrix | CodedMatrix, b: Matrix | CodedMatrix, options: ProductOptions & { readonly transB?: boolean } = {}): Promise<ProductResult> {
    const { accumulate = 'f32', transB = false } = options
    const left = matrix('a', a), right = transB ? matrix('b', b) : transposed(matrix('b', b))
    const [M, K] = left.shape, [N, bK] = right.shape
    if (K !== bK) throw new UsageError(`matmul: a [${a.shape}] times b [${b.shape}]${transB ? ' transposed' : ''}: the inner sizes ${K} and ${bK} differ`)
    const plain = withoutUnit(accumulate)
    if (plain) return this.#product(M, N, K, options, null, p => ({ accumulate: plain, a: this.#values(p, left), b: this.#values(p, right) }))
    const config = unit(accumulate, left.format ?? null, right.format ?? null, null)
    const [x, y] = [await this.#codesOf('a', left, config.a), await this.#codesOf('b', right, config.b)]
    return this.#product(M, N, K, options, config, p => ({ accumulate: config, a: this.#put(p, x, M, K), b: this.#put(p, y, N, K) }))
  }

  /** a [M, K] times the transpose of b [N, K], both block-scaled along K. alpha is the product of their tensor scales if not given. Throws UsageError for shapes, scales, codes and names that do not fit. */
  async scaledMatmul(a: ScaledMatrix, b: ScaledMatrix, given: ProductOptions = {}): Promise<ProductResult> {
    const { accumulate = 'f32', alpha = Math.fround((a.tensorScale ?? 1) * (b.tensorScale ?? 1)) } = given, options = { ...given, alpha }
    const left = matrix('a', a), right = matrix('b', b)
    const [M, K] = left.shape, [N, bK] = right.shape
    if (K !== bK) throw new UsageError(`scaledMatmul: a [${a.shape}] and b [${b.shape}]: both hold K last, and ${K} and ${bK} differ`)
    if (a.scale.format !== b.scale.format || a.scale.block !== b.scale.block) throw new UsageError(`scaledMatmul: a has scales ${a.scale.format}/${a.scale.block}, b ${b.scale.format}/${b.scale.block}; they must agree`)
    const scales = [scalesOf('a', a), scalesOf('b', b)] as const
    const plain = withoutUnit(accumulate)
    if (plain) return this.#product(M, N, K, options, null, p => ({ accumulate: plain, a: emitValues(p, a, left.shape, 1, left.codes!, scales[0]), b: emitValues(p, b, right.shape, 1, right.codes!, scales[1]) }))
    const config = unit(accumulate, a.format, b.format, a.scale as MmaScale)
    return this.#product(M, N, K, options, config, p => ({
      accumulate: config, a: this.#put(p, left.codes!, M, K, scales[0]), b: this.#put(p, right.codes!, N, K, scales[1]),
    }))
  }

  /**
   * Blocks of `x` along `axis` (default the last), or tiles over its last two, to codes and scales. `quantizer`: a profile's name (with format, block and rounding, if not
   * the profile's own), or the quantizer itself. Formulas: docs/numerics.md. Throws UsageError for shapes, axes, names and choices that do not fit.
   */
  async quantize(x: Matrix, quantizer: ProfileName | Quantizer, options: QuantizeOptions & QuantizerChanges = {}): Promise<Quantized> {
    const q = typeof quantizer === 'string' ? namedQuantizer(quantizer, options) : quantizer
    return this.#alone(p => emitQuantize(p, x, q, options))
  }

  /** The f32 value of every element: its code's value times its block's scale, rounded once; for E4M3 scales, times fl(scale * tensorScale). Throws UsageError for shapes, codes and scales that do not fit. */
  async dequantize(x: ScaledMatrix & { readonly axis?: Axes, readonly tensorScale?: number }): Promise<Matrix> {
    return this.#alone(p => emitDequantize(p, x))
  }

  /** The f32 value of every code of a matrix without scales; tf32 loses its low 13 bits. Throws UsageError. */
  async decode(x: CodedMatrix): Promise<Matrix> {
    const operand = matrix('x', x)
    return this.#alone(p => {
      const values = this.#values(p, operand)
      return () => ({ shape: x.shape, data: p.arena.f32(values).slice() })
    })
  }

  // ---- Running one program at a time ----

  /** Emit with `body`, run, and read the result with the function it returns; memory is given back. */
  #alone<T>(body: (p: Program) => () => T): Promise<T> {
    const work = this.#last.then(async () => {
      const { arena } = this.executor, mark = arena.mark()
      try {
        const p = new Program(arena)
        const read = body(p)
        await this.executor.run(p)
        return read()
      } finally { arena.release(mark) }
    })
    this.#last = work.catch(() => undefined)
    return work
  }

  #product(M: number, N: number, K: number, options: ProductOptions, config: MmaConfig | null, operands: (p: Program) => Product): Promise<ProductResult> {
    const { alpha = 1, c, beta = c ? 1 : 0, out = 'f32', start } = options
    lookup(Object.fromEntries(outputs.map(o => [o, o])), out, 'output type')
    for (const [name, x] of Object.entries({ c, start })) {
      if (x && (x.shape.length !== 2 || x.shape[0] !== M || x.shape[1] !== N || x.data.length !== M * N)) throw new UsageError(`${name}: shape [${x.shape}] with ${x.data.length} numbers, [${M}, ${N}] needed`)
    }
    if (beta !== 0 && !c) throw new UsageError(`beta is ${beta}, but there is no c`)
    const half = config?.model.accumulator === 'f16'
    const cuts = cutsOf(K, config?.model.length ?? 1, options)
    const model = config && { name: config.model.name, confidence: config.confidence, source: config.model.source }
    if (M * N === 0) return Promise.resolve(result(M, N, out, new Uint8Array(0), model))
    return this.#alone(p => {
      const d = p.arena.tensor(M, N)
      if (start) this.#start(d, start, half)
      const product = operands(p)
      if (K > 0) emitAccumulate(p, product, d, { ...start && { start: d }, cuts })
      else if (!start) p.emit('fill_f32', [d.ptr, 0], M * N)
      const to = p.arena.allocBytes(M * N * (out === 'f32' ? 4 : 2))
      epilogue(p, d, to, { half, nan: nanOf(product.accumulate), output: out, alpha, beta, ...c && beta !== 0 && { c: write(p, c.data, c.shape) } })
      return () => result(M, N, out, p.arena.u8(to, M * N * (out === 'f32' ? 4 : 2)).slice(), model)
    })
  }

  /** First accumulators: f32 words, or FP16 codes, which the numbers must be. */
  #start(d: Tensor, { data }: Matrix, half: boolean): void {
    const words = this.executor.arena.u32(d)
    if (!half) return words.set(new Uint32Array(data.buffer, data.byteOffset, data.length))
    data.forEach((x, i) => {
      const code = halfCode(x)
      if (code === null) throw new UsageError(`start[${i}] = ${x} is not an FP16 number, and this unit accumulates in FP16`)
      words[i] = code
    })
  }

  // ---- Operands ----

  /** An operand of a matrix unit. */
  #put(p: Program, codes: Uint8Array | Uint16Array | Uint32Array, rows: number, K: number, scales?: Uint8Array): MmaCodes {
    return { ptr: writeCodes(p, codes, [rows, K]).ptr, rows, K, ...scales && { scales: writeCodes(p, scales, [scales.length]).ptr } }
  }

  /** An unscaled operand as f32. */
  #values(p: Program, { shape, data, format, codes }: Operand): Tensor {
    if (data) return write(p, data, shape)
    const out = p.arena.tensor(...shape)
    if (format === 'tf32') p.arena.u32(out).set(Uint32Array.from(codes!, word => (word & 0xffffe000) >>> 0))
    else decodeElements(p, writeCodes(p, codes!, shape), out, format!)
    return out
  }

  /** Codes of numbers that are all in `format`. */
  async #codesOf(name: string, { shape, data, codes }: Operand, format: FormatName): Promise<Uint8Array | Uint16Array | Uint32Array> {
    if (codes) return codes
    const words = new Uint32Array(data!.buffer, data!.byteOffset, data!.length)
    if (format === 'tf32') return words
    return this.#alone(p => {
      const x = write(p, data!, shape), back = p.arena.tensor(...shape), width = codeWidth(formats[format])
      const c = codesTensor(p.arena, shape, width)
      encodeElements(p, x, c, format, castPolicies.ml_dtypes)
      decodeElements(p, c, back, format)
      return () => {
        const got = p.arena.u32(back)
        const wrong = words.findIndex((w, i) => w !== got[i] && !((w & 0x7fffffff) > 0x7f800000 && (got[i]! & 0x7fffffff) > 0x7f800000))
        if (wrong >= 0) throw new UsageError(`${name}[${Math.floor(wrong / shape[1])}, ${wrong % shape[1]}] = ${data![wrong]} is not a number of ${format}: round the operand to the unit's format first`)
        const encoded = bytes(p, c)
        return width === 1 ? encoded : new Uint16Array(encoded.buffer)
      }
    })
  }
}

const withoutUnit = (accumulate: Accumulate): PlainSum | null => isPlainSum(accumulate) ? accumulate : null

/** The matrix unit meant. Formats of operands that came as numbers are null: then the other one's, or the unit's first. */
function unit(name: string, a: FormatName | null, b: FormatName | null, scale: MmaScale | null): MmaConfig {
  if (mmaFamilies.includes(name)) {
    const known = a ?? b
    if (!known) throw new UsageError(`accumulate ${name} is an architecture: with f32 operands name the unit, one of ${Object.keys(mmaModels).filter(m => m.startsWith(`${name}-`)).join(', ')}`)
    return resolveMma(name, { a: a ?? known, b: b ?? known, scale })
  }
  const first = mmaModelBeside([...Object.keys(plainSums), ...mmaFamilies], 'accumulator', name).formats[0]!
  const config = mmaConfig(name, { a: a ?? b ?? first, b: b ?? a ?? first, scale })
  if (config.scale && !scale) throw new UsageError(`accumulate ${name}: a block-scaled unit, its operands need block scales (scaledMatmul)`)
  return config
}

/** Where the parts of K begin. */
function cutsOf(K: number, step: number, { splitK, promoteK }: ProductOptions): number[] {
  if (splitK !== undefined && promoteK !== undefined) throw new UsageError('splitK and promoteK exclude each other')
  const [name, value] = splitK !== undefined ? ['splitK', splitK] as const : ['promoteK', promoteK] as const
  if (value === undefined) return []
  if (!Number.isInteger(value) || value < 1) throw new UsageError(`${name} is ${value}, must be a positive integer`)
  if (name === 'promoteK' && value % step) throw new UsageError(`promoteK is ${value}, must be a multiple of the unit's step, ${step}`)
  const length = name === 'promoteK' ? value : Math.ceil(Math.ceil(K / step) / value) * step
  return Array.from({ length: Math.max(0, Math.ceil(K / length) - 1) }, (_, i) => (i + 1) * length)
}

function result(M: number, N: number, format: Output, bytes: Uint8Array, model: ProductResult['model']): ProductResult {
  const codes = format === 'f32' ? new Uint32Array(bytes.buffer) : new Uint16Array(bytes.buffer)
  const data = format === 'f32' ? new Float32Array(bytes.buffer) : new Float32Array(Uint32Array.from(codes, code => {
    if (format === 'bf16') return code << 16 >>> 0
    const field = code >> 10 & 31, sign = (code & 0x8000) << 16 >>> 0, fraction = code & 0x3ff
    if (field === 31) return sign + 0x7f800000 + fraction * 8192
    return field ? sign + (field + 112) * 2 ** 23 + fraction * 8192 : sign + new Uint32Array(Float32Array.of(fraction * 2 ** -24).buffer)[0]!
  }).buffer)
  return { shape: [M, N], format, data, codes, model }
}
