// Casts of single f32 to codes: sixteen at a time where no element is huge, Inf or NaN, else one by one (codec.ts).
import { Away, Even } from './bf16'
import { codeBits, encode, FNUZ, INTEGER, kind, maxCode, overflowCode, prepare_codes } from './codec'
import { bytes, multiple_of, narrow, narrow_masks } from './code-lanes'
import { AWAY, EVEN, exponent_mask, how_of_mode, last_bit, magnitude_mask, step_word, to_half, ZERO, Zero } from './quantize-vector'
import { emin, man, prepare } from './quantizer'

/** Magnitudes from here on (2^97) leave the vector path: the rounding addition needs headroom. */
const HUGE: i32 = 0x70000000

// @ts-ignore: decorator
@inline function sixteens<How>(to: usize, from: usize, n: i32): void {
  const exponent = exponent_mask(), magnitude = magnitude_mask(), one = last_bit(), step = i32x4.splat(step_word()), huge = i32x4.splat(HUGE)
  const lowest = i32x4.splat((emin + 127) << 23), half = i32x4.splat(to_half()), most = bytes(255 >> man), top = bytes(maxCode), over = bytes(overflowCode)
  const integers = bytes(kind == INTEGER ? -1 : 0), signBit = bytes(kind == INTEGER ? 0 : 1 << (codeBits - 1)), mask = bytes((1 << codeBits) - 1), dropSign = bytes(kind == FNUZ ? -1 : 0)
  for (const stop = from + (<usize>n << 2); from < stop; from += 64, to += 16) {
    const x0 = v128.load(from), x1 = v128.load(from, 16), x2 = v128.load(from, 32), x3 = v128.load(from, 48)
    const a0 = v128.and(x0, magnitude), a1 = v128.and(x1, magnitude), a2 = v128.and(x2, magnitude), a3 = v128.and(x3, magnitude)
    if (v128.any_true(i32x4.ge_s(i32x4.max_s(i32x4.max_s(a0, a1), i32x4.max_s(a2, a3)), huge))) {
      for (let i: usize = 0; i < 16; i++) store<u8>(to + i, <u8>encode(load<f32>(from + (i << 2)), 0))
      continue
    }
    const e0 = i32x4.max_s(v128.and(a0, exponent), lowest), e1 = i32x4.max_s(v128.and(a1, exponent), lowest), e2 = i32x4.max_s(v128.and(a2, exponent), lowest), e3 = i32x4.max_s(v128.and(a3, exponent), lowest)
    // Binades above emin, so many at most that a shift by man stays in a byte, which is beyond every code.
    const binades = i8x16.min_u(narrow(i32x4.shr_u(i32x4.sub(e0, lowest), 23), i32x4.shr_u(i32x4.sub(e1, lowest), 23), i32x4.shr_u(i32x4.sub(e2, lowest), 23), i32x4.shr_u(i32x4.sub(e3, lowest), 23)), most)
    const multiples = narrow(multiple_of<How>(a0, e0, lowest, half, step, one), multiple_of<How>(a1, e1, lowest, half, step, one), multiple_of<How>(a2, e2, lowest, half, step, one), multiple_of<How>(a3, e3, lowest, half, step, one))
    let code = i8x16.add_sat_u(multiples, i16x8.shl(binades, man))
    code = v128.bitselect(over, code, i8x16.gt_u(code, top))
    const negative = narrow_masks(i32x4.shr_s(x0, 31), i32x4.shr_s(x1, 31), i32x4.shr_s(x2, 31), i32x4.shr_s(x3, 31))
    const s = v128.and(negative, integers), sign = v128.and(v128.andnot(negative, v128.and(dropSign, i8x16.eq(code, bytes(0)))), signBit)
    v128.store(to, v128.and(v128.or(i8x16.sub(v128.xor(code, s), s), sign), mask))
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
