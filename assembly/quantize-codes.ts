// Blocks to element codes (a byte each) and E8M0 scales. Ordinary blocks take the vector path: maxima and scales of many blocks first, then the codes of all of
// them (code-lanes.ts). The others go element by element.
import { code_of, nanPositive, prepare_codes } from './codec'
import { codes_of_blocks, codes_of_lanes } from './code-lanes'
import { all_ordinary, FREE, ordinary_run, prepare_words, TINY_WORD, WIDEST, WORDS } from './quantize-lanes'
import { block_maxima, column_maxima } from './quantize-maxima'
import { is_torch_log2, rounding_of, STOCHASTIC, TOWARD_ZERO } from './quantize-modes'
import { prepare_random, random_fraction } from './quantize-random'
import { amax_any, amax_word, tiny_word } from './quantize-vector'
import { emin, is_flushed, is_ordinary, lowest_word, mode, prepare, scale_byte, scaled_element } from './quantizer'
import { scratch } from './scratch'

/** Elements whose blocks' maxima and scales are found together: few enough that they stay in the first-level cache. */
const TOGETHER: i32 = 2048

/** Can the vector path follow the choices? Not random bits, and not truncation by torch's log2. */
// @ts-ignore: decorator
@inline function is_vector(): bool { return rounding_of(mode) != STOCHASTIC && (rounding_of(mode) != TOWARD_ZERO || !is_torch_log2(mode)) }

/** The scale bytes of w ordinary blocks with these words and maxima. Sixteen at a time; up to 15 more bytes are written after them in `to`. */
function write_scales(to: usize, maxima: usize, words: usize, w: i32): void {
  const bias = i32x4.splat(emin), zero = i32x4.splat(scale_byte(0, 0)), none = i32x4.splat(0)
  for (const stop = to + <usize>w; to < stop; to += 16, maxima += 64, words += 64) {
    const m0 = v128.load(maxima), m1 = v128.load(maxima, 16), m2 = v128.load(maxima, 32), m3 = v128.load(maxima, 48)
    const b0 = i32x4.sub(i32x4.shr_s(v128.load(words), 23), bias), b1 = i32x4.sub(i32x4.shr_s(v128.load(words, 16), 23), bias)
    const b2 = i32x4.sub(i32x4.shr_s(v128.load(words, 32), 23), bias), b3 = i32x4.sub(i32x4.shr_s(v128.load(words, 48), 23), bias)
    const s0 = v128.bitselect(zero, b0, i32x4.eq(m0, none)), s1 = v128.bitselect(zero, b1, i32x4.eq(m1, none)), s2 = v128.bitselect(zero, b2, i32x4.eq(m2, none)), s3 = v128.bitselect(zero, b3, i32x4.eq(m3, none))
    v128.store(to, i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(s0, s1), i16x8.narrow_i32x4_s(s2, s3)))
  }
}

/** The code of one element of a block with scale byte `byte`. `index`: its place in the tensor, for stochastic rounding. */
function code_each(x: f32, byte: i32, flushed: bool, index: u32): i32 {
  if (byte == 255 || x != x) return nanPositive
  return code_of(scaled_element(flushed ? x * 0 : x, byte, rounding_of(mode) == STOCHASTIC ? random_fraction(index) : 0))
}

/** n elements of the ordinary block whose words are the first ones. The last n mod 16 go through scratch. */
function code_ordinary(to: usize, from: usize, n: i32): void {
  const words = scratch + WORDS, copy = scratch + FREE, done = <usize>(n & ~15), rest = <usize>(n & 15)
  codes_of_blocks(to, from, 1, <i32>done, words)
  if (rest == 0) return
  memory.copy(copy, from + (done << 2), rest << 2)
  codes_of_blocks(copy + 64, copy, 1, 16, words)
  memory.copy(to + done, copy + 64, rest)
}

