// NVFP4's recipes (src/numerics/nvfp4.ts): the E4M3 scale of a block from its largest magnitude, and what its elements are multiplied by; for one block with every
// case, and in vectors for many blocks whose numbers are ordinary. E4M3 is rounded with the addition of quantize-vector.ts.
import { word_of } from './bits'
import { encode, prepare_codes, SIGNED } from './codec'
import { LIMIT, ORDINARY, TINY_WORD } from './quantize-lanes'
import { STOCHASTIC } from './quantize-modes'
import { prepare_random, random_fraction } from './quantize-random'
import { exponent_mask } from './quantize-vector'
import { amax_without_nan, prepare, round_to_grid } from './quantizer'

/** Recipes, in the order of nvfp4Recipes; and as types, for loops compiled for one of them. */
export const TE = 0, TORCHAO = 1, ONE_LEVEL = 2, MODELOPT = 3, CUBLAS = 4
class Te {}
class Torchao {}
class OneLevel {}
class Modelopt {}
class Cublas {}

export const FLT_MAX = f32.MAX_VALUE
export const INFINITY_WORD: i32 = 0x7f800000
/** E8M0's width (8 bits) in the words of choices: scale bits are not used here, but must be a width. */
const NEAREST: i32 = 8 << 11

export let recipe: i32 = 0
/** The tensor's scale S or t, its decoding scale d, and factors of them. */
export let scale: f32 = 0
let decoding: f32 = 0
let sixth: f32 = 0
let reciprocal: f32 = 0
let stochastic: bool = false

/** Set what the functions below compute with, at the start of a kernel call. `tensor` points at the tensor's scale. */
export function start(recipe_: i32, tensor: usize, choices: i32, low: u32, high: u32, stream: u32, step: usize): void {
  recipe = recipe_
  scale = load<f32>(tensor)
  reciprocal = <f32>1 / scale
  decoding = recipe == TE || recipe == CUBLAS ? reciprocal : scale
  sixth = scale * (<f32>1 / <f32>6)
  stochastic = (choices & 3) == STOCHASTIC
  prepare(1, 0, 2, 6, choices)
  prepare_codes(4, SIGNED, 7, 7, recipe == TORCHAO || recipe == ONE_LEVEL ? 3 : 7, recipe == TORCHAO || recipe == ONE_LEVEL ? 3 : 7)
  if (stochastic) prepare_random(low, high, stream, step)
}

/** Do NaNs count in the maxima? */
// @ts-ignore: decorator
@inline export function nan_counts(recipe: i32): bool { return recipe == TORCHAO || recipe == ONE_LEVEL || recipe == MODELOPT }

/** The largest magnitude of n elements `step` bytes apart, as the recipe counts it; `amax` with NaN above Inf. */
// @ts-ignore: decorator
@inline export function settled(amax: i32, from: usize, n: i32, step: usize): i32 { return amax > INFINITY_WORD && !nan_counts(recipe) ? amax_without_nan(from, n, step) : amax }

// @ts-ignore: decorator
@inline export function minimum(a: f32, b: f32): f32 { return a != a ? b : min(a, b) }
// @ts-ignore: decorator
@inline function minimum_or_nan(a: f32, b: f32): f32 { return a > b ? b : a }
/** x >= 0 to E4M3, nearest even, saturating; NaN stays. */
// @ts-ignore: decorator
@inline function e4m3(x: f32): f32 { return round_to_grid(minimum_or_nan(x, 448), 3, -6, 448, 448, NEAREST, 0) }
// @ts-ignore: decorator
@inline function clamped(x: f32): f32 { return x < <f32>0.015625 ? 0.015625 : x > 448 ? 448 : x }

/** A block's E4M3 scale as a number, from its largest magnitude. */
export function block_scale(amax: f32): f32 {
  if (recipe == TE) return e4m3(minimum(amax * sixth, FLT_MAX))
  if (recipe == TORCHAO) return e4m3(clamped(amax / 6 / scale))
  if (recipe == ONE_LEVEL) return e4m3(clamped(amax / 6))
  if (recipe == CUBLAS) return e4m3(amax * scale / 6)
  const v = amax / (<f32>6 * scale)
  return e4m3(v == 0 ? 1 : v)
}

