// The matrix product without rounding errors: C[M,N] = A[M,K] B[N,K]^T, each output the exact sum of its products rounded once to f32, to nearest even
// (src/oracle/exact.ts). A sum of exactly zero is +0. A NaN, Inf * 0 or infinities of both signs among the products: NaN (0x7fc00000).
//
// 32 products at a time are added in f64 where that is exact: if every value of a block of A is a multiple of 2^low_a and below 2^high_a, and likewise of B, the
// products are multiples of 2^(low_a + low_b) and their sum stays below 2^(high_a + high_b + 5), so 53 bits hold it if these are no more than 53 apart. MX, FP8
// and bf16 data mostly pass; other blocks add each product to the accumulator by itself.
import { sum_add, sum_clear, sum_round } from './exact-sum'

const BLOCK: i32 = 32
/** `low` of a block that holds Inf or NaN, and of one of zeros. */
const SPECIAL: i32 = -32768, ZEROS: i32 = 16384

// @ts-ignore: decorator
@inline
function sigOf(word: u32): i32 {
  const sig = <i32>(word & 0x7fffff) | (word & 0x7f800000 ? 0x800000 : 0)
  return <i32>word < 0 ? -sig : sig
}
// @ts-ignore: decorator
@inline
function unitOf(word: u32): i32 { return max<i32>(<i32>(word >> 23) & 255, 1) - 150 }

/** extents[rows, ceil(K / 32)]: i16 pairs low, high of each block of x[rows, K]. Items: rows. */
export function exact_extents_f32(extents: usize, x: usize, K: i32, begin: i32, end: i32): void {
  const blocks = (K + BLOCK - 1) / BLOCK
  for (let row = begin; row < end; row++) {
    for (let b = 0; b < blocks; b++) {
      let low = ZEROS, high = -ZEROS
      for (let k = b * BLOCK; k < min(K, (b + 1) * BLOCK); k++) {
        const word = load<u32>(x + (<usize>(row * K + k) << 2))
        const sig = sigOf(word), unit = unitOf(word)
        if ((word & 0x7f800000) == 0x7f800000) {
          low = SPECIAL
          break
        }
        if (!sig) continue
        low = min(low, unit + ctz(sig))
        high = max(high, unit + 32 - clz(abs(sig)))
      }
      store<i16>(extents + (<usize>(row * blocks + b) << 2), <i16>low)
      store<i16>(extents + (<usize>(row * blocks + b) << 2), <i16>high, 2)
    }
  }
}

/** c[M, N] as above, for a[M, K], b[N, K] and their extents. Items: rows of c. */
export function gemm_exact_sum_f32(c: usize, a: usize, a_extents: usize, b: usize, b_extents: usize, N: i32, K: i32, begin: i32, end: i32): void {
  const blocks = (K + BLOCK - 1) / BLOCK
  for (let i = begin; i < end; i++) {
    for (let j = 0; j < N; j++) {
      const x = a + (<usize>i * <usize>K << 2), y = b + (<usize>j * <usize>K << 2)
      let ex = a_extents + (<usize>i * <usize>blocks << 2), ey = b_extents + (<usize>j * <usize>blocks << 2)
      let special = false
      sum_clear()
      for (let k = 0; k < K; k += BLOCK, ex += 4, ey += 4) {
        const lowX = <i32>load<i16>(ex), lowY = <i32>load<i16>(ey)
        if (lowX == SPECIAL || lowY == SPECIAL) {
          special = true
          break
        }
        if (lowX == ZEROS || lowY == ZEROS) continue
        const unit = lowX + lowY
        const last = min(K, k + BLOCK)
        if (<i32>load<i16>(ex, 2) + <i32>load<i16>(ey, 2) + 5 - unit <= 53) {
          let sum: f64 = 0
          for (let at = <usize>k << 2; at < <usize>last << 2; at += 4) sum += <f64>load<f32>(x + at) * <f64>load<f32>(y + at)
          sum_add(<i64>(sum * reinterpret<f64>(<u64>(1023 - unit) << 52)), unit)
        } else {
          for (let at = <usize>k << 2; at < <usize>last << 2; at += 4) {
            const u = load<u32>(x + at), v = load<u32>(y + at)
            sum_add(<i64>sigOf(u) * <i64>sigOf(v), unitOf(u) + unitOf(v))
          }
        }
      }
      store<u32>(c + (<usize>(i * N + j) << 2), special ? special_dot(x, y, K) : sum_round())
    }
  }
}

/** The IEEE sum of the products that are not finite, of which there is one. */
function special_dot(x: usize, y: usize, K: i32): u32 {
  let sum: f64 = 0
  for (let at: usize = 0; at < <usize>K << 2; at += 4) {
    const p = <f64>load<f32>(x + at) * <f64>load<f32>(y + at)
    if (p - p != 0) sum += p
  }
  return sum == sum ? reinterpret<u32>(<f32>sum) : 0x7fc00000
}
