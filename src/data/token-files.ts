// OLMo-style token files: little-endian uint16 or uint32 ids, either raw (a numpy memmap, which OLMo also calls .npy) or with a real .npy header.
import { readFileSync } from 'node:fs'
import { UsageError } from '../errors.ts'
import { parseNpy } from '../io/npy.ts'
import type { TokenType } from './corpus-options.ts'

/** Does this file hold tokens rather than text? By its ending: .npy, .bin, .u16, .u32. */
export const isTokenFile = (file: string): boolean => /\.(npy|bin|u16|u32)$/i.test(file)

/** The ids of a token file. `type` applies to raw files; an .npy header, .u16 and .u32 say their own. Throws UsageError for a file that is damaged or holds an id >= vocabulary. */
export function readTokenFile(file: string, type: TokenType, vocabulary: number): Uint16Array | Uint32Array {
  let bytes: Buffer
  try { bytes = readFileSync(file) } catch (cause) { throw new UsageError(`${file}: cannot be read (${(cause as NodeJS.ErrnoException).code})`, { cause }) }
  let data: Uint8Array = bytes, width = /\.u16$/i.test(file) ? 2 : /\.u32$/i.test(file) || type === 'uint32' ? 4 : 2
  if (bytes.toString('latin1', 0, 6) === '\x93NUMPY') {
    const array = inFile(file, () => parseNpy(bytes))
    if (array.dtype !== 'U16' && array.dtype !== 'U32') throw new UsageError(`${file}: holds ${array.dtype}, tokens are U16 or U32`)
    width = array.dtype === 'U16' ? 2 : 4
    data = array.bytes
  }
  if (data.length % width !== 0) throw new UsageError(`${file}: ${data.length} bytes are not a whole number of uint${width * 8} tokens`)
  const buffer = data.buffer.slice(data.byteOffset, data.byteOffset + data.length) as ArrayBuffer
  const tokens = width === 2 ? new Uint16Array(buffer) : new Uint32Array(buffer)
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i]! >= vocabulary) throw new UsageError(`${file}: token ${tokens[i]} at position ${i} is outside the vocabulary of ${vocabulary}; is this the right tokenizer and integer type (uint${width * 8})?`)
  }
  return tokens
}

/** A parser's UsageError with the file's name in front. */
function inFile<T>(file: string, parse: () => T): T {
  try { return parse() } catch (e) { throw e instanceof UsageError ? new UsageError(`${file}: ${e.message}`, { cause: e }) : e }
}
