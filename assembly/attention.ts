// The parts of causal attention that are not matrix products (those are src/ops/gemm.ts): rotary position embedding, the causal softmax of a block of
// score rows, and its gradient. Twins: src/oracle/attention.ts.
//
// Row sums here have four partial sums, element j in partial j mod 4, combined as (s0 + s2) + (s1 + s3).
import { exp } from './math'
import { first, loadPart, storePart } from './lanes'

/**
 * Rotary position embedding (RoFormer, the half-split form): each head (x1, x2) of `headDim` becomes (x1 c - x2 s, x2 c + x1 s) with c = cos, s = sin
 * of the row's position; `inverse` != 0 rotates back, which is also the gradient. `table` is [context, 2, headDim / 2]: cosines, then sines. Row r has
 * position r mod context. Row strides in elements; src and dst may be the same. Items: rows.
 */
export function rope_f32(src: usize, srcRow: i32, dst: usize, dstRow: i32, table: usize, context: i32, heads: i32, headDim: i32, inverse: i32, begin: i32, end: i32): void {
  const half = headDim >> 1
  const bytes = <usize>half << 2
  const sign = inverse ? i32x4.splat(<i32>0x80000000) : i32x4.splat(0)
  for (let r = begin; r < end; r++) {
    const cosines = table + <usize>(r % context) * 2 * bytes
    let x = src + (<usize>r * srcRow << 2)
    let y = dst + (<usize>r * dstRow << 2)
    for (let h = 0; h < heads; h++) {
      let i: usize = 0
      for (; i + 16 <= bytes; i += 16) {
        const x1 = v128.load(x + i)
        const x2 = v128.load(x + bytes + i)
        const c = v128.load(cosines + i)
        const s = v128.xor(v128.load(cosines + bytes + i), sign)
        v128.store(y + i, f32x4.sub(f32x4.mul(x1, c), f32x4.mul(x2, s)))
        v128.store(y + bytes + i, f32x4.add(f32x4.mul(x2, c), f32x4.mul(x1, s)))
      }
      if (i < bytes) {
        const n = <i32>(bytes - i) >> 2
        const x1 = loadPart(x + i, n)
        const x2 = loadPart(x + bytes + i, n)
        const c = loadPart(cosines + i, n)
        const s = v128.xor(loadPart(cosines + bytes + i, n), sign)
        storePart(y + i, f32x4.sub(f32x4.mul(x1, c), f32x4.mul(x2, s)), n)
        storePart(y + bytes + i, f32x4.add(f32x4.mul(x2, c), f32x4.mul(x1, s)), n)
      }
      x += bytes << 1
      y += bytes << 1
    }
  }
}

/** The four partial sums of a row, combined. */
// @ts-ignore: decorator
@inline
export function sumLanes(s: v128): f32 {
  return (f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 2)) + (f32x4.extract_lane(s, 1) + f32x4.extract_lane(s, 3))
}

/**
 * In place: row r of scores [items, width] becomes exp(x - max) / sum over its first n = position + 1 elements, where x = scale * score and
 * position = firstPosition + r mod block; the rest of the row becomes 0. width is a multiple of 4. Items: rows.
 */
export function causal_softmax(scores: usize, width: i32, block: i32, firstPosition: i32, scale: f32, begin: i32, end: i32): void {
  const factor = f32x4.splat(scale)
  const lowest = f32x4.splat(-Infinity)
  for (let r = begin; r < end; r++) {
    const row = scores + (<usize>r * width << 2)
    const n = firstPosition + r % block + 1
    const vectors = row + (<usize>((n + 3) >> 2) << 4)
    const last = vectors - 16
    const inside = first(((n - 1) & 3) + 1)

    v128.store(last, v128.bitselect(v128.load(last), lowest, inside))
    // pmax skips NaN, which then comes back through exp. The scale is positive, so the largest x is the scaled largest score.
    let m = lowest
    for (let at = row; at < vectors; at += 16) m = f32x4.pmax(m, v128.load(at))
    m = f32x4.pmax(m, v128.shuffle<i32>(m, m, 2, 3, 0, 1))
    m = f32x4.mul(f32x4.pmax(m, v128.shuffle<i32>(m, m, 1, 0, 3, 2)), factor)

    let sums = f32x4.splat(0)
    for (let at = row; at < vectors; at += 16) {
      const e = exp(f32x4.sub(f32x4.mul(v128.load(at), factor), m))
      v128.store(at, e)
      sums = f32x4.add(sums, e)
    }
    const sum = f32x4.splat(sumLanes(sums))
    for (let at = row; at < vectors; at += 16) v128.store(at, f32x4.div(v128.load(at), sum))
    memory.fill(vectors, 0, row + (<usize>width << 2) - vectors)
  }
}

/**
 * Gradient of causal_softmax, in place: dP becomes scale * P (dP - D), D = sum of P dP over the row, given P as causal_softmax left it; 0 where P was
 * masked. Items: rows.
 */
export function causal_softmax_backward(p: usize, dp: usize, width: i32, block: i32, firstPosition: i32, scale: f32, begin: i32, end: i32): void {
  const factor = f32x4.splat(scale)
  for (let r = begin; r < end; r++) {
    const row = <usize>r * width << 2
    const n = firstPosition + r % block + 1
    const vectors = row + (<usize>((n + 3) >> 2) << 4)
    const last = dp + vectors - 16
    v128.store(last, v128.and(v128.load(last), first(((n - 1) & 3) + 1)))
    let sums = f32x4.splat(0)
    for (let at = row; at < vectors; at += 16) sums = f32x4.add(sums, f32x4.mul(v128.load(p + at), v128.load(dp + at)))
    const sum = f32x4.splat(sumLanes(sums))
    for (let at = row; at < vectors; at += 16) v128.store(dp + at, f32x4.mul(f32x4.mul(v128.load(p + at), f32x4.sub(v128.load(dp + at), sum)), factor))
    memory.fill(dp + vectors, 0, row + (<usize>width << 2) - vectors)
  }
}
