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
// The backward kernels are in norm-backward.ts, the order of sums in norm-rows.ts.
import { AWAY, Away, EVEN, Even, halfOf, NONE, None, rounded, roundOne, signless, step, stepBy, topMask } from './bf16'
import { loadSome, storeSome } from './lanes'
import { accumulate, afresh, after, code, combined, inverseRoot, mean, prepare, rowBytes, spill, SUMS, tame, TOGETHER, ZERO } from './norm-rows'
import { scratch } from './scratch'

/** row = Q x, whole sixteens of a row that is tame; sums, and the largest magnitudes after them, by which to tell. */
function roundWhole<F>(x: usize, row: usize, sums: usize, D: i32): void {
  const half = halfOf<F>(), top = topMask(), magnitude = signless()
  let s0 = v128.load(ZERO), s1 = s0, s2 = s0, s3 = s0, m0 = s0, m1 = s0, m2 = s0, m3 = s0
  for (const stop = row + (<usize>(D & -16) << 2); row < stop; row += 64, x += 64) {
    const a0 = v128.load(x), a1 = v128.load(x, 16), a2 = v128.load(x, 32), a3 = v128.load(x, 48)
    const x0 = stepBy<F>(a0, half, top), x1 = stepBy<F>(a1, half, top), x2 = stepBy<F>(a2, half, top), x3 = stepBy<F>(a3, half, top)
    spill(row, x0, x1, x2, x3)
    s0 = f32x4.add(s0, x0)
    s1 = f32x4.add(s1, x1)
    s2 = f32x4.add(s2, x2)
    s3 = f32x4.add(s3, x3)
    if (idof<F>() != idof<None>()) {
      m0 = i32x4.max_s(m0, v128.and(a0, magnitude))
      m1 = i32x4.max_s(m1, v128.and(a1, magnitude))
      m2 = i32x4.max_s(m2, v128.and(a2, magnitude))
      m3 = i32x4.max_s(m3, v128.and(a3, magnitude))
    }
  }
  spill(sums, s0, s1, s2, s3)
  spill(sums + 64, m0, m1, m2, m3)
}

/** The same of any row, from column c on. */
function roundRest<F>(x: usize, row: usize, sums: usize, D: i32, c: i32): void {
  for (; c < D; c += 4) {
    const v = rounded<F>(loadSome(x + (<usize>c << 2), D - c))
    v128.store(row + (<usize>c << 2), v)
    accumulate(sums, c, v, D - c)
  }
}

/** row = d = Q(row - mu); sums of Q(d d). */
function centerWhole<F>(row: usize, sums: usize, D: i32, mu: f32): void {
  const half = halfOf<F>(), top = topMask()
  const m = f32x4.splat(mu)
  let s0 = v128.load(ZERO), s1 = s0, s2 = s0, s3 = s0
  for (const stop = row + (<usize>(D & -16) << 2); row < stop; row += 64) {
    const d0 = stepBy<F>(f32x4.sub(v128.load(row), m), half, top), d1 = stepBy<F>(f32x4.sub(v128.load(row, 16), m), half, top)
    const d2 = stepBy<F>(f32x4.sub(v128.load(row, 32), m), half, top), d3 = stepBy<F>(f32x4.sub(v128.load(row, 48), m), half, top)
    spill(row, d0, d1, d2, d3)
    s0 = f32x4.add(s0, stepBy<F>(f32x4.mul(d0, d0), half, top))
    s1 = f32x4.add(s1, stepBy<F>(f32x4.mul(d1, d1), half, top))
    s2 = f32x4.add(s2, stepBy<F>(f32x4.mul(d2, d2), half, top))
    s3 = f32x4.add(s3, stepBy<F>(f32x4.mul(d3, d3), half, top))
  }
  spill(sums, s0, s1, s2, s3)
}

/** Sums of Q(row row), of a row that stays as it is. */
function squareWhole<F>(row: usize, sums: usize, D: i32): void {
  const half = halfOf<F>(), top = topMask()
  let s0 = v128.load(ZERO), s1 = s0, s2 = s0, s3 = s0
  for (const stop = row + (<usize>(D & -16) << 2); row < stop; row += 64) {
    const d0 = v128.load(row), d1 = v128.load(row, 16), d2 = v128.load(row, 32), d3 = v128.load(row, 48)
    s0 = f32x4.add(s0, stepBy<F>(f32x4.mul(d0, d0), half, top))
    s1 = f32x4.add(s1, stepBy<F>(f32x4.mul(d1, d1), half, top))
    s2 = f32x4.add(s2, stepBy<F>(f32x4.mul(d2, d2), half, top))
    s3 = f32x4.add(s3, stepBy<F>(f32x4.mul(d3, d3), half, top))
  }
  spill(sums, s0, s1, s2, s3)
}

