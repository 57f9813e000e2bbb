// What follows the last step of a matrix product: alpha and beta in f32, then the output type (src/oracle/epilogue.ts).
import { RNE_F16, round_sum } from './mma-round'

/** Output types; the order of `outputs` in src/ops/matmul.ts. */
const F32: i32 = 0, BF16: i32 = 1, F16: i32 = 2

/** FP16 bits as f32 bits; every FP16 number is an f32. */
// @ts-ignore: decorator
@inline
function widen(bits: u32): u32 {
  const sign = (bits & 0x8000) << 16, field = bits >> 10 & 31, fraction = bits & 0x3ff
  if (field == 31) return sign | 0x7f800000 | fraction << 13
  if (field) return sign | (field + 112) << 23 | fraction << 13
  return sign | reinterpret<u32>(<f32>fraction * reinterpret<f32>(0x33800000)) // fraction 2^-24
}

/** f32 bits to bf16 bits, to nearest even; of a NaN the leading bits. */
// @ts-ignore: decorator
@inline
function to_bf16(bits: u32): u32 {
  if ((bits & 0x7fffffff) > 0x7f800000) return bits >> 16
  return bits + 0x7fff + (bits >> 16 & 1) >> 16
}

/** f32 bits to FP16 bits, to nearest even; of a NaN the leading bits. */
function to_f16(bits: u32): u32 {
  const sign = bits >> 16 & 0x8000, field = <i32>(bits >> 23) & 255, fraction = bits & 0x7fffff
  if (field == 255) return sign | 0x7c00 | fraction >> 13
  const sig = <i64>(field ? fraction | 0x800000 : fraction)
  return sign | round_sum(sig, max(field, 1) - 150, RNE_F16)
}

/**
 * out = round(alpha * d + beta * c): each product rounded to f32, then the sum, then the output type; without c (0) only the first product; with alpha = 1 and no c
 * d itself. Any NaN becomes `nan`, an f32 NaN whose leading bits are one in the shorter formats too. d[n]: accumulators as u32 words, f32 or FP16 (`half`). c[n]: f32. out[n]: f32 words, or 2-byte codes for bf16 (1) and FP16 (2). Items: elements.
 */
export function mma_epilogue(out: usize, d: usize, half: i32, c: usize, alpha: f32, beta: f32, output: i32, nan: u32, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    let bits = load<u32>(d + (<usize>i << 2))
    if (half) bits = widen(bits)
    if (alpha != 1 || c) {
      let x = alpha * reinterpret<f32>(bits)
      if (c) x += beta * load<f32>(c + (<usize>i << 2))
      bits = reinterpret<u32>(x)
    }
    if ((bits & 0x7fffffff) > 0x7f800000) bits = nan
    if (output == F32) store<u32>(out + (<usize>i << 2), bits)
    else store<u16>(out + (<usize>i << 1), <u16>(output == BF16 ? to_bf16(bits) : to_f16(bits)))
  }
}
