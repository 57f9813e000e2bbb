// Operands of the matrix-unit kernels, decoded once per row so that the inner loops only multiply, shift and add.
//
// A decoded element is one i32 word: significand (signed, low 16 bits) and exponent (high 16 bits); its value is significand * 2^(exponent - manBits).
// The exponent is Exp(x) of arXiv:2511.10909, the exponent field minus the bias (subnormals: the minimum), plus that of the block's E8M0 scale where
// there is one: in ST-FDPA a scale does nothing else. Zero: significand 0 and an exponent below every alignment. Inf and NaN: significand +-1 and
// an exponent above every finite one; steps that hold one are flagged, so the fast loops never meet them.

import { scratch } from './scratch'

const ZERO_EXP: i32 = -8192
export const INF_EXP: i32 = 8192
export const NAN_EXP: i32 = 16384

// @ts-ignore: decorator
@inline
function word(exp: i32, sig: i32): i32 { return exp << 16 | (sig & 0xffff) }
// @ts-ignore: decorator
@inline
export function wordExp(w: i32): i32 { return w >> 16 }
// @ts-ignore: decorator
@inline
export function wordSig(w: i32): i32 { return <i32><i16>w }

/** Which codes of a format are special; the order of `specials` in src/ops/mma.ts. */
const IEEE: i32 = 0
const NAN_ONLY: i32 = 1
const FNUZ: i32 = 3

/** Decode one code of a sign / exponent / fraction format. */
function decode_word(code: u32, exp_bits: i32, man_bits: i32, bias: i32, specials: i32): i32 {
  const negative = (code >> (exp_bits + man_bits)) & 1
  const top = (1 << exp_bits) - 1
  const field = <i32>(code >> man_bits) & top
  const fraction = <i32>code & ((1 << man_bits) - 1)
  if (specials == IEEE && field == top) return fraction ? word(NAN_EXP, 1) : word(INF_EXP, negative ? -1 : 1)
  if (specials == NAN_ONLY && field == top && fraction == (1 << man_bits) - 1) return word(NAN_EXP, 1)
  if (specials == FNUZ && negative && field == 0 && fraction == 0) return word(NAN_EXP, 1)
  const sig = field ? fraction | 1 << man_bits : fraction
  if (!sig) return word(ZERO_EXP, 0)
  return word(max(field, 1) - bias, negative ? -sig : sig)
}

/** The same number as FP16 holds it, with its own exponent unless that is below -14: an E4M3 subnormal is a normal FP16 number. */
// @ts-ignore: decorator
@inline
function normalized(w: i32, man_bits: i32): i32 {
  const sig = wordSig(w)
  if (!sig || wordExp(w) >= INF_EXP) return w
  const shift = min(clz(abs(sig)) - (31 - man_bits), wordExp(w) + 14)
  return word(wordExp(w) - shift, sig << shift)
}

/** The words of all codes of a byte, in scratch. */
function fill_table(exp_bits: i32, man_bits: i32, bias: i32, specials: i32): void {
  for (let code: u32 = 0; code < 256; code++) store<i32>(scratch + (<usize>code << 2), decode_word(code, exp_bits, man_bits, bias, specials))
}

const FIRST_SPECIAL = memory.data<i32>([INF_EXP << 16, INF_EXP << 16, INF_EXP << 16, INF_EXP << 16])

/** `count` codes, a multiple of 4, by the table; `scale` is added to the exponents. Returns whether an Inf or NaN is among them. */
function decode_bytes(to: usize, codes: usize, count: i32, scale: i32): i32 {
  const shift = i32x4.splat(scale << 16), zero = i32x4.splat(0), first = v128.load(FIRST_SPECIAL)
  let special = zero
  for (const end = codes + <usize>count; codes != end; codes += 4, to += 16) {
    const four = load<u32>(codes)
    let w = v128.load32_zero(scratch + <usize>((four & 255) << 2))
    w = v128.load32_lane(scratch + <usize>((four >> 6) & 0x3fc), w, 1)
    w = v128.load32_lane(scratch + <usize>((four >> 14) & 0x3fc), w, 2)
    w = v128.load32_lane(scratch + <usize>((four >> 22) & 0x3fc), w, 3)
    const odd = i32x4.ge_s(w, first)
    special = v128.or(special, odd)
    const fixed = v128.or(odd, i32x4.eq(i32x4.shl(w, 16), zero)) // Inf, NaN and zeros keep their exponents
    v128.store(to, i32x4.add(w, v128.andnot(shift, fixed)))
  }
  return <i32>v128.any_true(special)
}

/**
 * Decode rows of codes. words[rows, stride] and flags[rows, stride / step] (1 where a step holds Inf or NaN); stride = K rounded up to whole steps, filled
 * with zeros. codes[rows, K], `code_bytes` (1, 2, 4) each; of 4-byte codes (float32 words holding tf32) the low 13 bits are dropped. scales: E8M0 bytes
 * [rows, ceil(K / block)], or 0. split: the order in which the FP16 pipe takes FP8 operands, k mod 4 in {0, 1} first. Items: rows.
 */
