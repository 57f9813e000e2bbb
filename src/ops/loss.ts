// Losses and their gradients. A loss is an f64 scalar: a Tensor of shape [2], read with readF64 (ops/reduce.ts).
import { UsageError } from '../errors.ts'
import { size, type Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import { CHUNK, combine } from './reduce.ts'
import { hasSize, matrixShape, rowGrain, sameSize } from './shapes.ts'

/** Emit loss = mean of (y - target)^2 over all elements and, if wanted, gradient = (2 / n) (y - target), which may be y. */
export function mse(p: Program, { y, target, loss, gradient }: { y: Tensor, target: Tensor, loss: Tensor, gradient: Tensor | null }): void {
  const n = sameSize('mse', { y, target, ...(gradient && { gradient }) }), count = Math.ceil(n / CHUNK)
  const partials = p.temp(count, 2)
  p.emit('mse_f32', [y.ptr, target.ptr, n, 2 / n, gradient?.ptr ?? 0, partials.ptr], count, 4, { bytes: (gradient ? 12 : 8) * n })
  combine(p, partials, count, 1, loss, { divisor: n })
  p.free(partials)
}

export interface CrossEntropy {
  /** [..., V] */
  logits: Tensor
  /** One i32 class index per row of logits. */
  targets: Tensor
  /** f64 x 2, shape [4]: mean cross entropy, mean z-loss term, over the rows whose target is not `ignore`. */
  loss: Tensor
  /** Gradient of the sum of both terms, or null; may be logits. */
  gradient: Tensor | null
  /** Target of a row that does not count (default -100). */
  ignore?: number
  /** Weight of logsumexp(logits)^2 (default 0). */
  zWeight?: number
  /** If wanted, both terms of every row: f64 x 2 each, shape [rows, 4]. */
  perRow?: Tensor
}

/** Emit the cross entropy of softmax(logits), in nats. */
export function crossEntropy(p: Program, { logits, targets, loss, gradient, ignore = -100, zWeight = 0, perRow }: CrossEntropy): void {
  const [rows, V] = matrixShape(logits)
  hasSize('cross entropy', 'targets', targets, rows)
  hasSize('cross entropy', 'loss', loss, 4)
  if (gradient) hasSize('cross entropy', 'gradient', gradient, size(logits.shape))
  if (rows === 0) throw new UsageError('cross entropy: logits has no rows')
  if (perRow) hasSize('cross entropy', 'perRow', perRow, 4 * rows)
  const count = p.temp(2), partials = perRow ?? p.temp(rows, 4)
  p.emit('count_targets', [targets.ptr, rows, ignore, count.ptr], 1)
  p.emit('cross_entropy_f32', [logits.ptr, targets.ptr, V, ignore, zWeight, count.ptr, gradient?.ptr ?? 0, partials.ptr], rows, rowGrain(V), { bytes: (gradient ? 12 : 8) * rows * V })
  p.emit('mean_over_targets', [partials.ptr, rows, count.ptr, loss.ptr], 2, 2)
  p.free(count)
  if (!perRow) p.free(partials)
}
