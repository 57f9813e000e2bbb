// The operators of the microxcaling library (microsoft/microxcaling 7bc4195; Hither1/systems-scaling 8aa0ac8 where it differs), forward and backward,
// in float32 on dense tensors: linear, matmul, bmm, norms, softmax, activations and the elementwise "simd" operators.
//
// Two roundings appear everywhere. Q rounds each element by itself (bf16 in every published run) after every primitive step. MX quantizes blocks and
// touches only the operands of matrix products, each along the axis that product sums over; so x, W and the output gradient are quantized twice,
// differently. Quantizers are straight-through: their gradient is 1. If the backward pass is not quantized it is plain f32 and sees unrounded inputs,
// but still the forward pass' rounded intermediates and outputs (normalized rows, sigmoids, quotients).
// Sums are sequential; the library leaves their order open.
import type { BlockQuantizer, ElementRounding } from '../numerics/quantizer.ts'
import { gelu, leakyRelu, naturalExp, relu, relu6, sigmoid, silu, tanh, type ActivationFunction, type Exponential } from './activation.ts'
import { exp2, log } from './math.ts'
import { columnSum, layerNormBackward, normForward, normWeightGradients, rmsNormBackward, type NormRounding } from './norm.ts'
import { quantize, roundElements } from './quantize.ts'
import { expand, flatten, matmul, maxOver, reducedShape, sumTo, transpose, zip, type OracleTensor } from './tensor.ts'
import { div, keep, map, mul, neg, sqrt, type Round, type Vector } from './vector.ts'

/** The library's options with their names resolved (src/conformance/mx-specs.ts reads them from its dictionary). null: leave as it is. */
export interface MxSettings {
  /** Elementwise rounding. `vector`: of every vector operator. The others: around matrix products, by what is rounded. */
  readonly round: Readonly<Record<'vector' | 'output' | 'weight' | 'gradInput' | 'gradWeight', ElementRounding | null>>
  readonly forward: { readonly activation: BlockQuantizer | null, readonly weight: BlockQuantizer | null }
  /** linear: the gradient of its input. */
  readonly dgrad: { readonly gradient: BlockQuantizer | null, readonly weight: BlockQuantizer | null }
  /** linear: the gradient of its weight. */
  readonly wgrad: { readonly gradient: BlockQuantizer | null, readonly activation: BlockQuantizer | null }
  /** matmul and bmm: both gradients. */
  readonly matmulBackward: { readonly gradient: BlockQuantizer | null, readonly activation: BlockQuantizer | null, readonly weight: BlockQuantizer | null }
  /** false: backward in plain f32 (its quantizers above are then null). */
  readonly quantizeBackward: boolean
  /** e^x as 2^(Q(1.4453125 x)). */
  readonly expByExp2: boolean
  /** a / b as Q(a Q(1 / b)). */
  readonly divideByReciprocal: boolean
  /** softmax of 2^x. */
  readonly softmaxExp2: boolean
  /** The released switch: half of the forward rounded, backward not. */
  readonly halfLayerNorm: boolean
  /** The released switch: gelu's formula without any rounding. */
  readonly plainGelu: boolean
}

const rounder = (r: ElementRounding | null): Round => r ? x => roundElements(x, r) : keep

/** Q of the vector operators, forward and backward. */
const vectorRounds = (s: MxSettings): { Q: Round, B: Round } => ({ Q: rounder(s.round.vector), B: s.quantizeBackward ? rounder(s.round.vector) : keep })

const rounded = (t: OracleTensor, Q: Round): OracleTensor => ({ data: Q(t.data), shape: t.shape })
const mx = (t: OracleTensor, q: BlockQuantizer | null, axis: number): OracleTensor => q ? { data: quantize(t.data, t.shape, axis, q).values, shape: t.shape } : t

/** Q(x) and Q(Q(x) + b): a bias is added in a rounded step of its own. */
const withBias = (y: OracleTensor, bias: Vector | null, Q: Round): OracleTensor => {
  const out = rounded(y, Q)
  return bias ? { data: Q(zip((a, b) => a + b, out, { data: bias, shape: [bias.length] }).data), shape: y.shape } : out
}

// Matrix products.

