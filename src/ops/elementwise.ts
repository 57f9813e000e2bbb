// Elementwise arithmetic in plain f32. Outputs may be one of the inputs.
import { UsageError } from '../errors.ts'
import type { ElementRounding } from '../numerics/quantizer.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import { roundElements } from './quantize.ts'
import { chainCode, fusedCode } from './rounding.ts'
import { ELEMENT_GRAIN, hasSize, matrixShape, rowGrain, sameSize } from './shapes.ts'

/** out = a + b. */
export function add(p: Program, a: Tensor, b: Tensor, out: Tensor): void {
  const n = sameSize('add', { a, b, out })
  p.emit('add_f32', [a.ptr, b.ptr, out.ptr], n, ELEMENT_GRAIN, { bytes: 12 * n })
}
/** out = a - b. */
export function sub(p: Program, a: Tensor, b: Tensor, out: Tensor): void {
  const n = sameSize('sub', { a, b, out })
  p.emit('sub_f32', [a.ptr, b.ptr, out.ptr], n, ELEMENT_GRAIN, { bytes: 12 * n })
}
/** out = a * b. */
export function mul(p: Program, a: Tensor, b: Tensor, out: Tensor): void {
  const n = sameSize('mul', { a, b, out })
  p.emit('mul_f32', [a.ptr, b.ptr, out.ptr], n, ELEMENT_GRAIN, { bytes: 12 * n })
}
/** out = factor * x; the factor is rounded to f32. */
export function scale(p: Program, x: Tensor, factor: number, out: Tensor): void {
  const n = sameSize('scale', { x, out })
  p.emit('scale_f32', [x.ptr, factor, out.ptr], n, ELEMENT_GRAIN, { bytes: 8 * n })
}
/** y = y + alpha x, product rounded, then sum; alpha is rounded to f32. */
export function axpy(p: Program, alpha: number, x: Tensor, y: Tensor): void {
  const n = sameSize('axpy', { x, y })
  p.emit('axpy_f32', [alpha, x.ptr, y.ptr], n, ELEMENT_GRAIN, { bytes: 12 * n })
}
/** out = x. */
export function copy(p: Program, x: Tensor, out: Tensor): void {
  const n = sameSize('copy', { x, out })
  p.emit('copy_f32', [out.ptr, x.ptr], n, ELEMENT_GRAIN, { bytes: 8 * n })
}
/** Columns [toColumn, ...) of out [R, C'] = columns [fromColumn, ...) of x [R, C], `columns` of them. */
export function copyColumns(p: Program, { x, fromColumn = 0, out, toColumn = 0, columns }: { x: Tensor, fromColumn?: number, out: Tensor, toColumn?: number, columns: number }): void {
  const [rows, from] = matrixShape(x), [outRows, to] = matrixShape(out)
  if (rows !== outRows || fromColumn + columns > from || toColumn + columns > to) throw new UsageError(`copyColumns: ${columns} columns at ${fromColumn} of x [${x.shape}] do not fit at ${toColumn} of out [${out.shape}]`)
  p.emit('copy_rows_f32', [out.ptr + 4 * toColumn, to, x.ptr + 4 * fromColumn, from, columns], rows, rowGrain(columns), { bytes: 8 * rows * columns })
}
/** out = value everywhere. */
export function fill(p: Program, out: Tensor, value: number): void {
  const n = sameSize('fill', { out })
  p.emit('fill_f32', [out.ptr, value], n, ELEMENT_GRAIN, { bytes: 4 * n })
}

/** out [R, C] = Q(x [R, C] + row [C]), Q = `round` or nothing. */
export function addRow(p: Program, x: Tensor, row: Tensor, out: Tensor, round: ElementRounding | null = null): void {
  const [rows, columns] = matrixShape(x)
  sameSize('addRow', { x, out })
  hasSize('addRow', 'row', row, columns)
  const code = fusedCode(round)
  p.emit('add_row_f32', [x.ptr, row.ptr, out.ptr, columns, code ?? chainCode.none], rows, rowGrain(columns), { bytes: 8 * rows * columns })
  if (round && code === null) roundElements(p, out, out, round)
}