export function mma_decode(words: usize, flags: usize, codes: usize, scales: usize, K: i32, stride: i32, step: i32, block: i32, split: i32,
  code_bytes: i32, exp_bits: i32, man_bits: i32, bias: i32, specials: i32, begin: i32, end: i32): void {
  const blocks = (K + block - 1) / block
  const quick = code_bytes == 1 && !split && step <= block && !(step & 3)
  if (quick) fill_table(exp_bits, man_bits, bias, specials)
  for (let row = begin; row < end; row++) {
    const from = codes + <usize>row * <usize>K * <usize>code_bytes
    const to = words + (<usize>row * <usize>stride << 2)
    const flagRow = flags + <usize>row * <usize>(stride / step)
    for (let k0 = 0; k0 < stride; k0 += step) {
      let special = 0
      if (quick && k0 + step <= K) {
        const scale = scales ? <i32>load<u8>(scales + <usize>row * <usize>blocks + <usize>(k0 / block)) : 127
        if (scale != 255) {
          store<u8>(flagRow + <usize>(k0 / step), <u8>decode_bytes(to + (<usize>k0 << 2), from + <usize>k0, step, scale - 127))
          continue
        }
      }
      for (let i = 0; i < step; i++) {
        const k = k0 + i
        let w = word(ZERO_EXP, 0)
        if (k < K) {
          const p = from + <usize>k * <usize>code_bytes
          const code = code_bytes == 1 ? <u32>load<u8>(p) : code_bytes == 2 ? <u32>load<u16>(p) : load<u32>(p) >> 13
          w = decode_word(code, exp_bits, man_bits, bias, specials)
          if (split) w = normalized(w, man_bits)
          if (scales) {
            const scale = <i32>load<u8>(scales + <usize>row * <usize>blocks + <usize>(k / block))
            if (scale == 255) w = word(NAN_EXP, 1)
            else if (wordSig(w) && wordExp(w) < INF_EXP) w = word(wordExp(w) + scale - 127, wordSig(w))
          }
        }
        if (wordExp(w) >= INF_EXP) special = 1
        // Within 32: four consecutive k are two of the first half and two of the second.
        const at = split ? k0 + (i >> 2 << 1) + (i & 1) + (i & 2) * 8 : k
        store<i32>(to + (<usize>at << 2), w)
      }
      store<u8>(flagRow + <usize>(k0 / step), <u8>special)
    }
  }
}

/** decode_word of a positive E4M3 code. */
// @ts-ignore: decorator
@inline
function ue4m3_word(code: u32): i32 {
  const field = <i32>code >> 3
  if (code == 0x7f) return word(NAN_EXP, 1)
  if (!code) return word(ZERO_EXP, 0)
  return word(max(field, 1) - 7, field ? code & 7 | 8 : code)
}

/** Twice the value of each E2M1 code. */
export const HALVES = memory.data<i8>([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12])
export const NIBBLE = memory.data<i8>([15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15])

/**
 * One step (64 k) of one row of E2M1 codes for GST-FDPA: halves[64], i8, twice the value; words[4], the scale of each group of 16, as a word whose significand has
 * 3 fraction bits. codes: the row, a byte each, or two in a byte with the even k in the low half (`nibbles`). scales: the row's bytes, one per `block`; kind 0 is
 * E8M0, 1 is UE4M3. What lies beyond K is zero. Returns 1 if a scale is NaN.
 */
export function decode_group_step(halves: usize, words: usize, codes: usize, nibbles: i32, scales: usize, K: i32, step: i32, block: i32, kind: i32): i32 {
  const k0 = step << 6
  const table = v128.load(HALVES), low = v128.load(NIBBLE)
  let from = codes + <usize>(nibbles ? k0 >> 1 : k0)
  if (k0 + 64 > K) { // a short last step, completed in place
    memory.fill(halves, 0, 64)
    memory.copy(halves, from, <usize>(nibbles ? (K - k0 + 1) >> 1 : K - k0))
    from = halves
  }
  if (nibbles) {
    const x = v128.load(from), y = v128.load(from, 16)
    const xl = v128.swizzle(table, v128.and(x, low)), xh = v128.swizzle(table, i8x16.shr_u(x, 4))
    const yl = v128.swizzle(table, v128.and(y, low)), yh = v128.swizzle(table, i8x16.shr_u(y, 4))
    v128.store(halves, v128.shuffle<i8>(xl, xh, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), 16)
    v128.store(halves, v128.shuffle<i8>(xl, xh, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23))
    v128.store(halves, v128.shuffle<i8>(yl, yh, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), 48)
    v128.store(halves, v128.shuffle<i8>(yl, yh, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), 32)
  } else {
    for (let i: usize = 0; i < 64; i += 16) v128.store(halves + i, v128.swizzle(table, v128.and(v128.load(from + i), low)))
  }
  let special = 0
  for (let g = 0; g < 4; g++) {
    let w = word(ZERO_EXP, 0)
    const k = k0 + (g << 4)
    if (k < K) {
      const byte = <u32>load<u8>(scales + <usize>(k / block))
      w = kind ? ue4m3_word(byte & 0x7f) : byte == 255 ? word(NAN_EXP, 1) : word(<i32>byte - 127, 8)
    }
    if (wordExp(w) >= INF_EXP) special = 1
    store<i32>(words + (<usize>g << 2), w)
  }
  return special
}

/**
 * Decode rows of E2M1 codes for GST-FDPA, step by step as above. halves[rows, stride]; stride = K rounded up to 64. scale_words[rows, stride / 16]. flags[rows, stride / 64].
 * codes[rows, K] or [rows, K / 2] (`nibbles`); scales[rows, ceil(K / block)]. Items: rows.
 */
export function mma_decode_groups(halves: usize, scale_words: usize, flags: usize, codes: usize, nibbles: i32, scales: usize, K: i32, stride: i32, block: i32, kind: i32,
  begin: i32, end: i32): void {
  const steps = stride >> 6
  for (let row = begin; row < end; row++) {
    const from = codes + <usize>row * <usize>(nibbles ? K >> 1 : K)
    const bytes = scales + <usize>row * <usize>((K + block - 1) / block)
    for (let s = 0; s < steps; s++) {
      const at = <usize>(row * steps + s)
      store<u8>(flags + at, <u8>decode_group_step(halves + (at << 6), scale_words + (at << 4), from, nibbles, bytes, K, s, block, kind))
    }
  }
}
