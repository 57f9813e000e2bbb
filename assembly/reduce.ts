// Reductions over a tensor, with one order of summation whatever the number of threads.
// Whole-tensor sums run in f64: a tensor is cut into chunks of CHUNK elements (the items); in a chunk, element i goes to partial sum i mod 4, then
// (p0 + p2) + (p1 + p3); combine_f64 adds the chunks' results in index order. Column sums run in f32, sequentially over the rows.
import { Away, EVEN, Even, NONE, None, rounded, roundOne } from './bf16'
import { loadSome, storeSome } from './lanes'

/** Elements per item; CHUNK in src/ops/reduce.ts. */
export const CHUNK: i32 = 4096

// @ts-ignore: decorator
@inline
export function low(x: v128): v128 { return f64x2.promote_low_f32x4(x) }
// @ts-ignore: decorator
@inline
export function high(x: v128): v128 { return f64x2.promote_low_f32x4(v128.shuffle<f32>(x, x, 2, 3, 2, 3)) }

/** (p0 + p2) + (p1 + p3), where `even` holds p0, p1 and `odd` holds p2, p3. */
// @ts-ignore: decorator
@inline
export function total(even: v128, odd: v128): f64 {
  const s = f64x2.add(even, odd)
  return f64x2.extract_lane(s, 0) + f64x2.extract_lane(s, 1)
}

/** Four elements from i on; zeros beyond `end`. */
// @ts-ignore: decorator
@inline
export function four(x: usize, i: i32, end: i32): v128 { return loadSome(x + (<usize>i << 2), end - i) }

/** Per chunk three f64: sum, sum of squares, largest magnitude (NaN if there is one) of x [n]. Items: chunks. */
export function moments_f32(x: usize, n: i32, partials: usize, begin: i32, end: i32): void {
  for (let chunk = begin; chunk < end; chunk++) {
    const last = min(n, (chunk + 1) * CHUNK)
    let s0 = f64x2.splat(0), s1 = s0, q0 = s0, q1 = s0, top = f32x4.splat(0)
    for (let i = chunk * CHUNK; i < last; i += 4) {
      const v = four(x, i, last)
      const a = low(v), b = high(v)
      s0 = f64x2.add(s0, a)
      s1 = f64x2.add(s1, b)
      q0 = f64x2.add(q0, f64x2.mul(a, a))
      q1 = f64x2.add(q1, f64x2.mul(b, b))
      top = f32x4.max(top, f32x4.abs(v))
    }
    const out = partials + <usize>chunk * 24
    store<f64>(out, total(s0, s1))
    store<f64>(out, total(q0, q1), 8)
    store<f64>(out, <f64>max(max(f32x4.extract_lane(top, 0), f32x4.extract_lane(top, 1)), max(f32x4.extract_lane(top, 2), f32x4.extract_lane(top, 3))), 16)
  }
}

/** Per chunk six f64 of a and b [n]: sums of a, b, a a, b b, a b and (a - b)^2, all products and differences in f64. Items: chunks. */
export function comparison_f32(a: usize, b: usize, n: i32, partials: usize, begin: i32, end: i32): void {
  for (let chunk = begin; chunk < end; chunk++) {
    const last = min(n, (chunk + 1) * CHUNK)
    const zero = f64x2.splat(0)
    let a0 = zero, a1 = zero, b0 = zero, b1 = zero, aa0 = zero, aa1 = zero, bb0 = zero, bb1 = zero, ab0 = zero, ab1 = zero, dd0 = zero, dd1 = zero
    for (let i = chunk * CHUNK; i < last; i += 4) {
      const va = four(a, i, last), vb = four(b, i, last)
      const x0 = low(va), x1 = high(va), y0 = low(vb), y1 = high(vb)
      const d0 = f64x2.sub(x0, y0), d1 = f64x2.sub(x1, y1)
      a0 = f64x2.add(a0, x0)
      a1 = f64x2.add(a1, x1)
      b0 = f64x2.add(b0, y0)
      b1 = f64x2.add(b1, y1)
      aa0 = f64x2.add(aa0, f64x2.mul(x0, x0))
      aa1 = f64x2.add(aa1, f64x2.mul(x1, x1))
      bb0 = f64x2.add(bb0, f64x2.mul(y0, y0))
      bb1 = f64x2.add(bb1, f64x2.mul(y1, y1))
      ab0 = f64x2.add(ab0, f64x2.mul(x0, y0))
      ab1 = f64x2.add(ab1, f64x2.mul(x1, y1))
      dd0 = f64x2.add(dd0, f64x2.mul(d0, d0))
      dd1 = f64x2.add(dd1, f64x2.mul(d1, d1))
    }
    const out = partials + <usize>chunk * 48
    store<f64>(out, total(a0, a1))
    store<f64>(out, total(b0, b1), 8)
    store<f64>(out, total(aa0, aa1), 16)
    store<f64>(out, total(bb0, bb1), 24)
    store<f64>(out, total(ab0, ab1), 32)
    store<f64>(out, total(dd0, dd1), 40)
  }
}

/**
 * out[j] = (partials[0][j] + partials[1][j] + ...) / divisor over `count` rows of `width` f64, in index order; where bit j of `maxima` is set, the
 * largest instead (NaN wins). Items: j.
 */
