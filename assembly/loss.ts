// Losses with their gradients. Sums run in f64 over fixed chunks (assembly/reduce.ts); everything per element is f32.
//   mean squared error  sum (y - t)^2 / n;                      gradient (2/n) (y - t)
//   cross entropy       per row: logsumexp(x) - x[target], with an optional z-loss term w logsumexp(x)^2; mean over the rows that have a target;
//                       gradient ((1 + 2 w logsumexp) softmax(x) - onehot(target)) / (rows that have a target)
import { exp, log } from './math'
import { first, loadPart, storePart } from './lanes'
import { CHUNK, four, high, low, total } from './reduce'

/** One f64 per chunk: sum of (y - t)^2, difference rounded to f32. `gradient` (0: not wanted) gets factor * (y - t). Items: chunks of CHUNK elements. */
export function mse_f32(y: usize, t: usize, n: i32, factor: f32, gradient: usize, partials: usize, begin: i32, end: i32): void {
  const scale = f32x4.splat(factor)
  for (let chunk = begin; chunk < end; chunk++) {
    const last = min(n, (chunk + 1) * CHUNK)
    let s0 = f64x2.splat(0), s1 = s0
    for (let i = chunk * CHUNK; i < last; i += 4) {
      const d = f32x4.sub(four(y, i, last), four(t, i, last))
      const a = low(d), b = high(d)
      s0 = f64x2.add(s0, f64x2.mul(a, a))
      s1 = f64x2.add(s1, f64x2.mul(b, b))
      if (gradient) {
        const to = gradient + (<usize>i << 2), g = f32x4.mul(d, scale)
        if (last - i >= 4) v128.store(to, g)
        else storePart(to, g, last - i)
      }
    }
    store<f64>(partials + (<usize>chunk << 3), total(s0, s1))
  }
}

/** out (f64) = number of targets [rows] other than `ignore`. One item. */
export function count_targets(targets: usize, rows: i32, ignore: i32, out: usize, begin: i32, end: i32): void {
  if (begin >= end) return
  let count = 0
  for (let r = 0; r < rows; r++) count += i32(load<i32>(targets + (<usize>r << 2)) != ignore)
  store<f64>(out, count)
}

const MINUS_INF = memory.data<u32>([0xff800000, 0xff800000, 0xff800000, 0xff800000])

/** The last elements of a row of C, from c on, fewer than four; -Inf beyond. */
function padded(row: usize, c: i32, C: i32): v128 {
  return v128.bitselect(loadPart(row + (<usize>c << 2), C - c), v128.load(MINUS_INF), first(C - c))
}

/** Sum of exp(x - shift) over a row; the exponentials go to `to` if `kept`. */
// @ts-ignore: decorator
@inline
function exponentials(kept: bool, row: usize, to: usize, shift: v128, C: i32): f32 {
  let sums = f32x4.splat(0), c = 0
  for (; c + 8 <= C; c += 8) {
    const p = row + (<usize>c << 2), low = exp(f32x4.sub(v128.load(p), shift)), high = exp(f32x4.sub(v128.load(p, 16), shift))
    if (kept) {
      v128.store(to + (<usize>c << 2), high, 16)
      v128.store(to + (<usize>c << 2), low)
    }
    sums = f32x4.add(f32x4.add(sums, low), high)
  }
  for (; c < C; c += 4) {
    const whole = C - c >= 4, e = exp(f32x4.sub(whole ? v128.load(row + (<usize>c << 2)) : padded(row, c, C), shift))
    if (kept && whole) v128.store(to + (<usize>c << 2), e)
    else if (kept) storePart(to + (<usize>c << 2), e, C - c)
    sums = f32x4.add(sums, e)
  }
  return (f32x4.extract_lane(sums, 0) + f32x4.extract_lane(sums, 2)) + (f32x4.extract_lane(sums, 1) + f32x4.extract_lane(sums, 3))
}

/**
 * Two f64 per row of x [rows, C]: cross entropy against targets [rows] (i32), and zWeight * logsumexp^2; both 0 where the target is `ignore`.
 * `gradient` [rows, C] (0: not wanted; may be x) gets the gradient of the mean, divided by the f64 at `count`. The exponentials of a row are summed in
 * f32: element c in partial sum c mod 4, then (p0 + p2) + (p1 + p3). Items: rows.
 */
export function cross_entropy_f32(x: usize, targets: usize, C: i32, ignore: i32, zWeight: f32, count: usize, gradient: usize, partials: usize, begin: i32, end: i32): void {
  const share: f32 = <f32>(1 / load<f64>(count))
  for (let r = begin; r < end; r++) {
    const row = x + (<usize>r * <usize>C << 2), to = gradient + (<usize>r * <usize>C << 2), target = load<i32>(targets + (<usize>r << 2))
    const out = partials + (<usize>r << 4)
    if (target == ignore) {
      store<f64>(out, 0)
      store<f64>(out, 0, 8)
      if (gradient) memory.fill(to, 0, <usize>C << 2)
      continue
    }
    const whole = C & ~3, rest = C - whole
    let top = v128.load(MINUS_INF)
    for (let c = 0; c < whole; c += 4) top = f32x4.pmax(top, v128.load(row + (<usize>c << 2)))
    if (rest) top = f32x4.pmax(top, padded(row, whole, C))
    // A NaN is passed over here and spoils the sum below.
    const largest = max(max(f32x4.extract_lane(top, 0), f32x4.extract_lane(top, 1)), max(f32x4.extract_lane(top, 2), f32x4.extract_lane(top, 3)))
    const shift = f32x4.splat(largest), chosen = load<f32>(row + (<usize>target << 2))
    // Exponentials are kept where the gradient will be.
    const sum = gradient ? exponentials(true, row, to, shift, C) : exponentials(false, row, 0, shift, C)
    const logSum = largest + f32x4.extract_lane(log(f32x4.splat(sum)), 0)
    store<f64>(out, <f64>(logSum - chosen))
    store<f64>(out, <f64>(zWeight * logSum * logSum), 8)
    if (!gradient) continue
    const factor = f32x4.splat((1 + 2 * zWeight * logSum) / sum * share)
    for (let c = 0; c < whole; c += 4) v128.store(to + (<usize>c << 2), f32x4.mul(v128.load(to + (<usize>c << 2)), factor))
    if (rest) storePart(to + (<usize>whole << 2), f32x4.mul(loadPart(to + (<usize>whole << 2), rest), factor), rest)
    const at = to + (<usize>target << 2)
    store<f32>(at, load<f32>(at) - share)
  }
}

/** out[j] (f64) = sum over the rows of partials [rows, 2], divided by the f64 at `count`. Items: j = 0, 1. */
export function mean_over_targets(partials: usize, rows: i32, count: usize, out: usize, begin: i32, end: i32): void {
  for (let j = begin; j < end; j++) {
    let sum: f64 = 0
    for (let r = 0; r < rows; r++) sum += load<f64>(partials + (<usize>r << 4) + (<usize>j << 3))
    store<f64>(out + (<usize>j << 3), sum / load<f64>(count))
  }
}
