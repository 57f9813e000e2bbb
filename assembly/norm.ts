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
import { AWAY, Away, EVEN, Even, NONE, None, rounded, roundOne, step } from './bf16'
import { first, loadPart, storePart } from './lanes'
import { scratch } from './scratch'

const ZERO = memory.data<f32>([0, 0, 0, 0])

/** Q of a result whose operands were rounded by P: the short form where P and R are one. */
// @ts-ignore: decorator
@inline
function after<P, R>(x: v128): v128 { return idof<P>() == idof<R>() ? step<R>(x) : rounded<R>(x) }

// @ts-ignore: decorator
@inline
function code<R>(): i32 { return idof<R>() == idof<Even>() ? EVEN : idof<R>() == idof<Away>() ? AWAY : NONE }

/** Four elements, or the `n` that are left and zeros. */
// @ts-ignore: decorator
@inline
function four(p: usize, n: i32): v128 { return n >= 4 ? v128.load(p) : loadPart(p, n) }

// @ts-ignore: decorator
@inline
function storeFour(p: usize, x: v128, n: i32): void {
  if (n >= 4) v128.store(p, x)
  else storePart(p, x, n)
}

// Sums of a row. Four vectors hold the 16 partial sums; the ragged end of a row adds to them in memory, where elements that do not exist add nothing.

// @ts-ignore: decorator
@inline
function combine(s0: v128, s1: v128, s2: v128, s3: v128): f32 {
  const s = f32x4.add(f32x4.add(s0, s2), f32x4.add(s1, s3))
  return (f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 2)) + (f32x4.extract_lane(s, 1) + f32x4.extract_lane(s, 3))
}

// @ts-ignore: decorator
@inline
function spill(sums: usize, s0: v128, s1: v128, s2: v128, s3: v128): void {
  v128.store(sums, s0)
  v128.store(sums, s1, 16)
  v128.store(sums, s2, 32)
  v128.store(sums, s3, 48)
}

/** Add the terms of elements c..c+3, c a multiple of 4, of which n exist. */
// @ts-ignore: decorator
@inline
function accumulate(sums: usize, c: i32, terms: v128, n: i32): void {
  const p = sums + (<usize>(c & 12) << 2)
  v128.store(p, f32x4.add(v128.load(p), n >= 4 ? terms : v128.and(terms, first(n))))
}

function combined(sums: usize): f32 { return combine(v128.load(sums), v128.load(sums, 16), v128.load(sums, 32), v128.load(sums, 48)) }

/** Q(Q(sum) / D). */
// @ts-ignore: decorator
@inline
function mean(sum: f32, D: i32, rounding: i32): f32 { return roundOne(roundOne(sum, rounding) / <f32>D, rounding) }

/** Q(1 / Q(sqrt ve)). */
// @ts-ignore: decorator
@inline
function inverseRoot(ve: f32, rounding: i32): f32 { return roundOne(1 / roundOne(sqrt(ve), rounding), rounding) }

/** Bytes of a row in scratch: a multiple of a vector. */
// @ts-ignore: decorator
@inline
function rowBytes(D: i32): usize { return <usize>(D + 3 & ~3) << 2 }

/** Q of gamma or beta, made once per call in this thread's scratch area; zeros if there is none. */
function prepare(to: usize, from: usize, D: i32, rounding: i32): void {
  for (let c = 0; c < D; c++) store<f32>(to + (<usize>c << 2), from ? roundOne(load<f32>(from + (<usize>c << 2)), rounding) : 0)
}

