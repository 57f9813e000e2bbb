// Gradients of layer norm and RMS norm; norm.ts states the chain of operations and what the three roundings are.
import { AWAY, Away, EVEN, Even, halfOf, NONE, None, rounded, roundOne, signless, step, stepBy, topMask } from './bf16'
import { loadSome, storeSome } from './lanes'
import { accumulate, afresh, after, code, combined, inverseRoot, mean, prepare, rowBytes, spill, SUMS, tame, TOGETHER, ZERO } from './norm-rows'
import { scratch } from './scratch'

/** n = Q(Q(X - mu) i), the normalized row, from X = Q x and the forward's statistics. */
// @ts-ignore: decorator
@inline
function normalized<F, S>(half: v128, top: v128, X: v128, mu: v128, inverse: v128): v128 {
  return after<F, S>(f32x4.mul(stepBy<F>(f32x4.sub(X, mu), half, top), inverse), half, top)
}

/** Q(G W) for G = Q g, W rounded. */
// @ts-ignore: decorator
@inline
function weighted<B>(half: v128, top: v128, g: v128, W: v128): v128 { return stepBy<B>(f32x4.mul(stepBy<B>(g, half, top), W), half, top) }

/** Q(Q(dn n) s), a term of the sum. */
// @ts-ignore: decorator
@inline
function projection<B>(half: v128, top: v128, dn: v128, n: v128, s: v128): v128 { return stepBy<B>(f32x4.mul(stepBy<B>(f32x4.mul(dn, n), half, top), s), half, top) }

/** n and ds, whole sixteens of rows that are tame; sums of Q(Q(dn n) s), and the largest magnitudes of g after them. */
function projectWhole<F, S, B>(x: usize, g: usize, W: usize, n: usize, ds: usize, sums: usize, D: i32, mean: f32, i: f32, iBack: f32, root: f32): void {
  const half = halfOf<S>(), top = topMask(), magnitude = signless()
  const mu = f32x4.splat(mean), inverse = f32x4.splat(i), inverseBack = f32x4.splat(iBack), s = f32x4.splat(root)
  let s0 = v128.load(ZERO), s1 = s0, s2 = s0, s3 = s0, m0 = s0, m1 = s0, m2 = s0, m3 = s0
  for (const stop = x + (<usize>(D & -16) << 2); x < stop; x += 64, g += 64, W += 64, n += 64, ds += 64) {
    const g0 = v128.load(g), g1 = v128.load(g, 16), g2 = v128.load(g, 32), g3 = v128.load(g, 48)
    const n0 = normalized<F, S>(half, top, stepBy<F>(v128.load(x), half, top), mu, inverse), dn0 = weighted<B>(half, top, g0, v128.load(W))
    const n1 = normalized<F, S>(half, top, stepBy<F>(v128.load(x, 16), half, top), mu, inverse), dn1 = weighted<B>(half, top, g1, v128.load(W, 16))
    const n2 = normalized<F, S>(half, top, stepBy<F>(v128.load(x, 32), half, top), mu, inverse), dn2 = weighted<B>(half, top, g2, v128.load(W, 32))
    const n3 = normalized<F, S>(half, top, stepBy<F>(v128.load(x, 48), half, top), mu, inverse), dn3 = weighted<B>(half, top, g3, v128.load(W, 48))
    if (idof<B>() != idof<None>()) {
      m0 = i32x4.max_s(m0, v128.and(g0, magnitude))
      m1 = i32x4.max_s(m1, v128.and(g1, magnitude))
      m2 = i32x4.max_s(m2, v128.and(g2, magnitude))
      m3 = i32x4.max_s(m3, v128.and(g3, magnitude))
    }
    spill(n, n0, n1, n2, n3)
    spill(ds, stepBy<B>(f32x4.mul(dn0, inverseBack), half, top), stepBy<B>(f32x4.mul(dn1, inverseBack), half, top), stepBy<B>(f32x4.mul(dn2, inverseBack), half, top), stepBy<B>(f32x4.mul(dn3, inverseBack), half, top))
    s0 = f32x4.add(s0, projection<B>(half, top, dn0, n0, s))
    s1 = f32x4.add(s1, projection<B>(half, top, dn1, n1, s))
    s2 = f32x4.add(s2, projection<B>(half, top, dn2, n2, s))
    s3 = f32x4.add(s3, projection<B>(half, top, dn3, n3, s))
  }
  spill(sums, s0, s1, s2, s3)
  spill(sums + 64, m0, m1, m2, m3)
}

