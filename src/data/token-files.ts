// OLMo-style token files: little-endian uint16 or uint32 ids, either raw (a numpy memmap, which OLMo also calls .npy) or with a real .npy header.
import { readFileSync } from 'node:fs'
import { UsageError } from '../errors.ts'

export const tokenTypes = ['uint16', 'uint32'] as const
export type TokenType = typeof tokenTypes[number]

/** Does this file hold tokens rather than text? By its ending: .npy, .bin, .u16, .u32. */
export const isTokenFile = (file: string): boolean => /\.(npy|bin|u16|u32)$/i.test(file)

/** The ids of a token file. `type` applies to raw files; an .npy header, .u16 and .u32 say their own. Throws UsageError for a file that is damaged or holds an id >= vocabulary. */
export function readTokenFile(file: string, type: TokenType, vocabulary: number): Uint16Array | Uint32Array {
  let bytes: Buffer
  try { bytes = readFileSync(file) } catch (cause) { throw new UsageError(`${file}: cannot be read (${(cause as NodeJS.ErrnoException).code})`, { cause }) }
  const { width, data } = bytes.subarray(0, 6).equals(NPY_MAGIC) ? npyData(file, bytes) : { width: /\.u16$/i.test(file) ? 2 : /\.u32$/i.test(file) || type === 'uint32' ? 4 : 2, data: bytes }
  if (data.length % width !== 0) throw new UsageError(`${file}: ${data.length} bytes are not a whole number of uint${width * 8} tokens`)
  const buffer = data.buffer.slice(data.byteOffset, data.byteOffset + data.length) as ArrayBuffer
  const tokens = width === 2 ? new Uint16Array(buffer) : new Uint32Array(buffer)
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i]! >= vocabulary) throw new UsageError(`${file}: token ${tokens[i]} at position ${i} is outside the vocabulary of ${vocabulary}; is this the right tokenizer and integer type (uint${width * 8})?`)
  }
  return tokens
}

const NPY_MAGIC = Buffer.from('\x93NUMPY', 'latin1')

/** Header: magic, version (2 bytes), header length (2 bytes, from version 2 on 4), a Python dict literal. */
function npyData(file: string, bytes: Buffer): { width: 2 | 4, data: Buffer } {
  const wide = bytes[6]! > 1, start = wide ? 12 : 10
  const end = bytes.length < start ? Infinity : start + (wide ? bytes.readUInt32LE(8) : bytes.readUInt16LE(8))
  if (end > bytes.length) throw new UsageError(`${file}: .npy header is cut off`)
  const header = bytes.toString('latin1', start, end)
  const width = ({ '<u2': 2, '<u4': 4 } as const)[/'descr': '([^']*)'/.exec(header)?.[1] ?? '']
  const shape = /'shape': \((\d+),?\)/.exec(header)?.[1]
  if (!width || shape === undefined) throw new UsageError(`${file}: .npy holds ${header.trim()}, a one-dimensional array of uint16 or uint32 is needed`)
  if (bytes.length - end !== Number(shape) * width) throw new UsageError(`${file}: .npy promises ${shape} tokens, ${(bytes.length - end) / width} are there`)
  return { width, data: bytes.subarray(end) }
}
