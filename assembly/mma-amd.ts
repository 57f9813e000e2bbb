// AMD's matrix cores, element by element: exact fused dot-product-add (CDNA1), IEEE multiply/add tree with flushed subnormals (CDNA2), truncated and
// floored sums (CDNA3); algorithms 6, 2, 10 and 11 of arXiv:2511.10909. Operands are words of mma_decode. Floors are toward minus infinity.
import { sum_add, sum_clear, sum_round } from './exact-sum'
import { INF_EXP, NAN_EXP, wordExp, wordSig } from './mma-operand'
import { RNE_F32, accumulatorExp, accumulatorSig, flooredShift, isSpecial, round_sum, truncatedShift } from './mma-round'
import { special_sum } from './mma-fdpa'

/** Stands for AMD's NaN, whose payload is not known. */
const NAN: u32 = 0x7fc00000

// ---- CDNA1 ----

/** One step of algorithm 6 on finite words: the exact sum, rounded once. */
function exact_step(a: usize, b: usize, length: i32, c: u32, point: i32): u32 {
  const sigC = accumulatorSig(c, false), qC = accumulatorExp(c, false) - 23
  const end = <usize>length << 2
  let low = sigC ? qC : i32.MAX_VALUE, high = sigC ? qC + 24 : i32.MIN_VALUE
  for (let k: usize = 0; k < end; k += 4) {
    const x = load<i32>(a + k), y = load<i32>(b + k)
    if (!wordSig(x) || !wordSig(y)) continue
    const q = wordExp(x) + wordExp(y) - point
    low = min(low, q)
    high = max(high, q + 22)
  }
  if (low == i32.MAX_VALUE) return 0
  if (high - low < 58) { // five terms: everything fits 61 bits
    let sum = sigC ? <i64>sigC << (qC - low) : 0
    for (let k: usize = 0; k < end; k += 4) {
      const x = load<i32>(a + k), y = load<i32>(b + k)
      const p = wordSig(x) * wordSig(y)
      if (p) sum += <i64>p << (wordExp(x) + wordExp(y) - point - low)
    }
    return round_sum(sum, low, RNE_F32)
  }
  sum_clear()
  if (sigC) sum_add(sigC, qC)
  for (let k: usize = 0; k < end; k += 4) {
    const x = load<i32>(a + k), y = load<i32>(b + k)
    const p = wordSig(x) * wordSig(y)
    if (p) sum_add(p, wordExp(x) + wordExp(y) - point)
  }
  return sum_round()
}

/** E-FDPA (CDNA1). d[M, N] = chain of `steps` steps of `length` from c (0: +0), bits in a u32; words rows `stride` apart, flags `flag_stride` apart. Items: rows of d. */
export function mma_e_fdpa(d: usize, c: usize, a: usize, a_flags: usize, b: usize, b_flags: usize, N: i32, steps: i32, length: i32, stride: i32, flag_stride: i32,
  point: i32, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    for (let j = 0; j < N; j++) {
      const at = <usize>(i * N + j) << 2
      let acc = c ? load<u32>(c + at) : 0
      let x = a + (<usize>i * <usize>stride << 2), y = b + (<usize>j * <usize>stride << 2)
      const fx = a_flags + <usize>i * <usize>flag_stride, fy = b_flags + <usize>j * <usize>flag_stride
      for (let s = 0; s < steps; s++) {
        let d: u32 = 1
        if (load<u8>(fx + <usize>s) | load<u8>(fy + <usize>s) || isSpecial(acc, false)) d = amd_nan(special_sum(x, y, length, acc, false))
        acc = d == 1 ? exact_step(x, y, length, acc, point) : d
        x += <usize>length << 2
        y += <usize>length << 2
      }
      store<u32>(d + at, acc)
    }
  }
}

// @ts-ignore: decorator
@inline
function amd_nan(bits: u32): u32 { return (bits & 0x7fffffff) > 0x7f800000 ? NAN : bits }

// ---- CDNA2 ----

const TINY: f32 = reinterpret<f32>(0x00800000) // 2^-126

