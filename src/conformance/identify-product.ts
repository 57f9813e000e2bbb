// Which arithmetic made this matrix product? Given operands and output, every accumulator that takes the operands (f32 with and without FMA, f64, the exact sum, every
// modelled matrix unit), every order of k (split-K, promotion, backwards, several accumulators, binary trees), every place for the scales (in the unit, on the operands before, after each
// block's sum) and every rounding of the output is run on the kernels: on a few outputs first, then what explains all of these on as many as the budget allows.
import type { Core, ProductOptions } from '../core/core.ts'
import { UsageError } from '../errors.ts'
import { formats, type FormatName } from '../numerics/formats.ts'
import type { Confidence } from '../numerics/mma.ts'
import { decode, decodeScale, encode } from '../oracle/codec.ts'
import type { CodedMatrix, Matrix, ScaledMatrix } from '../core/operands.ts'
import { plainSums } from '../ops/matmul.ts'
import { areOf, bf16Nearest, columnsOf, confidenceOf, cutToTf32, fp16Nearest, isCoded, isNaNWord, isScaled, plainOperand, rounded, rowsOf, unitsFor, unscaled, type ProductOperand } from './product-forms.ts'
import { distanceOf, type ProductDistance } from './product-hints.ts'
import { ordersOf, range, treeSum, type KOrder } from './product-orders.ts'

export type { ProductOperand } from './product-forms.ts'

/** A product, its operands with K last, and what it was called with. */
export interface ProductDump {
  /** [M, K]. */
  readonly a: ProductOperand
  /** [N, K]. */
  readonly b: ProductOperand
  /** [M, N]: f32 words, or bf16 or FP16 codes. */
  readonly out: { readonly format: 'f32' | 'bf16' | 'f16', readonly codes: Uint32Array | Uint16Array }
  readonly alpha?: number
  readonly beta?: number
  /** [M, N]. */
  readonly c?: Matrix
}

/** One explanation of a product, in words. */
export interface ProductCandidate {
  /** `f32`, `f32-fma`, `f64`, `exact` or a model's name. */
  readonly accumulate: string
  /** Models of the same arithmetic, this one included; empty for sums that are no unit's. */
  readonly same: readonly string[]
  readonly confidence: Confidence | 'by definition'
  readonly source: string
  /** In which form the operands entered, in words. */
  readonly operands: string
  /** Where block scales were applied; null for operands without. */
  readonly scales: string | null
  readonly order: string
  /** Where C entered; null without C. */
  readonly c: string | null
  readonly epilogue: string
}

/** An output that a candidate does not explain. */
export interface ProductCounterexample { readonly row: number, readonly column: number, readonly expected: number, readonly actual: number, readonly expectedCode: number, readonly actualCode: number }

/** How much a candidate explains. */
export interface ProductVerdict { readonly candidate: ProductCandidate, readonly checked: number, readonly explained: number, readonly counterexample?: ProductCounterexample }

/** What was found. */
export interface ProductFindings {
  readonly outputs: number
  readonly tried: number
  readonly explanations: readonly ProductVerdict[]
  readonly near: readonly ProductVerdict[]
  /** Where nothing explains all: how far a sample of the outputs is from the exact product. */
  readonly distance?: ProductDistance
}

/** How long to look. */
export interface ProductIdentifyOptions {
  /** Multiply-adds to spend on checking those that explain the sample (default 2^30; Infinity: all outputs). */
  readonly budget?: number
  /** How many near misses to describe (default 3). */
  readonly near?: number
}

/** Operands in one form. `after`: scales multiply each block's sum. */
interface Form {
  readonly operands: string
  readonly scales: string | null
  readonly after: boolean
  /** What a unit must take; null: f32 numbers, which none does. */
  readonly formats: readonly [FormatName, FormatName] | null
  readonly block: ScaledMatrix['scale'] | null
  /** Do f32 and exact sums of these operands say something that no other form says? */
  readonly plain: boolean
  /** Is every product of two elements an f32 number, so that sums with and without FMA are the same? */
  readonly exact: boolean
  /** Factor of the product, if the caller gives none. */
  readonly alpha: number
  readonly make: (a: ProductOperand, b: ProductOperand) => Promise<[ProductOperand, ProductOperand]>
}

