// A linear layer y = x W^T (+ b) with every GEMM operand quantized on its own, as microxcaling's Linear does it (microsoft/microxcaling 7bc4195,
// mx/linear.py). With Q the elementwise (bf16) rounding and MX the block quantizer along the axis that the GEMM sums over:
//   forward  y  = Q(MX(Q x) MX(Q W)^T), then Q(y + Q b)              x [..., in], W [out, in], blocks along `in`
//   dgrad    dx = Q(MX(Q g) MX(Q W))                                 blocks along `out`
//   wgrad    dW = Q(MX(Q g)^T MX(Q x)),  db = Q(sum of Q g)          blocks along the last but one axis: the batch, or the sequence of each batch element
// In dgrad and wgrad both operands may first go through a random Hadamard transform along that axis (ops/hadamard.ts), which cancels in the product.
// So x, W and g are each quantized twice, on different axes. A null quantizer leaves its operand as it is; a null rounding skips Q.
import { addRow } from '../ops/elementwise.ts'
import { gemm } from '../ops/gemm.ts'
import { hadamard } from '../ops/hadamard.ts'
import { fakeQuantize, roundElements } from '../ops/quantize.ts'
import { columnSum } from '../ops/reduce.ts'
import type { ElementRounding } from '../numerics/quantizer.ts'
import { size, type Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import type { LinearPrecision, OperandQuantizer, RandomBits } from './precision.ts'

/** What backward needs of a forward pass. */
export interface LinearSaved { readonly x: Tensor, readonly owned: boolean }

const matrix = (t: Tensor): Tensor => ({ ptr: t.ptr, shape: [size(t.shape) / t.shape.at(-1)!, t.shape.at(-1)!] })

/** MX(Q(src)) into a temporary, with a Hadamard transform (and its rounding) in between if there are `signs`; the source itself where nothing is to be done. */
function operand(p: Program, src: Tensor, axis: number, q: OperandQuantizer, round: ElementRounding | null, random: RandomBits | null, signs: Tensor | null = null, roundAfter = round): { t: Tensor, release: () => void } {
  if (!q && !round && !signs) return { t: src, release: () => {} }
  const t = p.temp(...src.shape)
  if (round) roundElements(p, src, t, round)
  if (signs) {
    hadamard(p, round ? t : src, t, axis, signs)
    if (roundAfter) roundElements(p, t, t, roundAfter)
  }
  const from = round || signs ? t : src
  if (q?.kind === 'element') roundElements(p, from, t, q)
  else if (q) fakeQuantize(p, from, t, axis, q, q.rounding === 'stochastic' && random ? { seed: random.seed, stream: random.stream++, stepPtr: random.stepPtr } : undefined)
  return { t, release: () => p.free(t) }
}

/** Quantized or rounded operands have few significant bits, so their products are most likely exact; the GEMM checks. */
const products = (...parts: unknown[]) => parts.every(Boolean) ? 'exact' as const : 'rounded' as const

/**
 * Emit the forward pass: y [..., out] from x [..., in], weight [out, in], bias [out] or null. `xRounded`: x already holds Q(x).
 * Returns what backward needs; x must stay intact until then.
 */
export function linearForward(p: Program, io: { x: Tensor, weight: Tensor, bias: Tensor | null, y: Tensor, xRounded?: boolean }, precision: LinearPrecision): LinearSaved {
  const { forward, round, roundBackward, random } = precision
  let saved: LinearSaved = { x: io.x, owned: false }
  let x = io.x
  if (round && !io.xRounded) {
    x = p.temp(...io.x.shape)
    roundElements(p, io.x, x, round)
    if (roundBackward) saved = { x, owned: true }
  }
  const a = operand(p, x, x.shape.length - 1, forward.activation, null, random)
  const w = operand(p, io.weight, 1, forward.weight, round, random)
  gemm(p, { a: matrix(a.t), b: w.t, c: matrix(io.y), transB: true, products: products(round ?? (forward.activation && forward.weight)) })
  a.release()
  w.release()
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
  const { dgrad, wgrad, roundBackward: round, hadamard: transform, random } = precision
  const { x } = io.saved
  let g = io.dy
  if (round) {
    g = p.temp(...io.dy.shape)
    roundElements(p, io.dy, g, round)
  }
  const batchAxis = g.shape.length - 2

  const gw = operand(p, g, batchAxis, wgrad.gradient, null, random, transform.wgrad, round)
  const xw = operand(p, x, batchAxis, wgrad.activation, null, random, transform.wgrad, round)
  gemm(p, { a: matrix(gw.t), b: matrix(xw.t), c: io.dWeight, transA: true, products: products(round ?? (wgrad.gradient && wgrad.activation)) })
  gw.release()
  xw.release()
  if (io.saved.owned) p.free(x)
  if (round) roundElements(p, io.dWeight, io.dWeight, round)

  if (io.dx) {
    const gd = operand(p, g, g.shape.length - 1, dgrad.gradient, null, random, transform.dgrad, round)
    const wd = operand(p, io.weight, 0, dgrad.weight, round, random, transform.dgrad)
    gemm(p, { a: matrix(gd.t), b: wd.t, c: matrix(io.dx), products: products(round ?? (dgrad.gradient && dgrad.weight)) })
    gd.release()
    wd.release()
    if (round) roundElements(p, io.dx, io.dx, round)
  }
  if (io.dBias) columnSum(p, matrix(g), io.dBias, round)
  if (round) p.free(g)
}
