// Activation functions and their derivatives, elementwise.
// Two families of formulas:
//   Exact   plain f32: gelu = x Phi(x) (erf), silu = x sigmoid(x), ...
//   chain   microxcaling's operators (microsoft/microxcaling 7bc4195, mx/activations.py): every primitive step is followed by Q, the rounding to bf16.
//           Its gelu is x sigmoid(1.59375 (x + 0.044677734 x^3)), never erf. With Q = identity (None) the chain's formula is computed in plain f32.
// What would surprise: relu and relu6 round neither their input nor the incoming gradient before the mask, only the result.
// A backward chain may be unrounded (None) over a rounded forward one: it then uses the forward's rounded intermediates, and x unrounded.
import { AWAY, Away, EVEN, Even, NONE, None, rounded, step } from './bf16'
import { at, loadSome, storeSome } from './lanes'
import { bell, density, exp, tail, tailArgument, tanh as tanhOf } from './math'

// Functions and roundings are types here (bf16.ts says why): `kind` and `rounding` numbers choose among functions compiled for each.
/** Beside Away, Even and None: the exact formulas, unrounded. */
class Exact {}

const LINEAR: i32 = 0
const RELU: i32 = 1
const RELU6: i32 = 2
const LEAKY_RELU: i32 = 3
const GELU: i32 = 4
const SILU: i32 = 5
const SIGMOID: i32 = 6
const TANH: i32 = 7

class Relu {}
class Relu6 {}
class LeakyRelu {}
class Gelu {}
class Silu {}
class Sigmoid {}
class Tanh {}
/** gelu by the first-order form x sigmoid(1.703125 x). */
class GeluFirstOrder {}

const C = memory.data<f32>([
  0, // 0
  1, // 1
  6, // 2
  1.59375, // 3: 2 sqrt(2/pi) in bf16
  0.044677734375, // 4: 0.044715 in bf16
  0.2138671875, // 5: derivative's coefficient 3 * 0.044715 * 2 sqrt(2/pi) in bf16
  1.703125, // 6: 1.702 in bf16
])

/** Q(1 / Q(Q(exp -x) + 1)) for rounded x. */
// @ts-ignore: decorator
@inline
function logistic<R>(x: v128): v128 {
  const e = step<R>(exp(f32x4.neg(x)))
  return step<R>(f32x4.div(at(C, 1), step<R>(f32x4.add(e, at(C, 1)))))
}

/** The gate of the chain's gelu: sigmoid of a cubic (or linear) argument in rounded x. */
// @ts-ignore: decorator
@inline
function gate<Kind, R>(x: v128): v128 {
  if (idof<Kind>() == idof<GeluFirstOrder>()) return logistic<R>(step<R>(f32x4.mul(x, at(C, 6))))
  const cube = step<R>(f32x4.mul(step<R>(f32x4.mul(x, x)), x))
  const inner = step<R>(f32x4.add(step<R>(f32x4.mul(cube, at(C, 4))), x))
  return logistic<R>(step<R>(f32x4.mul(inner, at(C, 3))))
}

// @ts-ignore: decorator
@inline
function forward<Kind, R>(slope: v128, raw: v128): v128 {
  if (idof<Kind>() == idof<Gelu>() && idof<R>() == idof<Exact>()) {
    const t = tailArgument(raw)
    return f32x4.sub(f32x4.pmax(raw, at(C, 0)), f32x4.mul(t, tail(t, bell(t))))
  }
  if (idof<Kind>() == idof<Relu>()) return rounded<R>(f32x4.pmax(raw, at(C, 0)))
  if (idof<Kind>() == idof<Relu6>()) return rounded<R>(f32x4.pmin(f32x4.pmax(raw, at(C, 0)), at(C, 2)))
  const x = rounded<R>(raw)
  if (idof<Kind>() == idof<LeakyRelu>()) return rounded<R>(v128.bitselect(f32x4.mul(x, slope), x, f32x4.lt(x, at(C, 0))))
  if (idof<Kind>() == idof<Silu>()) return step<R>(f32x4.mul(x, logistic<R>(x)))
  if (idof<Kind>() == idof<Sigmoid>()) return logistic<R>(x)
  if (idof<Kind>() == idof<Tanh>()) return step<R>(tanhOf(x))
  return step<R>(f32x4.mul(x, gate<Kind, R>(x)))
}