/** The ragged end of both. */
function squareRest<F>(row: usize, sums: usize, D: i32, mu: f32, centered: bool): void {
  const m = f32x4.splat(mu)
  for (let c = D & -16; c < D; c += 4) {
    const p = row + (<usize>c << 2), d = centered ? step<F>(f32x4.sub(v128.load(p), m)) : v128.load(p)
    v128.store(p, d)
    accumulate(sums, c, step<F>(f32x4.mul(d, d)), D - c)
  }
}

/** Q(Q(W Q(d i)) + B). */
// @ts-ignore: decorator
@inline
function scaled<F, S>(half: v128, top: v128, d: v128, inverse: v128, W: v128, B: v128): v128 {
  const n = after<F, S>(f32x4.mul(d, inverse), half, top)
  return after<F, S>(f32x4.add(after<F, S>(f32x4.mul(W, n), half, top), B), half, top)
}

/** y = Q(Q(W Q(row i)) + B), whole eights. */
function scaleWhole<F, S>(row: usize, y: usize, W: usize, B: usize, D: i32, i: f32): void {
  const half = halfOf<S>(), top = topMask()
  const inverse = f32x4.splat(i)
  for (const stop = row + (<usize>(D & -8) << 2); row < stop; row += 32, y += 32, W += 32, B += 32) {
    const low = scaled<F, S>(half, top, v128.load(row), inverse, v128.load(W), v128.load(B)), high = scaled<F, S>(half, top, v128.load(row, 16), inverse, v128.load(W, 16), v128.load(B, 16))
    v128.store(y, high, 16)
    v128.store(y, low)
  }
}

function scaleRest<F, S>(row: usize, y: usize, W: usize, B: usize, D: i32, i: f32): void {
  for (let c = D & -8; c < D; c += 4) {
    const o = <usize>c << 2
    storeSome(y + o, scaled<F, S>(halfOf<S>(), topMask(), v128.load(row + o), f32x4.splat(i), v128.load(W + o), v128.load(B + o)), D - c)
  }
}

// @ts-ignore: decorator
@inline
function forward<F, S>(centered: bool, x: usize, gamma: usize, beta: usize, y: usize, stats: usize, D: i32, eps: f32, begin: i32, end: i32): void {
  const bytes = <usize>D << 2, size = rowBytes(D), W = scratch, B = W + size, rows = B + size, sums = rows + TOGETHER * size, ragged = (D & 15) != 0
  prepare<F>(W, gamma, D)
  prepare<F>(B, beta, D)
  for (let r = begin; r < end; r += TOGETHER) {
    const count = <usize>min(TOGETHER, end - r), from = x + <usize>r * bytes, to = y + <usize>r * bytes, stat = stats + (<usize>r << 3)
    for (let j: usize = 0; j < count; j++) {
      const at = from + j * bytes, row = rows + j * size, sum = sums + j * SUMS
      roundWhole<F>(at, row, sum, D)
      if (!tame(sum)) roundRest<F>(at, row, sum, D, afresh(sum))
      else if (ragged) roundRest<F>(at, row, sum, D, D & -16)
    }
    for (let j: usize = 0; j < count; j++) store<f32>(stat + (j << 3), centered ? mean(combined(sums + j * SUMS), D, code<F>()) : 0)
    for (let j: usize = 0; j < count; j++) {
      if (centered) centerWhole<F>(rows + j * size, sums + j * SUMS, D, load<f32>(stat + (j << 3)))
      else squareWhole<F>(rows + j * size, sums + j * SUMS, D)
      if (ragged) squareRest<F>(rows + j * size, sums + j * SUMS, D, load<f32>(stat + (j << 3)), centered)
    }
    for (let j: usize = 0; j < count; j++) {
      const ve = roundOne(mean(combined(sums + j * SUMS), D, code<F>()) + eps, code<S>())
      store<f32>(stat + (j << 3), ve, 4)
      store<f32>(sums + j * SUMS, inverseRoot(ve, code<S>()))
    }
    for (let j: usize = 0; j < count; j++) {
      scaleWhole<F, S>(rows + j * size, to + j * bytes, W, B, D, load<f32>(sums + j * SUMS))
      if (ragged) scaleRest<F, S>(rows + j * size, to + j * bytes, W, B, D, load<f32>(sums + j * SUMS))
    }
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
