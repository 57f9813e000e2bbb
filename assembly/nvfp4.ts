// NVFP4: the recipes of src/numerics/nvfp4.ts, four blocks of 16 (or four columns) at once. E4M3 and E2M1 are rounded with the addition of
// quantize-vector.ts: q = 2^(e' - man) in units of which 1.5 * 2^23 q has its last place.
import { value_of, word_of } from './bits'
import { encode, prepare_codes, SIGNED } from './codec'
import { WIDEST, WORDS } from './quantize-lanes'
import { column_maxima } from './quantize-maxima'
import { STOCHASTIC } from './quantize-modes'
import { prepare_random, random_fraction } from './quantize-random'
import { amax_any, exponent_mask, horizontal_max, magnitude_mask } from './quantize-vector'
import { amax_without_nan, prepare, round_to_grid } from './quantizer'
import { scratch } from './scratch'

/** Recipes, in the order of nvfp4Recipes. */
const TE = 0, TORCHAO = 1, ONE_LEVEL = 2, MODELOPT = 3, CUBLAS = 4
const FLT_MAX = f32.MAX_VALUE
const INFINITY_WORD: i32 = 0x7f800000
const BLOCK: i32 = 16
/** E8M0's width (8 bits) in the words of choices: scale bits are not used here, but must be a width. */
const NEAREST: i32 = 8 << 11

let recipe: i32 = 0
/** The tensor's scale S or t, its decoding scale d, and factors of them. */
let scale: f32 = 0
let decoding: f32 = 0
let sixth: f32 = 0
let reciprocal: f32 = 0
let choices: i32 = 0

// @ts-ignore: decorator
@inline function minimum(a: f32, b: f32): f32 { return a != a ? b : min(a, b) }

/** Do NaNs count in the maxima? */
// @ts-ignore: decorator
@inline function nan_counts(recipe: i32): bool { return recipe == TORCHAO || recipe == ONE_LEVEL || recipe == MODELOPT }

function start(recipe_: i32, tensor: usize, choices_: i32, low: u32, high: u32, stream: u32, step: usize): void {
  recipe = recipe_
  scale = load<f32>(tensor)
  reciprocal = <f32>1 / scale
  decoding = recipe == TE || recipe == CUBLAS ? reciprocal : scale
  sixth = scale * (<f32>1 / <f32>6)
  choices = choices_
  prepare(1, 0, 2, 6, choices)
  prepare_codes(4, SIGNED, 7, 7, recipe == TORCHAO || recipe == ONE_LEVEL ? 3 : 7, recipe == TORCHAO || recipe == ONE_LEVEL ? 3 : 7)
  if ((choices & 3) == STOCHASTIC) prepare_random(low, high, stream, step)
}

/** x >= 0 to E4M3, nearest even, saturating; NaN stays. */
// @ts-ignore: decorator
@inline function e4m3(x: f32): f32 { return round_to_grid(minimum_or_nan(x, 448), 3, -6, 448, 448, NEAREST, 0) }
// @ts-ignore: decorator
@inline function minimum_or_nan(a: f32, b: f32): f32 { return a > b ? b : a }
// @ts-ignore: decorator
@inline function clamped(x: f32): f32 { return x < <f32>0.015625 ? 0.015625 : x > 448 ? 448 : x }

/** A block's E4M3 scale as a number, from its largest magnitude. */
function block_scale(amax: f32): f32 {
  if (recipe == TE) return e4m3(minimum(amax * sixth, FLT_MAX))
  if (recipe == TORCHAO) return e4m3(clamped(amax / 6 / scale))
  if (recipe == ONE_LEVEL) return e4m3(clamped(amax / 6))
  if (recipe == CUBLAS) return e4m3(amax * scale / 6)
  const v = amax / (<f32>6 * scale)
  return e4m3(v == 0 ? 1 : v)
}