/** row = Q x; the sum. */
// @ts-ignore: decorator
@inline
function passRound<F>(x: usize, row: usize, sums: usize, D: i32): f32 {
  let s0 = v128.load(ZERO), s1 = s0, s2 = s0, s3 = s0, c = 0
  for (; c + 16 <= D; c += 16) {
    const p = x + (<usize>c << 2), q = row + (<usize>c << 2)
    const x0 = rounded<F>(v128.load(p)), x1 = rounded<F>(v128.load(p, 16)), x2 = rounded<F>(v128.load(p, 32)), x3 = rounded<F>(v128.load(p, 48))
    v128.store(q, x0)
    v128.store(q, x1, 16)
    v128.store(q, x2, 32)
    v128.store(q, x3, 48)
    s0 = f32x4.add(s0, x0)
    s1 = f32x4.add(s1, x1)
    s2 = f32x4.add(s2, x2)
    s3 = f32x4.add(s3, x3)
  }
  if (c >= D) return combine(s0, s1, s2, s3)
  spill(sums, s0, s1, s2, s3)
  for (; c < D; c += 4) {
    const v = rounded<F>(four(x + (<usize>c << 2), D - c))
    v128.store(row + (<usize>c << 2), v)
    accumulate(sums, c, v, D - c)
  }
  return combined(sums)
}

/** row = d = Q(row - mu), or left as it is if not `centered`; the sum of Q(d d). */
// @ts-ignore: decorator
@inline
function passSquares<F>(row: usize, sums: usize, D: i32, mu: f32, centered: bool): f32 {
  const m = f32x4.splat(mu)
  let s0 = v128.load(ZERO), s1 = s0, s2 = s0, s3 = s0, c = 0
  for (; c + 16 <= D; c += 16) {
    const p = row + (<usize>c << 2)
    let d0 = v128.load(p), d1 = v128.load(p, 16), d2 = v128.load(p, 32), d3 = v128.load(p, 48)
    if (centered) {
      d0 = step<F>(f32x4.sub(d0, m))
      d1 = step<F>(f32x4.sub(d1, m))
      d2 = step<F>(f32x4.sub(d2, m))
      d3 = step<F>(f32x4.sub(d3, m))
      v128.store(p, d0)
      v128.store(p, d1, 16)
      v128.store(p, d2, 32)
      v128.store(p, d3, 48)
    }
    s0 = f32x4.add(s0, step<F>(f32x4.mul(d0, d0)))
    s1 = f32x4.add(s1, step<F>(f32x4.mul(d1, d1)))
    s2 = f32x4.add(s2, step<F>(f32x4.mul(d2, d2)))
    s3 = f32x4.add(s3, step<F>(f32x4.mul(d3, d3)))
  }
  if (c >= D) return combine(s0, s1, s2, s3)
  spill(sums, s0, s1, s2, s3)
  for (; c < D; c += 4) {
    const p = row + (<usize>c << 2), d = centered ? step<F>(f32x4.sub(v128.load(p), m)) : v128.load(p)
    v128.store(p, d)
    accumulate(sums, c, step<F>(f32x4.mul(d, d)), D - c)
  }
  return combined(sums)
}

/** Q(Q(W Q(d i)) + B). */
// @ts-ignore: decorator
@inline
function scaled<F, S>(d: v128, inverse: v128, W: v128, B: v128): v128 {
  const n = after<F, S>(f32x4.mul(d, inverse))
  return after<F, S>(f32x4.add(after<F, S>(f32x4.mul(W, n)), B))
}

// @ts-ignore: decorator
@inline
function forward<F, S>(centered: bool, x: usize, gamma: usize, beta: usize, y: usize, stats: usize, D: i32, eps: f32, begin: i32, end: i32): void {
  const bytes = <usize>D << 2, size = rowBytes(D), W = scratch, B = W + size, row = B + size, sums = row + size
  prepare(W, gamma, D, code<F>())
  prepare(B, beta, D, code<F>())
  for (let r = begin; r < end; r++) {
    const to = y + <usize>r * bytes, sum = passRound<F>(x + <usize>r * bytes, row, sums, D)
    const mu: f32 = centered ? mean(sum, D, code<F>()) : 0
    const ve = roundOne(mean(passSquares<F>(row, sums, D, mu, centered), D, code<F>()) + eps, code<S>())
    const inverse = f32x4.splat(inverseRoot(ve, code<S>()))
    let c = 0
    for (; c + 8 <= D; c += 8) {
      const o = <usize>c << 2
      const low = scaled<F, S>(v128.load(row + o), inverse, v128.load(W + o), v128.load(B + o))
      const high = scaled<F, S>(v128.load(row + o, 16), inverse, v128.load(W + o, 16), v128.load(B + o, 16))
      v128.store(to + o, low)
      v128.store(to + o, high, 16)
    }
    for (; c < D; c += 4) {
      const o = <usize>c << 2
      storeFour(to + o, scaled<F, S>(v128.load(row + o), inverse, v128.load(W + o), v128.load(B + o)), D - c)
    }
    store<f32>(stats + (<usize>r << 3), mu)
    store<f32>(stats + (<usize>r << 3), ve, 4)
  }
}

