// The norm of a model, layer norm or RMS norm: the op (ops/norm.ts) under a precision, with gamma and beta block-quantized where the scheme says so ("mx"). Gradients
// pass straight through that quantizer, as microxcaling's do; the backward pass sees the quantized gamma.
import { layerNormBackward, layerNormForward, rmsNormBackward, rmsNormForward } from '../ops/norm.ts'
import { fakeQuantize } from '../ops/quantize.ts'
import { size, type Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import type { NormPrecision } from './precision.ts'

function affine(p: Program, t: Tensor | null, precision: NormPrecision): Tensor | null {
  if (!t || !precision.affine) return t
  const q = p.temp(...t.shape)
  fakeQuantize(p, t, q, 0, precision.affine)
  return q
}

export type NormKind = 'layernorm' | 'rmsnorm'

/** What backward needs of a forward pass: the input, and mean and variance of each row. */
export interface NormSaved { readonly kind: NormKind, readonly x: Tensor, readonly stats: Tensor }

/** Emit y = norm(x) gamma + beta for x [..., d]. Returns what backward needs; x must stay intact until then. */
export function normForward(p: Program, io: { x: Tensor, gamma: Tensor, beta: Tensor | null, y: Tensor }, precision: NormPrecision, kind: NormKind = 'layernorm'): NormSaved {
  const gamma = affine(p, io.gamma, precision)!, beta = affine(p, io.beta, precision)
  const stats = p.temp(size(io.x.shape) / io.x.shape.at(-1)!, 2)
  const forward = kind === 'layernorm' ? layerNormForward : rmsNormForward
  forward(p, { x: io.x, gamma, beta, y: io.y, stats }, precision.mode)
  if (gamma !== io.gamma) p.free(gamma)
  if (beta && beta !== io.beta) p.free(beta)
  return { kind, x: io.x, stats }
}

/** Emit the gradients of x (null: not wanted), gamma and beta from dy; frees what forward saved. A dropped beta gradient is left as it is (zero). */
export function normBackward(p: Program, io: { dy: Tensor, saved: NormSaved, gamma: Tensor, dx: Tensor | null, dGamma: Tensor, dBeta: Tensor | null }, precision: NormPrecision): void {
  const gamma = affine(p, io.gamma, precision)!
  const { kind, ...saved } = io.saved, backward = kind === 'layernorm' ? layerNormBackward : rmsNormBackward
  backward(p, { ...saved, gamma, dy: io.dy, dx: io.dx, dgamma: io.dGamma, dbeta: precision.betaGradient === 'dropped' ? null : io.dBeta }, precision.mode)
  p.free(saved.stats)
  if (gamma !== io.gamma) p.free(gamma)
}
