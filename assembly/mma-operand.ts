// Operands of the matrix-unit kernels, decoded once per row so that the inner loops only multiply, shift and add.
//
// A decoded element is one i32 word: significand (signed, low 16 bits) and exponent (high 16 bits); its value is significand * 2^(exponent - manBits).
// The exponent is Exp(x) of arXiv:2511.10909, the exponent field minus the bias (subnormals: the minimum), plus that of the block's E8M0 scale where
// there is one: in ST-FDPA a scale does nothing else. Zero: significand 0 and an exponent below every alignment. Inf and NaN: significand +-1 and
// an exponent above every finite one; steps that hold one are flagged, so the fast loops never meet them.

export const ZERO_EXP: i32 = -8192
export const INF_EXP: i32 = 8192
export const NAN_EXP: i32 = 16384

// @ts-ignore: decorator
@inline
export function word(exp: i32, sig: i32): i32 { return exp << 16 | (sig & 0xffff) }
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
export function decode_word(code: u32, exp_bits: i32, man_bits: i32, bias: i32, specials: i32): i32 {
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

/**
 * Decode rows of codes. words[rows, stride] and flags[rows, stride / step] (1 where a step holds Inf or NaN); stride = K rounded up to whole steps, filled
 * with zeros. codes[rows, K], `code_bytes` (1, 2, 4) each; of 4-byte codes (float32 words holding tf32) the low 13 bits are dropped. scales: E8M0 bytes
 * [rows, ceil(K / block)], or 0. split: the order in which the FP16 pipe takes FP8 operands, k mod 4 in {0, 1} first. Items: rows.
 */
export function mma_decode(words: usize, flags: usize, codes: usize, scales: usize, K: i32, stride: i32, step: i32, block: i32, split: i32,
  code_bytes: i32, exp_bits: i32, man_bits: i32, bias: i32, specials: i32, begin: i32, end: i32): void {
  const blocks = (K + block - 1) / block
  for (let row = begin; row < end; row++) {
    const from = codes + <usize>row * <usize>K * <usize>code_bytes
    const to = words + (<usize>row * <usize>stride << 2)
    const flagRow = flags + <usize>row * <usize>(stride / step)
    for (let k0 = 0; k0 < stride; k0 += step) {
      let special = 0
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

/**
 * Decode rows of E2M1 codes for GST-FDPA, one code per byte. halves[rows, stride]: i8, twice the value; stride = K rounded up to 64. scale_words[rows, stride / 16]:
 * the scale of each group of 16 as a word whose significand has 3 fraction bits; kind 0 is E8M0, 1 is UE4M3. flags[rows, stride / 64]: 1 where a scale is NaN.
 * scales[rows, ceil(K / block)]. Items: rows.
 */
export function mma_decode_groups(halves: usize, scale_words: usize, flags: usize, codes: usize, scales: usize, K: i32, stride: i32, block: i32, kind: i32, begin: i32, end: i32): void {
  const blocks = (K + block - 1) / block
  for (let row = begin; row < end; row++) {
    const from = codes + <usize>row * <usize>K
    const to = halves + <usize>row * <usize>stride
    for (let k = 0; k < stride; k++) {
      let half = 0
      if (k < K) {
        const code = <i32>load<u8>(from + <usize>k)
        const w = decode_word(code & 15, 2, 1, 1, 2)
        half = wordSig(w) ? wordSig(w) << wordExp(w) : 0
      }
      store<i8>(to + <usize>k, <i8>half)
    }
    const groups = stride >> 4
    const scaleRow = scale_words + (<usize>row * <usize>groups << 2)
    for (let s = 0; s < stride >> 6; s++) {
      let special = 0
      for (let g = s << 2; g < (s + 1) << 2; g++) {
        let w = word(ZERO_EXP, 0)
        if (g << 4 < K) {
          const byte = <u32>load<u8>(scales + <usize>row * <usize>blocks + <usize>((g << 4) / block))
          if (kind) w = decode_word(byte & 0x7f, 4, 3, 7, NAN_ONLY)
          else w = byte == 255 ? word(NAN_EXP, 1) : word(<i32>byte - 127, 8)
        }
        if (wordExp(w) >= INF_EXP) special = 1
        store<i32>(scaleRow + (<usize>g << 2), w)
      }
      store<u8>(flags + <usize>row * <usize>(stride >> 6) + <usize>s, <u8>special)
    }
  }
}
