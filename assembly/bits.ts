// Exact exponents and powers of two from float32 words.

const LN2_Q31: u32 = 0x58b90bfb // floor(ln 2 * 2^31)

// @ts-ignore: decorator
@inline export function word_of(x: f32): i32 { return reinterpret<i32>(x) }
// @ts-ignore: decorator
@inline export function value_of(word: i32): f32 { return reinterpret<f32>(word) }

/** 2^e for e in [-149, 128]; 128 gives Inf. */
// @ts-ignore: decorator
@inline export function power_of_two(e: i32): f32 { return value_of(e >= -126 ? (e + 127) << 23 : 1 << (e + 149)) }

/** floor(log2 a) of a finite a > 0 given by its word. */
// @ts-ignore: decorator
@inline export function exponent_of(word: i32): i32 {
  const field = word >>> 23
  return field != 0 ? field - 127 : -118 - clz(word)
}

/**
 * floor of the float32 log2 that torch computes, of a finite a > 0 given by its word: E instead of E - 1 for a = 2^E (1 - r) when r / ln 2 is at most half
 * the spacing of float32 below E, that is 2^24 r <= ln 2 * 2^k with k = ceil(log2 E) - 1 for E > 0, floor(log2 -E) for E < 0 (src/oracle/float.ts).
 */
export function torch_log2(word: i32): i32 {
  const below = exponent_of(word), e = below + 1
  if (e == 0) return below
  const k = e > 0 ? 31 - clz(e - 1) : 31 - clz(-e)
  if (k < 0) return below
  const distance = below >= -126 ? 0x800000 - (word & 0x7fffff) : ((1 << (e + 149)) - word) << (-125 - e)
  return <u32>distance <= LN2_Q31 >> (31 - k) ? e : below
}
