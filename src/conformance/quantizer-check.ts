// One dump of a quantized tensor in core memory, against which candidates are run on the kernels and compared bit for bit; a sample of it to rank them by; and the
// first element that a candidate does not explain. Shapes are brought to [outer, rows, columns].
import { UsageError } from '../errors.ts'
import { unswizzleScales, swizzledLength } from '../io/layouts.ts'
import { castPolicies } from '../numerics/cast.ts'
import { formats, type FormatName } from '../numerics/formats.ts'
import type { ProfileName, Quantizer } from '../numerics/named-quantizers.ts'
import { bf16Even } from '../numerics/profiles.ts'
import { codesTensor, decodeElements, encodeElements, quantizeCodes } from '../ops/codes.ts'
import { hadamard, signVector, TE_SIGNS } from '../ops/hadamard.ts'
import { nvfp4TensorScale, quantizeNvfp4 } from '../ops/nvfp4.ts'
import { fakeQuantize, roundElements } from '../ops/quantize.ts'
import { decode, decodeScale } from '../oracle/codec.ts'
import { emitQuantize, type Axes } from '../core/quantized.ts'
import type { Executor } from '../runtime/executor.ts'
import { size, type Tensor } from '../runtime/memory.ts'
import { Program } from '../runtime/program.ts'

/** What a quantizer gave. */
export type QuantizerOutput =
  | { readonly kind: 'codes', readonly codes: Uint8Array, /** Formats that the codes may have. */ readonly formats: readonly FormatName[], readonly scales?: { readonly bytes: Uint8Array, readonly shape: readonly number[], readonly format?: 'e8m0' | 'ue4m3' } }
  | { readonly kind: 'values', readonly values: Float32Array, /** The type that the values were rounded to. */ readonly rounded?: 'bf16' | 'fp16' }

/** Numbers and what became of them. */
export interface QuantizerDump { readonly shape: readonly number[], readonly x: Float32Array, readonly output: QuantizerOutput }

/** One explanation to try. `changed`: what differs from the profile, in words. */
export interface QuantizerCandidate {
  readonly profile: ProfileName
  readonly changed?: string
  readonly quantizer: Quantizer
  readonly format: FormatName
  readonly block: number
  /** Of [outer, rows, columns], to which any shape is brought: 2 (the last axis), 1 (the one before), or both for tiles. */
  readonly axis: 1 | 2 | readonly [1, 2]
  /** Layout of the scales in the dump; transposed: the blocks of a row (or column) in a column (or row). */
  readonly layout: 'plain' | '128x4' | 'transposed'
  readonly hadamard: boolean
  /** FP4: even elements in the high half. */
  readonly swapped: boolean
}

/** An element that a candidate does not explain: all that its code depends on, what the candidate makes of it, and what the dump has. */
export interface Counterexample {
  readonly coordinates: readonly number[]
  readonly input: number
  /** Largest magnitude of its block, NaN if there is one. */
  readonly blockAmax: number
  readonly tensorAmax?: number
  readonly expected: { readonly value: number, readonly code?: number, readonly scale?: number }
  readonly actual: { readonly value: number, readonly code?: number, readonly scale?: number }
}

/** How much a candidate explains. */
export interface QuantizerVerdict {
  readonly candidate: QuantizerCandidate
  /** Elements compared, and explained. */
  readonly checked: number
  readonly explained: number
  readonly counterexample?: Counterexample
}

/** Where blocks lie, and their scales. */
export type Place = Pick<QuantizerCandidate, 'axis' | 'block' | 'layout'>

/** Rows and columns of a piece of the sample: a multiple of the usual blocks. */
export const PIECE = 128
/** Blocks to look for where the scales do not tell. */
const BLOCKS = [32, 16, 64, 128]

/** Elements of a sample, a few pieces. */
const PIECES = 8