interface Epilogue { readonly label: string, readonly round: (word: number) => number }

interface Trial extends ProductCandidate { readonly form: Form, readonly k: KOrder, readonly start: boolean, readonly round: Epilogue['round'] }

const SAMPLE = { rows: 4, columns: 16 }
const fp16TowardZero = (w: number) => encode(formats.fp16, w, { rounding: 'toward-zero', overflow: 'saturate', nan: 'max' })

/** Find what explains a product. Throws UsageError for sizes that do not fit. */
export async function identifyProduct(core: Core, dump: ProductDump, { budget = 2 ** 30, near: keep = 3 }: ProductIdentifyOptions = {}): Promise<ProductFindings> {
  const a = plainOperand('a', dump.a), b = plainOperand('b', dump.b), { out, c } = dump
  if (a.shape.length !== 2 || b.shape.length !== 2) throw new UsageError(`identify: operands of shapes [${a.shape}] and [${b.shape}]; matrices are needed`)
  const [M, K] = a.shape as [number, number], [N, bK] = b.shape as [number, number]
  if (K !== bK) throw new UsageError(`identify: a [${a.shape}] and b [${b.shape}] hold K last, and ${K} and ${bK} differ`)
  if (out.codes.length !== M * N) throw new UsageError(`identify: the output has ${out.codes.length} elements, the product of [${M}, ${K}] and [${N}, ${K}] has ${M * N}`)
  if (isScaled(a) !== isScaled(b) || isScaled(a) && isScaled(b) && (a.scale.format !== b.scale.format || a.scale.block !== b.scale.block)) throw new UsageError('identify: both operands have block scales of one type and block, or neither has')
  if (c && (c.shape[0] !== M || c.shape[1] !== N)) throw new UsageError(`identify: c has shape [${c.shape}], [${M}, ${N}] needed`)
  if (M * N * K === 0) throw new UsageError(`identify: a product of [${M}, ${K}] and [${N}, ${K}] is empty`)
  const spread = (n: number, most: number) => Array.from({ length: Math.min(n, most) }, (_, i) => Math.floor((i + 0.5) * n / Math.min(n, most)))
  const sample = new ProductCheck(core, dump, a, b, spread(M, SAMPLE.rows), spread(N, SAMPLE.columns))
  const trials = await trialsFor(core, a, b, dump), ranked: { trial: Trial, share: number }[] = []
  for (const group of grouped(trials)) {
    const words = await sample.words(group[0]!)
    if (words) for (const trial of group) ranked.push({ trial, share: sample.explained(words, trial) / words.length })
  }
  if (ranked.length === 0) throw new UsageError('identify: no modelled arithmetic takes these operands')
  ranked.sort((p, q) => q.share - p.share || plainness(p.trial) - plainness(q.trial))
  const perfect = ranked.filter(r => r.share === 1), chosen = perfect.length ? perfect : ranked.slice(0, keep)
  // As many outputs as the budget allows, shared by those to check; not more columns than rows of A make worth preparing B.
  const groups = grouped(chosen.map(r => r.trial)), most = Math.max(1, (perfect.length ? budget : Math.min(budget, 2 ** 28)) / groups.length / K)
  const columns = spread(N, most >= M * N ? N : Math.max(64, Math.floor(2 * Math.sqrt(most)))), rows = spread(M, Math.max(1, Math.floor(most / columns.length))), verdicts: ProductVerdict[] = []
  const found = groups.map(group => group.map(trial => ({ trial, explained: 0, counterexample: undefined as ProductCounterexample | undefined })))
  for (let at = 0; at < rows.length; at += SLAB) {
    const check = new ProductCheck(core, dump, a, b, rows.slice(at, at + SLAB), columns)
    for (const group of found) {
      const words = (await check.words(group[0]!.trial))!
      for (const f of group) {
        f.explained += check.explained(words, f.trial)
        f.counterexample ??= check.counterexample(words, f.trial)
      }
    }
  }
  for (const { trial: { form: _, k: __, start: ___, round: ____, ...candidate }, explained, counterexample } of found.flat()) verdicts.push({ candidate, checked: rows.length * columns.length, explained, ...counterexample && { counterexample } })
  verdicts.sort((p, q) => q.explained - p.explained) // stable: among equals the plainest stays first
  const explanations = verdicts.filter(v => v.explained === v.checked)
  return {
    outputs: M * N, tried: ranked.length, explanations, near: verdicts.filter(v => v.explained < v.checked).slice(0, keep),
    ...!explanations.length && { distance: await distanceOf(core, { ...dump, a, b, out: Float32Array.from(out.codes, code => valueOf(out.format, code)) }, spread(M, 32), spread(N, 32)) },
  }
}

