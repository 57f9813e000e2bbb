import { describe, expect, it } from 'vitest'
import { packGguf, packNibbles, packSixBits, swizzledLength, swizzledOffset, swizzleScales, unpackGguf, unpackNibbles, unpackSixBits, unswizzleScales } from '../../src/io/layouts.ts'

const codes = (n: number, limit: number) => Uint8Array.from({ length: n }, (_, i) => Math.imul(i + 1, 2654435761) >>> 20 & (limit - 1))

describe('layouts', () => {
  it('FP4: the even element in the low half', () => {
    expect([...packNibbles([1, 2, 15, 0])]).toEqual([0x21, 0x0f])
    expect(unpackNibbles(packNibbles(codes(256, 16)))).toEqual(codes(256, 16))
    expect(() => packNibbles([1])).toThrow(/even/)
  })
  it('FP6: little-endian bit order, four in three bytes', () => {
    expect([...packSixBits([0x3f, 0, 0x21, 0x30])]).toEqual([0x3f, 0x10, 0xc2])
    expect(unpackSixBits(packSixBits(codes(400, 64)))).toEqual(codes(400, 64))
    expect(() => packSixBits([1, 2, 3])).toThrow(/multiple of 4/)
    expect(() => unpackSixBits(new Uint8Array(4))).toThrow(/multiple of 3/)
  })
  it('128x4 scale tiles: corners by hand, a permutation with zero padding for any shape', () => {
    // Row 0, columns 0..3, lie first; row 32 follows row 0 at 4 bytes, row 1 at 16; the next tile of columns at 512, the next of rows behind all of those.
    expect([[0, 3], [32, 0], [96, 0], [1, 0], [31, 0], [0, 4], [128, 0]].map(([r, c]) => swizzledOffset(r!, c!, 8))).toEqual([3, 4, 12, 16, 496, 512, 1024])
    for (const [rows, columns] of [[128, 4], [1, 1], [130, 5], [256, 8], [7, 13], [300, 3]] as const) {
      const scales = codes(rows * columns, 128).map(x => x + 1), tiles = swizzleScales(scales, rows, columns)
      expect(tiles.length).toBe(swizzledLength(rows, columns))
      expect(tiles.filter(x => x !== 0).length).toBe(rows * columns)
      expect(unswizzleScales(tiles, rows, columns)).toEqual(scales)
    }
    expect(() => unswizzleScales(new Uint8Array(511), 1, 1)).toThrow(/512/)
  })
  it('128x4 scale tiles are the reshape (M/128, 4, 32, K/4, 4) -> (M/128, K/4, 32, 4, 4)', () => {
    const rows = 256, columns = 8, scales = codes(rows * columns, 256), tiles = swizzleScales(scales, rows, columns)
    let at = 0
    for (let R = 0; R < 2; R++) for (let C = 0; C < 2; C++) for (let r = 0; r < 32; r++) for (let q = 0; q < 4; q++) for (let c = 0; c < 4; c++) expect(tiles[at++]).toBe(scales[(R * 128 + q * 32 + r) * columns + C * 4 + c])
  })
  it('GGUF MXFP4: elements j and j + 16 share a byte', () => {
    const block = packGguf(Uint8Array.from({ length: 32 }, (_, i) => i % 16), Uint8Array.of(120))
    expect([...block.subarray(0, 3)]).toEqual([120, 0x00, 0x11])
    const scales = codes(5, 256)
    expect(unpackGguf(packGguf(codes(160, 16), scales))).toEqual({ codes: codes(160, 16), scales })
    expect(() => packGguf(codes(31, 16), Uint8Array.of(1))).toThrow(/32 codes/)
  })
})