/** The byte of an E4M3 number that is not negative. */
function scale_byte(s: f32): u8 {
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

/** One element in full: its code, stored where wanted, and its value. `at`: element index, for outputs and random bits. */
function each(dst: usize, codes: usize, src: usize, at: i32, s: f32): void {
  const offset = <usize>at << 2
  const code = encode(scaled(load<f32>(src + offset), s), (choices & 3) == STOCHASTIC ? random_fraction(<u32>at) : 0)
  if (codes != 0) store<u8>(codes + <usize>at, <u8>code)
  if (dst != 0) store<f32>(dst + offset, e2m1_value(code) * (s * decoding))
}

/** E4M3 of four numbers that are not negative and not NaN. */
// @ts-ignore: decorator
@inline function e4m3_vector(x: v128): v128 {
  const top = f32x4.splat(448)
  x = f32x4.pmin(x, top)
  const c = i32x4.add(i32x4.max_s(v128.and(x, exponent_mask()), i32x4.splat(121 << 23)), i32x4.splat((20 << 23) | 0x400000))
  return f32x4.sub(f32x4.add(x, c), c)
}

/** E4M3 scales of four blocks with finite maxima. */
// @ts-ignore: decorator
@inline function scales_vector(amax: v128): v128 {
  if (recipe == TE) return e4m3_vector(f32x4.pmin(f32x4.mul(amax, f32x4.splat(sixth)), f32x4.splat(FLT_MAX)))
  if (recipe == CUBLAS) return e4m3_vector(f32x4.div(f32x4.mul(amax, f32x4.splat(scale)), f32x4.splat(6)))
  if (recipe == MODELOPT) {
    const v = f32x4.div(amax, f32x4.splat(<f32>6 * scale))
    return e4m3_vector(v128.bitselect(f32x4.splat(1), v, f32x4.eq(v, f32x4.splat(0))))
  }
  let v = f32x4.div(amax, f32x4.splat(6))
  if (recipe == TORCHAO) v = f32x4.div(v, f32x4.splat(scale))
  return e4m3_vector(f32x4.pmax(v, f32x4.splat(0.015625)))
}

/** What elements are multiplied by (divided by, for MODELOPT) under these scales. */
// @ts-ignore: decorator
@inline function factors_vector(s: v128): v128 {
  const one = f32x4.splat(1), top = f32x4.splat(FLT_MAX)
  if (recipe == TE) return f32x4.pmin(f32x4.div(one, f32x4.mul(s, f32x4.splat(reciprocal))), top)
  if (recipe == CUBLAS) return f32x4.pmin(f32x4.div(one, s), top)
  if (recipe == MODELOPT) return f32x4.mul(s, f32x4.splat(scale))
  return f32x4.div(recipe == TORCHAO ? f32x4.splat(reciprocal) : one, s)
}

/** What the fast loops are compiled for: a plain product by the factor, values alone or codes too; anything else asks the globals. */
const PLAIN: i32 = 0, GENERAL: i32 = 1
const VALUES: i32 = 0, ANY: i32 = 1

const CONSTANTS = memory.data<u32>([
  127 << 23, 127 << 23, 127 << 23, 127 << 23,
  (22 << 23) | 0x400000, (22 << 23) | 0x400000, (22 << 23) | 0x400000, (22 << 23) | 0x400000,
  0x40c00000, 0x40c00000, 0x40c00000, 0x40c00000, // 6
], 16)

/** Constants that loops keep: exponent field of 2^emin, c - e' (quantize-vector.ts), largest magnitude. */
// @ts-ignore: decorator
@inline function lowest_of(): v128 { return v128.load(CONSTANTS) }
// @ts-ignore: decorator
@inline function step_of(): v128 { return v128.load(CONSTANTS, 16) }
// @ts-ignore: decorator
@inline function six_of(): v128 { return v128.load(CONSTANTS, 32) }

/** Four elements divided by their scales. `how`: PLAIN or GENERAL. */
// @ts-ignore: decorator
@inline function scaled_vector(x: v128, factor: v128, how: i32): v128 {
  if (how == GENERAL && recipe == MODELOPT) return f32x4.add(f32x4.div(x, factor), f32x4.splat(0))
  return f32x4.mul(how == GENERAL && recipe == CUBLAS ? f32x4.mul(x, f32x4.splat(scale)) : x, factor)
}

/** Values of four elements t, already divided by their scales; `value`: s d of their blocks. */
// @ts-ignore: decorator
@inline function values_vector(t: v128, value: v128, magnitude: v128, exponent: v128, lowest: v128, step: v128, six: v128): v128 {
  const a = f32x4.pmin(v128.and(t, magnitude), six)
  const c = i32x4.add(i32x4.max_s(v128.and(a, exponent), lowest), step)
  return f32x4.mul(v128.or(f32x4.sub(f32x4.add(a, c), c), v128.andnot(t, magnitude)), value)
}

/** Codes of four elements t to four bytes. */
// @ts-ignore: decorator
@inline function store_codes(codes: usize, t: v128, magnitude: v128, exponent: v128, lowest: v128, step: v128, six: v128): void {
  const a = f32x4.pmin(v128.and(t, magnitude), six), e = i32x4.max_s(v128.and(a, exponent), lowest), c = i32x4.add(e, step)
  const code = v128.or(i32x4.add(i32x4.sub(f32x4.add(a, c), c), i32x4.shr_u(i32x4.sub(e, lowest), 22)), i32x4.shr_u(v128.andnot(t, magnitude), 28))
  v128.store32_lane(codes, i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(code, code), i16x8.narrow_i32x4_s(code, code)), 0)
}

