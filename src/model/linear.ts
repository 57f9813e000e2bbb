// A linear layer y = x W^T (+ b) with every GEMM operand quantized on its own, as microxcaling's Linear does it (microsoft/microxcaling 7bc4195,
// mx/linear.py). With Q the elementwise (bf16) rounding and MX the block quantizer along the axis that the GEMM sums over:
//   forward  y  = Q(MX(Q x) MX(Q W)^T), then Q(y + Q b)              x [..., in], W [out, in], blocks along `in`
//   dgrad    dx = Q(MX(Q g) MX(Q W))                                 blocks along `out`
//   wgrad    dW = Q(MX(Q g)^T MX(Q x)),  db = Q(sum of Q g)          blocks along the last but one axis: the batch, or the sequence of each batch element
// In dgrad and wgrad both operands may first go through a random Hadamard transform along that axis (ops/hadamard.ts), which cancels in the product.
// So x, W and g are each quantized twice, on different axes. A null quantizer leaves its operand as it is; a null rounding skips Q.
import { columnSum } from '../ops/reduce.ts'
import type { ElementRounding } from '../numerics/quantizer.ts'
import { size, type Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import type { LinearPrecision, OperandQuantizer } from './precision.ts'
import { product } from './product.ts'

/** What backward needs of a forward pass: its input, and the rounding that remains to be done to it. */
export interface LinearSaved { readonly x: Tensor, readonly round: ElementRounding | null }

const matrix = (t: Tensor): Tensor => ({ ptr: t.ptr, shape: [size(t.shape) / t.shape.at(-1)!, t.shape.at(-1)!] })

/**
 * Emit the forward pass: y [..., out] from x [..., in], weight [out, in], bias [out] or null. `xRounded`: x already holds Q(x).
 * Returns what backward needs; x must stay intact until then.
 */
export function linearForward(p: Program, io: { x: Tensor, weight: Tensor, bias: Tensor | null, y: Tensor, xRounded?: boolean }, precision: LinearPrecision): LinearSaved {
  const { forward, round, roundBackward, accumulation, tiles, random } = precision, roundX = io.xRounded ? null : round
  const x = { src: io.x, axis: io.x.shape.length - 1, quantizer: forward.activation, round: roundX }
  product(p, matrix(io.y), x, { src: io.weight, axis: 1, quantizer: forward.weight, tiles, round }, accumulation.forward, round, random, io.bias)
  return { x: io.x, round: roundBackward && roundX }
}

/** Emit the backward pass: dx [..., in] (null: not wanted), dWeight [out, in], dBias [out] or null, from dy [..., out]. Overwrites the gradients. */
export function linearBackward(p: Program, io: { dy: Tensor, saved: LinearSaved, weight: Tensor, dx: Tensor | null, dWeight: Tensor, dBias: Tensor | null }, precision: LinearPrecision): void {
  const { dgrad, wgrad, roundBackward: round, hadamard: transform, accumulation, tiles, random } = precision
  const { dy, saved } = io, last = dy.shape.length - 1

  const along = (src: Tensor, quantizer: OperandQuantizer, r: ElementRounding | null) => ({ src, axis: last - 1, quantizer, round: r, signs: transform.wgrad, roundAfter: round })
  product(p, io.dWeight, along(dy, wgrad.gradient, round), along(saved.x, wgrad.activation, saved.round), accumulation.wgrad, round, random)

  if (io.dx) {
    const common = { round, signs: transform.dgrad, roundAfter: round }
    product(p, matrix(io.dx), { src: dy, axis: last, quantizer: dgrad.gradient, ...common }, { src: io.weight, axis: 0, quantizer: dgrad.weight, tiles, ...common }, accumulation.dgrad, round, random)
  }
  if (io.dBias) columnSum(p, matrix(dy), io.dBias, round, round)
}