/** y [..., out] = x [..., in] W^T + b, W [out, in]. */
export function linear(s: MxSettings, x: OracleTensor, w: OracleTensor, b: Vector | null): OracleTensor {
  const output = rounder(s.round.output), weight = rounder(s.round.weight)
  const product = matmul(flatten(mx(rounded(x, output), s.forward.activation, -1)), transpose(mx(rounded(w, weight), s.forward.weight, -1)))
  return withBias({ data: product.data, shape: [...x.shape.slice(0, -1), w.shape[0]!] }, b && weight(b), output)
}

export function linearBackward(s: MxSettings, x: OracleTensor, w: OracleTensor, dy: OracleTensor): { dx: OracleTensor, dw: OracleTensor, db: Vector } {
  const round = (r: keyof MxSettings['round']) => s.quantizeBackward ? rounder(s.round[r]) : keep
  const X = rounded(x, round('output')), W = rounded(w, round('weight')), G = rounded(dy, round('gradInput'))
  // Along the batch, or along the sequence within each batch element: the last axis but one.
  const dw = matmul(transpose(flatten(mx(G, s.wgrad.gradient, -2))), flatten(mx(X, s.wgrad.activation, -2)))
  const dx = matmul(flatten(mx(G, s.dgrad.gradient, -1)), mx(W, s.dgrad.weight, 0))
  return {
    dx: { data: round('gradInput')(dx.data), shape: x.shape },
    dw: rounded(dw, round('gradWeight')),
    db: columnSum(G.data, dy.shape.at(-1)!, round('gradWeight')),
  }
}

/** Which operand of matmul counts as a weight. */
export type MatmulMode = 'aa' | 'aw' | 'wa'

/** y = a [..., M, K] b [..., K, N]. bmm is matmul in mode aa. */
export function matmulForward(s: MxSettings, a: OracleTensor, b: OracleTensor, mode: MatmulMode, bias: Vector | null = null): OracleTensor {
  const Q = rounder(s.round.output)
  const A = mx(rounded(a, Q), mode === 'wa' ? s.forward.weight : s.forward.activation, -1)
  const B = mx(rounded(b, Q), mode === 'aw' ? s.forward.weight : s.forward.activation, -2)
  return withBias(matmul(A, B), bias && rounder(s.round.weight)(bias), Q)
}

export function matmulBackward(s: MxSettings, a: OracleTensor, b: OracleTensor, dy: OracleTensor, mode: MatmulMode): { da: OracleTensor, db: OracleTensor, dbias: Vector } {
  const round = (r: keyof MxSettings['round']) => s.quantizeBackward ? rounder(s.round[r]) : keep
  const { gradient, activation, weight } = s.matmulBackward
  const A = mx(rounded(a, round('output')), mode === 'wa' ? weight : activation, -2)
  const B = mx(rounded(b, round('output')), mode === 'aw' ? weight : activation, -1)
  const G = rounded(dy, round('gradInput'))
  // A leading axis that an operand lacks is summed after rounding, as torch's autograd does with a gradient of too large a shape.
  const da = rounded(matmul(mx(G, gradient, -1), transpose(B)), round('gradInput'))
  const db = rounded(matmul(transpose(A), mx(G, gradient, -2)), round('gradInput'))
  return { da: sumTo(da, a.shape), db: sumTo(db, b.shape), dbias: columnSum(G.data, dy.shape.at(-1)!, round('gradWeight')) }
}

// Norms over the last axis.

export type NormKind = 'layer' | 'rms'

function normRounding(s: MxSettings, kind: NormKind): NormRounding {
  const { Q, B } = vectorRounds(s)
  return kind === 'layer' && s.halfLayerNorm ? { first: keep, second: Q, back: keep } : { first: Q, second: Q, back: B }
}

export const norm = (s: MxSettings, kind: NormKind, x: OracleTensor, gamma: Vector, beta: Vector | null, eps: number): OracleTensor =>
  ({ data: normForward(x.data, gamma, beta, eps, normRounding(s, kind), kind === 'layer').y, shape: x.shape })

export function normBackward(s: MxSettings, kind: NormKind, x: OracleTensor, gamma: Vector, beta: Vector | null, eps: number, dy: OracleTensor): { dx: OracleTensor, dgamma: Vector, dbeta: Vector } {
  const r = normRounding(s, kind), saved = normForward(x.data, gamma, beta, eps, r, kind === 'layer')
  const dx = (kind === 'layer' ? layerNormBackward : rmsNormBackward)(dy.data, gamma, saved, r)
  return { dx: { data: dx, shape: x.shape }, ...normWeightGradients(dy.data, gamma.length, saved, r) }
}