/** Eight elements; each output where it is wanted. `out`: VALUES or ANY. */
// @ts-ignore: decorator
@inline function quantize_eight(dst: usize, codes: usize, x0: v128, x1: v128, factor0: v128, factor1: v128, value0: v128, value1: v128, how: i32, out: i32, magnitude: v128, exponent: v128, lowest: v128, step: v128, six: v128): void {
  const t0 = scaled_vector(x0, factor0, how), t1 = scaled_vector(x1, factor1, how)
  if (out == VALUES || dst != 0) {
    const y0 = values_vector(t0, value0, magnitude, exponent, lowest, step, six), y1 = values_vector(t1, value1, magnitude, exponent, lowest, step, six)
    v128.store(dst, y0)
    v128.store(dst, y1, 16)
  }
  if (out == ANY && codes != 0) {
    store_codes(codes, t0, magnitude, exponent, lowest, step, six)
    store_codes(codes + 4, t1, magnitude, exponent, lowest, step, six)
  }
}

/** May four blocks take the vector path? Their maxima (words) and factors are finite, and no factor is zero. */
// @ts-ignore: decorator
@inline function ordinary(amax: v128, factor: v128): bool {
  const infinity = i32x4.splat(INFINITY_WORD)
  return (choices & 3) != STOCHASTIC && v128.all_true<i32>(v128.and(i32x4.lt_s(amax, infinity), i32x4.lt_u(i32x4.sub(factor, i32x4.splat(1)), i32x4.splat(INFINITY_WORD - 1))))
}

/** The largest magnitude of n elements `step` bytes apart, as the recipe counts it. */
// @ts-ignore: decorator
@inline function settled(amax: i32, from: usize, n: i32, step: usize): i32 { return amax > INFINITY_WORD && !nan_counts(recipe) ? amax_without_nan(from, n, step) : amax }

// @ts-ignore: decorator
@inline function block_max(from: usize, m: v128): v128 {
  return horizontal_max(i32x4.max_s(i32x4.max_s(v128.and(v128.load(from), m), v128.and(v128.load(from, 16), m)), i32x4.max_s(v128.and(v128.load(from, 32), m), v128.and(v128.load(from, 48), m))))
}

// @ts-ignore: decorator
@inline function quantize_block(dst: usize, codes: usize, from: usize, factor: v128, value: v128, how: i32, out: i32, magnitude: v128, exponent: v128, lowest: v128, step: v128, six: v128): void {
  quantize_eight(dst, codes, v128.load(from), v128.load(from, 16), factor, factor, value, value, how, out, magnitude, exponent, lowest, step, six)
  quantize_eight(dst == 0 ? 0 : dst + 32, codes == 0 ? 0 : codes + 8, v128.load(from, 32), v128.load(from, 48), factor, factor, value, value, how, out, magnitude, exponent, lowest, step, six)
}

/** A lane of four, in all four. */
// @ts-ignore: decorator
@inline function lane(x: v128, i: i32): v128 {
  if (i == 0) return v128.shuffle<i32>(x, x, 0, 0, 0, 0)
  if (i == 1) return v128.shuffle<i32>(x, x, 1, 1, 1, 1)
  if (i == 2) return v128.shuffle<i32>(x, x, 2, 2, 2, 2)
  return v128.shuffle<i32>(x, x, 3, 3, 3, 3)
}

