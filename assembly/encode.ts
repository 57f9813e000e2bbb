// Casts of single f32 to codes: sixteen at a time where no element is huge, Inf or NaN, else one by one (codec.ts).
import { Away, Even } from './bf16'
import { encode, FNUZ, INTEGER, kind, maxCode, overflowCode, prepare_codes } from './codec'
import { bytes, code_of_four, integers, inverted, with_signs } from './code-lanes'
import { AWAY, EVEN, exponent_mask, how_of_mode, last_bit, magnitude_mask, step_word, to_half, ZERO, Zero } from './quantize-vector'
import { emin, man, prepare } from './quantizer'

/** Magnitudes from here on (2^97) leave the vector path: the rounding addition needs headroom. */
const HUGE: i32 = 0x70000000

/** n (a multiple of 16) elements. (The order of narrowing: code-lanes.ts.) */
function sixteens<How>(to: usize, from: usize, n: i32): void {
  const exponent = exponent_mask(), magnitude = magnitude_mask(), one = last_bit(), step = i32x4.splat(step_word()), huge = i32x4.splat(HUGE), shift = 23 - man
  const lowest = i32x4.splat((emin + 127) << 23), half = i32x4.splat(to_half()), top = bytes(maxCode), over = bytes(overflowCode), none = bytes(0)
  const invert = inverted(), integer = integers(), least = bytes(kind == INTEGER || kind == FNUZ ? 0 : -1)
  for (const stop = from + (<usize>n << 2); from < stop; from += 64, to += 16) {
    const x0 = v128.load(from), x1 = v128.load(from, 16), x2 = v128.load(from, 32), x3 = v128.load(from, 48)
    const a0 = v128.and(x0, magnitude), a1 = v128.and(x1, magnitude), a2 = v128.and(x2, magnitude), a3 = v128.and(x3, magnitude)
    if (v128.any_true(i32x4.ge_s(i32x4.max_s(i32x4.max_s(a0, a1), i32x4.max_s(a2, a3)), huge))) {
      for (let i: usize = 0; i < 16; i++) store<u8>(to + i, <u8>encode(load<f32>(from + (i << 2)), 0))
      continue
    }
    const c0 = code_of_four<How>(a0, lowest, half, step, shift, exponent, one), c1 = code_of_four<How>(a1, lowest, half, step, shift, exponent, one)
    const c2 = code_of_four<How>(a2, lowest, half, step, shift, exponent, one), c3 = code_of_four<How>(a3, lowest, half, step, shift, exponent, one)
    const within = i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(c0, c2), i16x8.narrow_i32x4_s(c1, c3)), code = v128.bitselect(over, within, i8x16.gt_u(within, top))
    const signs = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(x0, x2), i16x8.narrow_i32x4_s(x1, x3))
    v128.store(to, with_signs(code, signs, invert, integer, least, none))
  }
}

/**
 * dst[i] = code of src[i], `width` bytes each (1 or 2), for the format and choices described by the other words (src/ops/codes.ts packs them).
 * Items: elements.
 */
export function encode_f32(dst: usize, src: usize, width: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, bits: i32, kind: i32, maxCode: i32, overflowCode: i32, nanPositive: i32, nanNegative: i32, begin: i32, end: i32): void {
  prepare(man, emin, emax, max, choices)
  prepare_codes(bits, kind, maxCode, overflowCode, nanPositive, nanNegative)
  const how = how_of_mode()
  let i = <usize>begin
  if (width == 1 && (how == EVEN || how == AWAY || how == ZERO)) {
    const n = (end - begin) & ~15
    if (how == EVEN) sixteens<Even>(dst + i, src + (i << 2), n)
    else if (how == AWAY) sixteens<Away>(dst + i, src + (i << 2), n)
    else sixteens<Zero>(dst + i, src + (i << 2), n)
    i += n
  }
  for (; i < <usize>end; i++) {
    const code = encode(load<f32>(src + (i << 2)), 0)
    if (width == 1) store<u8>(dst + i, <u8>code)
    else store<u16>(dst + (i << 1), <u16>code)
  }
}
