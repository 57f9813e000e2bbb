// Optimizer steps with torch's semantics over flat parameter vectors (assembly/optimizer.ts). What changes from step to step is a block of four f32,
// `step`, that the caller writes before each run: adamStep() or sgdStep() compute it; clipping writes its last entry inside the program.
import type { Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import { moments } from './reduce.ts'
import { hasSize, sameSize } from './shapes.ts'

export interface AdamSettings {
  /** Default 0.9. */
  beta1?: number
  /** Default 0.999. */
  beta2?: number
  /** Default 1e-8. */
  eps?: number
  /** Default 0. */
  weightDecay?: number
  /** true: AdamW, the decay multiplies the parameter; false (default): Adam, it is added to the gradient. */
  decoupled?: boolean
}

const adamDefaults = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, decoupled: false }

/** base^n for an integer n >= 0 by repeated squaring: multiplications only, so the same bits everywhere. */
function power(base: number, n: number): number {
  let result = 1
  for (let square = base, k = n; k > 0; square *= square, k = Math.floor(k / 2)) if (k % 2 === 1) result *= square
  return result
}

/** The step block of Adam's step t = 1, 2, ... with learning rate lr. The last entry, the gradient scale, is 1 until clipping overwrites it. */
export function adamStep(lr: number, t: number, settings: AdamSettings = {}): Float32Array {
  const { beta1, beta2, weightDecay, decoupled } = { ...adamDefaults, ...settings }
  return Float32Array.of(lr / (1 - power(beta1, t)), Math.sqrt(1 - power(beta2, t)), decoupled ? 1 - lr * weightDecay : 1, 1)
}

/** The step block of SGD. */
export const sgdStep = (lr: number): Float32Array => Float32Array.of(lr, 1, 1, 1)

/** Emit one Adam (or AdamW) update of `value` from `gradient` and the moments m and v (zeros at first). step: [4], see adamStep. */
export function adam(p: Program, { value, gradient, m, v, step }: { value: Tensor, gradient: Tensor, m: Tensor, v: Tensor, step: Tensor }, settings: AdamSettings = {}): void {
  const { beta1, beta2, eps, weightDecay, decoupled } = { ...adamDefaults, ...settings }
  hasSize('adam', 'step', step, 4)
  const n = sameSize('adam', { value, gradient, m, v })
  p.emit('adam_f32', [value.ptr, gradient.ptr, m.ptr, v.ptr, step.ptr, 1 - beta1, beta2, 1 - beta2, eps, decoupled ? 0 : weightDecay], n, 8192, { bytes: 28 * n })
}

/** Emit one SGD update: buffer = momentum buffer + gradient (buffer zeros at first), value -= lr buffer. step: [4], see sgdStep. */
export function sgd(p: Program, { value, gradient, buffer, step }: { value: Tensor, gradient: Tensor, buffer: Tensor, step: Tensor }, { momentum = 0, weightDecay = 0 } = {}): void {
  hasSize('sgd', 'step', step, 4)
  const n = sameSize('sgd', { value, gradient, buffer })
  p.emit('sgd_f32', [value.ptr, gradient.ptr, buffer.ptr, step.ptr, momentum, weightDecay], n, 8192, { bytes: 20 * n })
}

/**
 * Emit clipping by global norm: step[3] = min(1, maxNorm / (|gradient| + 1e-6)), which the next adam or sgd multiplies the gradient with.
 * `statistics` (f64 x 3, shape [6]) gets the gradient's sum, sum of squares and largest magnitude.
 */
export function clipByNorm(p: Program, { gradient, step, statistics }: { gradient: Tensor, step: Tensor, statistics: Tensor }, maxNorm: number): void {
  moments(p, gradient, statistics)
  p.emit('clip_scale', [statistics.ptr + 8, maxNorm, step.ptr + 12], 1)
}