/** One block of `rows` x n elements, rows `cols` elements apart, the first being element `index` of the tensor. `vector`: it may be ordinary. */
function code_block(codes: usize, scale: usize, src: usize, index: u32, rows: i32, cols: i32, n: i32, vector: bool): void {
  let any = 0, amax = 0
  for (let r = 0; r < rows; r++) {
    const from = src + (<usize>(index + <u32>(r * cols)) << 2), m = amax_any(from, n)
    any = max(any, m)
    amax = max(amax, m > 0x7f800000 ? amax_word(from, n) : m)
  }
  const byte = scale_byte(amax, 0), flushed = is_flushed(amax, 0), m = amax == 0 ? 0x3f800000 : amax // a block of zeros may take any scale
  store<u8>(scale, <u8>byte)
  const ordinary = vector && any <= 0x7f800000 && is_ordinary(m)
  if (ordinary) {
    const words = scratch + WORDS, lowest = lowest_word(m)
    store<i32>(words, lowest)
    store<i32>(words, tiny_word(lowest), TINY_WORD)
  }
  for (let r = 0; r < rows; r++, index += cols) {
    const from = src + (<usize>index << 2), to = codes + <usize>index
    if (ordinary) code_ordinary(to, from, n)
    else for (let i = 0; i < n; i++) store<u8>(to + <usize>i, <u8>code_each(load<f32>(from + (<usize>i << 2)), byte, flushed, index + <u32>i))
  }
}

/**
 * codes[i] = element code of src[i] [rows, cols], a byte each; scales[item] = E8M0 byte of each block of `block` along the columns' axis. The words from
 * `bits` on describe the codes (prepare_codes); seed, stream and step serve stochastic rounding. Items: blocks, row by row.
 */
export function quantize_codes_rows(codes: usize, scales: usize, src: usize, cols: i32, block: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, bits: i32, kind: i32, maxCode: i32, nan: i32, low: u32, high: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  prepare(man, emin, emax, max, choices)
  prepare_codes(bits, kind, maxCode, maxCode, nan, nan)
  if (rounding_of(mode) == STOCHASTIC) prepare_random(low, high, stream, step)
  const vector = is_vector(), perRow = (cols + block - 1) / block, whole = cols / block
  const quick = vector && (block & 15) == 0 && (perRow == whole || whole > 3)
  const maxima = scratch, words = scratch + WORDS, bytes = scratch + FREE
  for (let item = begin; item < end;) {
    const row = item / perRow, place = item - row * perRow, index = <usize>((<u32>row * <u32>cols) + <u32>(place * block)), scale = scales + <usize>item
    // Whole blocks that follow each other in memory.
    const count = quick ? min(TOGETHER / block || 1, perRow == whole ? end - item : min(end - item, whole - place)) : 0
    if (count == 0) {
      code_block(codes, scale, src, <u32>index, 1, 0, min(block, cols - place * block), vector)
      item++
      continue
    }
    block_maxima(maxima, src + (index << 2), count, block)
    prepare_words(maxima, words, count)
    write_scales(bytes, maxima, words, count)
    for (let k = 0; k < count; k++) {
      const run = ordinary_run(words + (<usize>k << 2), count - k, 1), at = index + <usize>(k * block)
      codes_of_blocks(codes + at, src + (at << 2), run, block, words + (<usize>k << 2))
      memory.copy(scale + <usize>k, bytes + <usize>k, <usize>run)
      k += run
      if (k < count) code_block(codes, scale + <usize>k, src, <u32>index + <u32>(k * block), 1, 0, block, false)
    }
    item += count
  }
}

/** The same for src [outer, rows, cols] in tiles of `block` x `block`; scales [outer, row blocks, column blocks]. Items: (outer, block of rows): bands of tiles. */
export function quantize_codes_tiles(codes: usize, scales: usize, src: usize, rows: i32, cols: i32, block: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, bits: i32, kind: i32, maxCode: i32, nan: i32, low: u32, high: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  prepare(man, emin, emax, max, choices)
  prepare_codes(bits, kind, maxCode, maxCode, nan, nan)
  if (rounding_of(mode) == STOCHASTIC) prepare_random(low, high, stream, step)
  const bands = (rows + block - 1) / block, perBand = (cols + block - 1) / block, vector = is_vector()
  for (let item = begin; item < end; item++) {
    const outer = item / bands, row = (item - outer * bands) * block, height = min(block, rows - row)
    for (let tile = 0; tile < perBand; tile++) {
      const first = tile * block
      code_block(codes, scales + <usize>(item * perBand + tile), src, <u32>(outer * rows + row) * <u32>cols + <u32>first, height, cols, min(block, cols - first), vector)
    }
  }
}

