// Random Hadamard transform (assembly/hadamard.ts) along an axis. NVFP4 training applies it with blocks of 16 and fixed signs to the operands of wgrad
// (TransformerEngine, arXiv 2509.25149); MXFP4 training with random signs to those of dgrad and wgrad (arXiv 2502.20586).
import { UsageError } from '../errors.ts'
import { size, type Arena, type Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'

/** TransformerEngine's fixed signs for blocks of 16. */
export const TE_SIGNS: readonly number[] = [1, 1, 1, -1, 1, -1, -1, -1, -1, -1, -1, 1, -1, 1, -1, -1]

/** Reserve and write a vector of signs (each 1 or -1), whose length is the block size: a power of two. */
export function signVector(arena: Arena, signs: readonly number[]): Tensor {
  const n = signs.length
  if (n < 2 || n > 65536 || (n & (n - 1)) !== 0) throw new UsageError(`signs has ${n} entries, must be a power of two from 2 to 65536`)
  const bad = signs.findIndex(s => s !== 1 && s !== -1)
  if (bad >= 0) throw new UsageError(`signs[${bad}] is ${signs[bad]}, must be 1 or -1`)
  return arena.from(signs, n)
}

/** Emit dst = src transformed in blocks of signs.length along `axis`, whose length must be a multiple of that. In place is allowed. */
export function hadamard(p: Program, src: Tensor, dst: Tensor, axis: number, signs: Tensor): void {
  const at = axis < 0 ? axis + src.shape.length : axis, n = signs.shape[0]!, length = src.shape[at]
  if (length === undefined) throw new UsageError(`axis is ${axis}, must be in [${-src.shape.length}, ${src.shape.length - 1}]`)
  if (dst.shape.join() !== src.shape.join()) throw new UsageError(`dst has shape [${dst.shape}], must have src's [${src.shape}]`)
  if (length % n !== 0) throw new UsageError(`axis ${axis} has ${length} elements, must be a multiple of the Hadamard block ${n}`)
  const inner = size(src.shape.slice(at + 1)), factor = Math.fround(1 / Math.sqrt(n))
  const blocks = size(src.shape.slice(0, at)) * length / n
  if (inner === 1) p.emit('hadamard_rows', [dst.ptr, src.ptr, n, signs.ptr, factor], blocks, Math.ceil(4096 / n))
  else p.emit('hadamard_columns', [dst.ptr, src.ptr, n, inner, signs.ptr, factor], blocks, Math.ceil(4096 / (n * inner)))
}