// Activations and softmax.

/** e^x as the settings say. 1.4453125 is log2 e in bf16. */
const exponential = (s: MxSettings): Exponential => s.expByExp2 ? (x, Q) => Q(map(exp2, Q(mul(1.4453125, x)))) : naturalExp

export const activations: Readonly<Record<string, (s: MxSettings) => ActivationFunction>> = {
  gelu: s => gelu(false, exponential(s)),
  gelu_first_order: s => gelu(true, exponential(s)),
  silu: s => silu(exponential(s)),
  sigmoid: s => sigmoid(exponential(s)),
  tanh: () => tanh,
  relu: () => relu,
  relu6: () => relu6,
  leaky_relu: () => leakyRelu,
}

function activationRounds(s: MxSettings, name: string): { Q: Round, B: Round } {
  return name.startsWith('gelu') && s.plainGelu ? { Q: keep, B: keep } : vectorRounds(s)
}

export function activation(s: MxSettings, name: string, x: OracleTensor, slope?: number): OracleTensor {
  return { data: activations[name]!(s).forward(x.data, activationRounds(s, name).Q, slope), shape: x.shape }
}

export function activationBackward(s: MxSettings, name: string, x: OracleTensor, dy: OracleTensor, slope?: number): OracleTensor {
  const { Q, B } = activationRounds(s, name)
  return { data: activations[name]!(s).backward(x.data, dy.data, Q, B, slope), shape: x.shape }
}

/** Q(a / b), or Q(a Q(1 / b)). */
const quotient = (s: MxSettings, a: OracleTensor, b: OracleTensor, Q: Round): OracleTensor =>
  s.divideByReciprocal ? rounded(zip((x, y) => x * y, a, rounded({ data: div(1, b.data), shape: b.shape }, Q)), Q) : rounded(zip((x, y) => x / y, a, b), Q)

/** softmax(x) along an axis. */
export function softmax(s: MxSettings, x: OracleTensor, axis: number): OracleTensor {
  const { Q } = vectorRounds(s)
  const X = rounded(x, Q), d = Q(zip((a, m) => a - m, X, maxOver(X, axis)).data)
  const e = { data: s.softmaxExp2 ? Q(map(exp2, d)) : exponential(s)(d, Q), shape: x.shape }
  return quotient(s, e, rounded(sumTo(e, reducedShape(x.shape, [axis])), Q), Q)
}

export function softmaxBackward(s: MxSettings, x: OracleTensor, dy: OracleTensor, axis: number): OracleTensor {
  const { B } = vectorRounds(s)
  const o = softmax(s, x, axis), G = rounded(dy, B)
  const z = rounded(sumTo(rounded(zip((g, v) => g * v, G, o), B), reducedShape(x.shape, [axis])), B)
  const dx = rounded(zip((v, d) => v * d, o, rounded(zip((g, v) => g - v, G, z), B)), B)
  // ln 2 in bf16
  return s.softmaxExp2 ? rounded({ data: mul(dx.data, 0.69140625), shape: dx.shape }, B) : dx
}

// Elementwise operators. A broadcast operand's gradient is summed, then rounded once more.

type Gradients = { da: OracleTensor, db: OracleTensor }
interface Binary { forward(s: MxSettings, a: OracleTensor, b: OracleTensor): OracleTensor, backward(s: MxSettings, a: OracleTensor, b: OracleTensor, dy: OracleTensor): Gradients }

const reduced = (g: OracleTensor, shape: readonly number[], B: Round): OracleTensor => g.shape.join() === shape.join() ? g : rounded(sumTo(g, shape), B)

const elementwise = (f: (x: number, y: number) => number) => (s: MxSettings, a: OracleTensor, b: OracleTensor): OracleTensor => {
  const { Q } = vectorRounds(s)
  return rounded(zip(f, rounded(a, Q), rounded(b, Q)), Q)
}

