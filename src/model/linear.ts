// A linear layer y = x W^T (+ b) with every GEMM operand quantized on its own, as microxcaling's Linear does it (microsoft/microxcaling 7bc4195,
// mx/linear.py). With Q the elementwise (bf16) rounding and MX the block quantizer along the axis that the GEMM sums over:
//   forward  y  = Q(MX(Q x) MX(Q W)^T), then Q(y + Q b)              x [..., in], W [out, in], blocks along `in`
//   dgrad    dx = Q(MX(Q g) MX(Q W))                                 blocks along `out`
//   wgrad    dW = Q(MX(Q g)^T MX(Q x)),  db = Q(sum of Q g)          blocks along the last but one axis: the batch, or the sequence of each batch element
// In dgrad and wgrad both operands may first go through a random Hadamard transform along that axis (ops/hadamard.ts), which cancels in the product.
// So x, W and g are each quantized twice, on different axes. A null quantizer leaves its operand as it is; a null rounding skips Q.
import { addRow } from '../ops/elementwise.ts'
import { roundElements } from '../ops/quantize.ts'
import { columnSum } from '../ops/reduce.ts'
import { size, type Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import type { LinearPrecision, OperandQuantizer } from './precision.ts'
import { product } from './product.ts'

/** What backward needs of a forward pass. */
export interface LinearSaved { readonly x: Tensor, readonly owned: boolean }

const matrix = (t: Tensor): Tensor => ({ ptr: t.ptr, shape: [size(t.shape) / t.shape.at(-1)!, t.shape.at(-1)!] })

/**
 * Emit the forward pass: y [..., out] from x [..., in], weight [out, in], bias [out] or null. `xRounded`: x already holds Q(x).
 * Returns what backward needs; x must stay intact until then.
 */
export function linearForward(p: Program, io: { x: Tensor, weight: Tensor, bias: Tensor | null, y: Tensor, xRounded?: boolean }, precision: LinearPrecision): LinearSaved {
  const { forward, round, roundBackward, accumulation, tiles, random } = precision
  let saved: LinearSaved = { x: io.x, owned: false }
  let x = io.x
  if (round && !io.xRounded) {
    x = p.temp(...io.x.shape)
    roundElements(p, io.x, x, round)
    if (roundBackward) saved = { x, owned: true }
  }
  product(p, matrix(io.y), { src: x, axis: x.shape.length - 1, quantizer: forward.activation }, { src: io.weight, axis: 1, quantizer: forward.weight, tiles, round }, accumulation.forward, round !== null, random)
  if (x !== io.x && !saved.owned) p.free(x)
  if (round) roundElements(p, io.y, io.y, round)
  if (io.bias) {
    if (round) {
      const b = p.temp(...io.bias.shape)
      roundElements(p, io.bias, b, round)
      addRow(p, matrix(io.y), b, matrix(io.y), round)
      p.free(b)
    } else addRow(p, matrix(io.y), io.bias, matrix(io.y), null)
  }
  return saved
}

/**
 * Emit the backward pass: dx [..., in] (null: not wanted), dWeight [out, in], dBias [out] or null, from dy [..., out]. Overwrites the gradients;
 * frees what forward saved.
 */
export function linearBackward(p: Program, io: { dy: Tensor, saved: LinearSaved, weight: Tensor, dx: Tensor | null, dWeight: Tensor, dBias: Tensor | null }, precision: LinearPrecision): void {
  const { dgrad, wgrad, roundBackward: round, hadamard: transform, accumulation, tiles, random } = precision
  const { x } = io.saved
  let g = io.dy
  if (round) {
    g = p.temp(...io.dy.shape)
    roundElements(p, io.dy, g, round)
  }
  const batchAxis = g.shape.length - 2

  const along = (src: Tensor, quantizer: OperandQuantizer) => ({ src, axis: batchAxis, quantizer, signs: transform.wgrad, roundAfter: round })
  product(p, io.dWeight, along(g, wgrad.gradient), along(x, wgrad.activation), accumulation.wgrad, round !== null, random)
  if (io.saved.owned) p.free(x)
  if (round) roundElements(p, io.dWeight, io.dWeight, round)

  if (io.dx) {
    const transformed = { signs: transform.dgrad, roundAfter: round }
    product(p, matrix(io.dx), { src: g, axis: g.shape.length - 1, quantizer: dgrad.gradient, ...transformed }, { src: io.weight, axis: 0, quantizer: dgrad.weight, tiles, round, ...transformed }, accumulation.dgrad, round !== null, random)
    if (round) roundElements(p, io.dx, io.dx, round)
  }
  if (io.dBias) columnSum(p, matrix(g), io.dBias, round)
  if (round) p.free(g)
}
