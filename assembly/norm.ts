// Layer norm and RMS norm over the last axis, forward and backward, rows of D elements.
// One chain of operations serves every precision (microsoft/microxcaling 7bc4195, mx/norm_utils.py and mx/layernorm.py); Q rounds to bf16, or is the identity:
//   layer norm  X = Q x, W = Q gamma, B = Q beta;  mu = Q(Q(sum X) / D);  d = Q(X - mu);  v = Q(Q(sum Q(d d)) / D);  ve = Q(v + eps);
//               i = Q(1 / Q(sqrt ve));  n = Q(d i);  y = Q(Q(W n) + B)
//   backward    G = Q g;  dn = Q(G W);  s = Q(sqrt ve);  ds = Q(dn Q(1/s));  t = Q(Q(sum Q(Q(dn n) s)) / D);  t = Q(t Q(1/ve));
//               dx = Q(ds + Q(-t n));  dx = Q(dx - Q(Q(sum dx) / D));  dgamma = Q(sum of Q(G n) over rows),  dbeta = Q(sum of G over rows)
//   RMS norm    ms = Q(Q(sum Q(X X)) / D);  i = Q(1 / Q(sqrt Q(ms + eps)));  n = Q(X i);  y as above
//   backward    d1 = Q(Q(G W) i);  dx = d1 - Q(n Q(Q(sum Q(d1 n)) / D)), not rounded
// Three roundings are told apart: `first` (x, gamma, beta, mean, variance), `second` (from ve on), `back` (the backward's own steps), because the code
// released with arXiv 2506.20752 has a switch that turns off `first` and `back` only. All NONE: the usual f32 norm.
// `stats` [rows, 2] keeps mu and ve (RMS norm: 0 and Q(ms + eps)); n is recomputed from x.
// Sums over a row: element c goes to partial sum c mod 16, in order; then p[j] += p[j+8], p[j] += p[j+4], p[j] += p[j+2], p[0] += p[1].
import { AWAY, EVEN, NONE, round, roundOne, roundStep } from './bf16'
import { loadPart, storePart } from './lanes'
import { scratch } from './scratch'

const ZERO = memory.data<f32>([0, 0, 0, 0])

// @ts-ignore: decorator
@inline
function combine(s0: v128, s1: v128, s2: v128, s3: v128): f32 {
  const s = f32x4.add(f32x4.add(s0, s2), f32x4.add(s1, s3))
  return (f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 2)) + (f32x4.extract_lane(s, 1) + f32x4.extract_lane(s, 3))
}

/** Sum of a row in the order stated above. */
function rowSum(x: usize, D: i32): f32 {
  let s0 = v128.load(ZERO), s1 = s0, s2 = s0, s3 = s0
  let c = 0
  for (; c + 16 <= D; c += 16) {
    const p = x + (<usize>c << 2)
    s0 = f32x4.add(s0, v128.load(p))
    s1 = f32x4.add(s1, v128.load(p, 16))
    s2 = f32x4.add(s2, v128.load(p, 32))
    s3 = f32x4.add(s3, v128.load(p, 48))
  }
  if (c < D) {
    const p = x + (<usize>c << 2), rest = D - c
    s0 = addPart(s0, p, rest)
    s1 = addPart(s1, p + 16, rest - 4)
    s2 = addPart(s2, p + 32, rest - 8)
    s3 = addPart(s3, p + 48, rest - 12)
  }
  return combine(s0, s1, s2, s3)
}

function addPart(sum: v128, p: usize, n: i32): v128 {
  if (n <= 0) return sum
  return f32x4.add(sum, n >= 4 ? v128.load(p) : loadPart(p, n))
}

/** Q(Q(sum of the row) / D). */
function rowMean(x: usize, D: i32, rounding: i32): f32 {
  return roundOne(roundOne(rowSum(x, D), rounding) / <f32>D, rounding)
}

/** Q(1 / Q(sqrt ve)). */
// @ts-ignore: decorator
@inline
function inverseRoot(ve: f32, rounding: i32): f32 { return roundOne(1 / roundOne(sqrt(ve), rounding), rounding) }