/**
 * y [rows, D] and stats [rows, 2] from x [rows, D], gamma [D], beta [D] (0: none). y may be x only if no backward pass follows.
 * Combinations of roundings that occur: all NONE; first = second; first NONE. Items: rows.
 */
export function layer_norm_forward(x: usize, gamma: usize, beta: usize, y: usize, stats: usize, D: i32, eps: f32, first: i32, second: i32, begin: i32, end: i32): void {
  if (second == NONE) forward<None, None>(true, x, gamma, beta, y, stats, D, eps, begin, end)
  else if (second == AWAY) {
    if (first == AWAY) forward<Away, Away>(true, x, gamma, beta, y, stats, D, eps, begin, end)
    else forward<None, Away>(true, x, gamma, beta, y, stats, D, eps, begin, end)
  } else if (first == EVEN) forward<Even, Even>(true, x, gamma, beta, y, stats, D, eps, begin, end)
  else forward<None, Even>(true, x, gamma, beta, y, stats, D, eps, begin, end)
}

/** As layer_norm_forward, without the mean. Items: rows. */
export function rms_norm_forward(x: usize, gamma: usize, beta: usize, y: usize, stats: usize, D: i32, eps: f32, rounding: i32, begin: i32, end: i32): void {
  if (rounding == NONE) forward<None, None>(false, x, gamma, beta, y, stats, D, eps, begin, end)
  else if (rounding == AWAY) forward<Away, Away>(false, x, gamma, beta, y, stats, D, eps, begin, end)
  else forward<Even, Even>(false, x, gamma, beta, y, stats, D, eps, begin, end)
}

/** n = Q(Q(Q x - mu) i), the normalized row, from the forward's statistics. */
// @ts-ignore: decorator
@inline
function normalized<F, S>(x: v128, mu: v128, inverse: v128): v128 {
  return after<F, S>(f32x4.mul(step<F>(f32x4.sub(rounded<F>(x), mu)), inverse))
}

/** Q(Q(g) W) for W rounded by B. */
// @ts-ignore: decorator
@inline
function weighted<B>(g: v128, W: v128): v128 { return step<B>(f32x4.mul(rounded<B>(g), W)) }

