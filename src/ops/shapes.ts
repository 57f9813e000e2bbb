// Shape checks shared by the op emitters.
import { UsageError } from '../errors.ts'
import { size, type Tensor } from '../runtime/memory.ts'

/** Throws UsageError unless all tensors have as many elements as the first; returns that number. */
export function sameSize(op: string, tensors: Record<string, Tensor>): number {
  const [[first, { shape }], ...others] = Object.entries(tensors) as [[string, Tensor], ...[string, Tensor][]]
  for (const [name, t] of others) if (size(t.shape) !== size(shape)) throw new UsageError(`${op}: ${name} has shape [${t.shape}], ${first} has [${shape}]: they need as many elements`)
  return size(shape)
}

/** Throws UsageError unless `t` has exactly `n` elements. */
export function hasSize(op: string, name: string, t: Tensor, n: number): void {
  if (size(t.shape) !== n) throw new UsageError(`${op}: ${name} has shape [${t.shape}], ${n} elements are needed`)
}

/** Rows and columns of a tensor seen as a matrix of its last axis. */
export function matrixShape(t: Tensor): [rows: number, columns: number] {
  const columns = t.shape.at(-1) ?? 1
  return [size(t.shape) / columns, columns]
}

/** Rows of `columns` elements worth a thread: some tens of thousands of elements. */
export const rowGrain = (columns: number): number => Math.max(1, Math.floor(16384 / columns))
/** Elements worth a thread; a multiple of a cache line. */
export const ELEMENT_GRAIN = 16384