// @ts-ignore: decorator
@inline
function flush(x: f32): f32 { return abs(x) < TINY ? x * 0 : x }
// @ts-ignore: decorator
@inline
function add_flushed(x: f32, y: f32): f32 { return flush(x + y) }

/** A word as f32; subnormals of the operand's own format (no implicit bit) become +0. */
// @ts-ignore: decorator
@inline
function flushed_value(w: i32, man_bits: i32): f32 {
  const sig = wordSig(w), exp = wordExp(w)
  if (exp >= INF_EXP) return exp >= NAN_EXP ? NaN : <f32>sig * Infinity
  if (abs(sig) >> man_bits == 0) return 0
  return <f32>(<f64>sig * reinterpret<f64>(<u64>(exp - man_bits + 1023) << 52))
}

/** FTZ-AddMul (CDNA2): every 2 or 4 (`length`) products are summed pairwise, then added to c. As mma_e_fdpa. Items: rows of d. */
export function mma_ftz_addmul(d: usize, c: usize, a: usize, b: usize, N: i32, steps: i32, length: i32, stride: i32, man_bits: i32, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    for (let j = 0; j < N; j++) {
      const at = <usize>(i * N + j) << 2
      let acc = c ? load<f32>(c + at) : 0
      if (abs(acc) < TINY) acc = 0
      let x = a + (<usize>i * <usize>stride << 2), y = b + (<usize>j * <usize>stride << 2)
      for (let s = 0; s < steps; s++) {
        const p0 = flush(flushed_value(load<i32>(x), man_bits) * flushed_value(load<i32>(y), man_bits))
        const p1 = flush(flushed_value(load<i32>(x, 4), man_bits) * flushed_value(load<i32>(y, 4), man_bits))
        let sum = add_flushed(p0, p1)
        if (length == 4) {
          const p2 = flush(flushed_value(load<i32>(x, 8), man_bits) * flushed_value(load<i32>(y, 8), man_bits))
          const p3 = flush(flushed_value(load<i32>(x, 12), man_bits) * flushed_value(load<i32>(y, 12), man_bits))
          sum = add_flushed(sum, add_flushed(p2, p3))
        }
        acc = add_flushed(acc, sum)
        x += <usize>length << 2
        y += <usize>length << 2
      }
      store<u32>(d + at, acc == acc ? reinterpret<u32>(acc) : NAN)
    }
  }
}

// ---- CDNA3 ----

/** No product is aligned by (all are zero). */
const NO_EXP: i32 = -8000

/** Largest exponent of the products k = first, first + by, ... */
// @ts-ignore: decorator
@inline
function top_exponent(a: usize, b: usize, length: i32, first: i32, by: i32): i32 {
  let top = i32.MIN_VALUE
  for (let k = first; k < length; k += by) top = max(top, wordExp(load<i32>(a + (<usize>k << 2))) + wordExp(load<i32>(b + (<usize>k << 2))))
  return top
}

/** Those products, each toward zero to units of 2^(top - F), added. */
// @ts-ignore: decorator
@inline
function truncated_sum(a: usize, b: usize, length: i32, first: i32, by: i32, base: i32): i64 {
  let sum: i64 = 0
  for (let k = first; k < length; k += by) {
    const x = load<i32>(a + (<usize>k << 2)), y = load<i32>(b + (<usize>k << 2))
    sum += truncatedShift(wordSig(x) * wordSig(y), wordExp(x) + wordExp(y) + base)
  }
  return sum
}

/** Some product is 2^128 or more and becomes an infinity of its sign: NaN, Inf, or 1 if there is none. */
function overflowed(a: usize, b: usize, length: i32, point: i32): u32 {
  let plus = false, minus = false
  for (let k: usize = 0; k < <usize>length << 2; k += 4) {
    const x = load<i32>(a + k), y = load<i32>(b + k)
    const p = wordSig(x) * wordSig(y)
    if (!p || 31 - clz(abs(p)) - point + wordExp(x) + wordExp(y) < 128) continue
    if (p > 0) plus = true
    else minus = true
  }
  return plus && minus ? NAN : plus ? 0x7f800000 : minus ? 0xff800000 : 1
}

