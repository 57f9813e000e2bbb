// Activation functions and their derivatives, elementwise.
// Two families of formulas:
//   EXACT   plain f32: gelu = x Phi(x) (erf), silu = x sigmoid(x), ...
//   chain   microxcaling's operators (microsoft/microxcaling 7bc4195, mx/activations.py): every primitive step is followed by Q, the rounding to bf16.
//           Its gelu is x sigmoid(1.59375 (x + 0.044677734 x^3)), never erf. With Q = identity (NONE) the chain's formula is computed in plain f32.
// What would surprise: relu and relu6 round neither their input nor the incoming gradient before the mask, only the result.
// A backward chain may be unrounded (NONE) over a rounded forward one: it then uses the forward's rounded intermediates, and x unrounded.
import { AWAY, EVEN, NONE, round, roundStep } from './bf16'
import { loadPart, storePart } from './lanes'
import { bell, density, exp, tail, tailArgument, tanh as tanhOf } from './math'

/** Beside AWAY, EVEN and NONE: the exact formulas. */
const EXACT: i32 = 3

const LINEAR: i32 = 0
const RELU: i32 = 1
const RELU6: i32 = 2
const LEAKY_RELU: i32 = 3
const GELU: i32 = 4
const SILU: i32 = 5
const SIGMOID: i32 = 6
const TANH: i32 = 7
/** gelu by the first-order form x sigmoid(1.703125 x). */
const GELU_FIRST_ORDER: i32 = 8

// @ts-ignore: decorator
@inline
function at(table: usize, i: usize): v128 { return v128.load(table + (i << 4)) }

const C = memory.data<f32>([
  0, 0, 0, 0, // 0
  1, 1, 1, 1, // 1
  6, 6, 6, 6, // 2
  1.59375, 1.59375, 1.59375, 1.59375, // 3: 2 sqrt(2/pi) in bf16
  0.044677734375, 0.044677734375, 0.044677734375, 0.044677734375, // 4: 0.044715 in bf16
  0.2138671875, 0.2138671875, 0.2138671875, 0.2138671875, // 5: derivative's coefficient 3 * 0.044715 * 2 sqrt(2/pi) in bf16
  1.703125, 1.703125, 1.703125, 1.703125, // 6: 1.702 in bf16
])

/** Q(1 / Q(Q(exp -x) + 1)) for rounded x. */
// @ts-ignore: decorator
@inline
function logistic(x: v128, r: i32): v128 {
  const e = roundStep(exp(f32x4.neg(x)), r)
  return roundStep(f32x4.div(at(C, 1), roundStep(f32x4.add(e, at(C, 1)), r)), r)
}

/** The gate of the chain's gelu: sigmoid of a cubic (or linear) argument in rounded x. */
// @ts-ignore: decorator
@inline
function gate(x: v128, r: i32, firstOrder: bool): v128 {
  if (firstOrder) return logistic(roundStep(f32x4.mul(x, at(C, 6)), r), r)
  const cube = roundStep(f32x4.mul(roundStep(f32x4.mul(x, x), r), x), r)
  const inner = roundStep(f32x4.add(roundStep(f32x4.mul(cube, at(C, 4)), r), x), r)
  return logistic(roundStep(f32x4.mul(inner, at(C, 3)), r), r)
}

// @ts-ignore: decorator
@inline
function forward(kind: i32, r: i32, slope: v128, raw: v128): v128 {
  if (kind == LINEAR) return raw
  if (kind == GELU && r == EXACT) {
    const t = tailArgument(raw)
    return f32x4.sub(f32x4.pmax(raw, at(C, 0)), f32x4.mul(t, tail(t, bell(t))))
  }
  const q = r == EXACT ? NONE : r
  if (kind == RELU) return round(f32x4.pmax(raw, at(C, 0)), q)
  if (kind == RELU6) return round(f32x4.pmin(f32x4.pmax(raw, at(C, 0)), at(C, 2)), q)
  const x = round(raw, q)
  if (kind == LEAKY_RELU) return round(v128.bitselect(f32x4.mul(x, slope), x, f32x4.lt(x, at(C, 0))), q)
  if (kind == SILU) return roundStep(f32x4.mul(x, logistic(x, q)), q)
  if (kind == SIGMOID) return logistic(x, q)
  if (kind == TANH) return roundStep(tanhOf(x), q)
  return roundStep(f32x4.mul(x, gate(x, q, kind == GELU_FIRST_ORDER)), q)
}