/** The same of any rows, from column c on. */
function projectRest<F, S, B>(x: usize, g: usize, W: usize, n: usize, ds: usize, sums: usize, D: i32, mean: f32, i: f32, iBack: f32, root: f32, c: i32): void {
  const half = halfOf<S>(), top = topMask()
  for (; c < D; c += 4) {
    const o = <usize>c << 2, left = D - c
    const normal = normalized<F, S>(half, top, rounded<F>(loadSome(x + o, left)), f32x4.splat(mean), f32x4.splat(i)), dn = step<B>(f32x4.mul(rounded<B>(loadSome(g + o, left)), v128.load(W + o)))
    v128.store(n + o, normal)
    v128.store(ds + o, step<B>(f32x4.mul(dn, f32x4.splat(iBack))))
    accumulate(sums, c, projection<B>(half, top, dn, normal, f32x4.splat(root)), left)
  }
}

/** ds = Q(ds + Q(slope n)); sums of it. */
function combineWhole<B>(n: usize, ds: usize, sums: usize, D: i32, by: f32): void {
  const half = halfOf<B>(), top = topMask()
  const slope = f32x4.splat(by)
  let s0 = v128.load(ZERO), s1 = s0, s2 = s0, s3 = s0
  for (const stop = n + (<usize>(D & -16) << 2); n < stop; n += 64, ds += 64) {
    const d0 = stepBy<B>(f32x4.add(v128.load(ds), stepBy<B>(f32x4.mul(slope, v128.load(n)), half, top)), half, top)
    const d1 = stepBy<B>(f32x4.add(v128.load(ds, 16), stepBy<B>(f32x4.mul(slope, v128.load(n, 16)), half, top)), half, top)
    const d2 = stepBy<B>(f32x4.add(v128.load(ds, 32), stepBy<B>(f32x4.mul(slope, v128.load(n, 32)), half, top)), half, top)
    const d3 = stepBy<B>(f32x4.add(v128.load(ds, 48), stepBy<B>(f32x4.mul(slope, v128.load(n, 48)), half, top)), half, top)
    spill(ds, d0, d1, d2, d3)
    s0 = f32x4.add(s0, d0)
    s1 = f32x4.add(s1, d1)
    s2 = f32x4.add(s2, d2)
    s3 = f32x4.add(s3, d3)
  }
  spill(sums, s0, s1, s2, s3)
}

function combineRest<B>(n: usize, ds: usize, sums: usize, D: i32, by: f32): void {
  for (let c = D & -16; c < D; c += 4) {
    const p = n + (<usize>c << 2), q = ds + (<usize>c << 2), d = step<B>(f32x4.add(v128.load(q), step<B>(f32x4.mul(f32x4.splat(by), v128.load(p)))))
    v128.store(q, d)
    accumulate(sums, c, d, D - c)
  }
}

/** dx = Q(ds - shift), whole eights. */
function shiftWhole<B>(ds: usize, dx: usize, D: i32, by: f32): void {
  const half = halfOf<B>(), top = topMask()
  const shift = f32x4.splat(by)
  for (const stop = ds + (<usize>(D & -8) << 2); ds < stop; ds += 32, dx += 32) {
    const low = stepBy<B>(f32x4.sub(v128.load(ds), shift), half, top), high = stepBy<B>(f32x4.sub(v128.load(ds, 16), shift), half, top)
    v128.store(dx, high, 16)
    v128.store(dx, low)
  }
}

