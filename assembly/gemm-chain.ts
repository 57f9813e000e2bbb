// Two more matrix products, C[M,N] = A[M,K] B[N,K]^T, as one chain over k per output (src/oracle/gemm.ts), for comparing with what other libraries compute:
//   gemm_fused_f32  acc = fma(a, b, acc) in f32, what a GPU's or CPU's fused multiply-adds give
//   gemm_f64_f32    acc = acc + a b in f64 (the product is exact), rounded once to f32 at the end
// Four columns at a time, each lane an output, so rows of B are transposed four by four on the way.
import { fma } from './fma'
import { loadSome, storeSome } from './lanes'
import { scratch } from './scratch'

/** How an output is summed: chosen where code is made. */
class Fused {}
class Double {}

/** Lanes 0, 1 and 2, 3 of an f64 sum of four. */
let low: v128 = f64x2.splat(0), high: v128 = f64x2.splat(0)

/** The sum in f32, four lanes, one product further; in f64 the sum is in `low` and `high`. */
// @ts-ignore: decorator
@inline
function step<Sum>(acc: v128, a: v128, b: v128): v128 {
  if (idof<Sum>() == idof<Fused>()) return fma(a, b, acc)
  const x = f64x2.promote_low_f32x4(a)
  low = f64x2.add(low, f64x2.mul(x, f64x2.promote_low_f32x4(b)))
  high = f64x2.add(high, f64x2.mul(x, f64x2.promote_low_f32x4(v128.shuffle<i64>(b, b, 1, 1))))
  return acc
}

/** c[i][j .. j + 3] from `start` or +0; b0..b3: rows of B. */
// @ts-ignore: decorator
@inline
function chain<Sum>(start: v128, a: usize, b0: usize, b1: usize, b2: usize, b3: usize, K: i32): v128 {
  let acc = start
  if (idof<Sum>() == idof<Double>()) {
    low = f64x2.promote_low_f32x4(start)
    high = f64x2.promote_low_f32x4(v128.shuffle<i64>(start, start, 1, 1))
  }
  for (let k = 0; k < K; k += 4) {
    const n = min(4, K - k)
    const x0 = loadSome(b0, n), x1 = loadSome(b1, n), x2 = loadSome(b2, n), x3 = loadSome(b3, n)
    const p = v128.shuffle<i32>(x0, x1, 0, 4, 1, 5), q = v128.shuffle<i32>(x2, x3, 0, 4, 1, 5), r = v128.shuffle<i32>(x0, x1, 2, 6, 3, 7), s = v128.shuffle<i32>(x2, x3, 2, 6, 3, 7)
    v128.store(scratch, v128.shuffle<i64>(p, q, 1, 3), 16)
    v128.store(scratch, v128.shuffle<i64>(p, q, 0, 2))
    v128.store(scratch, v128.shuffle<i64>(r, s, 1, 3), 48)
    v128.store(scratch, v128.shuffle<i64>(r, s, 0, 2), 32)
    const end = a + (<usize>n << 2)
    for (let at = scratch; a != end; a += 4, at += 16) acc = step<Sum>(acc, v128.load32_splat(a), v128.load(at))
    b0 += 16
    b1 += 16
    b2 += 16
    b3 += 16
  }
  return idof<Sum>() == idof<Fused>() ? acc : v128.shuffle<i64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2)
}

// @ts-ignore: decorator
@inline
function product<Sum>(c: usize, a: usize, b: usize, stride: i32, N: i32, K: i32, accumulate: i32, begin: i32, end: i32): void {
  const row = <usize>stride << 2, last = b + <usize>(N - 1) * row
  for (let i = begin; i < end; i++) {
    const x = a + <usize>i * row
    for (let j = 0; j < N; j += 4) {
      const to = c + (<usize>(i * N + j) << 2), y = b + <usize>j * row, n = min(4, N - j)
      let start = i32x4.splat(0)
      if (accumulate) start = loadSome(to, n)
      const sum = chain<Sum>(start, x, y, min(y + row, last), min(y + 2 * row, last), min(y + 3 * row, last), K) // beyond the last row of B: that one again
      storeSome(to, sum, n)
    }
  }
}

/** c[M, N] = the chain over k of fma(a, b, c), from +0 or (`accumulate`) from c. a[M, K], b[N, K], rows `stride` elements apart. Items: rows of c. */
export function gemm_fused_f32(c: usize, a: usize, b: usize, stride: i32, N: i32, K: i32, accumulate: i32, begin: i32, end: i32): void {
  product<Fused>(c, a, b, stride, N, K, accumulate, begin, end)
}

/** The same sums in f64, rounded once. Items: rows of c. */
export function gemm_f64_f32(c: usize, a: usize, b: usize, stride: i32, N: i32, K: i32, accumulate: i32, begin: i32, end: i32): void {
  product<Double>(c, a, b, stride, N, K, accumulate, begin, end)
}
