// How codes and scales lie in memory when they are exchanged: nibbles of FP4, dense FP6, the 128x4 scale tiles of cuBLAS and tcgen05, GGUF's MXFP4 blocks.
// Bytes in, bytes out; every function has its inverse here.
import { UsageError } from '../errors.ts'

const refuse = (message: string): never => { throw new UsageError(message) }

/** Codes one per byte -> two FP4 codes per byte, the even one in the low half (torch float4_e2m1fn_x2, TransformerEngine, CUTLASS, cuBLAS). Throws UsageError for an odd count. */
export function packNibbles(codes: ArrayLike<number>): Uint8Array {
  if (codes.length % 2) refuse(`packNibbles: ${codes.length} codes; two go into a byte, so their number must be even`)
  const bytes = new Uint8Array(codes.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = (codes[2 * i]! & 15) | (codes[2 * i + 1]! & 15) << 4
  return bytes
}

/** The inverse of packNibbles. */
export function unpackNibbles(bytes: Uint8Array): Uint8Array {
  const codes = new Uint8Array(bytes.length * 2)
  bytes.forEach((byte, i) => { codes[2 * i] = byte & 15; codes[2 * i + 1] = byte >> 4 })
  return codes
}

/** Codes one per byte -> FP6, four codes in three bytes, the first in the lowest bits (little-endian bit order). Throws UsageError unless their count is a multiple of four. */
export function packSixBits(codes: ArrayLike<number>): Uint8Array {
  if (codes.length % 4) refuse(`packSixBits: ${codes.length} codes; four go into three bytes, so their number must be a multiple of 4`)
  const bytes = new Uint8Array(codes.length / 4 * 3)
  for (let i = 0, at = 0; i < codes.length; i += 4) {
    const word = (codes[i]! & 63) | (codes[i + 1]! & 63) << 6 | (codes[i + 2]! & 63) << 12 | (codes[i + 3]! & 63) << 18
    bytes[at++] = word
    bytes[at++] = word >> 8
    bytes[at++] = word >> 16
  }
  return bytes
}

/** The inverse of packSixBits. Throws UsageError unless the number of bytes is a multiple of three. */
export function unpackSixBits(bytes: Uint8Array): Uint8Array {
  if (bytes.length % 3) refuse(`unpackSixBits: ${bytes.length} bytes; four codes take three, so their number must be a multiple of 3`)
  const codes = new Uint8Array(bytes.length / 3 * 4)
  for (let at = 0, i = 0; at < bytes.length; at += 3) {
    const word = bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16
    for (let n = 0; n < 4; n++) codes[i++] = word >> 6 * n & 63
  }
  return codes
}

/** Bytes that [rows, columns] scales take in 128x4 tiles: rows padded to 128, columns to 4. */
export const swizzledLength = (rows: number, columns: number): number => Math.ceil(rows / 128) * 128 * Math.ceil(columns / 4) * 4

/**
 * Where the scale of row r and block column c lies: tiles of 128 rows by 4 columns, row by row of tiles, 512 bytes each; within a tile the rows r, r + 32, r + 64,
 * r + 96 lie together (cuBLAS "128x4" scaling factors, torchao to_blocked, CUTLASS SfAtom). The same for MX and NVFP4.
 */
export const swizzledOffset = (r: number, c: number, columns: number): number =>
  (Math.floor(r / 128) * Math.ceil(columns / 4) + Math.floor(c / 4)) * 512 + r % 32 * 16 + Math.floor(r % 128 / 32) * 4 + c % 4

/**
 * Scales [rows, columns], row-major -> tiles of 128 x 4 as cuBLAS and tcgen05 read them (cuBLAS documentation, 1D block scaling; torchao's to_blocked): rows padded to 128,
 * columns to 4, with zeros. Columns count blocks. Throws UsageError if their number is wrong.
 */
export function swizzleScales(scales: Uint8Array, rows: number, columns: number): Uint8Array {
  if (scales.length !== rows * columns) refuse(`swizzleScales: ${scales.length} scales, ${rows} x ${columns} needed`)
  const out = new Uint8Array(swizzledLength(rows, columns))
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[swizzledOffset(r, c, columns)] = scales[r * columns + c]!
  return out
}

/** The inverse of swizzleScales; padding is dropped. Throws UsageError if the length is wrong. */
export function unswizzleScales(tiles: Uint8Array, rows: number, columns: number): Uint8Array {
  const length = swizzledLength(rows, columns)
  if (tiles.length !== length) refuse(`unswizzleScales: ${tiles.length} bytes; scales [${rows}, ${columns}] in 128x4 tiles take ${length}`)
  const out = new Uint8Array(rows * columns)
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[r * columns + c] = tiles[swizzledOffset(r, c, columns)]!
  return out
}

/** Bytes of a GGUF MXFP4 block: one E8M0 scale, then 16 bytes with elements j (low half) and j + 16 (high half). */
const GGUF_BLOCK = 17

/**
 * Codes of E2M1 (one per byte) and an E8M0 scale per 32 -> GGUF MXFP4 blocks of 17 bytes: the scale, then elements j (low half) and j + 16 (high half), as ggml's
 * block_mxfp4 has them. Throws UsageError if there are not 32 codes per scale.
 */
export function packGguf(codes: Uint8Array, scales: Uint8Array): Uint8Array {
  if (codes.length !== scales.length * 32) refuse(`packGguf: ${codes.length} codes and ${scales.length} scales; a block is 32 codes with one scale`)
  const out = new Uint8Array(scales.length * GGUF_BLOCK)
  scales.forEach((scale, b) => {
    out[b * GGUF_BLOCK] = scale
    for (let j = 0; j < 16; j++) out[b * GGUF_BLOCK + 1 + j] = (codes[b * 32 + j]! & 15) | (codes[b * 32 + j + 16]! & 15) << 4
  })
  return out
}

/** The inverse of packGguf. Throws UsageError for a part of a block. */
export function unpackGguf(bytes: Uint8Array): { codes: Uint8Array, scales: Uint8Array } {
  if (bytes.length % GGUF_BLOCK) refuse(`unpackGguf: ${bytes.length} bytes; a block takes ${GGUF_BLOCK}`)
  const blocks = bytes.length / GGUF_BLOCK
  const codes = new Uint8Array(blocks * 32), scales = new Uint8Array(blocks)
  for (let b = 0; b < blocks; b++) {
    scales[b] = bytes[b * GGUF_BLOCK]!
    for (let j = 0; j < 16; j++) {
      const byte = bytes[b * GGUF_BLOCK + 1 + j]!
      codes[b * 32 + j] = byte & 15
      codes[b * 32 + j + 16] = byte >> 4
    }
  }
  return { codes, scales }
}