/** A dump in core memory, as [outer, rows, columns], against which candidates are checked. */
export class QuantizerCheck {
  readonly output: QuantizerOutput
  readonly #executor: Executor
  readonly #shape: readonly number[]
  readonly #dims: readonly [number, number, number]
  readonly #data: Float32Array
  readonly #x: Tensor
  readonly #amax: number
  /** NaN if the numbers hold one. */
  readonly #amaxNaN: number
  readonly #amaxGiven: boolean
  readonly #scales = new Map<string, Uint8Array>()
  #swapped: Uint8Array | undefined
  readonly #scalesAt: ((place: Place) => Uint8Array) | undefined

  private constructor(executor: Executor, shape: readonly number[], dims: readonly [number, number, number], x: Float32Array, output: QuantizerOutput, amax: readonly [number, number, boolean], scalesAt?: (place: Place) => Uint8Array) {
    this.#executor = executor
    this.#shape = shape
    this.#dims = dims
    this.#data = x
    this.output = output
    ;[this.#amax, this.#amaxNaN, this.#amaxGiven] = amax
    this.#scalesAt = scalesAt
    this.#x = executor.arena.tensor(...dims)
    executor.arena.u32(this.#x).set(new Uint32Array(x.buffer, x.byteOffset, x.length))
  }

  /** Bring a dump to core memory. Throws UsageError if its parts differ in size. */
  static of(executor: Executor, { shape, x, output }: QuantizerDump, tensorAmax?: number): QuantizerCheck {
    const n = size(shape), given = output.kind === 'codes' ? output.codes.length : output.values.length
    if (shape.length === 0 || x.length !== n) throw new UsageError(`identify: shape [${shape}] needs ${n} numbers, ${x.length} are given`)
    if (given !== n) throw new UsageError(`identify: the input has ${n} elements, the output ${given}`)
    const C = shape.at(-1)!, R = shape.at(-2) ?? 1
    let amax = 0, nan = false
    for (let i = 0; i < n; i++) { const a = Math.abs(x[i]!); if (a > amax) amax = a; else if (a !== a) nan = true }
    return new QuantizerCheck(executor, shape, [n / (R * C) || 0, R, C], x, output, tensorAmax === undefined ? [amax, nan ? NaN : amax, false] : [tensorAmax, tensorAmax, true])
  }

  /** Where blocks may lie, by the number and shape of the scales. */
  places(blocks?: readonly number[], axes?: readonly Axes[]): Place[] {
    const [outer, R, C] = this.#dims, rank = this.#shape.length
    const wanted = axes?.map(a => {
      const list = (typeof a === 'number' ? [a] : a).map(k => k < 0 ? k + rank : k)
      if (list.some(k => k !== rank - 1 && k !== rank - 2) || list.some(k => k < 0)) throw new UsageError(`identify: axis ${a}: blocks are looked for along the last two axes of shape [${this.#shape}]`)
      return list.length === 2 ? [1, 2] as const : list[0] === rank - 1 ? 2 as const : 1 as const
    }) ?? (rank === 1 ? [2 as const] : [2 as const, 1 as const, [1, 2] as const])
    const scales = this.output.kind === 'codes' ? this.output.scales : undefined, out: Place[] = []
    for (const axis of wanted) {
      const lengths = axis === 2 ? [C] : axis === 1 ? [R] : [R, C], tiles = typeof axis !== 'number'
      const own = scales && !blocks && !tiles ? [...BLOCKS, lengths[0]! / (scales.bytes.length / (outer * R * C / lengths[0]!))] : BLOCKS
      const tried = (blocks ?? [...new Set(own)]).map(b => b || Math.max(...lengths)).filter(b => Number.isInteger(b) && b >= 2 && (b <= Math.max(...lengths) || BLOCKS.includes(b)))
      for (const block of new Set(tried)) {
        if (tiles && block > PIECE) continue
        const shape = [outer, axis === 2 ? R : Math.ceil(R / block), axis === 1 ? C : Math.ceil(C / block)], count = size(shape)
        if (!scales) { out.push({ axis, block, layout: 'plain' }); continue }
        // A scale tensor of the input's rank says more than its size.
        const given = scales.shape.length === rank ? [size(scales.shape.slice(0, -2)), scales.shape.at(-2) ?? 1, scales.shape.at(-1)!] : null
        if (scales.bytes.length === count && (!given || given.every((d, i) => d === shape[i]))) out.push({ axis, block, layout: 'plain' })
        if (!tiles && scales.bytes.length === count && shape[1]! > 1 && shape[2]! > 1 && (!given || given[0] === outer && given[1] === shape[2] && given[2] === shape[1])) out.push({ axis, block, layout: 'transposed' })
        if (axis === 2 && outer === 1 && scales.bytes.length === swizzledLength(R, shape[2]!)) out.push({ axis, block, layout: '128x4' })
      }
    }
    return out
  }

  /** The dump's scales as plain ones. */
  #scalesOf(place: Place): Uint8Array {
    const key = `${place.axis} ${place.block} ${place.layout}`
    let scales = this.#scales.get(key)
    if (!scales) {
      const { bytes } = (this.output as { scales: { bytes: Uint8Array } }).scales
      const [, R, C] = this.#dims, [down, across] = place.axis === 2 ? [R, Math.ceil(C / place.block)] : [Math.ceil(R / place.block), C]
      scales = this.#scalesAt ? this.#scalesAt(place) : place.layout === '128x4' ? unswizzleScales(bytes, down, across)
        : place.layout === 'transposed' ? bytes.map((_, i) => { const at = i % (down * across); return bytes[i - at + at % across * down + Math.floor(at / across)]! }) : bytes
      this.#scales.set(key, scales)
    }
    return scales
  }

  /** Some pieces of the dump, cut at the borders of blocks; null if it is small itself. */
  sample(): QuantizerCheck | null {
    const [outer, R, C] = this.#dims
    if (outer * R * C <= 2 * PIECES * PIECE * PIECE) return null
    const h = Math.min(R, PIECE), w = Math.min(C, PIECE * Math.ceil(PIECE / h)), down = Math.max(1, Math.floor(R / h)), across = Math.max(1, Math.floor(C / w)), all = outer * down * across, n = Math.min(PIECES, all)
    const pieces = Array.from({ length: n }, (_, i) => { const k = Math.floor(i * all / n), slab = Math.floor(k / across); return { o: Math.floor(slab / down), r: slab % down * h, c: k % across * w } })
    const cut = <T extends Uint8Array | Float32Array>(from: T, rows: number, cols: number, hh: number, ww: number, at: (piece: typeof pieces[number]) => [number, number]): T => {
      const to = new (from.constructor as new (n: number) => T)(n * hh * ww), [source, target] = from instanceof Float32Array ? [new Uint32Array(from.buffer, from.byteOffset, from.length), new Uint32Array(to.buffer)] : [from as Uint8Array, to as Uint8Array]
      pieces.forEach((piece, i) => {
        const [r, c] = at(piece)
        for (let row = 0; row < hh; row++) { const start = (piece.o * rows + r + row) * cols + c; target.set(source.subarray(start, start + ww) as never, (i * hh + row) * ww) }
      })
      return to
    }
    const part = <T extends Uint8Array | Float32Array>(from: T) => cut(from, R, C, h, w, ({ r, c }) => [r, c])
    const output: QuantizerOutput = this.output.kind === 'values' ? { ...this.output, values: part(this.output.values) } : { ...this.output, codes: part(this.output.codes) }
    const scalesAt = (place: Place) => {
      const { axis, block } = place, b1 = axis === 2 ? 1 : block, b2 = axis === 1 ? 1 : block
      return cut(this.#scalesOf(place), Math.ceil(R / b1), Math.ceil(C / b2), Math.ceil(h / b1), Math.ceil(w / b2), ({ r, c }) => [r / b1, c / b2])
    }
    return new QuantizerCheck(this.#executor, [n, h, w], [n, h, w], part(this.#data), output, [this.#amax, this.#amaxNaN, this.#amaxGiven], this.output.kind === 'codes' && this.output.scales ? scalesAt : undefined)
  }

  /** Run a candidate and count what it explains. */
  async check(candidate: QuantizerCandidate): Promise<QuantizerVerdict> {
    const checked = size(this.#dims)
    return this.#run(candidate, got => ({ candidate, checked, explained: checked - this.#mismatches(candidate, got).count }))
  }

  /** What the candidate makes of the numbers: codes and scales, or values; views of core memory. */
  async #run<T>(candidate: QuantizerCandidate, read: (got: { codes?: Uint8Array, scales?: Uint8Array, values?: Float32Array }) => T): Promise<T> {
    const { arena } = this.#executor, mark = arena.mark(), p = new Program(arena), dims = this.#dims, { quantizer: q, axis, block } = candidate
    try {
      let x = this.#x
      if (candidate.hadamard) {
        const length = dims[axis as number]!
        if (length % TE_SIGNS.length) return read({})
        const turned = arena.tensor(...dims)
        hadamard(p, x, turned, axis as number, signVector(arena, TE_SIGNS))
        roundElements(p, turned, turned, bf16Even)
        x = turned
      }
      const scale = arena.tensor(1), b1 = axis === 2 ? 1 : block, b2 = axis === 1 ? 1 : block
      if (q.kind === 'nvfp4') nvfp4TensorScale(p, candidate.hadamard && !this.#amaxGiven ? x : arena.from([q.recipe === 'te' || q.recipe === 'cublas' ? this.#amax : this.#amaxNaN], 1), scale, q.recipe)
      if (this.output.kind === 'values') {
        const values = arena.tensor(...dims), { rounded } = this.output
        if (q.kind === 'nvfp4') quantizeNvfp4(p, x, { values }, axis, q, scale)
        else fakeQuantize(p, x, values, axis, q)
        if (rounded) {
          const codes = codesTensor(arena, dims, 2)
          encodeElements(p, values, codes, rounded, castPolicies.ml_dtypes)
          decodeElements(p, codes, values, rounded)
        }
        await this.#executor.run(p)
        return read({ values: arena.f32(values) })
      }
      if (q.kind === 'mx' && typeof axis !== 'number') {
        const tiles = emitQuantize(p, { shape: dims, data: this.#data }, q, { axis })
        await this.#executor.run(p)
        const { codes, scales } = tiles()
        return read({ codes: codes as Uint8Array, scales })
      }
      const codes = codesTensor(arena, dims), scales = codesTensor(arena, [dims[0], Math.ceil(dims[1] / b1), Math.ceil(dims[2] / b2)])
      if (q.kind === 'nvfp4') quantizeNvfp4(p, x, { codes, scales }, axis, q, scale)
      else quantizeCodes(p, x, codes, scales, axis as number, q)
      await this.#executor.run(p)
      return read({ codes: arena.u8(codes.ptr, size(codes.shape)), scales: arena.u8(scales.ptr, size(scales.shape)) })
    } finally { arena.release(mark) }
  }

  #codes(swapped: boolean): Uint8Array {
    const { codes } = this.output as { codes: Uint8Array }
    return swapped ? this.#swapped ??= codes.map((_, i) => codes[i ^ 1] ?? 0) : codes
  }

  /** How many elements differ, and the first that does. */
  #mismatches(candidate: QuantizerCandidate, got: { codes?: Uint8Array, scales?: Uint8Array, values?: Float32Array }): { count: number, first: number } {
    const [outer, R, C] = this.#dims
    if (this.output.kind === 'values') return got.values ? differingWords(got.values, this.output.values) : { count: outer * R * C, first: 0 }
    if (!got.codes) return { count: outer * R * C, first: 0 }
    const codes = this.#codes(candidate.swapped), mine = got.codes
    const scales = this.output.scales && this.#scalesOf(candidate), own = got.scales!
    if (!scales || equalBytes(own, scales)) return differingBytes(mine, codes)
    const { axis, block } = candidate, b1 = axis === 2 ? 1 : block, b2 = axis === 1 ? 1 : block, bands = Math.ceil(R / b1), across = Math.ceil(C / b2)
    let count = 0, first = -1
    for (let o = 0, i = 0; o < outer; o++) for (let r = 0; r < R; r++) {
      const base = (o * bands + (r / b1 | 0)) * across
      for (let from = 0; from < C; from += b2) {
        const k = base + from / b2, to = Math.min(from + b2, C)
        if (own[k] !== scales[k]) {
          if (first < 0) first = i
          count += to - from
          i += to - from
        } else for (let c = from; c < to; c++, i++) if (mine[i] !== codes[i]) { if (first < 0) first = i; count++ }
      }
    }
    return { count, first }
  }

  /** The first element that a candidate does not explain. */
  counterexample(candidate: QuantizerCandidate): Promise<Counterexample> {
    const { axis, block, format, quantizer: q } = candidate, [, R, C] = this.#dims
    return this.#run(candidate, got => {
      const { first } = this.#mismatches(candidate, got), o = Math.floor(first / (R * C)), r = Math.floor(first / C) % R, c = first % C
      const b1 = axis === 2 ? 1 : block, b2 = axis === 1 ? 1 : block, r0 = r - r % b1, c0 = c - c % b2
      let blockAmax = 0
      for (let i = r0; i < Math.min(r0 + b1, R); i++) for (let j = c0; j < Math.min(c0 + b2, C); j++) { const a = Math.abs(this.#data[(o * R + i) * C + j]!); blockAmax = a > blockAmax || a !== a ? a : blockAmax }
      const at = (o * Math.ceil(R / b1) + r0 / b1) * Math.ceil(C / b2) + c0 / b2
      const side = (codes: Uint8Array, scales?: Uint8Array) => {
        const code = codes[first]!, scale = scales?.[at], of = q.kind === 'nvfp4' ? 'ue4m3' : 'e8m0'
        return { code, ...scale !== undefined && { scale }, value: decode(formats[format], code) * (scale === undefined ? 1 : decodeScale(of, q.kind === 'nvfp4' ? scale & 127 : scale)) }
      }
      const [expected, actual] = this.output.kind === 'values'
        ? [{ value: got.values?.[first] ?? NaN }, { value: this.output.values[first]! }]
        : [got.codes ? side(got.codes, got.scales) : { value: NaN }, side(this.#codes(candidate.swapped), this.output.scales && this.#scalesOf(candidate))]
      const strides = this.#shape.map((_, k) => size(this.#shape.slice(k + 1)))
      return { coordinates: this.#shape.map((d, k) => Math.floor(first / strides[k]!) % d), input: this.#data[first]!, blockAmax, ...q.kind === 'nvfp4' && { tensorAmax: this.#amax }, expected, actual }
    })
  }
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean { return a.length === b.length && differingBytes(a, b).count === 0 }

/** Bytes that differ, four at a time while they do not. */
function differingBytes(a: Uint8Array, b: Uint8Array): { count: number, first: number } {
  const n = a.length, aligned = (a.byteOffset | b.byteOffset) % 4 === 0, words = aligned ? n >> 2 : 0
  let count = 0, first = -1
  if (aligned) {
    const x = new Uint32Array(a.buffer, a.byteOffset, words), y = new Uint32Array(b.buffer, b.byteOffset, words)
    for (let w = 0; w < words; w++) {
      if (x[w] === y[w]) continue
      for (let i = 4 * w; i < 4 * w + 4; i++) if (a[i] !== b[i]) { if (first < 0) first = i; count++ }
    }
  }
  for (let i = words * 4; i < n; i++) if (a[i] !== b[i]) { if (first < 0) first = i; count++ }
  return { count, first }
}

const isNaNWord = (w: number) => (w & 0x7fffffff) > 0x7f800000

/** Words that differ; any NaN equals any NaN. */
function differingWords(a: Float32Array, b: Float32Array): { count: number, first: number } {
  const x = new Uint32Array(a.buffer, a.byteOffset, a.length), y = new Uint32Array(b.buffer, b.byteOffset, b.length)
  let count = 0, first = -1
  for (let i = 0; i < x.length; i++) if (x[i] !== y[i] && !(isNaNWord(x[i]!) && isNaNWord(y[i]!))) { if (first < 0) first = i; count++ }
  return { count, first }
}
