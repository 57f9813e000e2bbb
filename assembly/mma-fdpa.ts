// NVIDIA's tensor cores, element by element: truncated fused dot-product-add (T-FDPA, ST-FDPA, GST-FDPA of arXiv:2511.10909) chained in increasing k.
// Every term is cut toward zero to a multiple of 2^(E - F), E the largest exponent among the terms, and the integers are added exactly in i64.
// These are the straightforward kernels, for every model and every operand; mma-sums.ts and mma-fp4.ts have quicker ones.
import { INF_EXP, NAN_EXP, wordExp, wordSig } from './mma-operand'
import { RNE_F16, RZ_F32, accumulatorExp, accumulatorSig, infBits, isSpecial, nanBits, round_sum, truncatedShift } from './mma-round'

/** A NaN, or infinities of both signs, or Inf * 0: NaN. Infinities of one sign: that one. 1 (no Inf's bits): all finite. */
export function special_sum(a: usize, b: usize, length: i32, c: u32, f16: bool): u32 {
  let plus = false, minus = false
  if (isSpecial(c, f16)) {
    if (c == infBits(false, f16)) plus = true
    else if (c == infBits(true, f16)) minus = true
    else return nanBits(f16)
  }
  for (let k: usize = 0; k < <usize>length << 2; k += 4) {
    const x = load<i32>(a + k), y = load<i32>(b + k)
    const high = max(wordExp(x), wordExp(y))
    if (high >= NAN_EXP) return nanBits(f16)
    if (high < INF_EXP) continue
    const sign = wordSig(x) * wordSig(y)
    if (!sign) return nanBits(f16)
    if (sign > 0) plus = true
    else minus = true
  }
  if (plus && minus) return nanBits(f16)
  return plus || minus ? infBits(minus, f16) : 1
}

/** One step of algorithm 7 on finite words: bits of c -> bits of d. `point`: fraction bits of a product of significands. */
function fdpa_step(a: usize, b: usize, length: i32, c: u32, point: i32, fraction: i32, floor: i32, rounding: i32): u32 {
  const f16 = rounding == RNE_F16
  const end = <usize>length << 2
  const sigC = accumulatorSig(c, f16), expC = accumulatorExp(c, f16)
  let top = max(floor, sigC ? expC : floor)
  for (let k: usize = 0; k < end; k += 4) top = max(top, wordExp(load<i32>(a + k)) + wordExp(load<i32>(b + k)))
  let sum = truncatedShift(sigC, expC - top + fraction - (f16 ? 10 : 23))
  const base = fraction - point - top
  for (let k: usize = 0; k < end; k += 4) {
    const x = load<i32>(a + k), y = load<i32>(b + k)
    sum += truncatedShift(wordSig(x) * wordSig(y), wordExp(x) + wordExp(y) + base)
  }
  return round_sum(sum, top - fraction, rounding)
}

/** One step on any words: `special` says whether an Inf or NaN is among them. */
// @ts-ignore: decorator
@inline
function step(a: usize, b: usize, special: u32, length: i32, c: u32, point: i32, fraction: i32, floor: i32, rounding: i32): u32 {
  const f16 = rounding == RNE_F16
  if (special || isSpecial(c, f16)) {
    const s = special_sum(a, b, length, c, f16)
    if (s != 1) return s
  }
  return fdpa_step(a, b, length, c, point, fraction, floor, rounding)
}

/** The same, called. */
export function fdpa_full_step(a: usize, b: usize, special: u32, length: i32, c: u32, point: i32, fraction: i32, floor: i32, rounding: i32): u32 {
  return step(a, b, special, length, c, point, fraction, floor, rounding)
}

/**
 * T-FDPA and ST-FDPA. d[M, N] = chain over `steps` steps of `length`, starting from c[M, N] (0: from +0); accumulators are bits in a u32. a and b: words of
 * mma_decode, rows `stride` words apart, with flags rows `flag_stride` bytes apart; N rows of b. Items: rows of d.
 */
export function mma_fdpa(d: usize, c: usize, a: usize, a_flags: usize, b: usize, b_flags: usize, N: i32, steps: i32, length: i32, stride: i32, flag_stride: i32,
  point: i32, fraction: i32, floor: i32, rounding: i32, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    for (let j = 0; j < N; j++) {
      const at = <usize>(i * N + j) << 2
      let acc = c ? load<u32>(c + at) : 0
      let x = a + (<usize>i * <usize>stride << 2), y = b + (<usize>j * <usize>stride << 2)
      const fx = a_flags + <usize>i * <usize>flag_stride, fy = b_flags + <usize>j * <usize>flag_stride
      for (let s = 0; s < steps; s++) {
        acc = step(x, y, load<u8>(fx + <usize>s) | load<u8>(fy + <usize>s), length, acc, point, fraction, floor, rounding)
        x += <usize>length << 2
        y += <usize>length << 2
      }
      store<u32>(d + at, acc)
    }
  }
}

