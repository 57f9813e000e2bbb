// Random Hadamard transform: in each block of n = 2^k elements along an axis, y = (s x) H / sqrt n with Sylvester's matrix H and a vector s of signs.
// H is its own inverse but for the factor n, so two operands transformed alike along the axis that a GEMM sums over give the same product, while an
// outlier is spread over its block. Evaluated as k stages of butterflies (a, b) -> (a + b, a - b) with strides 1, 2, 4, ..., each rounded to f32; then the factor.
import { scratch } from './scratch'

/** dst = src, blocks of n consecutive elements transformed. `signs` [n] holds 1 or -1. In place is allowed. Items: blocks. */
export function hadamard_rows(dst: usize, src: usize, n: i32, signs: usize, factor: f32, begin: i32, end: i32): void {
  const bytes = <usize>n << 2
  for (let block = begin; block < end; block++) {
    const from = src + <usize>block * bytes, to = dst + <usize>block * bytes
    for (let i: usize = 0; i < bytes; i += 4) store<f32>(scratch + i, load<f32>(from + i) * load<f32>(signs + i))
    for (let stride: usize = 4; stride < bytes; stride <<= 1) {
      for (let i: usize = 0; i < bytes; i += stride << 1) {
        for (let p = scratch + i, stop = p + stride; p < stop; p += 4) {
          const a = load<f32>(p), b = load<f32>(p + stride)
          store<f32>(p, a + b)
          store<f32>(p + stride, a - b)
        }
      }
    }
    for (let i: usize = 0; i < bytes; i += 4) store<f32>(to + i, load<f32>(scratch + i) * factor)
  }
}

/** The same along the rows of src [outer * n, cols]: each column of a slab of n rows is a block. Items: slabs. */
export function hadamard_columns(dst: usize, src: usize, n: i32, cols: i32, signs: usize, factor: f32, begin: i32, end: i32): void {
  const row = <usize>cols << 2, slab = <usize>n * row, bytes = <usize>n << 4
  const by = f32x4.splat(factor)
  for (let item = begin; item < end; item++) {
    const from = src + <usize>item * slab, to = dst + <usize>item * slab
    let c: usize = 0
    for (; c + 16 <= row; c += 16) {
      for (let i: usize = 0; i < <usize>n; i++) v128.store(scratch + (i << 4), f32x4.mul(v128.load(from + i * row + c), v128.load32_splat(signs + (i << 2))))
      for (let stride: usize = 16; stride < bytes; stride <<= 1) {
        for (let i: usize = 0; i < bytes; i += stride << 1) {
          for (let p = scratch + i, stop = p + stride; p < stop; p += 16) {
            const a = v128.load(p), b = v128.load(p + stride)
            v128.store(p, f32x4.add(a, b))
            v128.store(p + stride, f32x4.sub(a, b))
          }
        }
      }
      for (let i: usize = 0; i < <usize>n; i++) v128.store(to + i * row + c, f32x4.mul(v128.load(scratch + (i << 4)), by))
    }
    for (; c < row; c += 4) {
      for (let i: usize = 0; i < <usize>n; i++) store<f32>(scratch + (i << 2), load<f32>(from + i * row + c) * load<f32>(signs + (i << 2)))
      for (let stride: usize = 4; stride < bytes >> 2; stride <<= 1) {
        for (let i: usize = 0; i < bytes >> 2; i += stride << 1) {
          for (let p = scratch + i, stop = p + stride; p < stop; p += 4) {
            const a = load<f32>(p), b = load<f32>(p + stride)
            store<f32>(p, a + b)
            store<f32>(p + stride, a - b)
          }
        }
      }
      for (let i: usize = 0; i < <usize>n; i++) store<f32>(to + i * row + c, load<f32>(scratch + (i << 2)) * factor)
    }
  }
}