/** Rounded copies of gamma and beta (or zeros), made once per call in this thread's scratch area: gamma at scratch, beta after it. */
function prepare(gamma: usize, beta: usize, D: i32, rounding: i32): void {
  for (let c = 0; c < D; c++) {
    const p = scratch + (<usize>c << 2)
    store<f32>(p, roundOne(load<f32>(gamma + (<usize>c << 2)), rounding))
    store<f32>(p + (<usize>D << 2), beta ? roundOne(load<f32>(beta + (<usize>c << 2)), rounding) : 0)
  }
}

// Row passes. `p` points at a row; each reads and writes D elements, four at a time.

/** y = Q x. */
// @ts-ignore: decorator
@inline
function passRound(x: usize, y: usize, D: i32, rounding: i32): void {
  let c = 0
  for (; c + 4 <= D; c += 4) v128.store(y + (<usize>c << 2), round(v128.load(x + (<usize>c << 2)), rounding))
  const rest = D - c, o = <usize>c << 2
  if (rest > 0) storePart(y + o, round(loadPart(x + o, rest), rounding), rest)
}

/** d = Q(x - mu) in place, squares = Q(d d). */
// @ts-ignore: decorator
@inline
function passCenter(d: usize, squares: usize, mu: f32, D: i32, rounding: i32): void {
  const m = f32x4.splat(mu)
  let c = 0
  for (; c + 4 <= D; c += 4) {
    const o = <usize>c << 2
    const v = roundStep(f32x4.sub(v128.load(d + o), m), rounding)
    v128.store(d + o, v)
    v128.store(squares + o, roundStep(f32x4.mul(v, v), rounding))
  }
  const rest = D - c, o = <usize>c << 2
  if (rest > 0) {
    const v = roundStep(f32x4.sub(loadPart(d + o, rest), m), rounding)
    storePart(d + o, v, rest)
    storePart(squares + o, roundStep(f32x4.mul(v, v), rounding), rest)
  }
}

/** y = Q(Q(W Q(d i)) + B) in place of d. */
// @ts-ignore: decorator
@inline
function passScale(y: usize, gamma: usize, beta: usize, inverse: f32, D: i32, rounding: i32): void {
  const i = f32x4.splat(inverse)
  let c = 0
  for (; c + 4 <= D; c += 4) {
    const o = <usize>c << 2
    const n = round(f32x4.mul(v128.load(y + o), i), rounding)
    v128.store(y + o, round(f32x4.add(round(f32x4.mul(v128.load(gamma + o), n), rounding), v128.load(beta + o)), rounding))
  }
  const rest = D - c, o = <usize>c << 2
  if (rest > 0) {
    const n = round(f32x4.mul(loadPart(y + o, rest), i), rounding)
    storePart(y + o, round(f32x4.add(round(f32x4.mul(loadPart(gamma + o, rest), n), rounding), loadPart(beta + o, rest)), rounding), rest)
  }
}

// @ts-ignore: decorator
@inline
function layerForward(x: usize, gamma: usize, beta: usize, y: usize, stats: usize, D: i32, eps: f32, first: i32, second: i32, begin: i32, end: i32): void {
  prepare(gamma, beta, D, first)
  const bytes = <usize>D << 2, W = scratch, B = scratch + bytes, squares = scratch + 2 * bytes
  for (let row = begin; row < end; row++) {
    const to = y + <usize>row * bytes
    passRound(x + <usize>row * bytes, to, D, first)
    const mu = rowMean(to, D, first)
    passCenter(to, squares, mu, D, first)
    const ve = roundOne(rowMean(squares, D, first) + eps, second)
    passScale(to, W, B, inverseRoot(ve, second), D, second)
    store<f32>(stats + (<usize>row << 3), mu)
    store<f32>(stats + (<usize>row << 3), ve, 4)
  }
}

/**
 * y [rows, D] and stats [rows, 2] from x [rows, D], gamma [D], beta [D] (0: none). y may be x only if no backward pass follows.
 * Combinations of roundings that occur: all NONE; first = second; first NONE. Items: rows.
 */
export function layer_norm_forward(x: usize, gamma: usize, beta: usize, y: usize, stats: usize, D: i32, eps: f32, first: i32, second: i32, begin: i32, end: i32): void {
  if (second == NONE) layerForward(x, gamma, beta, y, stats, D, eps, NONE, NONE, begin, end)
  else if (second == AWAY) {
    if (first == AWAY) layerForward(x, gamma, beta, y, stats, D, eps, AWAY, AWAY, begin, end)
    else layerForward(x, gamma, beta, y, stats, D, eps, NONE, AWAY, begin, end)
  } else if (first == EVEN) layerForward(x, gamma, beta, y, stats, D, eps, EVEN, EVEN, begin, end)
  else layerForward(x, gamma, beta, y, stats, D, eps, NONE, EVEN, begin, end)
}