/** u + c, IEEE to nearest even, in the accumulator's type. */
function add_accumulators(u: u32, c: u32, f16: bool): u32 {
  if (!f16) {
    const sum = reinterpret<f32>(u) + reinterpret<f32>(c)
    return sum == sum ? reinterpret<u32>(sum) : nanBits(false)
  }
  if (isSpecial(u, true) || isSpecial(c, true)) {
    const special = isSpecial(u, true) ? u : c, other = isSpecial(u, true) ? c : u
    return special & 0x3ff || isSpecial(other, true) && other != special ? nanBits(true) : special
  }
  // Both are multiples of 2^-24.
  const sum = truncatedShift(accumulatorSig(u, true), accumulatorExp(u, true) + 14) + truncatedShift(accumulatorSig(c, true), accumulatorExp(c, true) + 14)
  return sum ? round_sum(sum, -24, RNE_F16) : u & c & 0x8000
}

/** FP8 through the FP16 pipe (legacy mma.sync): two steps of 16 from zero, then u + c. As mma_fdpa; words from mma_decode with `split`; steps of 32. Items: rows of d. */
export function mma_split_fp8(d: usize, c: usize, a: usize, a_flags: usize, b: usize, b_flags: usize, N: i32, steps: i32, stride: i32, flag_stride: i32,
  point: i32, fraction: i32, floor: i32, rounding: i32, begin: i32, end: i32): void {
  const f16 = rounding == RNE_F16
  for (let i = begin; i < end; i++) {
    for (let j = 0; j < N; j++) {
      const at = <usize>(i * N + j) << 2
      let acc = c ? load<u32>(c + at) : 0
      let x = a + (<usize>i * <usize>stride << 2), y = b + (<usize>j * <usize>stride << 2)
      const fx = a_flags + <usize>i * <usize>flag_stride, fy = b_flags + <usize>j * <usize>flag_stride
      for (let s = 0; s < steps; s++) {
        const special = <u32>(load<u8>(fx + <usize>s) | load<u8>(fy + <usize>s))
        const t = step(x, y, special, 16, 0, point, fraction, floor, rounding)
        const u = step(x + 64, y + 64, special, 16, t, point, fraction, floor, rounding)
        acc = add_accumulators(u, acc, f16)
        x += 128
        y += 128
      }
      store<u32>(d + at, acc)
    }
  }
}

/** One step of algorithm 9, K = 64: operands as doubled E2M1 values (i8) and four scale words a side, no NaN among them. */
export function gst_step(a: usize, b: usize, scale_a: usize, scale_b: usize, c: u32, fraction: i32, floor: i32): u32 {
  if (isSpecial(c, false)) return (c & 0x7fffff) ? nanBits(false) : c
  const sigC = accumulatorSig(c, false), expC = accumulatorExp(c, false)
  let top = max(floor, sigC ? expC : floor)
  for (let g: usize = 0; g < 4; g++) {
    const sa = load<i32>(scale_a + (g << 2)), sb = load<i32>(scale_b + (g << 2))
    let any = 0
    for (let k = g << 4; k < (g + 1) << 4; k++) any |= <i32>load<i8>(a + k) * <i32>load<i8>(b + k)
    if (any && wordSig(sa) && wordSig(sb)) top = max(top, wordExp(sa) + wordExp(sb))
  }
  let sum = truncatedShift(sigC, expC - top + fraction - 23)
  for (let g: usize = 0; g < 4; g++) {
    const sa = load<i32>(scale_a + (g << 2)), sb = load<i32>(scale_b + (g << 2))
    let p = 0 // in quarters: both operands are doubled
    for (let k = g << 4; k < (g + 1) << 4; k++) p += <i32>load<i8>(a + k) * <i32>load<i8>(b + k)
    // 2 bits of the quarters and 3 fraction bits of either scale
    sum += truncatedShift(p * wordSig(sa) * wordSig(sb), wordExp(sa) + wordExp(sb) - top + fraction - 8)
  }
  return round_sum(sum, top - fraction, RZ_F32)
}

/**
 * GST-FDPA. As mma_fdpa, over the arrays of mma_decode_groups: a and b rows `stride` bytes apart, scale words stride / 16 apart, flags `flag_stride` bytes
 * apart, steps of 64. Items: rows of d.
 */
export function mma_gst_fdpa(d: usize, c: usize, a: usize, a_scales: usize, a_flags: usize, b: usize, b_scales: usize, b_flags: usize, N: i32, steps: i32,
  stride: i32, flag_stride: i32, fraction: i32, floor: i32, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    for (let j = 0; j < N; j++) {
      const at = <usize>(i * N + j) << 2
      let acc = c ? load<u32>(c + at) : 0
      let x = a + <usize>i * <usize>stride, y = b + <usize>j * <usize>stride
      let sx = a_scales + (<usize>i * <usize>stride >> 2), sy = b_scales + (<usize>j * <usize>stride >> 2)
      const fx = a_flags + <usize>i * <usize>flag_stride, fy = b_flags + <usize>j * <usize>flag_stride
      for (let s = 0; s < steps; s++) {
        acc = load<u8>(fx + <usize>s) | load<u8>(fy + <usize>s) ? nanBits(false) : gst_step(x, y, sx, sy, acc, fraction, floor)
        x += 64
        y += 64
        sx += 16
        sy += 16
      }
      store<u32>(d + at, acc)
    }
  }
}