/** `r`: rounding of the forward pass, `b`: of the backward pass (NONE or r). */
// @ts-ignore: decorator
@inline
function backward(kind: i32, r: i32, b: i32, slope: v128, raw: v128, gradient: v128): v128 {
  if (kind == LINEAR) return gradient
  if (kind == GELU && r == EXACT) {
    const t = tailArgument(raw)
    const e = bell(t)
    const below = tail(t, e)
    const phi = v128.bitselect(below, f32x4.sub(at(C, 1), below), f32x4.lt(raw, at(C, 0)))
    const x = v128.bitselect(f32x4.neg(t), t, f32x4.lt(raw, at(C, 0)))
    return f32x4.mul(gradient, f32x4.add(phi, f32x4.mul(x, density(e))))
  }
  const q = r == EXACT ? NONE : r
  const y = forward(kind, r, slope, raw)
  if (kind == RELU) return round(v128.and(gradient, f32x4.gt(y, at(C, 0))), b)
  if (kind == RELU6) return round(v128.and(gradient, v128.and(f32x4.gt(y, at(C, 0)), f32x4.lt(y, at(C, 2)))), b)
  const g = round(gradient, b)
  if (kind == LEAKY_RELU) return v128.bitselect(g, round(f32x4.mul(g, slope), b), f32x4.gt(y, at(C, 0)))
  if (kind == SIGMOID) return roundStep(f32x4.mul(roundStep(f32x4.mul(y, roundStep(f32x4.sub(at(C, 1), y), b)), b), g), b)
  if (kind == TANH) return roundStep(f32x4.mul(roundStep(f32x4.sub(at(C, 1), roundStep(f32x4.mul(y, y), b)), b), g), b)
  if (kind == SILU) {
    const s = logistic(round(raw, q), q)
    return roundStep(f32x4.mul(roundStep(f32x4.add(s, roundStep(f32x4.mul(y, roundStep(f32x4.sub(at(C, 1), s), b)), b)), b), g), b)
  }
  const phi = gate(round(raw, q), q, kind == GELU_FIRST_ORDER), x = round(raw, b)
  let c = roundStep(f32x4.mul(phi, roundStep(f32x4.sub(at(C, 1), phi), b)), b)
  if (kind == GELU_FIRST_ORDER) c = roundStep(f32x4.mul(at(C, 6), c), b)
  else {
    const k = roundStep(f32x4.add(at(C, 3), roundStep(f32x4.mul(at(C, 5), roundStep(f32x4.mul(x, x), b)), b)), b)
    c = roundStep(f32x4.mul(k, c), b)
  }
  return roundStep(f32x4.mul(roundStep(f32x4.add(phi, roundStep(f32x4.mul(x, c), b)), b), g), b)
}

// @ts-ignore: decorator
@inline
function forwardLoop(kind: i32, r: i32, slope: f32, x: usize, y: usize, begin: i32, end: i32): void {
  const s = f32x4.splat(slope)
  let i = begin
  for (; i + 4 <= end; i += 4) v128.store(y + (<usize>i << 2), forward(kind, r, s, v128.load(x + (<usize>i << 2))))
  const rest = end - i
  if (rest > 0) storePart(y + (<usize>i << 2), forward(kind, r, s, loadPart(x + (<usize>i << 2), rest)), rest)
}

// @ts-ignore: decorator
@inline
function backwardLoop(kind: i32, r: i32, b: i32, slope: f32, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void {
  const s = f32x4.splat(slope)
  let i = begin
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2
    v128.store(dx + o, backward(kind, r, b, s, v128.load(x + o), v128.load(dy + o)))
  }
  const rest = end - i, o = <usize>i << 2
  if (rest > 0) storePart(dx + o, backward(kind, r, b, s, loadPart(x + o, rest), loadPart(dy + o, rest)), rest)
}

// One compiled loop per function and rounding: a non-inlined function per activation keeps each small enough to compile fast.
// @ts-ignore: decorator
@inline
function forwardRoundings(kind: i32, r: i32, slope: f32, x: usize, y: usize, begin: i32, end: i32): void {
  if (r == AWAY) forwardLoop(kind, AWAY, slope, x, y, begin, end)
  else if (r == EVEN) forwardLoop(kind, EVEN, slope, x, y, begin, end)
  else if (r == NONE && (kind == GELU || kind == GELU_FIRST_ORDER)) forwardLoop(kind, NONE, slope, x, y, begin, end)
  else forwardLoop(kind, EXACT, slope, x, y, begin, end)
}