// @ts-ignore: decorator
@inline
function rmsForward(x: usize, gamma: usize, beta: usize, y: usize, stats: usize, D: i32, eps: f32, r: i32, begin: i32, end: i32): void {
  prepare(gamma, beta, D, r)
  const bytes = <usize>D << 2, W = scratch, B = scratch + bytes, squares = scratch + 2 * bytes
  for (let row = begin; row < end; row++) {
    const to = y + <usize>row * bytes
    passRound(x + <usize>row * bytes, to, D, r)
    passCenter(to, squares, 0, D, r)
    const ve = roundOne(rowMean(squares, D, r) + eps, r)
    passScale(to, W, B, inverseRoot(ve, r), D, r)
    store<f32>(stats + (<usize>row << 3), 0)
    store<f32>(stats + (<usize>row << 3), ve, 4)
  }
}

/** As layer_norm_forward, without the mean. Items: rows. */
export function rms_norm_forward(x: usize, gamma: usize, beta: usize, y: usize, stats: usize, D: i32, eps: f32, rounding: i32, begin: i32, end: i32): void {
  if (rounding == NONE) rmsForward(x, gamma, beta, y, stats, D, eps, NONE, begin, end)
  else if (rounding == AWAY) rmsForward(x, gamma, beta, y, stats, D, eps, AWAY, begin, end)
  else rmsForward(x, gamma, beta, y, stats, D, eps, EVEN, begin, end)
}

/** n = Q(Q(Q x - mu) i), the normalized row, from the forward's statistics. */
// @ts-ignore: decorator
@inline
function normalized(x: v128, mu: v128, inverse: v128, first: i32, second: i32): v128 {
  return round(f32x4.mul(roundStep(f32x4.sub(round(x, first), mu), first), inverse), second)
}

// @ts-ignore: decorator
@inline
function layerBackStep(x: v128, g: v128, W: v128, mu: v128, inverse: v128, inverseBack: v128, s: v128, first: i32, second: i32, back: i32, n: usize, ds: usize, t: usize): void {
  const normal = normalized(x, mu, inverse, first, second)
  const dn = round(f32x4.mul(round(g, back), W), back)
  v128.store(n, normal)
  v128.store(ds, roundStep(f32x4.mul(dn, inverseBack), back))
  v128.store(t, roundStep(f32x4.mul(roundStep(f32x4.mul(dn, normal), back), s), back))
}

// @ts-ignore: decorator
@inline
function layerBackward(x: usize, dy: usize, gamma: usize, stats: usize, dx: usize, D: i32, first: i32, second: i32, back: i32, begin: i32, end: i32): void {
  // gamma is rounded unless the whole backward is plain f32; rows in scratch are padded to a multiple of four
  prepare(gamma, 0, D, back)
  const bytes = <usize>D << 2, row4 = (<usize>D + 3 << 2) & ~15
  const W = scratch, n = scratch + 2 * row4, ds = n + row4, t = ds + row4
  for (let row = begin; row < end; row++) {
    const from = x + <usize>row * bytes, g = dy + <usize>row * bytes, to = dx + <usize>row * bytes
    const ve = load<f32>(stats + (<usize>row << 3), 4)
    const mu = f32x4.splat(load<f32>(stats + (<usize>row << 3)))
    const inverse = f32x4.splat(inverseRoot(ve, second))
    const root = roundOne(sqrt(ve), back)
    const inverseBack = f32x4.splat(roundOne(1 / root, back)), s = f32x4.splat(root)
    let c = 0
    for (; c + 4 <= D; c += 4) {
      const o = <usize>c << 2
      layerBackStep(v128.load(from + o), v128.load(g + o), v128.load(W + o), mu, inverse, inverseBack, s, first, second, back, n + o, ds + o, t + o)
    }
    let rest = D - c, o = <usize>c << 2
    if (rest > 0) layerBackStep(loadPart(from + o, rest), loadPart(g + o, rest), loadPart(W + o, rest), mu, inverse, inverseBack, s, first, second, back, n + o, ds + o, t + o)
    const slope = f32x4.splat(-roundOne(rowMean(t, D, back) * roundOne(1 / ve, back), back))
    for (c = 0; c < D; c += 4) {
      o = <usize>c << 2
      v128.store(ds + o, roundStep(f32x4.add(v128.load(ds + o), roundStep(f32x4.mul(slope, v128.load(n + o)), back)), back))
    }
    const mean = f32x4.splat(rowMean(ds, D, back))
    for (c = 0; c + 4 <= D; c += 4) v128.store(to + (<usize>c << 2), roundStep(f32x4.sub(v128.load(ds + (<usize>c << 2)), mean), back))
    o = <usize>c << 2
    if (rest > 0) storePart(to + o, roundStep(f32x4.sub(v128.load(ds + o), mean), back), rest)
  }
}

