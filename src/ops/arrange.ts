// Transposes and repeated rows (assembly/arrange.ts).
import { UsageError } from '../errors.ts'
import { size, type Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'

/** Items that are worth a thread. */
const grainOf = (length: number) => Math.max(1, Math.ceil(4096 / Math.max(length, 1)))

/** Emit dst [columns, rows] = src [rows, columns] transposed; src of any rank is a matrix of its last axis. Throws UsageError for a dst of another size. */
export function transpose(p: Program, src: Tensor, dst: Tensor): void {
  const columns = src.shape.at(-1)!, rows = size(src.shape) / columns
  if (dst.shape.length !== 2 || dst.shape[0] !== columns || dst.shape[1] !== rows) throw new UsageError(`transpose: dst has shape [${dst.shape}], must have [${columns}, ${rows}]`)
  p.emit('arrange_u32', [dst.ptr, src.ptr, rows, 1, columns, 1], columns, grainOf(rows), { bytes: 8 * rows * columns })
}

/** Emit the same for bytes at src [rows, columns], `repeat` rows of dst for each column of src: dst [count, rows], count <= columns * repeat (default columns). */
export function transposeBytes(p: Program, src: number, dst: number, rows: number, columns: number, { repeat = 1, count = columns }: { repeat?: number, count?: number } = {}): void {
  p.emit('arrange_u8', [dst, src, rows, 1, columns, repeat], count, grainOf(rows), { bytes: 2 * rows * count })
}

/** Emit dst [count, columns] = bytes at src [rows, columns] with each row `repeat` times, count <= rows * repeat. */
export function repeatRows(p: Program, src: number, dst: number, columns: number, repeat: number, count: number): void {
  p.emit('arrange_u8', [dst, src, columns, columns, 1, repeat], count, grainOf(columns), { bytes: 2 * columns * count })
}