/** `R`: rounding of the forward pass, `B`: of the backward pass (None or R). */
// @ts-ignore: decorator
@inline
function backward<Kind, R, B>(slope: v128, raw: v128, gradient: v128): v128 {
  if (idof<Kind>() == idof<Gelu>() && idof<R>() == idof<Exact>()) {
    const t = tailArgument(raw)
    const e = bell(t)
    const below = tail(t, e)
    const phi = v128.bitselect(below, f32x4.sub(at(C, 1), below), f32x4.lt(raw, at(C, 0)))
    const x = v128.bitselect(f32x4.neg(t), t, f32x4.lt(raw, at(C, 0)))
    return f32x4.mul(gradient, f32x4.add(phi, f32x4.mul(x, density(e))))
  }
  const y = forward<Kind, R>(slope, raw)
  if (idof<Kind>() == idof<Relu>()) return rounded<B>(v128.and(gradient, f32x4.gt(y, at(C, 0))))
  if (idof<Kind>() == idof<Relu6>()) return rounded<B>(v128.and(gradient, v128.and(f32x4.gt(y, at(C, 0)), f32x4.lt(y, at(C, 2)))))
  const g = rounded<B>(gradient)
  if (idof<Kind>() == idof<LeakyRelu>()) return v128.bitselect(g, rounded<B>(f32x4.mul(g, slope)), f32x4.gt(y, at(C, 0)))
  if (idof<Kind>() == idof<Sigmoid>()) return step<B>(f32x4.mul(step<B>(f32x4.mul(y, step<B>(f32x4.sub(at(C, 1), y)))), g))
  if (idof<Kind>() == idof<Tanh>()) return step<B>(f32x4.mul(step<B>(f32x4.sub(at(C, 1), step<B>(f32x4.mul(y, y)))), g))
  if (idof<Kind>() == idof<Silu>()) {
    const s = logistic<R>(rounded<R>(raw))
    return step<B>(f32x4.mul(step<B>(f32x4.add(s, step<B>(f32x4.mul(y, step<B>(f32x4.sub(at(C, 1), s)))))), g))
  }
  const phi = gate<Kind, R>(rounded<R>(raw)), x = rounded<B>(raw)
  let c = step<B>(f32x4.mul(phi, step<B>(f32x4.sub(at(C, 1), phi))))
  if (idof<Kind>() == idof<GeluFirstOrder>()) c = step<B>(f32x4.mul(at(C, 6), c))
  else {
    const k = step<B>(f32x4.add(at(C, 3), step<B>(f32x4.mul(at(C, 5), step<B>(f32x4.mul(x, x))))))
    c = step<B>(f32x4.mul(k, c))
  }
  return step<B>(f32x4.mul(step<B>(f32x4.add(phi, step<B>(f32x4.mul(x, c)))), g))
}

// @ts-ignore: decorator
@inline
function forwardLoop<Kind, R>(slope: f32, x: usize, y: usize, begin: i32, end: i32): void {
  const s = f32x4.splat(slope)
  let i = begin
  // Two vectors at once, stored together, let an engine use 256 bits. The chains do without, and their last lanes share the loop: large tensors take their tables.
  if (idof<R>() == idof<Exact>()) for (; i + 8 <= end; i += 8) {
    const o = <usize>i << 2
    const low = forward<Kind, R>(s, v128.load(x + o)), high = forward<Kind, R>(s, v128.load(x + o, 16))
    v128.store(y + o, high, 16)
    v128.store(y + o, low)
  }
  for (; i < end; i += 4) {
    const o = <usize>i << 2, n = end - i
    storeSome(y + o, forward<Kind, R>(s, loadSome(x + o, n)), n)
  }
}