// @ts-ignore: decorator
@inline
function backwardRoundings(kind: i32, r: i32, b: i32, slope: f32, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void {
  if (r == AWAY) {
    if (b == AWAY) backwardLoop(kind, AWAY, AWAY, slope, x, dy, dx, begin, end)
    else backwardLoop(kind, AWAY, NONE, slope, x, dy, dx, begin, end)
  } else if (r == EVEN) {
    if (b == EVEN) backwardLoop(kind, EVEN, EVEN, slope, x, dy, dx, begin, end)
    else backwardLoop(kind, EVEN, NONE, slope, x, dy, dx, begin, end)
  } else if (r == NONE && (kind == GELU || kind == GELU_FIRST_ORDER)) backwardLoop(kind, NONE, NONE, slope, x, dy, dx, begin, end)
  else backwardLoop(kind, EXACT, NONE, slope, x, dy, dx, begin, end)
}

function relu(r: i32, s: f32, x: usize, y: usize, begin: i32, end: i32): void { forwardRoundings(RELU, r, s, x, y, begin, end) }
function relu6(r: i32, s: f32, x: usize, y: usize, begin: i32, end: i32): void { forwardRoundings(RELU6, r, s, x, y, begin, end) }
function leakyRelu(r: i32, s: f32, x: usize, y: usize, begin: i32, end: i32): void { forwardRoundings(LEAKY_RELU, r, s, x, y, begin, end) }
function gelu(r: i32, s: f32, x: usize, y: usize, begin: i32, end: i32): void { forwardRoundings(GELU, r, s, x, y, begin, end) }
function silu(r: i32, s: f32, x: usize, y: usize, begin: i32, end: i32): void { forwardRoundings(SILU, r, s, x, y, begin, end) }
function sigmoid(r: i32, s: f32, x: usize, y: usize, begin: i32, end: i32): void { forwardRoundings(SIGMOID, r, s, x, y, begin, end) }
function tanh(r: i32, s: f32, x: usize, y: usize, begin: i32, end: i32): void { forwardRoundings(TANH, r, s, x, y, begin, end) }
function geluFirstOrder(r: i32, s: f32, x: usize, y: usize, begin: i32, end: i32): void { forwardRoundings(GELU_FIRST_ORDER, r, s, x, y, begin, end) }

/** y = activation(x). `kind` and `rounding` as in src/ops/activation.ts; `slope` for leaky relu only. Items: elements. */
export function activation_forward(kind: i32, rounding: i32, slope: f32, x: usize, y: usize, begin: i32, end: i32): void {
  if (kind == LINEAR) memory.copy(y + (<usize>begin << 2), x + (<usize>begin << 2), <usize>(end - begin) << 2)
  else if (kind == RELU) relu(rounding, slope, x, y, begin, end)
  else if (kind == RELU6) relu6(rounding, slope, x, y, begin, end)
  else if (kind == LEAKY_RELU) leakyRelu(rounding, slope, x, y, begin, end)
  else if (kind == GELU) gelu(rounding, slope, x, y, begin, end)
  else if (kind == SILU) silu(rounding, slope, x, y, begin, end)
  else if (kind == SIGMOID) sigmoid(rounding, slope, x, y, begin, end)
  else if (kind == TANH) tanh(rounding, slope, x, y, begin, end)
  else geluFirstOrder(rounding, slope, x, y, begin, end)
}

function reluBack(r: i32, b: i32, s: f32, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void { backwardRoundings(RELU, r, b, s, x, dy, dx, begin, end) }
function relu6Back(r: i32, b: i32, s: f32, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void { backwardRoundings(RELU6, r, b, s, x, dy, dx, begin, end) }
function leakyReluBack(r: i32, b: i32, s: f32, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void { backwardRoundings(LEAKY_RELU, r, b, s, x, dy, dx, begin, end) }
function geluBack(r: i32, b: i32, s: f32, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void { backwardRoundings(GELU, r, b, s, x, dy, dx, begin, end) }
function siluBack(r: i32, b: i32, s: f32, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void { backwardRoundings(SILU, r, b, s, x, dy, dx, begin, end) }
function sigmoidBack(r: i32, b: i32, s: f32, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void { backwardRoundings(SIGMOID, r, b, s, x, dy, dx, begin, end) }
function tanhBack(r: i32, b: i32, s: f32, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void { backwardRoundings(TANH, r, b, s, x, dy, dx, begin, end) }
function geluFirstOrderBack(r: i32, b: i32, s: f32, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void { backwardRoundings(GELU_FIRST_ORDER, r, b, s, x, dy, dx, begin, end) }

/** dx = dy activation'(x), everything recomputed from x. dx may be dy. Items: elements. */
export function activation_backward(kind: i32, rounding: i32, backwardRounding: i32, slope: f32, x: usize, dy: usize, dx: usize, begin: i32, end: i32): void {
  if (kind == LINEAR) memory.copy(dx + (<usize>begin << 2), dy + (<usize>begin << 2), <usize>(end - begin) << 2)
  else if (kind == RELU) reluBack(rounding, backwardRounding, slope, x, dy, dx, begin, end)
  else if (kind == RELU6) relu6Back(rounding, backwardRounding, slope, x, dy, dx, begin, end)
  else if (kind == LEAKY_RELU) leakyReluBack(rounding, backwardRounding, slope, x, dy, dx, begin, end)
  else if (kind == GELU) geluBack(rounding, backwardRounding, slope, x, dy, dx, begin, end)
  else if (kind == SILU) siluBack(rounding, backwardRounding, slope, x, dy, dx, begin, end)
  else if (kind == SIGMOID) sigmoidBack(rounding, backwardRounding, slope, x, dy, dx, begin, end)
  else if (kind == TANH) tanhBack(rounding, backwardRounding, slope, x, dy, dx, begin, end)
  else geluFirstOrderBack(rounding, backwardRounding, slope, x, dy, dx, begin, end)
}

/** Columns [0, width) of one row of the gated product y = a silu(b), where a row of x is a then b. */
// @ts-ignore: decorator
@inline
function gatedRow(r: i32, x: usize, y: usize, width: i32): void {
  const none = f32x4.splat(0), b = x + (<usize>width << 2)
  let i = 0
  for (; i + 4 <= width; i += 4) {
    const o = <usize>i << 2
    v128.store(y + o, f32x4.mul(v128.load(x + o), forward(SILU, r, none, v128.load(b + o))))
  }
  const rest = width - i, o = <usize>i << 2
  if (rest > 0) storePart(y + o, f32x4.mul(loadPart(x + o, rest), forward(SILU, r, none, loadPart(b + o, rest))), rest)
}

// @ts-ignore: decorator
@inline
function gatedRowBack(r: i32, back: i32, x: usize, dy: usize, dx: usize, width: i32): void {
  const none = f32x4.splat(0), half = <usize>width << 2
  let i = 0
  for (; i + 4 <= width; i += 4) {
    const o = <usize>i << 2
    const a = v128.load(x + o), b = v128.load(x + half + o), g = v128.load(dy + o)
    v128.store(dx + o, f32x4.mul(g, forward(SILU, r, none, b)))
    v128.store(dx + half + o, backward(SILU, r, back, none, b, f32x4.mul(g, a)))
  }
  const rest = width - i, o = <usize>i << 2
  if (rest > 0) {
    const a = loadPart(x + o, rest), b = loadPart(x + half + o, rest), g = loadPart(dy + o, rest)
    storePart(dx + o, f32x4.mul(g, forward(SILU, r, none, b)), rest)
    storePart(dx + half + o, backward(SILU, r, back, none, b, f32x4.mul(g, a)), rest)
  }
}

/** y [rows, width] = a * silu(b), where a row of x [rows, 2 width] is a, then b; the product is plain f32. Items: rows. */
export function swiglu_forward(rounding: i32, x: usize, y: usize, width: i32, begin: i32, end: i32): void {
  for (let row = begin; row < end; row++) {
    const from = x + (<usize>row * <usize>width << 3), to = y + (<usize>row * <usize>width << 2)
    if (rounding == AWAY) gatedRow(AWAY, from, to, width)
    else if (rounding == EVEN) gatedRow(EVEN, from, to, width)
    else gatedRow(EXACT, from, to, width)
  }
}

/** dx [rows, 2 width] from dy [rows, width]: da = dy silu(b), db = silu'(b) applied to dy a. Items: rows. */
export function swiglu_backward(rounding: i32, backwardRounding: i32, x: usize, dy: usize, dx: usize, width: i32, begin: i32, end: i32): void {
  for (let row = begin; row < end; row++) {
    const from = x + (<usize>row * <usize>width << 3), to = dx + (<usize>row * <usize>width << 3), g = dy + (<usize>row * <usize>width << 2)
    if (rounding == AWAY) {
      if (backwardRounding == AWAY) gatedRowBack(AWAY, AWAY, from, g, to, width)
      else gatedRowBack(AWAY, NONE, from, g, to, width)
    } else if (rounding == EVEN) {
      if (backwardRounding == EVEN) gatedRowBack(EVEN, EVEN, from, g, to, width)
      else gatedRowBack(EVEN, NONE, from, g, to, width)
    } else gatedRowBack(EXACT, NONE, from, g, to, width)
  }
}