/** n and ds of a row; the sum of Q(Q(dn n) s). */
// @ts-ignore: decorator
@inline
function passProject<F, S, B>(x: usize, g: usize, W: usize, n: usize, ds: usize, sums: usize, D: i32, mu: v128, inverse: v128, inverseBack: v128, s: v128): f32 {
  let s0 = v128.load(ZERO), s1 = s0, s2 = s0, s3 = s0, c = 0
  for (; c + 16 <= D; c += 16) {
    const o = <usize>c << 2
    const n0 = normalized<F, S>(v128.load(x + o), mu, inverse), dn0 = weighted<B>(v128.load(g + o), v128.load(W + o))
    const n1 = normalized<F, S>(v128.load(x + o, 16), mu, inverse), dn1 = weighted<B>(v128.load(g + o, 16), v128.load(W + o, 16))
    const n2 = normalized<F, S>(v128.load(x + o, 32), mu, inverse), dn2 = weighted<B>(v128.load(g + o, 32), v128.load(W + o, 32))
    const n3 = normalized<F, S>(v128.load(x + o, 48), mu, inverse), dn3 = weighted<B>(v128.load(g + o, 48), v128.load(W + o, 48))
    spill(n + o, n0, n1, n2, n3)
    spill(ds + o, step<B>(f32x4.mul(dn0, inverseBack)), step<B>(f32x4.mul(dn1, inverseBack)), step<B>(f32x4.mul(dn2, inverseBack)), step<B>(f32x4.mul(dn3, inverseBack)))
    s0 = f32x4.add(s0, step<B>(f32x4.mul(step<B>(f32x4.mul(dn0, n0)), s)))
    s1 = f32x4.add(s1, step<B>(f32x4.mul(step<B>(f32x4.mul(dn1, n1)), s)))
    s2 = f32x4.add(s2, step<B>(f32x4.mul(step<B>(f32x4.mul(dn2, n2)), s)))
    s3 = f32x4.add(s3, step<B>(f32x4.mul(step<B>(f32x4.mul(dn3, n3)), s)))
  }
  if (c >= D) return combine(s0, s1, s2, s3)
  spill(sums, s0, s1, s2, s3)
  for (; c < D; c += 4) {
    const o = <usize>c << 2, left = D - c
    const normal = normalized<F, S>(four(x + o, left), mu, inverse), dn = weighted<B>(four(g + o, left), v128.load(W + o))
    v128.store(n + o, normal)
    v128.store(ds + o, step<B>(f32x4.mul(dn, inverseBack)))
    accumulate(sums, c, step<B>(f32x4.mul(step<B>(f32x4.mul(dn, normal)), s)), left)
  }
  return combined(sums)
}

/** ds = Q(ds + Q(slope n)); the sum. */
// @ts-ignore: decorator
@inline
function passCombine<B>(n: usize, ds: usize, sums: usize, D: i32, slope: v128): f32 {
  let s0 = v128.load(ZERO), s1 = s0, s2 = s0, s3 = s0, c = 0
  for (; c + 16 <= D; c += 16) {
    const p = n + (<usize>c << 2), q = ds + (<usize>c << 2)
    const d0 = step<B>(f32x4.add(v128.load(q), step<B>(f32x4.mul(slope, v128.load(p)))))
    const d1 = step<B>(f32x4.add(v128.load(q, 16), step<B>(f32x4.mul(slope, v128.load(p, 16)))))
    const d2 = step<B>(f32x4.add(v128.load(q, 32), step<B>(f32x4.mul(slope, v128.load(p, 32)))))
    const d3 = step<B>(f32x4.add(v128.load(q, 48), step<B>(f32x4.mul(slope, v128.load(p, 48)))))
    spill(q, d0, d1, d2, d3)
    s0 = f32x4.add(s0, d0)
    s1 = f32x4.add(s1, d1)
    s2 = f32x4.add(s2, d2)
    s3 = f32x4.add(s3, d3)
  }
  if (c >= D) return combine(s0, s1, s2, s3)
  spill(sums, s0, s1, s2, s3)
  for (; c < D; c += 4) {
    const p = n + (<usize>c << 2), q = ds + (<usize>c << 2)
    const d = step<B>(f32x4.add(v128.load(q), step<B>(f32x4.mul(slope, v128.load(p)))))
    v128.store(q, d)
    accumulate(sums, c, d, D - c)
  }
  return combined(sums)
}

// @ts-ignore: decorator
@inline
function layerBackward<F, S, B>(x: usize, dy: usize, gamma: usize, stats: usize, dx: usize, D: i32, begin: i32, end: i32): void {
  const bytes = <usize>D << 2, size = rowBytes(D), W = scratch, n = W + size, ds = n + size, sums = ds + size
  prepare(W, gamma, D, code<B>())
  for (let r = begin; r < end; r++) {
    const ve = load<f32>(stats + (<usize>r << 3), 4), root = roundOne(sqrt(ve), code<B>())
    const sum = passProject<F, S, B>(
      x + <usize>r * bytes, dy + <usize>r * bytes, W, n, ds, sums, D, v128.load32_splat(stats + (<usize>r << 3)), f32x4.splat(inverseRoot(ve, code<S>())),
      f32x4.splat(roundOne(1 / root, code<B>())), f32x4.splat(root),
    )
    const slope = f32x4.splat(-roundOne(mean(sum, D, code<B>()) * roundOne(1 / ve, code<B>()), code<B>()))
    const shift = f32x4.splat(mean(passCombine<B>(n, ds, sums, D, slope), D, code<B>()))
    const to = dx + <usize>r * bytes
    let c = 0
    for (; c + 4 <= D; c += 4) v128.store(to + (<usize>c << 2), step<B>(f32x4.sub(v128.load(ds + (<usize>c << 2)), shift)))
    if (c < D) storePart(to + (<usize>c << 2), step<B>(f32x4.sub(v128.load(ds + (<usize>c << 2)), shift)), D - c)
  }
}

