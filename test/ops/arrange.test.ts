// Transposes and repeated rows against their definitions, in several cuts.
import { expect, it } from 'vitest'
import { repeatRows, transpose, transposeBytes } from '../../src/ops/arrange.ts'
import { Program } from '../../src/runtime/program.ts'
import { ex, execute } from './quantize-data.ts'

it.each([[1, 1], [5, 1], [1, 7], [35, 20], [64, 48]])('%i x %i', (rows, columns) => {
  const { arena } = ex, n = rows * columns, p = new Program(arena), repeat = 16, count = columns * repeat - 3
  const words = Uint32Array.from({ length: n }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 0), bytes = Uint8Array.from(words, w => w >>> 24)
  const src = arena.tensor(rows, columns), dst = arena.tensor(columns, rows), from = arena.allocBytes(n), plain = arena.allocBytes(n), both = arena.allocBytes(count * rows), wide = arena.allocBytes(n * 3)
  arena.u32(src).set(words)
  arena.u8(from, n).set(bytes)
  transpose(p, src, dst)
  transposeBytes(p, from, plain, rows, columns)
  transposeBytes(p, from, both, rows, columns, { repeat, count })
  repeatRows(p, from, wide, columns, 3, rows * 3)
  execute(p, 3)
  expect([...arena.u32(dst)]).toEqual(Array.from({ length: n }, (_, i) => words[i % rows * columns + Math.floor(i / rows)]))
  expect([...arena.u8(plain, n)]).toEqual(Array.from({ length: n }, (_, i) => bytes[i % rows * columns + Math.floor(i / rows)]))
  expect([...arena.u8(both, count * rows)]).toEqual(Array.from({ length: count * rows }, (_, i) => bytes[i % rows * columns + Math.floor(i / rows / repeat)]))
  expect([...arena.u8(wide, n * 3)]).toEqual(Array.from({ length: n * 3 }, (_, i) => bytes[Math.floor(Math.floor(i / columns) / 3) * columns + i % columns]))
})

it('a dst of another size is refused', () => {
  expect(() => transpose(new Program(ex.arena), ex.arena.tensor(4, 6), ex.arena.tensor(4, 6))).toThrow('transpose: dst has shape [4,6], must have [6, 4]')
})