/** How little a trial supposes: operands as they came and k in order come first. */
const plainness = ({ form, k }: Trial): number => (k.order || k.part !== null ? 1 : 0) + (form.block && !form.after || form.operands === 'codes as they are' && !form.after || form.operands === 'f32 numbers' && !form.scales ? 0 : 2)

/** Rows computed at a time. */
const SLAB = 128

/** Trials that differ in the rounding of the output alone share their sums. */
function grouped(trials: readonly Trial[]): Trial[][] {
  const map = new Map<string, Trial[]>()
  for (const t of trials) {
    const key = JSON.stringify([t.accumulate, t.operands, t.scales, t.order, t.c])
    map.set(key, [...map.get(key) ?? [], t])
  }
  return [...map.values()]
}

/** The order of sums of blocks that are scaled one by one. */
const blockwise: KOrder = { label: 'block by block in order of k', order: null, part: null, tree: 'in turn' }

/** Every way in which the product may have been computed. */
async function trialsFor(core: Core, a: ProductOperand, b: ProductOperand, dump: ProductDump): Promise<Trial[]> {
  const K = a.shape[1]!, epilogues = epiloguesOf(dump.out), trials: Trial[] = []
  const starts = dump.c && (dump.beta ?? 1) === 1 && (dump.alpha ?? 1) === 1 ? [false, true] : [false]
  const add = (form: Form, accumulate: string, same: readonly string[], confidence: ProductCandidate['confidence'], source: string, k: KOrder) => {
    for (const start of starts) for (const { label, round } of epilogues) {
      if (start && (k.part !== null || accumulate === 'exact' || accumulate === 'f64' || form.after || form.alpha !== 1)) continue
      trials.push({ accumulate, same, confidence, source, operands: form.operands, scales: form.scales, order: k.label, c: dump.c ? start ? 'where the sums start' : 'added after the sum' : null, epilogue: label, form, k, start, round })
    }
  }
  for (const form of await formsOf(core, a, b, dump.alpha)) {
    if (form.formats) for (const { model, names } of unitsFor(...form.formats, form.after ? null : form.block)) {
      const confidence = confidenceOf(model.name, ...form.formats) as Confidence
      const orders = form.after ? [blockwise] : ordersOf(K, model.length, model.accumulator === 'f32', false)
      if (!form.after || model.accumulator === 'f32') for (const k of orders) add(form, model.name, names, confidence, model.source, k)
    }
    const plain = (name: keyof typeof plainSums, orders: readonly KOrder[]) => {
      const words = `${plainSums[name]}${name === 'f32' && form.exact ? '; these products are exact, so the same with FMA' : ''}`
      for (const k of orders) add(form, name, [], 'by definition', words, k)
    }
    if (form.after) plain('f32', [blockwise])
    else if (form.plain) {
      plain('f32', ordersOf(K, 1, true, true))
      if (!form.exact) plain('f32-fma', ordersOf(K, 1, true, false))
      plain('exact', [{ label: 'any order', order: null, part: null, tree: 'in turn' }])
      plain('f64', [ordersOf(K, 1, false, false)[0]!])
    }
  }
  return trials
}

