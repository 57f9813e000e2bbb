// The safetensors container: 8-byte little-endian header length, JSON header, raw little-endian data. Bytes in, bytes out; files are in tensor-file.ts.
//
// The reader trusts nothing: every length is checked before it is used, every tensor's extent must be what its shape and dtype say, and the tensors must
// tile the data exactly (no overlap, no hole, nothing left over), as the format demands. Duplicate names, which JSON.parse would merge in silence, are refused.
// FP4 and FP6 are packed: their sizes count bits, and a tensor must end on a whole byte.
import { UsageError } from '../errors.ts'

/** Bits per element of each dtype that the format names. */
export const dtypeBits = {
  F64: 64, F32: 32, F16: 16, BF16: 16, I64: 64, I32: 32, I16: 16, I8: 8, U64: 64, U32: 32, U16: 16, U8: 8, BOOL: 8,
  F8_E4M3: 8, F8_E5M2: 8, F8_E8M0: 8, F6_E2M3: 6, F6_E3M2: 6, F4: 4,
} as const
/** A dtype by the name that the format gives it. */
export type Dtype = keyof typeof dtypeBits

/** A tensor as bytes: row-major, little-endian, FP4 and FP6 packed. */
export interface RawTensor { readonly dtype: Dtype, readonly shape: readonly number[], readonly bytes: Uint8Array }
/** A safetensors file in memory. */
export interface SafeTensors { readonly metadata: Readonly<Record<string, string>>, readonly tensors: ReadonlyMap<string, RawTensor> }

/** Where a tensor lies: a byte range of the data that follows the header. */
export interface Extent { readonly dtype: Dtype, readonly shape: readonly number[], readonly begin: number, readonly end: number }
export interface SafeTensorsHeader { readonly metadata: Readonly<Record<string, string>>, readonly extents: ReadonlyMap<string, Extent> }

/** Longest header accepted, the reference implementation's limit. */
const MAX_HEADER = 100_000_000

