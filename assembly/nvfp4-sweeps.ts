// Elements of ordinary NVFP4 blocks to values or to E2M1 codes: divided by their scales, then rounded with the addition of quantize-vector.ts,
// q = 2^(e' - 1) in units of which 1.5 * 2^23 q has its last place. The words of the blocks: nvfp4-recipes.ts.
import { CUBLAS, MODELOPT, PRODUCT, recipe, scale } from './nvfp4-recipes'
import { exponent_mask, magnitude_mask } from './quantize-vector'

/** How elements are divided by their scales: times a factor; times the tensor's scale first; by division. */
class Times {}
class Twice {}
class Divided {}

const CONSTANTS = memory.data<u32>([
  127 << 23, 127 << 23, 127 << 23, 127 << 23,
  (22 << 23) | 0x400000, (22 << 23) | 0x400000, (22 << 23) | 0x400000, (22 << 23) | 0x400000,
  0x40c00000, 0x40c00000, 0x40c00000, 0x40c00000, // 6
], 16)
/** Exponent field of 2^emin, c - e' (quantize-vector.ts), largest magnitude. */
// @ts-ignore: decorator
@inline function lowest_of(): v128 { return v128.load(CONSTANTS) }
// @ts-ignore: decorator
@inline function step_of(): v128 { return v128.load(CONSTANTS, 16) }
// @ts-ignore: decorator
@inline function six_of(): v128 { return v128.load(CONSTANTS, 32) }

/** Four elements divided by their scales. */
// @ts-ignore: decorator
@inline function scaled_four<By>(x: v128, factor: v128, tensor: v128, zero: v128): v128 {
  if (idof<By>() == idof<Divided>()) return f32x4.add(f32x4.div(x, factor), zero)
  if (idof<By>() == idof<Twice>()) return f32x4.mul(f32x4.mul(x, tensor), factor)
  return f32x4.mul(x, factor)
}

/** Values of four elements t, already divided by their scales; `product`: s d of their blocks. */
// @ts-ignore: decorator
@inline function values_of(t: v128, product: v128, magnitude: v128, exponent: v128, lowest: v128, step: v128, six: v128): v128 {
  const a = f32x4.pmin(v128.and(t, magnitude), six)
  const c = i32x4.add(i32x4.max_s(v128.and(a, exponent), lowest), step)
  return f32x4.mul(v128.or(f32x4.sub(f32x4.add(a, c), c), v128.andnot(t, magnitude)), product)
}

/** Codes of four elements t but for their signs. */
// @ts-ignore: decorator
@inline function codes_of(t: v128, magnitude: v128, exponent: v128, lowest: v128, step: v128, six: v128): v128 {
  const a = f32x4.pmin(v128.and(t, magnitude), six), e = i32x4.max_s(v128.and(a, exponent), lowest), c = i32x4.add(e, step)
  return i32x4.add(i32x4.sub(f32x4.add(a, c), c), i32x4.shr_u(i32x4.sub(e, lowest), 22))
}

/** The codes of sixteen elements with these factors. (The order of narrowing: code-lanes.ts.) */
// @ts-ignore: decorator
@inline function sixteen<By>(from: usize, f0: v128, f1: v128, f2: v128, f3: v128, tensor: v128, zero: v128, magnitude: v128, exponent: v128, lowest: v128, step: v128, six: v128, signBit: v128): v128 {
  const t0 = scaled_four<By>(v128.load(from), f0, tensor, zero), t1 = scaled_four<By>(v128.load(from, 16), f1, tensor, zero)
  const t2 = scaled_four<By>(v128.load(from, 32), f2, tensor, zero), t3 = scaled_four<By>(v128.load(from, 48), f3, tensor, zero)
  const c0 = codes_of(t0, magnitude, exponent, lowest, step, six), c1 = codes_of(t1, magnitude, exponent, lowest, step, six)
  const c2 = codes_of(t2, magnitude, exponent, lowest, step, six), c3 = codes_of(t3, magnitude, exponent, lowest, step, six)
  const code = i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(c0, c2), i16x8.narrow_i32x4_s(c1, c3))
  const signs = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(t0, t2), i16x8.narrow_i32x4_s(t1, t3)) // saturated: signs stay
  const y = v128.or(code, v128.and(i8x16.gt_s(zero, signs), signBit))
  return v128.shuffle<i32>(y, y, 0, 2, 1, 3)
}