export function combine_f64(partials: usize, count: i32, width: i32, maxima: i32, divisor: f64, out: usize, begin: i32, end: i32): void {
  for (let j = begin; j < end; j++) {
    const p = partials + (<usize>j << 3)
    let r = load<f64>(p)
    if (maxima >> j & 1) for (let i = 1; i < count; i++) r = max(r, load<f64>(p + (<usize>i * <usize>width << 3)))
    else for (let i = 1; i < count; i++) r += load<f64>(p + (<usize>i * <usize>width << 3))
    store<f64>(out + (<usize>j << 3), r / divisor)
  }
}

/** out [C] = Q(sum over the rows of Q1(x [rows, C])): from +0, in row order, in f32, rounded once. `input` and `rounding`: Q1 and Q (bf16.ts). Items: columns. */
export function column_sum_f32(x: usize, out: usize, rows: i32, C: i32, input: i32, rounding: i32, begin: i32, end: i32): void {
  if (input == NONE) columnSum<None>(x, out, rows, C, begin, end)
  else if (input == EVEN) columnSum<Even>(x, out, rows, C, begin, end)
  else columnSum<Away>(x, out, rows, C, begin, end)
  for (let c = begin; c < end; c++) store<f32>(out + (<usize>c << 2), roundOne(load<f32>(out + (<usize>c << 2)), rounding))
}

function columnSum<R>(x: usize, out: usize, rows: i32, C: i32, begin: i32, end: i32): void {
  const whole = begin + (end - begin & -8)
  memory.fill(out + (<usize>begin << 2), 0, <usize>(end - begin) << 2)
  for (let row = 0; row < rows; row++) {
    const from = x + (<usize>row * <usize>C << 2)
    addEights<R>(from, out, begin, whole)
    for (let c = whole; c < end; c += 4) {
      const o = <usize>c << 2, rest = end - c
      storeSome(out + o, f32x4.add(loadSome(out + o, rest), rounded<R>(loadSome(from + o, rest))), rest)
    }
  }
}

/** out += Q x in columns [begin, end), a multiple of 8. (A function of its own, that an engine may use 256 bits.) */
function addEights<R>(x: usize, out: usize, begin: i32, end: i32): void {
  for (let o = <usize>begin << 2, stop = <usize>end << 2; o < stop; o += 32) {
    const low = f32x4.add(v128.load(out + o), rounded<R>(v128.load(x + o))), high = f32x4.add(v128.load(out + o, 16), rounded<R>(v128.load(x + o, 16)))
    v128.store(out + o, high, 16)
    v128.store(out + o, low)
  }
}

/**
 * Last-bucket occupancy: over blocks of `blockSize` elements of x [n] (the last may be shorter) with largest magnitude m, how many elements exceed
 * ratio * 2^floor(log2 m), where ratio = (format's maximum) / 2^emax: what an MX quantizer with the floor scale rule maps to its largest code or clips.
 * Per chunk of `blocksPerItem` blocks two f64: such elements, blocks holding at least one. Items: chunks.
 */
export function overflow_f32(x: usize, n: i32, blockSize: i32, blocksPerItem: i32, ratio: f32, partials: usize, begin: i32, end: i32): void {
  for (let chunk = begin; chunk < end; chunk++) {
    let elements = 0, blocks = 0
    const stop = <i32>min<i64>(n, <i64>(chunk + 1) * blocksPerItem * blockSize)
    for (let first = chunk * blocksPerItem * blockSize; first < stop; first += blockSize) {
      const last = min(n, first + blockSize)
      let top = f32x4.splat(0)
      for (let i = first; i < last; i += 4) top = f32x4.pmax(top, f32x4.abs(four(x, i, last)))
      const m = max(max(f32x4.extract_lane(top, 0), f32x4.extract_lane(top, 1)), max(f32x4.extract_lane(top, 2), f32x4.extract_lane(top, 3)))
      // 2^floor(log2 m): the exponent field, or the leading bit of a subnormal; 0 for an all-zero block, where nothing exceeds 0
      const bits = reinterpret<u32>(m), field = bits & 0x7f800000
      const threshold = f32x4.splat(reinterpret<f32>(field || !bits ? field : <u32>1 << (31 - clz(bits))) * ratio)
      let count = 0
      for (let i = first; i < last; i += 4) count += popcnt(i32x4.bitmask(f32x4.gt(f32x4.abs(four(x, i, last)), threshold)))
      elements += count
      blocks += i32(count > 0)
    }
    store<f64>(partials + (<usize>chunk << 4), elements)
    store<f64>(partials + (<usize>chunk << 4), blocks, 8)
  }
}

/** Per chunk one f64: how many elements of x [n] lie from the chunk's first Inf or NaN to the end, 0 if all its elements are finite. Items: chunks. */
export function first_non_finite_f32(x: usize, n: i32, partials: usize, begin: i32, end: i32): void {
  const inf = i32x4.splat(0x7f800000)
  for (let chunk = begin; chunk < end; chunk++) {
    const last = min(n, (chunk + 1) * CHUNK)
    let found: f64 = 0
    for (let i = chunk * CHUNK; i < last; i += 4) {
      const lanes = i32x4.bitmask(i32x4.eq(v128.and(four(x, i, last), inf), inf))
      if (lanes) {
        found = <f64>(n - i - ctz(lanes))
        break
      }
    }
    store<f64>(partials + (<usize>chunk << 3), found)
  }
}