/** The byte of an E4M3 number that is not negative. */
export function scale_byte(s: f32): u8 {
  if (s != s) return 0x7f
  return <u8>(s < <f32>0.015625 ? <i32>(s * 512) : (word_of(s) >> 20) - (120 << 3))
}

/** x divided by the scales, s being its block's. */
// @ts-ignore: decorator
@inline function scaled(x: f32, s: f32): f32 {
  if (recipe == TE) return x * minimum(<f32>1 / (s * reciprocal), FLT_MAX)
  if (recipe == TORCHAO) return x * (reciprocal / s)
  if (recipe == ONE_LEVEL) return x * (<f32>1 / s)
  if (recipe == CUBLAS) return x * scale * minimum(<f32>1 / s, FLT_MAX)
  return x / (s * scale) + 0
}

const E2M1 = memory.data<f32>([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], 16)
/** Value of an E2M1 code. */
// @ts-ignore: decorator
@inline function e2m1_value(code: i32): f32 { return load<f32>(E2M1 + (<usize>code << 2)) }

/** One element in full: its code and its value, each stored where wanted. `at`: element index, for outputs and random bits; `s`: its block's scale. */
export function each(dst: usize, codes: usize, src: usize, at: i32, s: f32): void {
  const offset = <usize>at << 2
  const code = encode(scaled(load<f32>(src + offset), s), stochastic ? random_fraction(<u32>at) : 0)
  if (codes != 0) store<u8>(codes + <usize>at, <u8>code)
  if (dst != 0) store<f32>(dst + offset, e2m1_value(code) * (s * decoding))
}

/** The rows of words of many blocks, named as the others are (quantize-lanes.ts): the factor of elements (divisor, for MODELOPT) is first, then at these offsets s d, and the byte of s. */
export const PRODUCT: usize = LIMIT
const BYTE: usize = TINY_WORD

/** What is to be rounded to the block scale. `amax`: largest magnitudes, finite; `a`, `b`: the recipe's constants (constant_a, constant_b). */
// @ts-ignore: decorator
@inline function quotient<R>(amax: v128, a: v128, b: v128, one: v128): v128 {
  if (idof<R>() == idof<Te>()) return f32x4.pmin(f32x4.mul(amax, a), b)
  if (idof<R>() == idof<Cublas>()) return f32x4.div(f32x4.mul(amax, a), b)
  if (idof<R>() == idof<Modelopt>()) {
    const v = f32x4.div(amax, a)
    return v128.bitselect(one, v, f32x4.eq(v, f32x4.splat(0)))
  }
  const v = f32x4.div(amax, b), least = f32x4.splat(0.015625)
  if (idof<R>() == idof<Torchao>()) return f32x4.pmax(f32x4.div(v, a), least)
  return f32x4.pmax(v, least)
}
// @ts-ignore: decorator
@inline function constant_a<R>(): f32 { return idof<R>() == idof<Te>() ? sixth : idof<R>() == idof<Modelopt>() ? <f32>6 * scale : scale }
// @ts-ignore: decorator
@inline function constant_b<R>(): f32 { return idof<R>() == idof<Te>() ? FLT_MAX : 6 }

/** What elements are multiplied by (divided by, for MODELOPT) under these scales. `by`: reciprocal of the tensor's scale, or that scale for MODELOPT. */
// @ts-ignore: decorator
@inline function factor_of<R>(s: v128, by: v128, one: v128, top: v128): v128 {
  if (idof<R>() == idof<Te>()) return f32x4.pmin(f32x4.div(one, f32x4.mul(s, by)), top)
  if (idof<R>() == idof<Cublas>()) return f32x4.pmin(f32x4.div(one, s), top)
  if (idof<R>() == idof<Modelopt>()) return f32x4.mul(s, by)
  if (idof<R>() == idof<Torchao>()) return f32x4.div(by, s)
  return f32x4.div(one, s)
}