/** Values of n blocks of 16 on end. */
function block_values<By>(to: usize, from: usize, n: i32, words: usize): void {
  const magnitude = magnitude_mask(), exponent = exponent_mask(), lowest = lowest_of(), step = step_of(), six = six_of(), tensor = f32x4.splat(scale), zero = f32x4.splat(0)
  for (const stop = words + (<usize>n << 2); words < stop; words += 4, from += 64, to += 64) {
    const f = v128.load32_splat(words), p = v128.load32_splat(words + PRODUCT)
    const t0 = scaled_four<By>(v128.load(from), f, tensor, zero), t1 = scaled_four<By>(v128.load(from, 16), f, tensor, zero)
    const t2 = scaled_four<By>(v128.load(from, 32), f, tensor, zero), t3 = scaled_four<By>(v128.load(from, 48), f, tensor, zero)
    const y0 = values_of(t0, p, magnitude, exponent, lowest, step, six), y1 = values_of(t1, p, magnitude, exponent, lowest, step, six)
    const y2 = values_of(t2, p, magnitude, exponent, lowest, step, six), y3 = values_of(t3, p, magnitude, exponent, lowest, step, six)
    v128.store(to, y1, 16)
    v128.store(to, y0)
    v128.store(to, y3, 48)
    v128.store(to, y2, 32)
  }
}

/** Values of n (a multiple of 8) columns of a row. */
function lane_values<By>(to: usize, from: usize, n: i32, words: usize): void {
  const magnitude = magnitude_mask(), exponent = exponent_mask(), lowest = lowest_of(), step = step_of(), six = six_of(), tensor = f32x4.splat(scale), zero = f32x4.splat(0)
  for (const stop = from + (<usize>n << 2); from < stop; words += 32, from += 32, to += 32) {
    const t0 = scaled_four<By>(v128.load(from), v128.load(words), tensor, zero), t1 = scaled_four<By>(v128.load(from, 16), v128.load(words, 16), tensor, zero)
    const y0 = values_of(t0, v128.load(words, PRODUCT), magnitude, exponent, lowest, step, six), y1 = values_of(t1, v128.load(words, PRODUCT + 16), magnitude, exponent, lowest, step, six)
    v128.store(to, y1, 16)
    v128.store(to, y0)
  }
}

/** Codes of n blocks of 16 on end. */
function block_codes<By>(to: usize, from: usize, n: i32, words: usize): void {
  const magnitude = magnitude_mask(), exponent = exponent_mask(), lowest = lowest_of(), step = step_of(), six = six_of(), tensor = f32x4.splat(scale), zero = f32x4.splat(0), signBit = i8x16.splat(8)
  for (const stop = words + (<usize>n << 2); words < stop; words += 4, from += 64, to += 16) {
    const f = v128.load32_splat(words)
    v128.store(to, sixteen<By>(from, f, f, f, f, tensor, zero, magnitude, exponent, lowest, step, six, signBit))
  }
}

/** Codes of n (a multiple of 16) columns of a row. */
function lane_codes<By>(to: usize, from: usize, n: i32, words: usize): void {
  const magnitude = magnitude_mask(), exponent = exponent_mask(), lowest = lowest_of(), step = step_of(), six = six_of(), tensor = f32x4.splat(scale), zero = f32x4.splat(0), signBit = i8x16.splat(8)
  for (const stop = from + (<usize>n << 2); from < stop; words += 64, from += 64, to += 16) {
    v128.store(to, sixteen<By>(from, v128.load(words), v128.load(words, 16), v128.load(words, 32), v128.load(words, 48), tensor, zero, magnitude, exponent, lowest, step, six, signBit))
  }
}

/** Values (to `dst`, which may be `from`) and codes of n ordinary blocks of 16 on end, each where it is wanted (not 0). */
export function quantize_blocks(dst: usize, codes: usize, from: usize, n: i32, words: usize): void {
  if (codes != 0) {
    if (recipe == MODELOPT) block_codes<Divided>(codes, from, n, words)
    else if (recipe == CUBLAS) block_codes<Twice>(codes, from, n, words)
    else block_codes<Times>(codes, from, n, words)
  }
  if (dst != 0) {
    if (recipe == MODELOPT) block_values<Divided>(dst, from, n, words)
    else if (recipe == CUBLAS) block_values<Twice>(dst, from, n, words)
    else block_values<Times>(dst, from, n, words)
  }
}

/** The same of n (a multiple of 16) columns of a row. */
export function quantize_lanes(dst: usize, codes: usize, from: usize, n: i32, words: usize): void {
  if (codes != 0) {
    if (recipe == MODELOPT) lane_codes<Divided>(codes, from, n, words)
    else if (recipe == CUBLAS) lane_codes<Twice>(codes, from, n, words)
    else lane_codes<Times>(codes, from, n, words)
  }
  if (dst != 0) {
    if (recipe == MODELOPT) lane_values<Divided>(dst, from, n, words)
    else if (recipe == CUBLAS) lane_values<Twice>(dst, from, n, words)
    else lane_values<Times>(dst, from, n, words)
  }
}