/** dx [rows, D] from dy, x, gamma and the forward's stats. dx may be dy. Roundings as in the forward; `back` is NONE or equal to `second`. Items: rows. */
export function layer_norm_backward(x: usize, dy: usize, gamma: usize, stats: usize, dx: usize, D: i32, first: i32, second: i32, back: i32, begin: i32, end: i32): void {
  if (second == NONE) layerBackward<None, None, None>(x, dy, gamma, stats, dx, D, begin, end)
  else if (second == AWAY) {
    if (back == AWAY) layerBackward<Away, Away, Away>(x, dy, gamma, stats, dx, D, begin, end)
    else if (first == AWAY) layerBackward<Away, Away, None>(x, dy, gamma, stats, dx, D, begin, end)
    else layerBackward<None, Away, None>(x, dy, gamma, stats, dx, D, begin, end)
  } else if (back == EVEN) layerBackward<Even, Even, Even>(x, dy, gamma, stats, dx, D, begin, end)
  else if (first == EVEN) layerBackward<Even, Even, None>(x, dy, gamma, stats, dx, D, begin, end)
  else layerBackward<None, Even, None>(x, dy, gamma, stats, dx, D, begin, end)
}

/** n and d1 of a row; the sum of Q(d1 n). */
// @ts-ignore: decorator
@inline
function passRms<R, B>(x: usize, g: usize, W: usize, n: usize, d1: usize, sums: usize, D: i32, inverse: v128): f32 {
  // 16 partial sums in memory throughout: RMS norm is the rarer one
  memory.fill(sums, 0, 64)
  for (let c = 0; c < D; c += 4) {
    const o = <usize>c << 2, left = D - c
    const normal = step<R>(f32x4.mul(rounded<R>(four(x + o, left)), inverse)), d = step<B>(f32x4.mul(weighted<B>(four(g + o, left), v128.load(W + o)), inverse))
    v128.store(n + o, normal)
    v128.store(d1 + o, d)
    accumulate(sums, c, step<B>(f32x4.mul(d, normal)), left)
  }
  return combined(sums)
}

// @ts-ignore: decorator
@inline
function rmsBackward<R, B>(x: usize, dy: usize, gamma: usize, stats: usize, dx: usize, D: i32, begin: i32, end: i32): void {
  const bytes = <usize>D << 2, size = rowBytes(D), W = scratch, n = W + size, d1 = n + size, sums = d1 + size
  prepare(W, gamma, D, code<B>())
  for (let r = begin; r < end; r++) {
    const inverse = f32x4.splat(inverseRoot(load<f32>(stats + (<usize>r << 3), 4), code<R>()))
    const sum = passRms<R, B>(x + <usize>r * bytes, dy + <usize>r * bytes, W, n, d1, sums, D, inverse)
    const m = f32x4.splat(mean(sum, D, code<B>())), to = dx + <usize>r * bytes
    for (let c = 0; c < D; c += 4) {
      const o = <usize>c << 2
      storeFour(to + o, f32x4.sub(v128.load(d1 + o), step<B>(f32x4.mul(v128.load(n + o), m))), D - c)
    }
  }
}

