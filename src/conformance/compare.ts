// Are two tensors the same, bit for bit, and if not, how do they differ? Counts, distances in units in the last place, the first mismatches with their
// values, and where mismatches gather: what tells a wrong scale (whole blocks) from a wrong rounding (single elements, one ulp) from a wrong index (a row).
// Any two NaNs are taken as equal unless `nan: 'bits'`; the sign of zero always counts.
import { UsageError } from '../errors.ts'
import type { Dtype, RawTensor } from '../io/safetensors.ts'
import { dtypeBits } from '../io/safetensors.ts'
import { decode, decodeScale } from '../oracle/codec.ts'
import { formats, type FormatName } from '../numerics/formats.ts'

/** Element formats of the floating-point dtypes narrower than 32 bits. */
const floatFormats: Partial<Record<Dtype, FormatName>> = { F16: 'fp16', BF16: 'bf16', F8_E4M3: 'e4m3', F8_E5M2: 'e5m2', F6_E3M2: 'e3m2', F6_E2M3: 'e2m3', F4: 'e2m1' }

/** What kind of difference a mismatch is. */
export type Kind = 'zero sign' | 'NaN payload' | 'NaN or infinity' | 'subnormal' | 'one ulp' | 'larger'

/** An element that differs: where, as values and as codes, and by how many units in the last place (NaN where there is no distance). */
export interface Mismatch { readonly index: number, readonly coordinates: readonly number[], readonly expected: string, readonly actual: string, readonly expectedCode: number | bigint, readonly actualCode: number | bigint, readonly ulps: number, readonly kind: Kind }

/** How two tensors differ. */
export interface Comparison {
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly elements: number
  readonly mismatches: number
  /** Distances in ulps: upper end of each bin (1, 2, 4, 8, ..., Infinity) and how many mismatches it holds; those without a distance are left out. */
  readonly histogram: readonly { readonly upTo: number, readonly count: number }[]
  readonly kinds: Readonly<Record<Kind, number>>
  readonly first: readonly Mismatch[]
  /** Blocks (of `block` elements along the last axis) and rows (of the last axis) that hold a mismatch, and blocks in which every element mismatches. */
  readonly blocks: { readonly size: number, readonly all: number, readonly touched: number, readonly whole: number, readonly edge: number }
  readonly rows: { readonly all: number, readonly touched: number, readonly worst: number, readonly worstCount: number }
  /** In words: where the mismatches gather. Empty if nowhere. */
  readonly findings: readonly string[]
}

/** What to look at. */
export interface CompareOptions {
  /** Elements per block along the last axis (default 32). */
  readonly block?: number
  /** How many mismatches to list (default 10). */
  readonly first?: number
  /** `any` (default): any NaN equals any NaN. `bits`: payloads count. */
  readonly nan?: 'any' | 'bits'
}

/** Codes of a tensor, one per element. FP4: two per byte, the even element in the low nibble; FP6: four in three bytes, little-endian. */
function codesOf({ dtype, bytes }: RawTensor): { length: number, at: (i: number) => number } {
  const bits = dtypeBits[dtype], whole = bytes.byteOffset % (bits / 8 || 1) === 0 ? bytes : bytes.slice()
  const view = <T>(Type: new (b: ArrayBufferLike, o: number, n: number) => T) => new Type(whole.buffer, whole.byteOffset, whole.byteLength * 8 / bits)
  if (bits === 4) return { length: bytes.length * 2, at: i => bytes[i >> 1]! >> (i & 1) * 4 & 15 }
  if (bits === 6) return { length: bytes.length * 4 / 3, at: i => { const o = i * 6, b = o >> 3; return (bytes[b]! | (bytes[b + 1] ?? 0) << 8) >> (o & 7) & 63 } }
  const codes = bits === 8 ? whole : bits === 16 ? view(Uint16Array) : view(Uint32Array)
  return { length: codes.length, at: i => codes[i]! }
}

const f32 = new Float32Array(1), word = new Uint32Array(f32.buffer)

/** Value of a code. */
function valueOf(dtype: Dtype, code: number): number {
  if (dtype === 'F32') { word[0] = code; return f32[0]! }
  if (dtype === 'F8_E8M0') return decodeScale('e8m0', code)
  const format = floatFormats[dtype]
  if (format) return decode(formats[format], code)
  return dtype.startsWith('I') && code >= 2 ** (dtypeBits[dtype] - 1) ? code - 2 ** dtypeBits[dtype] : code
}