// @ts-ignore: decorator
@inline
function backwardLoop<Kind, R, B>(slope: f32, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void {
  const s = f32x4.splat(slope)
  let i = begin
  if (idof<R>() == idof<Exact>()) for (; i + 8 <= end; i += 8) {
    const o = <usize>i << 2
    const low = backward<Kind, R, B>(s, v128.load(x + o), v128.load(dy + o)), high = backward<Kind, R, B>(s, v128.load(x + o, 16), v128.load(dy + o, 16))
    v128.store(dx + o, high, 16)
    v128.store(dx + o, low)
  }
  for (; i < end; i += 4) {
    const o = <usize>i << 2, n = end - i
    storeSome(dx + o, backward<Kind, R, B>(s, loadSome(x + o, n), loadSome(dy + o, n)), n)
  }
}

// One compiled loop per function and rounding: a non-inlined function per activation keeps each small enough to compile fast.
function forwardRoundings<Kind>(r: i32, slope: f32, x: usize, y: usize, begin: i32, end: i32): void {
  if (r == AWAY) forwardLoop<Kind, Away>(slope, x, y, begin, end)
  else if (r == EVEN) forwardLoop<Kind, Even>(slope, x, y, begin, end)
  else if (r == NONE && (idof<Kind>() == idof<Gelu>() || idof<Kind>() == idof<GeluFirstOrder>())) forwardLoop<Kind, None>(slope, x, y, begin, end)
  else forwardLoop<Kind, Exact>(slope, x, y, begin, end)
}

function backwardRoundings<Kind>(r: i32, b: i32, slope: f32, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void {
  if (r == AWAY) {
    if (b == AWAY) backwardLoop<Kind, Away, Away>(slope, x, dy, dx, begin, end)
    else backwardLoop<Kind, Away, None>(slope, x, dy, dx, begin, end)
  } else if (r == EVEN) {
    if (b == EVEN) backwardLoop<Kind, Even, Even>(slope, x, dy, dx, begin, end)
    else backwardLoop<Kind, Even, None>(slope, x, dy, dx, begin, end)
  } else if (r == NONE && (idof<Kind>() == idof<Gelu>() || idof<Kind>() == idof<GeluFirstOrder>())) backwardLoop<Kind, None, None>(slope, x, dy, dx, begin, end)
  else backwardLoop<Kind, Exact, None>(slope, x, dy, dx, begin, end)
}

/** y = activation(x). `kind` and `rounding` as in src/ops/activation.ts; `slope` for leaky relu only. Items: elements. */
export function activation_forward(kind: i32, rounding: i32, slope: f32, x: usize, y: usize, begin: i32, end: i32): void {
  if (kind == LINEAR) memory.copy(y + (<usize>begin << 2), x + (<usize>begin << 2), <usize>(end - begin) << 2)
  else if (kind == RELU) forwardRoundings<Relu>(rounding, slope, x, y, begin, end)
  else if (kind == RELU6) forwardRoundings<Relu6>(rounding, slope, x, y, begin, end)
  else if (kind == LEAKY_RELU) forwardRoundings<LeakyRelu>(rounding, slope, x, y, begin, end)
  else if (kind == GELU) forwardRoundings<Gelu>(rounding, slope, x, y, begin, end)
  else if (kind == SILU) forwardRoundings<Silu>(rounding, slope, x, y, begin, end)
  else if (kind == SIGMOID) forwardRoundings<Sigmoid>(rounding, slope, x, y, begin, end)
  else if (kind == TANH) forwardRoundings<Tanh>(rounding, slope, x, y, begin, end)
  else forwardRoundings<GeluFirstOrder>(rounding, slope, x, y, begin, end)
}

/** dx = dy activation'(x), everything recomputed from x. dx may be dy. Items: elements. */
export function activation_backward(kind: i32, rounding: i32, backwardRounding: i32, slope: f32, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void {
  if (kind == LINEAR) memory.copy(dx + (<usize>begin << 2), dy + (<usize>begin << 2), <usize>(end - begin) << 2)
  else if (kind == RELU) backwardRoundings<Relu>(rounding, backwardRounding, slope, x, dy, dx, begin, end)
  else if (kind == RELU6) backwardRoundings<Relu6>(rounding, backwardRounding, slope, x, dy, dx, begin, end)
  else if (kind == LEAKY_RELU) backwardRoundings<LeakyRelu>(rounding, backwardRounding, slope, x, dy, dx, begin, end)
  else if (kind == GELU) backwardRoundings<Gelu>(rounding, backwardRounding, slope, x, dy, dx, begin, end)
  else if (kind == SILU) backwardRoundings<Silu>(rounding, backwardRounding, slope, x, dy, dx, begin, end)
  else if (kind == SIGMOID) backwardRoundings<Sigmoid>(rounding, backwardRounding, slope, x, dy, dx, begin, end)
  else if (kind == TANH) backwardRoundings<Tanh>(rounding, backwardRounding, slope, x, dy, dx, begin, end)
  else backwardRoundings<GeluFirstOrder>(rounding, backwardRounding, slope, x, dy, dx, begin, end)
}

/** Columns [0, width) of one row of the gated product y = a silu(b), where a row of x is a then b. */
// @ts-ignore: decorator
@inline
function gatedRow<R>(x: usize, y: usize, width: i32): void {
  const none = f32x4.splat(0), b = x + (<usize>width << 2)
  let i = 0
  if (idof<R>() == idof<Exact>()) for (; i + 4 <= width; i += 4) {
    const o = <usize>i << 2
    v128.store(y + o, f32x4.mul(v128.load(x + o), forward<Silu, R>(none, v128.load(b + o))))
  }
  for (; i < width; i += 4) {
    const o = <usize>i << 2, n = width - i
    storeSome(y + o, f32x4.mul(loadSome(x + o, n), forward<Silu, R>(none, loadSome(b + o, n))), n)
  }
}

// @ts-ignore: decorator
@inline
function gatedRowBack<R, B>(x: usize, dy: usize, dx: usize, width: i32): void {
  const none = f32x4.splat(0), half = <usize>width << 2
  let i = 0
  if (idof<R>() == idof<Exact>()) for (; i + 4 <= width; i += 4) {
    const o = <usize>i << 2
    const a = v128.load(x + o), b = v128.load(x + half + o), g = v128.load(dy + o)
    v128.store(dx + o, f32x4.mul(g, forward<Silu, R>(none, b)))
    v128.store(dx + half + o, backward<Silu, R, B>(none, b, f32x4.mul(g, a)))
  }
  for (; i < width; i += 4) {
    const o = <usize>i << 2, n = width - i
    const a = loadSome(x + o, n), b = loadSome(x + half + o, n), g = loadSome(dy + o, n)
    storeSome(dx + o, f32x4.mul(g, forward<Silu, R>(none, b)), n)
    storeSome(dx + half + o, backward<Silu, R, B>(none, b, f32x4.mul(g, a)), n)
  }
}

/** y [rows, width] = a * silu(b), where a row of x [rows, 2 width] is a, then b; the product is plain f32. Items: rows. */
export function swiglu_forward(rounding: i32, x: usize, y: usize, width: i32, begin: i32, end: i32): void {
  for (let row = begin; row < end; row++) {
    const from = x + (<usize>row * <usize>width << 3), to = y + (<usize>row * <usize>width << 2)
    if (rounding == AWAY) gatedRow<Away>(from, to, width)
    else if (rounding == EVEN) gatedRow<Even>(from, to, width)
    else gatedRow<Exact>(from, to, width)
  }
}

/** dx [rows, 2 width] from dy [rows, width]: da = dy silu(b), db = silu'(b) applied to dy a. Items: rows. */
export function swiglu_backward(rounding: i32, backwardRounding: i32, x: usize, dy: usize, dx: usize, width: i32, begin: i32, end: i32): void {
  for (let row = begin; row < end; row++) {
    const from = x + (<usize>row * <usize>width << 3), to = dx + (<usize>row * <usize>width << 3), g = dy + (<usize>row * <usize>width << 2)
    if (rounding == AWAY) {
      if (backwardRounding == AWAY) gatedRowBack<Away, Away>(from, g, to, width)
      else gatedRowBack<Away, None>(from, g, to, width)
    } else if (rounding == EVEN) {
      if (backwardRounding == EVEN) gatedRowBack<Even, Even>(from, g, to, width)
      else gatedRowBack<Even, None>(from, g, to, width)
    } else gatedRowBack<Exact, None>(from, g, to, width)
  }
}