/** dx [rows, D] of RMS norm; dx may be dy. `back` is NONE or equal to `rounding`. Items: rows. */
export function rms_norm_backward(x: usize, dy: usize, gamma: usize, stats: usize, dx: usize, D: i32, rounding: i32, back: i32, begin: i32, end: i32): void {
  if (rounding == NONE) rmsBackward<None, None>(x, dy, gamma, stats, dx, D, begin, end)
  else if (rounding == AWAY) {
    if (back == AWAY) rmsBackward<Away, Away>(x, dy, gamma, stats, dx, D, begin, end)
    else rmsBackward<Away, None>(x, dy, gamma, stats, dx, D, begin, end)
  } else if (back == EVEN) rmsBackward<Even, Even>(x, dy, gamma, stats, dx, D, begin, end)
  else rmsBackward<Even, None>(x, dy, gamma, stats, dx, D, begin, end)
}

// @ts-ignore: decorator
@inline
function weightGradients<F, S, B>(x: usize, dy: usize, stats: usize, dgamma: usize, dbeta: usize, rows: i32, D: i32, begin: i32, end: i32): void {
  memory.fill(dgamma + (<usize>begin << 2), 0, <usize>(end - begin) << 2)
  if (dbeta) memory.fill(dbeta + (<usize>begin << 2), 0, <usize>(end - begin) << 2)
  for (let r = 0; r < rows; r++) {
    const from = x + (<usize>r * <usize>D << 2), g = dy + (<usize>r * <usize>D << 2)
    const mu = v128.load32_splat(stats + (<usize>r << 3)), inverse = f32x4.splat(inverseRoot(load<f32>(stats + (<usize>r << 3), 4), code<S>()))
    let c = begin
    for (; c + 4 <= end; c += 4) {
      const o = <usize>c << 2
      const G = rounded<B>(v128.load(g + o)), gn = step<B>(f32x4.mul(G, normalized<F, S>(v128.load(from + o), mu, inverse)))
      v128.store(dgamma + o, f32x4.add(v128.load(dgamma + o), gn))
      if (dbeta) v128.store(dbeta + o, f32x4.add(v128.load(dbeta + o), G))
    }
    const o = <usize>c << 2, left = end - c
    if (left > 0) {
      const G = rounded<B>(loadPart(g + o, left)), gn = step<B>(f32x4.mul(G, normalized<F, S>(loadPart(from + o, left), mu, inverse)))
      storePart(dgamma + o, f32x4.add(loadPart(dgamma + o, left), gn), left)
      if (dbeta) storePart(dbeta + o, f32x4.add(loadPart(dbeta + o, left), G), left)
    }
  }
  for (let c = begin; c < end; c++) {
    const o = <usize>c << 2
    store<f32>(dgamma + o, roundOne(load<f32>(dgamma + o), code<B>()))
    if (dbeta) store<f32>(dbeta + o, roundOne(load<f32>(dbeta + o), code<B>()))
  }
}

/**
 * dgamma [D] and dbeta [D] (0: not wanted) of layer norm and RMS norm alike, each column one sequential sum over the rows from +0, rounded once.
 * Items: columns.
 */
export function norm_weight_gradients(x: usize, dy: usize, stats: usize, dgamma: usize, dbeta: usize, rows: i32, D: i32, first: i32, second: i32, back: i32, begin: i32, end: i32): void {
  if (second == NONE) weightGradients<None, None, None>(x, dy, stats, dgamma, dbeta, rows, D, begin, end)
  else if (second == AWAY) {
    if (back == AWAY) weightGradients<Away, Away, Away>(x, dy, stats, dgamma, dbeta, rows, D, begin, end)
    else if (first == AWAY) weightGradients<Away, Away, None>(x, dy, stats, dgamma, dbeta, rows, D, begin, end)
    else weightGradients<None, Away, None>(x, dy, stats, dgamma, dbeta, rows, D, begin, end)
  } else if (back == EVEN) weightGradients<Even, Even, Even>(x, dy, stats, dgamma, dbeta, rows, D, begin, end)
  else if (first == EVEN) weightGradients<Even, Even, None>(x, dy, stats, dgamma, dbeta, rows, D, begin, end)
  else weightGradients<None, Even, None>(x, dy, stats, dgamma, dbeta, rows, D, begin, end)
}