/** The product sum and c, floored and added: steps 3 and 4 of algorithms 10 and 11. `dot` in units of 2^(top - F). F2 = 31. */
// @ts-ignore: decorator
@inline
function floored_add(dot: i64, top: i32, c: u32, fraction: i32, grouped: bool): u32 {
  const sigC = accumulatorSig(c, false), expC = accumulatorExp(c, false)
  const e = max(top, expC)
  // units of 2^(e - 32); c keeps 24 fraction bits, the product sum 32
  let sum = dot ? flooredShift(dot, top - e + 32 - fraction) : 0
  if (!grouped || expC >= e - fraction - 1) sum += flooredShift(sigC, expC - e + fraction - 23) << (32 - fraction)
  if (!sum) return 0
  const q = e - 32
  const cut = max(63 - <i32>clz(abs(sum)) + q, -126) - 31 - q
  if (cut > 0) sum = sum >> cut << cut
  return round_sum(sum, q, RNE_F32)
}

/** TR-FDPA (grouped = 0) and GTR-FDPA (1): CDNA3. As mma_e_fdpa. Items: rows of d. */
export function mma_tr_fdpa(d: usize, c: usize, a: usize, a_flags: usize, b: usize, b_flags: usize, N: i32, steps: i32, length: i32, stride: i32, flag_stride: i32,
  point: i32, fraction: i32, grouped: i32, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    for (let j = 0; j < N; j++) {
      const at = <usize>(i * N + j) << 2
      let acc = c ? load<u32>(c + at) : 0
      let x = a + (<usize>i * <usize>stride << 2), y = b + (<usize>j * <usize>stride << 2)
      const fx = a_flags + <usize>i * <usize>flag_stride, fy = b_flags + <usize>j * <usize>flag_stride
      for (let s = 0; s < steps; s++) {
        acc = tr_step(x, y, load<u8>(fx + <usize>s) | load<u8>(fy + <usize>s), length, acc, point, fraction, grouped != 0)
        x += <usize>length << 2
        y += <usize>length << 2
      }
      store<u32>(d + at, acc)
    }
  }
}

function tr_step(a: usize, b: usize, special: u32, length: i32, c: u32, point: i32, fraction: i32, grouped: bool): u32 {
  const top = top_exponent(a, b, length, 0, 1)
  const over = !grouped && !special && top >= 126 ? overflowed(a, b, length, point) : 1
  if (special || over != 1 || isSpecial(c, false)) return amd_special(a, b, length, c, point, grouped)
  if (top < NO_EXP) return floored_add(0, NO_EXP, c, fraction, grouped)
  if (!grouped) return floored_add(truncated_sum(a, b, length, 0, 1, fraction - point - top), top, c, fraction, false)
  const even = top_exponent(a, b, length, 0, 2), odd = top_exponent(a, b, length, 1, 2)
  let dot: i64 = 0
  if (even > NO_EXP) dot += flooredShift(truncated_sum(a, b, length, 0, 2, fraction - point - even), even - top)
  if (odd > NO_EXP) dot += flooredShift(truncated_sum(a, b, length, 1, 2, fraction - point - odd), odd - top)
  return floored_add(dot, top, c, fraction, true)
}

/** The special result of a step in which an operand, a product (overflow) or c is not finite. */
function amd_special(a: usize, b: usize, length: i32, c: u32, point: i32, grouped: bool): u32 {
  let result = special_sum(a, b, length, c, false)
  if (result == 0x7fffffff) return NAN
  if (grouped) return result
  // Overflowing finite products beside infinities.
  for (let k: usize = 0; k < <usize>length << 2; k += 4) {
    const x = load<i32>(a + k), y = load<i32>(b + k)
    if (max(wordExp(x), wordExp(y)) >= INF_EXP) continue
    const p = wordSig(x) * wordSig(y)
    if (!p || 31 - clz(abs(p)) - point + wordExp(x) + wordExp(y) < 128) continue
    const infinity: u32 = p < 0 ? 0xff800000 : 0x7f800000
    if (result != 1 && result != infinity) return NAN
    result = infinity
  }
  return result
}