/** The forms in which the operands may have entered. */
async function formsOf(core: Core, a: ProductOperand, b: ProductOperand, given: number | undefined): Promise<Form[]> {
  const same = async (x: ProductOperand, y: ProductOperand): Promise<[ProductOperand, ProductOperand]> => [x, y]
  if (isScaled(a) && isScaled(b)) {
    const taken = { formats: [a.format, b.format] as const, block: a.scale, exact: true, make: same }, alpha = Math.fround((a.tensorScale ?? 1) * (b.tensorScale ?? 1)), forms: Form[] = [
      { ...taken, operands: 'codes and scales', scales: 'in the unit', after: false, plain: false, alpha },
      { ...taken, operands: 'codes as they are', scales: 'on each block\'s sum', after: true, plain: true, alpha },
    ]
    for (const whole of alpha === 1 || given !== undefined ? [false] : [false, true]) {
      const values = (x: ProductOperand) => core.dequantize({ ...x as ScaledMatrix, ...!whole && { tensorScale: 1 } })
      forms.push(...await numberForms(async (x, y) => [await values(x), await values(y)], a, b, whole ? 'on the operands before, the tensors\' scales too' : 'on the operands before', whole ? 1 : alpha, !whole))
    }
    return forms
  }
  const values = async (x: ProductOperand): Promise<Matrix> => isCoded(x) ? core.decode(x) : x as Matrix
  const codes: Form | null = !isCoded(a) || !isCoded(b) ? null : { operands: 'codes as they are', scales: null, after: false, formats: [a.format, b.format], block: null, plain: true, exact: true, alpha: 1, make: same }
  // FP8, FP6 and FP4 may be widened for another unit; nobody converts bf16 to fp16.
  if (codes && codes.formats!.every(f => formats[f].bits > 8)) return [codes]
  const all = (x: ProductOperand) => isCoded(x) || areOf(x as Matrix, 'tf32'), numbers = await numberForms(async (x, y) => [await values(x), await values(y)], a, b, null, 1, all(a) && all(b))
  return codes ? [codes, ...numbers.filter(form => form.formats)] : numbers
}

/** f32 numbers as they are, and as numbers of the narrower types, rounded to nearest even where they are not of them; tf32 also cut off. */
async function numberForms(make: (a: ProductOperand, b: ProductOperand) => Promise<[Matrix, Matrix]>, a: ProductOperand, b: ProductOperand, scales: string | null, alpha: number, exact: boolean): Promise<Form[]> {
  const few = (x: ProductOperand) => rowsOf(x, range(0, Math.min(x.shape[0]!, 16))), [x, y] = await make(few(a), few(b))
  const common = { scales, after: false, block: null, alpha }
  const forms: Form[] = [{ ...common, operands: 'f32 numbers', formats: null, plain: true, exact, make }]
  const narrow = (operands: string, format: 'bf16' | 'fp16' | 'tf32', plain: boolean, convert: (m: Matrix) => CodedMatrix) => {
    forms.push({ ...common, operands, formats: [format, format], plain, exact: true, make: async (p, q) => { const [m, n] = await make(p, q); return [convert(m), convert(n)] } })
  }
  for (const format of ['bf16', 'fp16', 'tf32'] as const) {
    const are = areOf(x, format) && areOf(y, format)
    narrow(are ? `${format} numbers` : `rounded to ${format}, nearest even`, format, !are, m => rounded(m, format))
    if (format === 'tf32' && !are) narrow('cut off to tf32', format, true, cutToTf32)
  }
  return forms
}