/** dx [rows, D] from dy, x, gamma and the forward's stats. dx may be dy. Roundings as in the forward; `back` is NONE or equal to `second`. Items: rows. */
export function layer_norm_backward(x: usize, dy: usize, gamma: usize, stats: usize, dx: usize, D: i32, first: i32, second: i32, back: i32, begin: i32, end: i32): void {
  if (second == NONE) layerBackward(x, dy, gamma, stats, dx, D, NONE, NONE, NONE, begin, end)
  else if (second == AWAY) {
    if (back == AWAY) layerBackward(x, dy, gamma, stats, dx, D, AWAY, AWAY, AWAY, begin, end)
    else if (first == AWAY) layerBackward(x, dy, gamma, stats, dx, D, AWAY, AWAY, NONE, begin, end)
    else layerBackward(x, dy, gamma, stats, dx, D, NONE, AWAY, NONE, begin, end)
  } else if (back == EVEN) layerBackward(x, dy, gamma, stats, dx, D, EVEN, EVEN, EVEN, begin, end)
  else if (first == EVEN) layerBackward(x, dy, gamma, stats, dx, D, EVEN, EVEN, NONE, begin, end)
  else layerBackward(x, dy, gamma, stats, dx, D, NONE, EVEN, NONE, begin, end)
}

// @ts-ignore: decorator
@inline
function rmsBackStep(x: v128, g: v128, W: v128, inverse: v128, r: i32, back: i32, n: usize, d1: usize, t: usize): void {
  const normal = roundStep(f32x4.mul(round(x, r), inverse), r)
  const d = roundStep(f32x4.mul(round(f32x4.mul(round(g, back), W), back), inverse), back)
  v128.store(n, normal)
  v128.store(d1, d)
  v128.store(t, roundStep(f32x4.mul(d, normal), back))
}

// @ts-ignore: decorator
@inline
function rmsBackward(x: usize, dy: usize, gamma: usize, stats: usize, dx: usize, D: i32, r: i32, back: i32, begin: i32, end: i32): void {
  prepare(gamma, 0, D, back)
  const bytes = <usize>D << 2, row4 = (<usize>D + 3 << 2) & ~15
  const W = scratch, n = scratch + 2 * row4, d1 = n + row4, t = d1 + row4
  for (let row = begin; row < end; row++) {
    const from = x + <usize>row * bytes, g = dy + <usize>row * bytes, to = dx + <usize>row * bytes
    const inverse = f32x4.splat(inverseRoot(load<f32>(stats + (<usize>row << 3), 4), r))
    let c = 0
    for (; c + 4 <= D; c += 4) {
      const o = <usize>c << 2
      rmsBackStep(v128.load(from + o), v128.load(g + o), v128.load(W + o), inverse, r, back, n + o, d1 + o, t + o)
    }
    const rest = D - c
    let o = <usize>c << 2
    if (rest > 0) rmsBackStep(loadPart(from + o, rest), loadPart(g + o, rest), loadPart(W + o, rest), inverse, r, back, n + o, d1 + o, t + o)
    const mean = f32x4.splat(rowMean(t, D, back))
    for (c = 0; c + 4 <= D; c += 4) {
      o = <usize>c << 2
      v128.store(to + o, f32x4.sub(v128.load(d1 + o), roundStep(f32x4.mul(v128.load(n + o), mean), back)))
    }
    o = <usize>c << 2
    if (rest > 0) storePart(to + o, f32x4.sub(v128.load(d1 + o), roundStep(f32x4.mul(v128.load(n + o), mean), back)), rest)
  }
}