/** Place of a code among all values of its dtype in order, so that neighbours are 1 apart (of scales E8M0: a binade); both zeros are at 0. */
function ordinal(dtype: Dtype, code: number): number {
  if (dtype === 'F8_E8M0') return code
  const sign = 2 ** (dtypeBits[dtype] - 1)
  if (dtype === 'F32' || floatFormats[dtype]) return code >= sign ? -(code - sign) : code
  return valueOf(dtype, code)
}

/** Smallest normal magnitude of a dtype, 0 if it has no subnormals. */
function smallestNormal(dtype: Dtype): number {
  if (dtype === 'F32') return 2 ** -126
  const name = floatFormats[dtype], format = name && formats[name]
  return format && format.kind === 'float' ? 2 ** (1 - format.bias) : 0
}

/** The dtype of both: the same, or one's where the other has codes of that size as plain U8, U16 or U32, as numpy writes FP8, E8M0 and bf16. */
function commonDtype(a: Dtype, b: Dtype): Dtype | null {
  if (a === b) return a
  if (dtypeBits[a] !== dtypeBits[b]) return null
  return a.startsWith('U') ? b : b.startsWith('U') ? a : null
}

/**
 * Compare two tensors of one dtype and shape; codes stored as U8, U16 or U32 are taken for the other's dtype. Throws UsageError if dtypes or shapes differ, or for 64-bit
 * dtypes (convert them first).
 */
export function compare(expected: RawTensor, actual: RawTensor, { block = 32, first: keep = 10, nan = 'any' }: CompareOptions = {}): Comparison {
  const { shape } = expected, dtype = commonDtype(expected.dtype, actual.dtype)
  if (!dtype) throw new UsageError(`dtypes differ: expected ${expected.dtype}, actual ${actual.dtype}`)
  if (actual.shape.join() !== shape.join()) throw new UsageError(`shapes differ: expected [${shape}], actual [${actual.shape}]`)
  if (dtypeBits[dtype] === 64) throw new UsageError(`dtype ${dtype}: 64-bit tensors cannot be compared, convert them to 32 bits`)
  if (!Number.isInteger(block) || block < 1) throw new UsageError(`block is ${block}, must be a positive integer`)
  const a = codesOf({ ...expected, dtype }), b = codesOf({ ...actual, dtype }), elements = a.length
  const columns = shape.at(-1) ?? 1, rowCount = columns ? elements / columns : 0, blocksPerRow = Math.ceil(columns / block)
  const normal = smallestNormal(dtype)
  const kinds: Record<Kind, number> = { 'zero sign': 0, 'NaN payload': 0, 'NaN or infinity': 0, 'subnormal': 0, 'one ulp': 0, 'larger': 0 }
  const bins = new Map<number, number>(), list: Mismatch[] = []
  const perRow = new Uint32Array(rowCount), perBlock = new Uint32Array(rowCount * blocksPerRow), perPosition = new Uint32Array(Math.min(block, columns)), perColumn = new Uint32Array(columns)
  let mismatches = 0
  for (let i = 0; i < elements; i++) {
    const want = a.at(i), got = b.at(i)
    if (want === got) continue
    const x = valueOf(dtype, want), y = valueOf(dtype, got)
    const bothNaN = Number.isNaN(x) && Number.isNaN(y)
    if (bothNaN && nan === 'any') continue
    mismatches++
    const finite = Number.isFinite(x) && Number.isFinite(y), ulps = finite ? Math.abs(ordinal(dtype, want) - ordinal(dtype, got)) : NaN
    const kind: Kind = bothNaN ? 'NaN payload' : !finite ? 'NaN or infinity' : x === 0 && y === 0 ? 'zero sign'
      : Math.min(Math.abs(x), Math.abs(y)) < normal && Math.max(Math.abs(x), Math.abs(y)) <= normal ? 'subnormal' : ulps === 1 ? 'one ulp' : 'larger'
    kinds[kind]++
    if (ulps > 0) { const upTo = 2 ** Math.ceil(Math.log2(ulps)); bins.set(upTo, (bins.get(upTo) ?? 0) + 1) }
    const row = Math.floor(i / columns), column = i - row * columns
    perRow[row]!++
    perColumn[column]!++
    perBlock[row * blocksPerRow + Math.floor(column / block)]!++
    perPosition[column % block]!++
    if (list.length < keep) {
      const coordinates = shape.map((_, k) => Math.floor(i / shape.slice(k + 1).reduce((n, d) => n * d, 1)) % shape[k]!)
      list.push({ index: i, coordinates, expected: text(x), actual: text(y), expectedCode: want, actualCode: got, ulps, kind })
    }
  }
  const blockLength = (k: number) => Math.min(block, columns - k % blocksPerRow * block)
  const touched = perBlock.reduce((n, c) => n + Number(c > 0), 0), whole = perBlock.reduce((n, c, k) => n + Number(c === blockLength(k)), 0)
  const worst = perRow.reduce((best, c, r) => c > perRow[best]! ? r : best, 0)
  const edge = (perPosition[0] ?? 0) + (perPosition.length > 1 ? perPosition.at(-1)! : 0)
  const rows = { all: rowCount, touched: perRow.reduce((n, c) => n + Number(c > 0), 0), worst, worstCount: perRow[worst] ?? 0 }
  const blocks = { size: block, all: perBlock.length, touched, whole, edge }
  return {
    dtype, shape, elements, mismatches, kinds, first: list, blocks, rows,
    histogram: [...bins].sort(([p], [q]) => p - q).map(([upTo, count]) => ({ upTo, count })),
    findings: findings({ dtype, mismatches, elements, kinds, blocks, rows, perColumn, perPosition }),
  }
}