/** Four whole blocks on end, 64 elements. False, and nothing done, if one of them is not ordinary. */
// @ts-ignore: decorator
@inline function four_blocks(dst: usize, codes: usize, scales: usize, from: usize, how: i32, out: i32, magnitude: v128, exponent: v128, lowest: v128, step: v128, six: v128): bool {
  const m0 = block_max(from, magnitude), m1 = block_max(from + 64, magnitude), m2 = block_max(from + 128, magnitude), m3 = block_max(from + 192, magnitude)
  const amax = v128.shuffle<i32>(v128.shuffle<i32>(m0, m1, 0, 4, 0, 4), v128.shuffle<i32>(m2, m3, 0, 4, 0, 4), 0, 1, 4, 5)
  const s = scales_vector(amax), factor = factors_vector(s)
  if (!ordinary(amax, factor)) return false
  const value = f32x4.mul(s, f32x4.splat(decoding))
  if (out == ANY && scales != 0) {
    v128.store(scratch, s)
    for (let i: usize = 0; i < 4; i++) store<u8>(scales + i, scale_byte(load<f32>(scratch + (i << 2))))
  }
  quantize_block(dst, codes, from, lane(factor, 0), lane(value, 0), how, out, magnitude, exponent, lowest, step, six)
  quantize_block(dst == 0 ? 0 : dst + 64, codes == 0 ? 0 : codes + 16, from + 64, lane(factor, 1), lane(value, 1), how, out, magnitude, exponent, lowest, step, six)
  quantize_block(dst == 0 ? 0 : dst + 128, codes == 0 ? 0 : codes + 32, from + 128, lane(factor, 2), lane(value, 2), how, out, magnitude, exponent, lowest, step, six)
  quantize_block(dst == 0 ? 0 : dst + 192, codes == 0 ? 0 : codes + 48, from + 192, lane(factor, 3), lane(value, 3), how, out, magnitude, exponent, lowest, step, six)
  return true
}

/** Groups of four blocks from `item` on while they are ordinary; the first item not done. */
// @ts-ignore: decorator
@inline function run_of_blocks(dst: usize, codes: usize, scales: usize, src: usize, item: i32, end: i32, how: i32, out: i32): i32 {
  const magnitude = magnitude_mask(), exponent = exponent_mask(), lowest = lowest_of(), step = step_of(), six = six_of()
  for (; item + 4 <= end; item += 4) {
    const at = <usize>item << 4
    if (!four_blocks(dst == 0 ? 0 : dst + (at << 2), codes == 0 ? 0 : codes + at, scales == 0 ? 0 : scales + <usize>item, src + (at << 2), how, out, magnitude, exponent, lowest, step, six)) break
  }
  return item
}

function run(dst: usize, codes: usize, scales: usize, src: usize, item: i32, end: i32): i32 {
  if (recipe == MODELOPT || recipe == CUBLAS) return run_of_blocks(dst, codes, scales, src, item, end, GENERAL, ANY)
  if (codes == 0 && scales == 0) return run_of_blocks(dst, 0, 0, src, item, end, PLAIN, VALUES)
  return run_of_blocks(dst, codes, scales, src, item, end, PLAIN, ANY)
}

/**
 * src [rows, cols] in blocks of 16 along the columns' axis. dst: values, codes: E2M1 codes (a byte each), scales: E4M3 bytes, each 0 if not wanted.
 * `tensor` points at the tensor's scale (nvfp4_tensor_scale). Items: blocks, row by row.
 */
export function nvfp4_rows(dst: usize, codes: usize, scales: usize, src: usize, cols: i32, tensor: usize, recipe: i32, choices: i32, low: u32, high: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  start(recipe, tensor, choices, low, high, stream, step)
  const perRow = (cols + BLOCK - 1) / BLOCK, whole = cols % BLOCK == 0
  for (let item = begin; item < end; item++) {
    if (whole) {
      item = run(dst, codes, scales, src, item, end)
      if (item == end) break
    }
    const row = item / perRow, first = (item - row * perRow) * BLOCK, at = row * cols + first
    const n = min(BLOCK, cols - first), from = src + (<usize>at << 2)
    const s = block_scale(value_of(settled(amax_any(from, n), from, n, 4)))
    if (scales != 0) store<u8>(scales + <usize>item, scale_byte(s))
    for (let i = 0; i < n; i++) each(dst, codes, src, at + i, s)
  }
}