/** dx [rows, D] of RMS norm; dx may be dy. `back` is NONE or equal to `rounding`. Items: rows. */
export function rms_norm_backward(x: usize, dy: usize, gamma: usize, stats: usize, dx: usize, D: i32, rounding: i32, back: i32, begin: i32, end: i32): void {
  if (rounding == NONE) rmsBackward(x, dy, gamma, stats, dx, D, NONE, NONE, begin, end)
  else if (rounding == AWAY) {
    if (back == AWAY) rmsBackward(x, dy, gamma, stats, dx, D, AWAY, AWAY, begin, end)
    else rmsBackward(x, dy, gamma, stats, dx, D, AWAY, NONE, begin, end)
  } else if (back == EVEN) rmsBackward(x, dy, gamma, stats, dx, D, EVEN, EVEN, begin, end)
  else rmsBackward(x, dy, gamma, stats, dx, D, EVEN, NONE, begin, end)
}

// @ts-ignore: decorator
@inline
function weightGradients(x: usize, dy: usize, stats: usize, dgamma: usize, dbeta: usize, rows: i32, D: i32, first: i32, second: i32, back: i32, begin: i32, end: i32): void {
  memory.fill(dgamma + (<usize>begin << 2), 0, <usize>(end - begin) << 2)
  if (dbeta) memory.fill(dbeta + (<usize>begin << 2), 0, <usize>(end - begin) << 2)
  for (let row = 0; row < rows; row++) {
    const from = x + (<usize>row * <usize>D << 2), g = dy + (<usize>row * <usize>D << 2)
    const mu = f32x4.splat(load<f32>(stats + (<usize>row << 3)))
    const inverse = f32x4.splat(inverseRoot(load<f32>(stats + (<usize>row << 3), 4), second))
    let c = begin
    for (; c + 4 <= end; c += 4) {
      const o = <usize>c << 2
      const G = round(v128.load(g + o), back)
      const gn = round(f32x4.mul(G, normalized(v128.load(from + o), mu, inverse, first, second)), back)
      v128.store(dgamma + o, f32x4.add(v128.load(dgamma + o), gn))
      if (dbeta) v128.store(dbeta + o, f32x4.add(v128.load(dbeta + o), G))
    }
    const rest = end - c, o = <usize>c << 2
    if (rest > 0) {
      const G = round(loadPart(g + o, rest), back)
      const gn = round(f32x4.mul(G, normalized(loadPart(from + o, rest), mu, inverse, first, second)), back)
      storePart(dgamma + o, f32x4.add(loadPart(dgamma + o, rest), gn), rest)
      if (dbeta) storePart(dbeta + o, f32x4.add(loadPart(dbeta + o, rest), G), rest)
    }
  }
  for (let c = begin; c < end; c++) {
    const o = <usize>c << 2
    store<f32>(dgamma + o, roundOne(load<f32>(dgamma + o), back))
    if (dbeta) store<f32>(dbeta + o, roundOne(load<f32>(dbeta + o), back))
  }
}

/**
 * dgamma [D] and dbeta [D] (0: not wanted) of layer norm and RMS norm alike, each column one sequential sum over the rows from +0, rounded once.
 * Items: columns.
 */
export function norm_weight_gradients(x: usize, dy: usize, stats: usize, dgamma: usize, dbeta: usize, rows: i32, D: i32, first: i32, second: i32, back: i32, begin: i32, end: i32): void {
  if (second == NONE) weightGradients(x, dy, stats, dgamma, dbeta, rows, D, NONE, NONE, NONE, begin, end)
  else if (second == AWAY) {
    if (back == AWAY) weightGradients(x, dy, stats, dgamma, dbeta, rows, D, AWAY, AWAY, AWAY, begin, end)
    else if (first == AWAY) weightGradients(x, dy, stats, dgamma, dbeta, rows, D, AWAY, AWAY, NONE, begin, end)
    else weightGradients(x, dy, stats, dgamma, dbeta, rows, D, NONE, AWAY, NONE, begin, end)
  } else if (back == EVEN) weightGradients(x, dy, stats, dgamma, dbeta, rows, D, EVEN, EVEN, EVEN, begin, end)
  else if (first == EVEN) weightGradients(x, dy, stats, dgamma, dbeta, rows, D, EVEN, EVEN, NONE, begin, end)
  else weightGradients(x, dy, stats, dgamma, dbeta, rows, D, NONE, EVEN, NONE, begin, end)
}
