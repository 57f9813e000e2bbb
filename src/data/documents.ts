// From files to documents, by file name: .jsonl / .ndjson (one object per line), .parquet (one row each), anything else plain UTF-8 text.
//
// A plain text file is one document, unless it is long: then it is cut, at a blank line if there is one, else at a line end, into pieces of at least
// `documentBytes`, so that shuffling and the validation split have something to work on. Token files are read by token-files.ts.
import { isUtf8 } from 'node:buffer'
import { readFileSync } from 'node:fs'
import * as zlib from 'node:zlib'
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import { UsageError } from '../errors.ts'

export interface DocumentOptions {
  /** Key of a JSONL object, or Parquet column, that holds the text. */
  textField: string
  /** Plain text files longer than twice this are cut. */
  documentBytes: number
}

/** The documents of one file, in file order. Throws UsageError that names file and place when the file is damaged or lacks the text field. */
export async function* readDocuments(file: string, options: DocumentOptions): AsyncGenerator<string> {
  if (/\.(jsonl|ndjson)$/i.test(file)) yield* jsonLines(file, options.textField)
  else if (/\.parquet$/i.test(file)) yield* parquetRows(file, options.textField)
  else for (const piece of cutText(readText(file), options.documentBytes)) yield decode(piece)
}

function readBytes(file: string): Buffer {
  try { return readFileSync(file) } catch (cause) { throw new UsageError(`${file}: cannot be read (${(cause as NodeJS.ErrnoException).code})`, { cause }) }
}

/** A file that must be UTF-8: other bytes would become replacement characters, and a binary file text. */
function readText(file: string): Buffer {
  const bytes = readBytes(file)
  if (!isUtf8(bytes)) throw new UsageError(`${file}: not UTF-8 text; token files are recognized by .npy, .bin, .u16 and .u32`)
  return bytes
}

const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

const NEWLINE = 10

/** Cut UTF-8 text into pieces of [documentBytes, 2 documentBytes), but for the last: after a blank line if there is one, else after a line, else between characters. */
export function* cutText(text: Buffer, documentBytes: number): Generator<Uint8Array> {
  let start = 0
  while (text.length - start > 2 * documentBytes) {
    const window = text.subarray(start + documentBytes - 1, start + 2 * documentBytes)
    const blank = window.indexOf('\n\n')
    const line = window.indexOf(NEWLINE)
    let end = start + documentBytes
    if (blank >= 0) end += blank + 1
    else if (line >= 0) end += line
    else while ((text[end]! & 0xC0) === 0x80) end++
    yield text.subarray(start, end)
    start = end
  }
  if (start < text.length) yield text.subarray(start)
}

function* jsonLines(file: string, field: string): Generator<string> {
  const bytes = readText(file)
  for (let start = 0, line = 1; start < bytes.length; line++) {
    const at = bytes.indexOf(NEWLINE, start), end = at < 0 ? bytes.length : at
    const text = decode(bytes.subarray(start, end)).trim()
    start = end + 1
    if (text === '') continue
    let value: unknown
    try { value = JSON.parse(text) } catch (cause) { throw new UsageError(`${file} line ${line}: not JSON (${(cause as Error).message})`, { cause }) }
    const document = (value as Record<string, unknown> | null)?.[field]
    if (typeof document !== 'string') throw new UsageError(`${file} line ${line}: no text under the key ${JSON.stringify(field)}`)
    yield document
  }
}

/** Beside hyparquet's own Snappy. zlib has Zstandard from Node 22.15. */
const zstd = (zlib as { zstdDecompressSync?: (input: Uint8Array) => Uint8Array }).zstdDecompressSync
const compressors = { GZIP: (input: Uint8Array) => zlib.gunzipSync(input), ...(zstd && { ZSTD: zstd }) }

/** One row group at a time, so that memory holds one. */
async function* parquetRows(file: string, field: string): AsyncGenerator<string> {
  const damaged = (cause: unknown): never => { throw new UsageError(`${file}: not a readable Parquet file (${(cause as Error).message})`, { cause }) }
  const buffer = await asyncBufferFromFile(file).catch(damaged)
  const metadata = await parquetMetadataAsync(buffer).catch(damaged)
  const columns = metadata.schema.slice(1).map(s => s.name)
  if (!columns.includes(field)) throw new UsageError(`${file}: no column ${JSON.stringify(field)}; it has ${columns.join(', ')}`)
  let row = 0
  for (const group of metadata.row_groups) {
    const rowEnd = row + Number(group.num_rows)
    const rows = await parquetReadObjects({ file: buffer, metadata, columns: [field], rowStart: row, rowEnd, compressors }).catch(damaged)
    for (const [i, r] of rows.entries()) {
      if (typeof r[field] !== 'string') throw new UsageError(`${file} row ${row + i}: column ${JSON.stringify(field)} holds ${r[field] === null || r[field] === undefined ? 'nothing' : 'no text'}`)
      yield r[field]
    }
    row = rowEnd
  }
}