/** n rows of `count` (a multiple of 16) ordinary columns. */
function code_columns(to: usize, from: usize, n: i32, cols: i32, count: i32, words: usize): void {
  for (; n > 0; n--, to += <usize>cols, from += <usize>cols << 2) codes_of_lanes(to, from, count, words)
}

/** Fewer than 16 ordinary columns, row by row through scratch. */
function code_narrow(to: usize, from: usize, n: i32, cols: i32, count: i32, words: usize): void {
  const copy = scratch + FREE + WIDEST
  for (; n > 0; n--, to += <usize>cols, from += <usize>cols << 2) {
    memory.copy(copy, from, <usize>count << 2)
    codes_of_lanes(copy + 64, copy, 16, words)
    memory.copy(to, copy + 64, <usize>count)
  }
}

/** One column whatever it is, the first of its n elements being element `index` of the tensor. */
function code_column(codes: usize, scale: usize, src: usize, index: u32, n: i32, cols: i32, amax: i32): void {
  const byte = scale_byte(amax, 0), flushed = is_flushed(amax, 0)
  store<u8>(scale, <u8>byte)
  for (; n > 0; n--, index += cols) store<u8>(codes + <usize>index, <u8>code_each(load<f32>(src + (<usize>index << 2)), byte, flushed, index))
}

/** The same for src [outer, rows, cols] with blocks down the rows; scales [outer, blocks, cols]. Items: (outer, block of rows, panel of columns). */
export function quantize_codes_columns(codes: usize, scales: usize, src: usize, rows: i32, cols: i32, block: i32, panel: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, bits: i32, kind: i32, maxCode: i32, nan: i32, low: u32, high: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  prepare(man, emin, emax, max, choices)
  prepare_codes(bits, kind, maxCode, maxCode, nan, nan)
  if (rounding_of(mode) == STOCHASTIC) prepare_random(low, high, stream, step)
  const blocks = (rows + block - 1) / block, panels = (cols + panel - 1) / panel
  const maxima = scratch, words = scratch + WORDS, bytes = scratch + FREE, vector = is_vector()
  for (let item = begin; item < end; item++) {
    const slab = item / panels, outer = slab / blocks
    const column = (item - slab * panels) * panel, row = (slab - outer * blocks) * block
    const n = min(block, rows - row), w = min(panel, cols - column), index = <u32>(outer * rows + row) * <u32>cols + <u32>column, from = src + (<usize>index << 2), to = codes + <usize>index
    const nan = column_maxima(maxima, from, n, <usize>cols << 2, w), scale = scales + <usize>(slab * cols + column)
    prepare_words(maxima, words, w)
    write_scales(bytes, maxima, words, w)
    for (let c = 0; c < w;) {
      const run = vector && !nan ? ordinary_run(words + (<usize>c << 2), w - c, 16) : 0
      if (run > 0) {
        code_columns(to + <usize>c, from + (<usize>c << 2), n, cols, run, words + (<usize>c << 2))
        memory.copy(scale + <usize>c, bytes + <usize>c, <usize>run)
        c += run
        continue
      }
      const count = min(16, w - c), last = vector && !nan && count < 16 && all_ordinary(words + (<usize>c << 2), count)
      if (last) {
        code_narrow(to + <usize>c, from + (<usize>c << 2), n, cols, count, words + (<usize>c << 2))
        memory.copy(scale + <usize>c, bytes + <usize>c, <usize>count)
        c += count
      } else for (const stop = c + count; c < stop; c++) code_column(codes, scale + <usize>c, src, index + <u32>c, n, cols, load<i32>(maxima + (<usize>c << 2)))
    }
  }
}
