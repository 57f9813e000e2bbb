// The causal softmax as torch's CPU attention computes it (PyTorch 2.13, aten/src/ATen/native/cpu/FlashAttentionKernel.cpp), for comparison with results of
// torch: a quick exponential, and rows divided by their sum only after the product with v. Row sums have eight partial sums, as torch's with AVX2: element j
// in partial j mod 8, then halves are added. Slow, because the fused multiply-adds are emulated. Twins: src/oracle/attention.ts.
import { sumLanes } from './attention'
import { fma } from './fma'
import { at, first } from './lanes'

const C = memory.data<f32>([
  1.44269504088896341, // 0: log2 e
  0.5, // 1
  -0.693147180559945309, // 2: -ln 2
  0.00828929059, // 3..8: exp r, from the highest power
  0.0418978221,
  0.166676521,
  0.499991506,
  0.999999701,
  1,
  -87.3365448, // 9: log of the smallest normal f32; below, the result is 0
])

/** exp x for x <= 0, as Vectorized<float>::exp_u20. */
// @ts-ignore: decorator
@inline
function expU20(x: v128): v128 {
  const clipped = f32x4.max(x, at(C, 9))
  const n = f32x4.floor(fma(clipped, at(C, 0), at(C, 1)))
  const r = fma(n, at(C, 2), clipped)
  let y = fma(at(C, 3), r, at(C, 4))
  y = fma(y, r, at(C, 5))
  y = fma(y, r, at(C, 6))
  y = fma(y, r, at(C, 7))
  y = fma(y, r, at(C, 8))
  const power = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(126)), 23) // 2^(n - 1)
  return v128.andnot(f32x4.mul(f32x4.mul(y, power), f32x4.splat(2)), f32x4.lt(x, at(C, 9)))
}

/** As causal_softmax, but rows are left undivided; 1 / sum of row r goes to reciprocals[r]. Items: rows. */
export function causal_softmax_torch(scores: usize, width: i32, block: i32, firstPosition: i32, scale: f32, reciprocals: usize, begin: i32, end: i32): void {
  const factor = f32x4.splat(scale)
  for (let r = begin; r < end; r++) {
    const row = scores + (<usize>r * width << 2)
    const n = firstPosition + r % block + 1
    const vectors = row + (<usize>((n + 3) >> 2) << 4)
    const last = vectors - 16
    let m = f32x4.splat(-Infinity)
    v128.store(last, v128.bitselect(v128.load(last), m, first(((n - 1) & 3) + 1)))
    for (let p = row; p < vectors; p += 16) {
      const x = f32x4.mul(v128.load(p), factor)
      v128.store(p, x)
      m = f32x4.pmax(m, x)
    }
    m = f32x4.pmax(m, v128.shuffle<i32>(m, m, 2, 3, 0, 1))
    m = f32x4.pmax(m, v128.shuffle<i32>(m, m, 1, 0, 3, 2))
    let even = f32x4.splat(0), odd = f32x4.splat(0)
    for (let p = row; p < vectors; p += 32) {
      const e = expU20(f32x4.sub(v128.load(p), m))
      v128.store(p, e)
      even = f32x4.add(even, e)
      if (p + 16 == vectors) break
      const e2 = expU20(f32x4.sub(v128.load(p, 16), m))
      v128.store(p, e2, 16)
      odd = f32x4.add(odd, e2)
    }
    store<f32>(reciprocals + (<usize>r << 2), 1 / sumLanes(f32x4.add(even, odd)))
    memory.fill(vectors, 0, row + (<usize>width << 2) - vectors)
  }
}

/**
 * Multiply each head's output by its row's reciprocal: item (sequence, head, row of the block) scales `headDim` elements of o [batch * context, heads * headDim]
 * at position first + row. Items: as causal_softmax_torch's rows.
 */
export function scale_heads(o: usize, reciprocals: usize, context: i32, heads: i32, headDim: i32, block: i32, firstPosition: i32, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const head = i / block
    const row = head / heads * context + firstPosition + i % block
    const factor = load<f32>(reciprocals + (<usize>i << 2))
    let to = o + (<usize>(row * heads + head % heads) * headDim << 2)
    for (let d = 0; d < headDim; d++, to += 4) store<f32>(to, load<f32>(to) * factor)
  }
}
