// Layer norm and RMS norm over the last axis, forward and backward. One chain of operations for every precision; assembly/norm.ts states it.
//   fp32       no rounding
//   bf16       microxcaling's LayerNorm (7bc4195): every step rounded to bf16. `backward: 'fp32'`: the backward's own steps are not (quantize_backprop = False)
//   bf16-half  the switch dont_quantize_layernorm as the code of arXiv 2506.20752 released it: x, gamma, beta, mean and variance in f32, then
//              var + eps, square root, reciprocal, normalized x and the output rounded; backward in f32
// A gamma in an MX format is the caller's business: quantize it, then pass the result.
import { UsageError } from '../errors.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import { chainCode, type ChainRounding } from './rounding.ts'
import { hasSize, matrixShape, rowGrain, sameSize } from './shapes.ts'

export type NormMode =
  | { readonly kind: 'fp32', readonly eps: number }
  | { readonly kind: 'bf16', readonly eps: number, readonly rounding: ChainRounding, readonly backward: 'bf16' | 'fp32' }
  | { readonly kind: 'bf16-half', readonly eps: number, readonly rounding: ChainRounding }

/** Rounding codes: of x, gamma, beta, mean and variance; from var + eps on; of the backward's own steps. */
function codes(mode: NormMode): [first: number, second: number, back: number] {
  const { none } = chainCode
  if (mode.kind === 'fp32') return [none, none, none]
  const r = chainCode[mode.rounding]
  return mode.kind === 'bf16' ? [r, r, mode.backward === 'bf16' ? r : none] : [none, r, none]
}

export interface NormForward {
  /** [..., D]; backward needs it again. */
  x: Tensor
  /** [D] */
  gamma: Tensor
  /** [D], or null for none. */
  beta: Tensor | null
  /** [..., D]; may be x if no backward pass follows. */
  y: Tensor
  /** [R, 2], R = size of x / D: mean and variance + eps of each row, for the backward pass. */
  stats: Tensor
}

export interface NormBackward {
  x: Tensor
  gamma: Tensor
  stats: Tensor
  /** [..., D] */
  dy: Tensor
  /** [..., D], or null if not wanted; may be dy. */
  dx: Tensor | null
  /** [D] */
  dgamma: Tensor
  /** [D], or null if not wanted. */
  dbeta: Tensor | null
}

function check(op: string, x: Tensor, others: Record<string, Tensor>, stats: Tensor, perColumn: Record<string, Tensor | null>): [rows: number, D: number] {
  const [rows, D] = matrixShape(x)
  sameSize(op, { x, ...others })
  hasSize(op, 'stats', stats, 2 * rows)
  for (const [name, t] of Object.entries(perColumn)) if (t) hasSize(op, name, t, D)
  return [rows, D]
}

/** Emit y = layer norm of x, and stats. */
export function layerNormForward(p: Program, { x, gamma, beta, y, stats }: NormForward, mode: NormMode): void {
  const [rows, D] = check('layer norm', x, { y }, stats, { gamma, beta })
  const [first, second] = codes(mode)
  p.emit('layer_norm_forward', [x.ptr, gamma.ptr, beta?.ptr ?? 0, y.ptr, stats.ptr, D, mode.eps, first, second], rows, rowGrain(D), { bytes: 8 * rows * D })
}

/** Emit the gradients of layer norm. Overwrites dx, dgamma, dbeta. */
export function layerNormBackward(p: Program, { x, gamma, stats, dy, dx, dgamma, dbeta }: NormBackward, mode: NormMode): void {
  const [rows, D] = check('layer norm', x, { dy, ...(dx && { dx }) }, stats, { gamma, dgamma, dbeta })
  const [first, second, back] = codes(mode)
  p.emit('norm_weight_gradients', [x.ptr, dy.ptr, stats.ptr, dgamma.ptr, dbeta?.ptr ?? 0, rows, D, first, second, back], D, columnGrain(rows), { bytes: 8 * rows * D })
  if (dx) p.emit('layer_norm_backward', [x.ptr, dy.ptr, gamma.ptr, stats.ptr, dx.ptr, D, first, second, back], rows, rowGrain(D), { bytes: 12 * rows * D })
}

function rmsCodes(mode: NormMode): [rounding: number, back: number] {
  if (mode.kind === 'bf16-half') throw new UsageError('RMS norm has no mode bf16-half: the released switch concerns layer norm only')
  const [rounding, , back] = codes(mode)
  return [rounding, back]
}

/** Emit y = RMS norm of x, and stats. */
export function rmsNormForward(p: Program, { x, gamma, beta, y, stats }: NormForward, mode: NormMode): void {
  const [rows, D] = check('RMS norm', x, { y }, stats, { gamma, beta })
  p.emit('rms_norm_forward', [x.ptr, gamma.ptr, beta?.ptr ?? 0, y.ptr, stats.ptr, D, mode.eps, rmsCodes(mode)[0]], rows, rowGrain(D), { bytes: 8 * rows * D })
}

/** Emit the gradients of RMS norm. In the bf16 mode dx is not rounded, as in microxcaling. */
export function rmsNormBackward(p: Program, { x, gamma, stats, dy, dx, dgamma, dbeta }: NormBackward, mode: NormMode): void {
  const [rows, D] = check('RMS norm', x, { dy, ...(dx && { dx }) }, stats, { gamma, dgamma, dbeta })
  const [rounding, back] = rmsCodes(mode)
  p.emit('norm_weight_gradients', [x.ptr, dy.ptr, stats.ptr, dgamma.ptr, dbeta?.ptr ?? 0, rows, D, rounding, rounding, back], D, columnGrain(rows), { bytes: 8 * rows * D })
  if (dx) p.emit('rms_norm_backward', [x.ptr, dy.ptr, gamma.ptr, stats.ptr, dx.ptr, D, rounding, back], rows, rowGrain(D), { bytes: 12 * rows * D })
}

/** Columns worth a thread in a walk over `rows` rows; whole cache lines. */
const columnGrain = (rows: number): number => Math.max(16, Math.ceil(16384 / rows / 16) * 16)