/** The words of n blocks from their maxima, eight at a time. Ordinary: finite maximum and factor, and a factor that is not zero. */
function words_of<R>(maxima: usize, words: usize, n: i32): void {
  const exponent = exponent_mask(), one = f32x4.splat(1), top = f32x4.splat(FLT_MAX), most = f32x4.splat(448), a = f32x4.splat(constant_a<R>()), b = f32x4.splat(constant_b<R>())
  const by = f32x4.splat(idof<R>() == idof<Modelopt>() ? scale : reciprocal), decode = f32x4.splat(decoding)
  const lowest = i32x4.splat(121 << 23), step = i32x4.splat((20 << 23) | 0x400000), infinity = i32x4.splat(INFINITY_WORD), unit = i32x4.splat(1), span = i32x4.splat(INFINITY_WORD - 1)
  for (const stop = maxima + (<usize>n << 2); maxima < stop; maxima += 32, words += 32) {
    const m0 = v128.load(maxima), m1 = v128.load(maxima, 16)
    const v0 = f32x4.pmin(quotient<R>(m0, a, b, one), most), v1 = f32x4.pmin(quotient<R>(m1, a, b, one), most)
    const e0 = i32x4.max_s(v128.and(v0, exponent), lowest), e1 = i32x4.max_s(v128.and(v1, exponent), lowest)
    const c0 = i32x4.add(e0, step), c1 = i32x4.add(e1, step)
    const sum0 = f32x4.add(v0, c0), sum1 = f32x4.add(v1, c1), s0 = f32x4.sub(sum0, c0), s1 = f32x4.sub(sum1, c1)
    const byte0 = i32x4.add(i32x4.sub(sum0, c0), i32x4.shr_u(i32x4.sub(e0, lowest), 20)), byte1 = i32x4.add(i32x4.sub(sum1, c1), i32x4.shr_u(i32x4.sub(e1, lowest), 20))
    const f0 = factor_of<R>(s0, by, one, top), f1 = factor_of<R>(s1, by, one, top)
    const p0 = f32x4.mul(s0, decode), p1 = f32x4.mul(s1, decode)
    const o0 = v128.and(i32x4.gt_s(infinity, m0), i32x4.lt_u(i32x4.sub(f0, unit), span)), o1 = v128.and(i32x4.gt_s(infinity, m1), i32x4.lt_u(i32x4.sub(f1, unit), span))
    v128.store(words, f1, 16)
    v128.store(words, f0)
    v128.store(words, p1, PRODUCT + 16)
    v128.store(words, p0, PRODUCT)
    v128.store(words, byte1, BYTE + 16)
    v128.store(words, byte0, BYTE)
    v128.store(words, o1, ORDINARY + 16)
    v128.store(words, o0, ORDINARY)
  }
}

/** The words of n blocks (up to the next multiple of eight) from their maxima. None is ordinary where bits are random. */
export function prepare_blocks(maxima: usize, words: usize, n: i32): void {
  if (stochastic) memory.fill(words + ORDINARY, 0, <usize>n << 2)
  else if (recipe == TE) words_of<Te>(maxima, words, n)
  else if (recipe == TORCHAO) words_of<Torchao>(maxima, words, n)
  else if (recipe == ONE_LEVEL) words_of<OneLevel>(maxima, words, n)
  else if (recipe == MODELOPT) words_of<Modelopt>(maxima, words, n)
  else words_of<Cublas>(maxima, words, n)
}

/** The scale bytes of n ordinary blocks, to `to`, which has room for a multiple of 16. */
export function write_bytes(to: usize, words: usize, n: i32): void {
  for (const stop = to + <usize>n; to < stop; to += 16, words += 64) {
    v128.store(to, i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(v128.load(words, BYTE), v128.load(words, BYTE + 16)), i16x8.narrow_i32x4_s(v128.load(words, BYTE + 32), v128.load(words, BYTE + 48))))
  }
}