export const binary: Readonly<Record<string, Binary>> = {
  simd_add: {
    forward: elementwise((x, y) => x + y),
    backward(s, a, b, dy) {
      const { B } = vectorRounds(s), G = rounded(dy, B)
      return { da: reduced(G, a.shape, B), db: reduced(G, b.shape, B) }
    },
  },
  simd_sub: {
    forward: elementwise((x, y) => x - y),
    backward(s, a, b, dy) {
      // the gradient of the minuend is passed on unrounded
      const { B } = vectorRounds(s)
      return { da: reduced(dy, a.shape, B), db: reduced(rounded({ data: neg(dy.data), shape: dy.shape }, B), b.shape, B) }
    },
  },
  simd_mul: {
    forward: elementwise((x, y) => x * y),
    backward(s, a, b, dy) {
      const { B } = vectorRounds(s), G = rounded(dy, B)
      const by = (other: OracleTensor) => rounded(zip((g, v) => g * v, G, rounded(other, B)), B)
      return { da: reduced(by(b), a.shape, B), db: reduced(by(a), b.shape, B) }
    },
  },
  simd_div: {
    forward(s, a, b) {
      const { Q } = vectorRounds(s)
      return quotient(s, rounded(a, Q), rounded(b, Q), Q)
    },
    backward(s, a, b, dy) {
      const { B } = vectorRounds(s), G = rounded(dy, B), divisor = rounded(b, B), o = this.forward(s, a, b)
      const db = rounded(zip((g, v) => g * v, G, quotient(s, { data: neg(o.data), shape: o.shape }, divisor, B)), B)
      return { da: reduced(quotient(s, G, divisor, B), a.shape, B), db: reduced(db, b.shape, B) }
    },
  },
}

interface Unary { forward(x: Vector, Q: Round, s: MxSettings): Vector, backward(x: Vector, dy: Vector, Q: Round, B: Round, s: MxSettings): Vector }

export const unary: Readonly<Record<string, Unary>> = {
  simd_square: {
    forward: (x, Q) => Q(mul(Q(x), Q(x))),
    backward: (x, dy, _, B) => B(mul(B(dy), B(mul(2, B(x))))),
  },
  simd_sqrt: {
    forward: (x, Q) => Q(sqrt(Q(x))),
    backward(x, dy, Q, B, s) { return B(div(B(mul(0.5, B(dy))), this.forward(x, Q, s))) },
  },
  simd_exp: {
    forward: (x, Q, s) => exponential(s)(Q(x), Q),
    backward(x, dy, Q, B, s) { return B(mul(B(dy), this.forward(x, Q, s))) },
  },
  simd_log: {
    forward: (x, Q) => Q(map(log, Q(x))),
    backward: (x, dy, _, B) => B(div(B(dy), B(x))),
  },
}

export function unaryForward(s: MxSettings, name: string, x: OracleTensor): OracleTensor {
  return { data: unary[name]!.forward(x.data, vectorRounds(s).Q, s), shape: x.shape }
}

export function unaryBackward(s: MxSettings, name: string, x: OracleTensor, dy: OracleTensor): OracleTensor {
  const { Q, B } = vectorRounds(s)
  return { data: unary[name]!.backward(x.data, dy.data, Q, B, s), shape: x.shape }
}

/** Sum, or mean as a product with fl(1/n), over some axes. The result keeps them as 1. */
export function reduce(s: MxSettings, kind: 'sum' | 'mean', x: OracleTensor, axes: readonly number[]): OracleTensor {
  const { Q } = vectorRounds(s)
  const total = rounded(sumTo(rounded(x, Q), reducedShape(x.shape, axes)), Q)
  return kind === 'sum' ? total : rounded({ data: mul(total.data, inverseCount(x, axes)), shape: total.shape }, Q)
}

/** dx of reduce; dy with the reduced axes kept as 1. */
export function reduceBackward(s: MxSettings, kind: 'sum' | 'mean', x: OracleTensor, dy: OracleTensor, axes: readonly number[]): OracleTensor {
  const { B } = vectorRounds(s)
  const G = rounded(dy, B)
  return expand(kind === 'sum' ? G : rounded({ data: mul(G.data, inverseCount(x, axes)), shape: G.shape }, B), x.shape)
}

const inverseCount = (x: OracleTensor, axes: readonly number[]): number =>
  Math.fround(1 / (x.data.length / reducedShape(x.shape, axes).reduce((a, b) => a * b, 1)))