/** `count` (a multiple of 8) elements of a row, a block to each column. */
// @ts-ignore: decorator
@inline function sweep(dst: usize, codes: usize, from: usize, count: i32, products: usize, factors: usize, how: i32, out: i32): void {
  const magnitude = magnitude_mask(), exponent = exponent_mask(), lowest = lowest_of(), step = step_of(), six = six_of()
  for (let k: usize = 0; k < <usize>count; k += 8) {
    const at = k << 2, f = factors + at, p = products + at
    quantize_eight(dst == 0 ? 0 : dst + at, codes == 0 ? 0 : codes + k, v128.load(from + at), v128.load(from + at, 16), v128.load(f), v128.load(f, 16), v128.load(p), v128.load(p, 16), how, out, magnitude, exponent, lowest, step, six)
  }
}

/**
 * The same for src [outer, rows, cols] with blocks down the rows; scales [outer, blocks, cols]. `panel` <= 1024: columns per item.
 * Items: (outer, block of rows, panel of columns).
 */
export function nvfp4_columns(dst: usize, codes: usize, scales: usize, src: usize, rows: i32, cols: i32, panel: i32, tensor: usize, recipe: i32, choices: i32, low: u32, high: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  start(recipe, tensor, choices, low, high, stream, step)
  const blocks = (rows + BLOCK - 1) / BLOCK, panels = (cols + panel - 1) / panel, rowBytes = <usize>cols << 2
  const maxima = scratch, values = scratch + WORDS, factors = values + (WIDEST << 2), products = factors + (WIDEST << 2), plain = recipe != MODELOPT && recipe != CUBLAS && codes == 0
  for (let item = begin; item < end; item++) {
    const slab = item / panels, outer = slab / blocks
    const column = (item - slab * panels) * panel, row = (slab - outer * blocks) * BLOCK
    const n = min(BLOCK, rows - row), w = min(panel, cols - column), at = (outer * rows + row) * cols + column, from = src + (<usize>at << 2)
    const nan = column_maxima(maxima, from, n, rowBytes, w)
    let c = 0
    for (; c + 4 <= w && !nan; c += 4) {
      const offset = <usize>c << 2, amax = v128.load(maxima + offset), s = scales_vector(amax), factor = factors_vector(s)
      if (!ordinary(amax, factor)) break
      v128.store(values + offset, s)
      v128.store(factors + offset, factor)
      v128.store(products + offset, f32x4.mul(s, f32x4.splat(decoding)))
    }
    c &= ~7 // the sweep takes eight columns
    for (let k = 0; k < w; k++) {
      if (k >= c) store<f32>(values + (<usize>k << 2), block_scale(value_of(settled(load<i32>(maxima + (<usize>k << 2)), from + (<usize>k << 2), n, rowBytes))))
      if (scales != 0) store<u8>(scales + <usize>(slab * cols + column + k), scale_byte(load<f32>(values + (<usize>k << 2))))
    }
    for (let r = 0; r < n; r++) {
      const line = at + r * cols
      if (plain) sweep(dst + (<usize>line << 2), 0, src + (<usize>line << 2), c, products, factors, PLAIN, VALUES)
      else sweep(dst == 0 ? 0 : dst + (<usize>line << 2), codes == 0 ? 0 : codes + <usize>line, src + (<usize>line << 2), c, products, factors, GENERAL, ANY)
      for (let k = c; k < w; k++) each(dst, codes, src, line + k, load<f32>(values + (<usize>k << 2)))
    }
  }
}