/** Roundings of the output; f32 outputs whose low bits are all zero may have been bf16. */
function epiloguesOf({ format, codes }: ProductDump['out']): Epilogue[] {
  const bf16: Epilogue[] = [{ label: 'bf16, nearest even', round: bf16Nearest }, { label: 'bf16, cut off', round: w => isNaNWord(w) ? bf16Nearest(w) : w >>> 16 }]
  if (format === 'bf16') return bf16
  if (format === 'f16') return [{ label: 'f16, nearest even', round: fp16Nearest }, { label: 'f16, toward zero', round: fp16TowardZero }]
  const f32: Epilogue = { label: 'f32', round: w => w }
  return codes.every(w => (w & 0xffff) === 0) ? [f32, ...bf16.map(({ label, round }) => ({ label: `${label}, stored as f32`, round: (w: number) => round(w) * 65536 }))] : [f32]
}

/** The number that an output code is. */
function valueOf(format: ProductDump['out']['format'], code: number): number {
  if (format === 'f16') return decode(formats.fp16, code)
  return new Float32Array(Uint32Array.of(format === 'bf16' ? code << 16 : code).buffer)[0]!
}

/** alpha d + beta c in f32, as words; d is overwritten. */
function epilogue(d: Float32Array, { alpha = 1, beta = 1, c }: ProductOptions): Uint32Array {
  if (alpha !== 1 || c) d.forEach((v, i) => { d[i] = c ? Math.fround(Math.fround(alpha * v) + Math.fround(beta * c.data[i]!)) : Math.fround(alpha * v) })
  return new Uint32Array(d.buffer)
}

/** Some rows and columns of a dump, computed and compared. */
class ProductCheck {
  readonly #core: Core
  readonly #dump: ProductDump
  readonly #rows: readonly number[]
  readonly #columns: readonly number[]
  readonly #a: ProductOperand
  readonly #b: ProductOperand
  readonly #c: Matrix | undefined
  /** Operands in the forms made so far. */
  readonly #made = new Map<Form, Promise<[ProductOperand, ProductOperand]>>()

  constructor(core: Core, dump: ProductDump, a: ProductOperand, b: ProductOperand, rows: readonly number[], columns: readonly number[]) {
    this.#core = core
    this.#dump = dump
    this.#rows = rows
    this.#columns = columns
    this.#a = rowsOf(a, rows)
    this.#b = columns.length === b.shape[0] ? b : rowsOf(b, columns)
    this.#c = dump.c && { shape: [rows.length, columns.length], data: Float32Array.from({ length: rows.length * columns.length }, (_, i) => dump.c!.data[rows[Math.floor(i / columns.length)]! * dump.c!.shape[1]! + columns[i % columns.length]!]!) }
  }