/** A value, signs of zero and NaN included. */
const text = (x: number): string => Object.is(x, -0) ? '-0' : Number.isInteger(x) && Math.abs(x) < 1e15 ? String(x) : Number.isFinite(x) ? String(Number(x.toPrecision(9))) : String(x)

/**
 * Rules of thumb, each stated with its number. A class is named if it holds 95 % of the mismatches, a place if it holds more than three times its fair share; blocks
 * whose elements all mismatch, if chance would make less than half as many. A matrix narrower than a block has rows, but no blocks that could share a scale; scales themselves have none.
 */
function findings({ dtype, mismatches, elements, kinds, blocks, rows, perColumn, perPosition }: Pick<Comparison, 'dtype' | 'mismatches' | 'elements' | 'kinds' | 'blocks' | 'rows'> & { perColumn: Uint32Array, perPosition: Uint32Array }): string[] {
  if (mismatches === 0) return []
  const out: string[] = [], share = (n: number) => `${(100 * n / mismatches).toFixed(n === mismatches ? 0 : 1)} %`, blocked = dtype !== 'F8_E8M0' && blocks.size > 1 && perColumn.length >= blocks.size
  for (const [kind, n] of Object.entries(kinds)) if (n >= 0.95 * mismatches && kind !== 'larger') out.push(`${share(n)} of the mismatches are of one kind: ${kind}`)
  if (mismatches === elements && elements > 1) out.push('every element mismatches: another tensor, order of elements or arithmetic')
  else if (blocked && blocks.whole * blocks.size >= 0.5 * mismatches && blocks.whole > 2 * blocks.all * (mismatches / elements) ** blocks.size) out.push(`${blocks.whole} block${blocks.whole === 1 ? '' : 's'} of ${blocks.size} mismatch in every element: look at their scales`)
  else if (blocked && mismatches >= 8 && blocks.touched * 4 <= Math.min(mismatches, blocks.all)) out.push(`mismatches gather in ${blocks.touched} of ${blocks.all} blocks of ${blocks.size}: look at their scales or their largest elements`)
  if (blocked && perPosition.length >= 8 && mismatches >= 16 && blocks.edge > 3 * mismatches * 2 / perPosition.length) out.push(`${share(blocks.edge)} lie at the first or last element of a block of ${blocks.size}`)
  if (rows.all >= 8 && mismatches >= 8 && rows.worstCount > 3 * mismatches / rows.all && rows.touched * 4 <= rows.all) out.push(`mismatches gather in ${rows.touched} of ${rows.all} rows; row ${rows.worst} has ${rows.worstCount}`)
  const columns = perColumn.reduce((n, c) => n + Number(c > 0), 0)
  if (perColumn.length >= 8 && mismatches >= 8 && rows.all >= 8 && columns * 4 <= perColumn.length) out.push(`mismatches gather in ${columns} of ${perColumn.length} columns`)
  return out
}