/** The same for src [outer, rows, cols] in tiles of 16 x 16; scales [outer, row blocks, column blocks]. Items: (outer, block of rows): bands of tiles. */
export function nvfp4_tiles(dst: usize, codes: usize, scales: usize, src: usize, rows: i32, cols: i32, tensor: usize, recipe: i32, choices: i32, low: u32, high: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  start(recipe, tensor, choices, low, high, stream, step)
  const bands = (rows + BLOCK - 1) / BLOCK, perBand = (cols + BLOCK - 1) / BLOCK
  for (let item = begin; item < end; item++) {
    const outer = item / bands, row = (item - outer * bands) * BLOCK, height = min(BLOCK, rows - row)
    for (let first = 0; first < cols; first += BLOCK) {
      const width = min(BLOCK, cols - first), corner = (outer * rows + row) * cols + first
      let amax = 0, nan = false
      for (let r = 0; r < height; r++) {
        const from = src + (<usize>(corner + r * cols) << 2), any = amax_any(from, width)
        if (any > INFINITY_WORD) nan = true
        amax = max(amax, settled(any, from, width, 4))
      }
      const s = block_scale(value_of(amax)), factor = factors_vector(f32x4.splat(s)), vector = width == BLOCK && !nan && ordinary(i32x4.splat(amax), factor)
      if (scales != 0) store<u8>(scales + <usize>(item * perBand + first / BLOCK), scale_byte(s))
      const value = f32x4.splat(s * decoding)
      for (let r = 0; r < height; r++) {
        const at = corner + r * cols
        if (vector) quantize_block(dst == 0 ? 0 : dst + (<usize>at << 2), codes == 0 ? 0 : codes + <usize>at, src + (<usize>at << 2), factor, value, GENERAL, ANY, magnitude_mask(), exponent_mask(), lowest_of(), step_of(), six_of())
        else for (let i = 0; i < width; i++) each(dst, codes, src, at + i, s)
      }
    }
  }
}

/** partials[item] = largest magnitude, a word, of CHUNK elements; NaN counts as the recipe has it. Items: chunks of 16384. */
export function nvfp4_amax(partials: usize, src: usize, n: i32, recipe: i32, begin: i32, end: i32): void {
  for (let item = begin; item < end; item++) {
    const from = src + (<usize>item << 16), count = min(16384, n - (item << 14)), amax = amax_any(from, count)
    store<i32>(partials + (<usize>item << 2), amax > INFINITY_WORD && !nan_counts(recipe) ? amax_without_nan(from, count, 4) : amax)
  }
}

/** dst[0] = the tensor's scale S or t from `count` partial maxima. One item. */
export function nvfp4_tensor_scale(dst: usize, partials: usize, count: i32, recipe: i32, begin: i32, end: i32): void {
  if (begin >= end) return
  let m = 0
  for (let i = 0; i < count; i++) m = max(m, load<i32>(partials + (<usize>i << 2)))
  const amax = m > INFINITY_WORD ? value_of(0x7fc00000) : value_of(m)
  if (recipe == ONE_LEVEL) store<f32>(dst, 1)
  else if (recipe == TORCHAO || recipe == MODELOPT) store<f32>(dst, amax / 2688)
  else {
    const s = minimum(<f32>2688 / amax, FLT_MAX)
    store<f32>(dst, amax == 0 || s == 0 ? 1 : s)
  }
}

/** dst = x times (d of tensor scale a times d of tensor scale b): a product of two NVFP4 tensors from its sum over codes and block scales. Items: elements. */
export function nvfp4_rescale(dst: usize, x: usize, a: usize, b: usize, recipe: i32, begin: i32, end: i32): void {
  const direct = recipe != TE && recipe != CUBLAS, da = direct ? load<f32>(a) : 1 / load<f32>(a), db = direct ? load<f32>(b) : 1 / load<f32>(b), factor = da * db
  for (let i = begin; i < end; i++) store<f32>(dst + (<usize>i << 2), load<f32>(x + (<usize>i << 2)) * factor)
}

/** dst = p (s d) of E2M1 codes [rows, cols] and E4M3 bytes, `block` columns to a scale; `tensor` points at S or t. Items: blocks, row by row. */
export function nvfp4_dequantize_rows(dst: usize, codes: usize, scales: usize, cols: i32, tensor: usize, recipe: i32, begin: i32, end: i32): void {
  start(recipe, tensor, NEAREST, 0, 0, 0, 0)
  const perRow = (cols + BLOCK - 1) / BLOCK
  for (let item = begin; item < end; item++) {
    const row = item / perRow, first = (item - row * perRow) * BLOCK, at = <usize>(row * cols + first), n = <usize>min(BLOCK, cols - first)
    const byte = <i32>load<u8>(scales + <usize>item) & 0x7f, s = byte == 0x7f ? f32.NaN : byte < 8 ? <f32>byte / 512 : value_of((byte + (120 << 3)) << 20)
    for (let i: usize = 0; i < n; i++) store<f32>(dst + ((at + i) << 2), e2m1_value(load<u8>(codes + at + i)) * (s * decoding))
  }
}