const refuse = (message: string): never => { throw new UsageError(`safetensors: ${message}`) }
const quote = (name: string): string => JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}...` : name)

/** Bytes that `shape` takes in `dtype`, or NaN if that is not a whole number of bytes. */
export function tensorBytes(dtype: Dtype, shape: readonly number[]): number {
  const bits = shape.reduce((n, d) => n * d, dtypeBits[dtype])
  return bits % 8 === 0 ? bits / 8 : NaN
}

/** Length of the JSON header, from the file's first 8 bytes and the file's size. Throws UsageError if the file cannot hold it. */
export function headerLength(first8: Uint8Array, fileBytes: number): number {
  if (first8.length < 8 || fileBytes < 8) refuse('file is shorter than its 8-byte header length')
  const length = new DataView(first8.buffer, first8.byteOffset, 8).getBigUint64(0, true)
  if (length > BigInt(fileBytes - 8)) refuse(`header length ${length} exceeds the file (${fileBytes} bytes)`)
  if (length > BigInt(MAX_HEADER)) refuse(`header length ${length} exceeds the limit of ${MAX_HEADER} bytes`)
  return Number(length)
}

/** Parse a header (the JSON bytes) for `dataBytes` bytes of data. Throws UsageError on anything the format does not allow. */
export function parseHeader(json: Uint8Array, dataBytes: number): SafeTensorsHeader {
  let text = ''
  try { text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(json) } catch { refuse('header is not UTF-8') }
  scanKeys(text)
  let header: unknown
  try { header = JSON.parse(text) } catch (error) { refuse(`header is not JSON: ${(error as Error).message.split('\n')[0]}`) }
  if (!isObject(header)) return refuse('header is not a JSON object')

  let metadata: Record<string, string> = {}
  const extents = new Map<string, Extent>()
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') {
      if (!isObject(value) || !Object.values(value).every(v => typeof v === 'string')) refuse('__metadata__ must map strings to strings')
      metadata = value as Record<string, string>
    } else extents.set(name, parseExtent(name, value, dataBytes))
  }

  let at = 0
  for (const [name, { begin, end }] of [...extents].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)) {
    if (begin < at) refuse(`tensor ${quote(name)} overlaps another one at byte ${begin}`)
    if (begin > at) refuse(`bytes ${at} to ${begin} belong to no tensor`)
    at = end
  }
  if (at !== dataBytes) refuse(`data holds ${dataBytes} bytes, the tensors cover ${at}`)
  return { metadata, extents }
}

function parseExtent(name: string, value: unknown, dataBytes: number): Extent {
  const bad = (rule: string): never => refuse(`tensor ${quote(name)}: ${rule}`)
  if (!isObject(value)) return bad('entry is not an object')
  const { dtype, shape, data_offsets: offsets } = value
  const other = Object.keys(value).find(key => !['dtype', 'shape', 'data_offsets'].includes(key))
  if (other !== undefined) bad(`unknown key ${quote(other)}`)
  if (typeof dtype !== 'string' || !Object.hasOwn(dtypeBits, dtype)) bad(`unknown dtype ${JSON.stringify(dtype)?.slice(0, 60)}: use one of ${Object.keys(dtypeBits).join(', ')}`)
  const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0
  if (!Array.isArray(shape) || !shape.every(isCount)) return bad('shape must be a list of sizes, each a whole number >= 0')
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) return bad('data_offsets must be two whole numbers >= 0')
  const [begin, end] = offsets as [number, number]
  if (begin > end || end > dataBytes) bad(`data_offsets [${begin}, ${end}] must rise and stay within the data (${dataBytes} bytes)`)
  const needed = tensorBytes(dtype as Dtype, shape)
  if (needed !== end - begin) bad(`${dtype} of shape [${shape}] takes ${Number.isNaN(needed) ? 'no whole number of' : needed} bytes, data_offsets give ${end - begin}`)
  return { dtype: dtype as Dtype, shape, begin, end }
}

/**
 * One pass over the header's text, before it is parsed: refuses nesting deeper than the format's three levels, and a key that occurs twice in one object.
 * A loop over characters, because a regular expression would take quadratic time on a hostile header.
 */
function scanKeys(text: string): void {
  const open: Set<string>[] = []
  for (let i = 0; i < text.length; i++) {
    const c = text[i]
    if (c === '{' || c === '[') {
      if (open.push(new Set()) > 3) refuse('header is nested deeper than three levels')
    } else if (c === '}' || c === ']') open.pop()
    else if (c === '"') {
      const begin = i
      for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === '\\') i++
      let next = i + 1
      while (text[next] === ' ' || text[next] === '\n' || text[next] === '\r' || text[next] === '\t') next++
      if (text[next] !== ':') continue
      let key: string
      try { key = JSON.parse(text.slice(begin, i + 1)) } catch { continue } // the parse of the whole header will say what is wrong
      if (open.at(-1)?.has(key)) refuse(`duplicate name ${quote(key)}`)
      open.at(-1)?.add(key)
    }
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Parse a safetensors file. Tensors are views into `file`. Throws UsageError on anything that the format does not allow: overlaps, holes, duplicate names, wrong sizes. */
export function parseSafetensors(file: Uint8Array): SafeTensors {
  const headerBytes = headerLength(file.subarray(0, 8), file.length)
  const data = file.subarray(8 + headerBytes)
  const { metadata, extents } = parseHeader(file.subarray(8, 8 + headerBytes), data.length)
  return { metadata, tensors: new Map([...extents].map(([name, { dtype, shape, begin, end }]) => [name, { dtype, shape, bytes: data.subarray(begin, end) }])) }
}

/**
 * A safetensors file as consecutive pieces: the header, then each tensor's own bytes, uncopied. Wider dtypes come first, then by name, so that every tensor
 * is aligned to its element and equal content gives equal bytes. Throws UsageError if a tensor's bytes do not fit its shape.
 */
export function safetensorsParts(tensors: Iterable<readonly [string, RawTensor]>, metadata: Readonly<Record<string, string>> = {}): Uint8Array[] {
  const sorted = [...tensors].sort(([a, x], [b, y]) => dtypeBits[y.dtype] - dtypeBits[x.dtype] || (a < b ? -1 : 1))
  const names = new Set<string>()
  let at = 0
  const entries = sorted.map(([name, { dtype, shape, bytes }]) => {
    if (name === '__metadata__' || names.has(name)) refuse(`${name === '__metadata__' ? 'reserved' : 'duplicate'} name ${quote(name)}`)
    names.add(name)
    if (tensorBytes(dtype, shape) !== bytes.length) refuse(`tensor ${quote(name)}: ${dtype} of shape [${shape}] does not take ${bytes.length} bytes`)
    return [name, { dtype, shape, data_offsets: [at, at += bytes.length] }] as const
  })
  // Object.fromEntries would move integer-like names to the front; the header is put together by hand to keep the order of the data.
  const fields = [...Object.keys(metadata).length ? [['__metadata__', metadata] as const] : [], ...entries].map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`)
  const json = new TextEncoder().encode(`{${fields.join(',')}}`)
  const head = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20) // padded with spaces
  new DataView(head.buffer).setBigUint64(0, BigInt(head.length - 8), true)
  head.set(json, 8)
  return [head, ...sorted.map(([, { bytes }]) => bytes)]
}

/**
 * A safetensors file in one piece: wider dtypes first, then by name, so equal content gives equal bytes. Throws UsageError for a reserved or duplicate name, and
 * if a tensor's bytes do not fit its shape.
 */
export function formatSafetensors(tensors: Iterable<readonly [string, RawTensor]>, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  return concat(safetensorsParts(tensors, metadata))
}

/** The pieces one after another. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const part of parts) { all.set(part, at); at += part.length }
  return all
}

/** The bytes of a tensor as a typed array (copied, so alignment does not matter). Throws UsageError if they are no whole number of elements. */
export function typed<T extends Float32Array | Float64Array | Uint32Array | Int32Array | Uint16Array | Uint8Array | BigInt64Array>(t: RawTensor, Type: new (b: ArrayBuffer) => T): T {
  const { BYTES_PER_ELEMENT: width } = Type as unknown as { BYTES_PER_ELEMENT: number }
  if (t.bytes.length % width !== 0) refuse(`${t.bytes.length} bytes are no whole number of ${width}-byte elements`)
  return new Type(new Uint8Array(t.bytes).buffer) // not slice(): a Buffer would not copy
}

/** A typed array as a tensor of the same type (Float32Array: F32), uncopied. The shape defaults to one axis; formatSafetensors checks it. */
export function raw(values: Float32Array | Float64Array | Uint32Array | Int32Array | Uint16Array | Uint8Array | BigInt64Array, shape: readonly number[] = [values.length]): RawTensor {
  const dtype = ({ Float32Array: 'F32', Float64Array: 'F64', Uint32Array: 'U32', Int32Array: 'I32', Uint16Array: 'U16', Uint8Array: 'U8', BigInt64Array: 'I64' } as const)[values.constructor.name as 'Float32Array']
  return { dtype, shape, bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) }
}