  /** f32 words of the sums after alpha and beta; null if the unit does not take the operands after all. */
  async words({ form, accumulate, k, start }: Trial): Promise<Uint32Array | null> {
    const { alpha = form.alpha, beta } = this.#dump, core = this.#core, inTurn = k.tree === 'in turn'
    const sums: ProductOptions = { accumulate, ...k.part !== null && inTurn && { promoteK: k.part } }, after: ProductOptions = { alpha, ...this.#c && !start && { c: this.#c, ...beta !== undefined && { beta } } }
    try {
      const known = this.#made.get(form) ?? form.make(this.#a, this.#b)
      this.#made.set(form, known)
      const made = await known
      if (form.after) return await this.#blockwise(made as [ScaledMatrix, ScaledMatrix], sums, after)
      const [x, y] = k.order ? made.map(m => columnsOf(m, k.order!)) as [ProductOperand, ProductOperand] : made
      const product = (p: ProductOperand, q: ProductOperand, options: ProductOptions) => isScaled(p) && isScaled(q) && form.block ? core.scaledMatmul(p, q, options) : core.matmul(p, q, { ...options, transB: true })
      if (inTurn) return (await product(x, y, { ...sums, ...after, ...start && { start: this.#c! } })).codes as Uint32Array
      const K = x.shape[1]!, { part, tree } = k
      if (part === 1) return epilogue(await this.#pairwise(x, y, k.tree), after)
      const parts: Float32Array[] = []
      for (let from = 0; from < K; from += part!) { const some = range(from, Math.min(from + part!, K)); parts.push((await product(columnsOf(x, some), columnsOf(y, some), { accumulate, alpha: 1 })).data) }
      return epilogue(treeSum(parts, tree), after)
    } catch (error) {
      if (error instanceof UsageError) return null
      throw error
    }
  }

  /** Every product rounded to f32, then a tree over all of an output. */
  async #pairwise(x: ProductOperand, y: ProductOperand, tree: KOrder['tree']): Promise<Float32Array> {
    const values = async (m: ProductOperand) => isCoded(m) ? (await this.#core.decode(m)).data : (m as Matrix).data, a = await values(x), b = await values(y)
    const [m, K] = x.shape as [number, number], n = y.shape[0]!, d = new Float32Array(m * n), WIDE = 64
    for (let i = 0; i < m; i++) for (let j = 0; j < n; j += WIDE) {
      const wide = Math.min(WIDE, n - j)
      d.set(treeSum(Array.from({ length: K }, (_, k) => { const products = new Float32Array(wide), factor = a[i * K + k]!; for (let t = 0; t < wide; t++) products[t] = factor * b[(j + t) * K + k]!; return products }), tree), i * n + j)
    }
    return d
  }

  /** Sums of blocks, each times the scales of its block, added in f32 in order. */
  async #blockwise([x, y]: readonly [ScaledMatrix, ScaledMatrix], { accumulate }: ProductOptions, after: ProductOptions): Promise<Uint32Array> {
    const [m, K] = x.shape as [number, number], n = y.shape[0]!, { block, format } = x.scale, blocks = Math.ceil(K / block), d = new Float32Array(m * n)
    const p = unscaled(x), q = unscaled(y)
    const scaleOf = Float32Array.from({ length: 256 }, (_, byte) => decodeScale(format, format === 'ue4m3' ? byte & 127 : byte))
    for (let k = 0; k < blocks; k++) {
      const some = range(k * block, Math.min((k + 1) * block, K))
      const part = (await this.#core.matmul(columnsOf(p, some), columnsOf(q, some), { accumulate: accumulate!, transB: true })).data
      for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) d[i * n + j] = Math.fround(d[i * n + j]! + Math.fround(part[i * n + j]! * Math.fround(scaleOf[x.scales[i * blocks + k]!]! * scaleOf[y.scales[j * blocks + k]!]!)))
    }
    return epilogue(d, after)
  }

  #actual(i: number): number { return this.#dump.out.codes[this.#rows[Math.floor(i / this.#columns.length)]! * this.#dump.b.shape[0]! + this.#columns[i % this.#columns.length]!]! }

  #nan(code: number): boolean {
    const { format } = this.#dump.out
    return format === 'f32' ? isNaNWord(code) : format === 'bf16' ? (code & 0x7fff) > 0x7f80 : (code & 0x7fff) > 0x7c00
  }

  /** How many outputs the rounded words are. */
  explained(words: Uint32Array, { round }: Trial): number {
    let n = 0
    for (let i = 0; i < words.length; i++) { const w = round(words[i]!), got = this.#actual(i); if (w === got || this.#nan(w) && this.#nan(got)) n++ }
    return n
  }

  counterexample(words: Uint32Array, { round }: Trial): ProductCounterexample | undefined {
    for (let i = 0; i < words.length; i++) {
      const w = round(words[i]!), got = this.#actual(i)
      if (w === got || this.#nan(w) && this.#nan(got)) continue
      return { row: this.#rows[Math.floor(i / this.#columns.length)]!, column: this.#columns[i % this.#columns.length]!, expected: this.#value(w), actual: this.#value(got), expectedCode: w, actualCode: got }
    }
    return undefined
  }

  #value(code: number): number { return valueOf(this.#dump.out.format, code) }
}
