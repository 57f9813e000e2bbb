// Slow twin of causal attention: the softmax kernels (assembly/attention.ts) with the products around them (src/model/attention.ts).
// Everything is f32 rounded after every operation; `fround` is written f.
import { exp } from './math.ts'
import type { AttentionShape } from './embedding.ts'

const f = Math.fround

/** Four partial sums, element j in partial j mod 4. */
function sum(values: ArrayLike<number>): number {
  const s = [0, 0, 0, 0] as [number, number, number, number]
  for (let j = 0; j < values.length; j++) s[j % 4] = f(s[j % 4]! + values[j]!)
  return f(f(s[0] + s[2]) + f(s[1] + s[3]))
}

/** Eight partial sums, element j in partial j mod 8, halves added. */
function sumTorch(values: ArrayLike<number>): number {
  const s = new Float32Array(8)
  for (let j = 0; j < values.length; j++) s[j % 8]! += values[j]!
  for (const half of [4, 2, 1]) for (let i = 0; i < half; i++) s[i]! += s[i + half]!
  return s[0]!
}

/** Sequential sum of products. */
function dot(n: number, a: (k: number) => number, b: (k: number) => number): number {
  let total = 0
  for (let k = 0; k < n; k++) total = f(total + f(a(k) * b(k)))
  return total
}

/** exp(x_j - max) of query i over keys 0..i, x_j = scale (q_i . k_j). */
function exponentials(q: Float32Array, k: Float32Array, at: (row: number, column: number) => number, i: number, headDim: number, exponential: (x: number) => number): Float32Array {
  const scale = f(1 / Math.sqrt(headDim))
  const x = Float32Array.from({ length: i + 1 }, (_, j) => f(scale * dot(headDim, d => q[at(i, d)]!, d => k[at(j, d)]!)))
  const max = x.reduce((a, b) => Math.max(a, b))
  return x.map(v => exponential(f(v - max)))
}

/** Those divided by their sum. */
function probabilities(q: Float32Array, k: Float32Array, at: (row: number, column: number) => number, i: number, headDim: number): Float32Array {
  const e = exponentials(q, k, at, i, headDim, exp), total = sum(e)
  return e.map(v => f(v / total))
}

/** a b + c rounded once: the f64 sum, whose product is exact, is made odd where it is not exact, then rounded. */
function fma(a: number, b: number, c: number): number {
  const p = a * b, s = p + c, t = s - p, error = (p - (s - t)) + (c - t)
  const word = new BigInt64Array(Float64Array.of(s).buffer)
  if (error !== 0 && (word[0]! & 1n) === 0n) word[0]! += (error > 0) === (s > 0) ? 1n : -1n
  return f(new Float64Array(word.buffer)[0]!)
}

/** torch's Vectorized<float>::exp_u20 for x <= 0: n = floor(x log2 e + 1/2), a polynomial in x - n ln 2, times 2^n. */
function expU20(x: number): number {
  if (x < f(-87.3365448)) return 0
  const n = Math.floor(fma(x, f(Math.LOG2E), 0.5)), r = fma(n, f(-Math.LN2), x)
  let y = f(0.00828929059)
  for (const c of [0.0418978221, 0.166676521, 0.499991506, 0.999999701, 1]) y = fma(y, r, f(c))
  return f(f(y * 2 ** (n - 1)) * 2)
}

/** As attention, but as torch's CPU attention orders it: o_i = (sum of e_ij v_j) (1 / sum of e_ij), with the quick exponential. */
export function attentionTorch(q: Float32Array, k: Float32Array, v: Float32Array, s: AttentionShape): Float32Array {
  const o = new Float32Array(q.length)
  for (const at of heads(s)) {
    for (let i = 0; i < s.context; i++) {
      const e = exponentials(q, k, at, i, s.headDim, expU20), reciprocal = f(1 / sumTorch(e))
      for (let d = 0; d < s.headDim; d++) o[at(i, d)] = f(dot(i + 1, j => e[j]!, j => v[at(j, d)]!) * reciprocal)
    }
  }
  return o
}

/** o_i = sum over j <= i of p_ij v_j, per head. All arrays [batch * context, heads * headDim]. */
export function attention(q: Float32Array, k: Float32Array, v: Float32Array, s: AttentionShape): Float32Array {
  const o = new Float32Array(q.length)
  for (const at of heads(s)) {
    for (let i = 0; i < s.context; i++) {
      const p = probabilities(q, k, at, i, s.headDim)
      for (let d = 0; d < s.headDim; d++) o[at(i, d)] = dot(i + 1, j => p[j]!, j => v[at(j, d)]!)
    }
  }
  return o
}

/** Gradients: dp_ij = dO_i . v_j, ds_ij = scale p_ij (dp_ij - D_i) with D_i = sum_j p_ij dp_ij, dq_i = sum_j ds_ij k_j, dk_j = sum_i ds_ij q_i, dv_j = sum_i p_ij dO_i. */
export function attentionBackward(q: Float32Array, k: Float32Array, v: Float32Array, dO: Float32Array, s: AttentionShape): { dq: Float32Array, dk: Float32Array, dv: Float32Array } {
  const dq = new Float32Array(q.length), dk = new Float32Array(q.length), dv = new Float32Array(q.length), scale = f(1 / Math.sqrt(s.headDim))
  for (const at of heads(s)) {
    for (let i = 0; i < s.context; i++) {
      const p = probabilities(q, k, at, i, s.headDim)
      const dp = p.map((_, j) => dot(s.headDim, d => dO[at(i, d)]!, d => v[at(j, d)]!))
      const D = sum(p.map((_, j) => f(p[j]! * dp[j]!)))
      const ds = p.map((_, j) => f(f(p[j]! * f(dp[j]! - D)) * scale))
      for (let d = 0; d < s.headDim; d++) {
        dq[at(i, d)] = dot(i + 1, j => ds[j]!, j => k[at(j, d)]!)
        for (let j = 0; j <= i; j++) {
          dk[at(j, d)] = f(dk[at(j, d)]! + f(ds[j]! * q[at(i, d)]!))
          dv[at(j, d)] = f(dv[at(j, d)]! + f(p[j]! * dO[at(i, d)]!))
        }
      }
    }
  }
  return { dq, dk, dv }
}

/** Per sequence and head: the index of (row within the sequence, column within the head). */
function* heads({ batch, context, heads, headDim }: AttentionShape): Generator<(row: number, column: number) => number> {
  for (let b = 0; b < batch; b++) for (let h = 0; h < heads; h++) yield (row, column) => ((b * context + row) * heads + h) * headDim + column
}