// @ts-ignore: decorator
@inline
function layerBackward<F, S, B>(x: usize, dy: usize, gamma: usize, stats: usize, dx: usize, D: i32, begin: i32, end: i32): void {
  const bytes = <usize>D << 2, size = rowBytes(D), W = scratch, n = W + size, ds = n + TOGETHER * size, sums = ds + TOGETHER * size, ragged = (D & 15) != 0
  prepare<B>(W, gamma, D)
  for (let r = begin; r < end; r += TOGETHER) {
    const count = <usize>min(TOGETHER, end - r), at = <usize>r * bytes, stat = stats + (<usize>r << 3)
    for (let j: usize = 0; j < count; j++) {
      const mu = load<f32>(stat + (j << 3)), ve = load<f32>(stat + (j << 3), 4), root = roundOne(sqrt(ve), code<B>()), inverse = inverseRoot(ve, code<S>()), back = roundOne(1 / root, code<B>())
      const from = x + at + j * bytes, g = dy + at + j * bytes, normal = n + j * size, d = ds + j * size, sum = sums + j * SUMS
      projectWhole<F, S, B>(from, g, W, normal, d, sum, D, mu, inverse, back, root)
      if (!isFinite(ve) || !tame(sum)) projectRest<F, S, B>(from, g, W, normal, d, sum, D, mu, inverse, back, root, afresh(sum))
      else if (ragged) projectRest<F, S, B>(from, g, W, normal, d, sum, D, mu, inverse, back, root, D & -16)
    }
    for (let j: usize = 0; j < count; j++) {
      const slope = -roundOne(mean(combined(sums + j * SUMS), D, code<B>()) * roundOne(1 / load<f32>(stat + (j << 3), 4), code<B>()), code<B>())
      combineWhole<B>(n + j * size, ds + j * size, sums + j * SUMS, D, slope)
      if (ragged) combineRest<B>(n + j * size, ds + j * size, sums + j * SUMS, D, slope)
    }
    for (let j: usize = 0; j < count; j++) {
      const shift = mean(combined(sums + j * SUMS), D, code<B>()), from = ds + j * size, to = dx + at + j * bytes
      shiftWhole<B>(from, to, D, shift)
      for (let c = D & -8; c < D; c += 4) storeSome(to + (<usize>c << 2), step<B>(f32x4.sub(v128.load(from + (<usize>c << 2)), f32x4.splat(shift))), D - c)
    }
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
    const normal = step<R>(f32x4.mul(rounded<R>(loadSome(x + o, left)), inverse)), d = step<B>(f32x4.mul(step<B>(f32x4.mul(rounded<B>(loadSome(g + o, left)), v128.load(W + o))), inverse))
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
  prepare<B>(W, gamma, D)
  for (let r = begin; r < end; r++) {
    const inverse = f32x4.splat(inverseRoot(load<f32>(stats + (<usize>r << 3), 4), code<R>()))
    const sum = passRms<R, B>(x + <usize>r * bytes, dy + <usize>r * bytes, W, n, d1, sums, D, inverse)
    const m = f32x4.splat(mean(sum, D, code<B>())), to = dx + <usize>r * bytes
    for (let c = 0; c < D; c += 4) {
      const o = <usize>c << 2
      storeSome(to + o, f32x4.sub(v128.load(d1 + o), step<B>(f32x4.mul(v128.load(n + o), m))), D - c)
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

/** Add the terms of one row whose x is tame to `count` columns, a multiple of 8. */
function addTermsWhole<F, S, B>(x: usize, g: usize, dgamma: usize, dbeta: usize, count: i32, mean: f32, i: f32): void {
  const half = halfOf<S>(), top = topMask()
  const mu = f32x4.splat(mean), inverse = f32x4.splat(i)
  for (const stop = x + (<usize>count << 2); x < stop; x += 32, g += 32, dgamma += 32, dbeta += 32) {
    const G = rounded<B>(v128.load(g)), G1 = rounded<B>(v128.load(g, 16))
    const w = f32x4.add(v128.load(dgamma), stepBy<B>(f32x4.mul(G, normalized<F, S>(half, top, stepBy<F>(v128.load(x), half, top), mu, inverse)), half, top))
    const w1 = f32x4.add(v128.load(dgamma, 16), stepBy<B>(f32x4.mul(G1, normalized<F, S>(half, top, stepBy<F>(v128.load(x, 16), half, top), mu, inverse)), half, top))
    const b = f32x4.add(v128.load(dbeta), G), b1 = f32x4.add(v128.load(dbeta, 16), G1)
    v128.store(dgamma, w1, 16)
    v128.store(dgamma, w)
    v128.store(dbeta, b1, 16)
    v128.store(dbeta, b)
  }
}

/** The same of any row, in columns [begin, end), with dbeta or without. */
function addTerms<F, S, B>(x: usize, g: usize, dgamma: usize, dbeta: usize, begin: i32, end: i32, mean: f32, i: f32): void {
  const mu = f32x4.splat(mean), inverse = f32x4.splat(i)
  for (let c = begin; c < end; c += 4) {
    const o = <usize>c << 2, left = end - c
    const G = rounded<B>(loadSome(g + o, left)), gn = step<B>(f32x4.mul(G, normalized<F, S>(halfOf<S>(), topMask(), rounded<F>(loadSome(x + o, left)), mu, inverse)))
    storeSome(dgamma + o, f32x4.add(loadSome(dgamma + o, left), gn), left)
    if (dbeta) storeSome(dbeta + o, f32x4.add(loadSome(dbeta + o, left), G), left)
  }
}

// @ts-ignore: decorator
@inline
function weightGradients<F, S, B>(x: usize, dy: usize, stats: usize, dgamma: usize, dbeta: usize, rows: i32, D: i32, begin: i32, end: i32): void {
  const at = <usize>begin << 2, eights = dbeta ? end - begin & -8 : 0
  memory.fill(dgamma + at, 0, <usize>(end - begin) << 2)
  if (dbeta) memory.fill(dbeta + at, 0, <usize>(end - begin) << 2)
  for (let r = 0; r < rows; r++) {
    const from = x + (<usize>r * <usize>D << 2), g = dy + (<usize>r * <usize>D << 2)
    const mu = load<f32>(stats + (<usize>r << 3)), ve = load<f32>(stats + (<usize>r << 3), 4), inverse = inverseRoot(ve, code<S>()), whole = isFinite(ve) ? eights : 0
    if (whole) addTermsWhole<F, S, B>(from + at, g + at, dgamma + at, dbeta + at, whole, mu, inverse)
    if (begin + whole < end) addTerms<F, S, B>(from, g, dgamma, dbeta, begin + whole, end, mu, inverse)
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
