// Activation functions and their gradients: the definition of assembly/activation.ts. `Q` rounds after every primitive step (microxcaling 7bc4195,
// mx/activations.py); with Q = keep the same formulas run in plain float32, which for every function but gelu is the ordinary f32 activation.
// gelu's ordinary form, x Phi(x), is geluExact.
import { density, exp, tail, tailArgument, tanh as tanhOf } from './math.ts'
import { add, div, map, mul, neg, sub, type Round, type Vector } from './vector.ts'

export interface ActivationFunction {
  forward(x: Vector, Q: Round, slope?: number): Vector
  /** dx from dy: `Q` as in the forward pass, `B` for the backward's own steps. */
  backward(x: Vector, dy: Vector, Q: Round, B: Round, slope?: number): Vector
}

/** Q(e^x) for rounded x: microxcaling has an option for how. */
export type Exponential = (x: Vector, Q: Round) => Vector
export const naturalExp: Exponential = (x, Q) => Q(map(exp, x))

/** s = Q(1 / Q(Q(exp -x) + 1)) for rounded x. */
const logistic = (x: Vector, Q: Round, e: Exponential): Vector => Q(div(1, Q(add(e(neg(x), Q), 1))))

/** The logistic gate of microxcaling's gelu: of 1.59375 (x + 0.044677734375 x^3), or of 1.703125 x. */
function gate(x: Vector, Q: Round, firstOrder: boolean, e: Exponential): Vector {
  if (firstOrder) return logistic(Q(mul(1.703125, x)), Q, e)
  const cube = Q(mul(Q(mul(x, x)), x))
  return logistic(Q(mul(1.59375, Q(add(Q(mul(0.044677734375, cube)), x)))), Q, e)
}

export const sigmoid = (e = naturalExp): ActivationFunction => ({
  forward: (x, Q) => logistic(Q(x), Q, e),
  backward(x, dy, Q, B) {
    const s = this.forward(x, Q)
    return B(mul(B(mul(s, B(sub(1, s)))), B(dy)))
  },
})

export const tanh: ActivationFunction = {
  forward: (x, Q) => Q(map(tanhOf, Q(x))),
  backward(x, dy, Q, B) {
    const t = this.forward(x, Q)
    return B(mul(B(sub(1, B(mul(t, t)))), B(dy)))
  },
}

export const silu = (e = naturalExp): ActivationFunction => ({
  forward: (raw, Q) => {
    const x = Q(raw)
    return Q(mul(x, logistic(x, Q, e)))
  },
  backward(raw, dy, Q, B) {
    const s = logistic(Q(raw), Q, e), y = this.forward(raw, Q)
    return B(mul(B(add(s, B(mul(y, B(sub(1, s)))))), B(dy)))
  },
})

/** microxcaling's gelu, the sigmoid form of the tanh approximation. */
export const gelu = (firstOrder = false, e = naturalExp): ActivationFunction => ({
  forward: (raw, Q) => {
    const x = Q(raw)
    return Q(mul(x, gate(x, Q, firstOrder, e)))
  },
  backward: (raw, dy, Q, B) => {
    const x = B(raw), phi = gate(Q(raw), Q, firstOrder, e)
    const spread = B(mul(phi, B(sub(1, phi))))
    const slope = firstOrder ? 1.703125 : B(add(1.59375, B(mul(0.2138671875, B(mul(x, x))))))
    return B(mul(B(add(phi, B(mul(x, B(mul(slope, spread)))))), B(dy)))
  },
})

/** gelu = x Phi(x), Phi the normal distribution function; not rounded further. */
export const geluExact: ActivationFunction = {
  forward: x => map(v => {
    const t = tailArgument(v)
    return (v > 0 || Object.is(v, -0) || Number.isNaN(v) ? v : 0) - Math.fround(t * tail(t))
  }, x),
  backward: (x, dy) => map((v, g) => {
    const t = tailArgument(v), below = tail(t)
    const phi = v < 0 ? below : Math.fround(1 - below)
    return g * Math.fround(phi + Math.fround((v < 0 ? -t : t) * density(t)))
  }, x, dy),
}

// The three piecewise linear ones. relu and relu6 round neither x nor dy before the mask.
export const relu: ActivationFunction = {
  forward: (x, Q) => Q(map(v => v < 0 ? 0 : v, x)),
  backward(x, dy, Q, B) { return B(map((y, g) => y > 0 ? g : 0, this.forward(x, Q), dy)) },
}

export const relu6: ActivationFunction = {
  forward: (x, Q) => Q(map(v => v < 0 ? 0 : v > 6 ? 6 : v, x)),
  backward(x, dy, Q, B) { return B(map((y, g) => y > 0 && y < 6 ? g : 0, this.forward(x, Q), dy)) },
}

export const leakyRelu: ActivationFunction = {
  forward: (x, Q, slope = 0.01) => Q(map((v, w) => v < 0 ? w : v, Q(x), mul(Q(x), Math.fround(slope)))),
  backward(x, dy, Q, B, slope = 0.01) {
    const g = B(dy)
    return map((y, kept, scaled) => y > 0 ? kept : scaled, this.forward(x, Q, slope), g, B(mul(g, Math.fround(slope))))
  },
}

export const linear: ActivationFunction = { forward: x => x.slice(), backward: (_, dy) => dy.slice() }

/** y [R, h] = a silu(b) from x [R, 2h], a row of x being a then b; Q applies to silu. */
export function swigluForward(x: Vector, width: number, Q: Round): Vector {
  const [a, b] = halves(x, width)
  return mul(a, silu().forward(b, Q))
}

export function swigluBackward(x: Vector, dy: Vector, width: number, Q: Round, B: Round): Vector {
  const [a, b] = halves(x, width)
  const da = mul(dy, silu().forward(b, Q)), db = silu().backward(b, mul(dy, a), Q, B)
  return x.map((_, i) => {
    const row = Math.floor(i / (2 * width)), column = i % (2 * width)
    return column < width ? da[row * width + column]! : db[row * width + column - width]!
  })
}

const halves = (x: Vector, width: number): [Vector, Vector] => [x.filter((_, i) => i % (2 * width) < width), x.filter((_, i) => i % (2 * width) >= width)]

