// What follows the last step of a matrix product: D = round(alpha * acc + beta * C). Products and sum are rounded to f32, then to the output type, all to
// nearest even. This is how cuBLAS documents its epilogue; whether a given kernel fuses the two is not published.
import { formats } from '../numerics/formats.ts'
import { encode } from './codec.ts'
import { valueOf, wordOf } from './float.ts'

/**
 * acc: f32 bits. Returns f32 bits, or bf16 or FP16 codes. With alpha = 1 and no c the accumulator itself is converted. Any NaN becomes `nan` (f32 bits), or its
 * leading bits.
 */
export function epilogue(acc: number, output: 'f32' | 'bf16' | 'f16', nan: number, alpha = 1, beta = 0, c?: number): number {
  let bits = acc
  if (alpha !== 1 || c !== undefined) {
    let x = Math.fround(Math.fround(alpha) * valueOf(acc))
    if (c !== undefined) x = Math.fround(x + Math.fround(Math.fround(beta) * c))
    bits = wordOf(x)
  }
  if ((bits & 0x7fffffff) > 0x7f800000) return output === 'f32' ? nan : output === 'bf16' ? nan >>> 16 : 0x7c00 | nan >>> 13 & 0x3ff
  if (output === 'f32') return bits
  return encode(output === 'f16' ? formats.fp16 : formats.bf16, bits, { rounding: 'nearest-even', overflow: 'overflow', nan: 'max' })
}
