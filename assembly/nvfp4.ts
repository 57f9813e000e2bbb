// NVFP4: E2M1 elements in blocks of 16 (or tiles of 16 x 16) with E4M3 scales, under the recipes of src/numerics/nvfp4.ts. Maxima and scales of many blocks come first
// (nvfp4-recipes.ts), then their elements (nvfp4-sweeps.ts); blocks with Inf, NaN or a scale out of range go element by element.
import { value_of } from './bits'
import { block_scale, CUBLAS, each, FLT_MAX, INFINITY_WORD, minimum, MODELOPT, nan_counts, ONE_LEVEL, prepare_blocks, scale_byte, settled, start, TE, TORCHAO, write_bytes } from './nvfp4-recipes'
import { quantize_blocks, quantize_lanes } from './nvfp4-sweeps'
import { all_ordinary, FREE, ordinary_run, WIDEST, WORDS } from './quantize-lanes'
import { block_maxima, column_maxima } from './quantize-maxima'
import { amax_any } from './quantize-vector'
import { amax_without_nan } from './quantizer'
import { scratch } from './scratch'

const BLOCK: i32 = 16
/** Blocks on end whose scales are found together. */
const TOGETHER: i32 = 64

/** Where in an output, if it is wanted. */
// @ts-ignore: decorator
@inline function place(output: usize, offset: usize): usize { return output == 0 ? 0 : output + offset }

/** One block of n elements of a row, whatever it is; `at`: its first element, `item`: its number. */
function any_block(dst: usize, codes: usize, scales: usize, src: usize, at: i32, n: i32, item: i32): void {
  const from = src + (<usize>at << 2), s = block_scale(value_of(settled(amax_any(from, n), from, n, 4)))
  if (scales != 0) store<u8>(scales + <usize>item, scale_byte(s))
  for (let i = 0; i < n; i++) each(dst, codes, src, at + i, s)
}

/** The last block of a row, n < 16 elements: with zeros after them through scratch, if it is ordinary. */
function short_block(dst: usize, codes: usize, scales: usize, src: usize, at: i32, n: i32, item: i32): void {
  const maxima = scratch, words = scratch + WORDS, bytes = scratch + FREE, copy = bytes + WIDEST, offset = <usize>at << 2, size = <usize>n << 2
  memory.fill(copy, 0, BLOCK << 2)
  memory.copy(copy, src + offset, size)
  block_maxima(maxima, copy, 1, BLOCK)
  prepare_blocks(maxima, words, 1)
  if (!all_ordinary(words, 1)) return any_block(dst, codes, scales, src, at, n, item)
  quantize_blocks(dst == 0 ? 0 : copy + 64, codes == 0 ? 0 : copy + 128, copy, 1, words)
  if (dst != 0) memory.copy(dst + offset, copy + 64, size)
  if (codes != 0) memory.copy(codes + <usize>at, copy + 128, <usize>n)
  if (scales == 0) return
  write_bytes(bytes, words, 1)
  store<u8>(scales + <usize>item, load<u8>(bytes))
}

/**
 * src [rows, cols] in blocks of 16 along the columns' axis. dst: values, codes: E2M1 codes (a byte each), scales: E4M3 bytes, each 0 if not wanted.
 * `tensor` points at the tensor's scale (nvfp4_tensor_scale). Items: blocks, row by row.
 */
export function nvfp4_rows(dst: usize, codes: usize, scales: usize, src: usize, cols: i32, tensor: usize, recipe: i32, choices: i32, low: u32, high: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  start(recipe, tensor, choices, low, high, stream, step)
  const maxima = scratch, words = scratch + WORDS, bytes = scratch + FREE
  const perRow = (cols + BLOCK - 1) / BLOCK, whole = cols / BLOCK
  for (let item = begin; item < end;) {
    const row = item / perRow, block = item - row * perRow, first = <usize>row * <usize>cols + <usize>(block * BLOCK)
    // Whole blocks that follow each other in memory.
    const count = min(TOGETHER, perRow == whole ? end - item : min(end - item, whole - block))
    if (count == 0) {
      short_block(dst, codes, scales, src, <i32>first, cols - block * BLOCK, item)
      item++
      continue
    }
    block_maxima(maxima, src + (first << 2), count, BLOCK)
    prepare_blocks(maxima, words, count)
    if (scales != 0) write_bytes(bytes, words, count)
    for (let k = 0; k < count; k++) {
      const run = ordinary_run(words + (<usize>k << 2), count - k, 1), at = first + <usize>(k * BLOCK)
      quantize_blocks(place(dst, at << 2), place(codes, at), src + (at << 2), run, words + (<usize>k << 2))
      if (scales != 0) memory.copy(scales + <usize>(item + k), bytes + <usize>k, <usize>run)
      k += run
      if (k < count) any_block(dst, codes, scales, src, <i32>first + k * BLOCK, BLOCK, item + k)
    }
    item += count
  }
}

/** Fewer than 16 ordinary columns of n rows, from element `at` on, row by row through scratch. */
function narrow_columns(dst: usize, codes: usize, src: usize, at: usize, n: i32, cols: usize, count: usize, words: usize): void {
  const copy = scratch + FREE + WIDEST
  for (; n > 0; n--, at += cols) {
    memory.copy(copy, src + (at << 2), count << 2)
    quantize_lanes(dst == 0 ? 0 : copy + 64, codes == 0 ? 0 : copy + 128, copy, 16, words)
    if (dst != 0) memory.copy(dst + (at << 2), copy + 64, count << 2)
    if (codes != 0) memory.copy(codes + at, copy + 128, count)
  }
}

/**
 * The same for src [outer, rows, cols] with blocks down the rows; scales [outer, blocks, cols]. `panel` <= 1024: columns per item.
 * Items: (outer, block of rows, panel of columns).
 */
export function nvfp4_columns(dst: usize, codes: usize, scales: usize, src: usize, rows: i32, cols: i32, panel: i32, tensor: usize, recipe: i32, choices: i32, low: u32, high: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  start(recipe, tensor, choices, low, high, stream, step)
  const blocks = (rows + BLOCK - 1) / BLOCK, panels = (cols + panel - 1) / panel, rowBytes = <usize>cols << 2
  const maxima = scratch, words = scratch + WORDS, bytes = scratch + FREE
  for (let item = begin; item < end; item++) {
    const slab = item / panels, outer = slab / blocks
    const column = (item - slab * panels) * panel, row = (slab - outer * blocks) * BLOCK
    const n = min(BLOCK, rows - row), w = min(panel, cols - column), at = (outer * rows + row) * cols + column, from = src + (<usize>at << 2), scale = place(scales, <usize>(slab * cols + column))
    const nan = column_maxima(maxima, from, n, rowBytes, w)
    prepare_blocks(maxima, words, w)
    if (scales != 0) write_bytes(bytes, words, w)
    for (let c = 0; c < w;) {
      const columns = words + (<usize>c << 2), first = <usize>(at + c)
      let count = nan ? 0 : ordinary_run(columns, w - c, 16)
      for (let r = 0; r < n && count > 0; r++) {
        const line = first + <usize>(r * cols)
        quantize_lanes(place(dst, line << 2), place(codes, line), src + (line << 2), count, columns)
      }
      let known = count > 0
      if (!known) {
        count = min(16, w - c)
        known = !nan && count < 16 && all_ordinary(columns, count)
        if (known) narrow_columns(dst, codes, src, first, n, <usize>cols, <usize>count, columns)
      }
      if (known) {
        if (scales != 0) memory.copy(scale + <usize>c, bytes + <usize>c, <usize>count)
      } else for (let k = c; k < c + count; k++) {
        const top = from + (<usize>k << 2), s = block_scale(value_of(settled(load<i32>(maxima + (<usize>k << 2)), top, n, rowBytes)))
        if (scales != 0) store<u8>(scale + <usize>k, scale_byte(s))
        for (let r = 0; r < n; r++) each(dst, codes, src, at + r * cols + k, s)
      }
      c += count
    }
  }
}

/** The same for src [outer, rows, cols] in tiles of 16 x 16; scales [outer, row blocks, column blocks]. Items: (outer, block of rows): bands of tiles. */
export function nvfp4_tiles(dst: usize, codes: usize, scales: usize, src: usize, rows: i32, cols: i32, tensor: usize, recipe: i32, choices: i32, low: u32, high: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  start(recipe, tensor, choices, low, high, stream, step)
  const bands = (rows + BLOCK - 1) / BLOCK, perBand = (cols + BLOCK - 1) / BLOCK, maxima = scratch, words = scratch + WORDS
  for (let item = begin; item < end; item++) {
    const outer = item / bands, row = (item - outer * bands) * BLOCK, height = min(BLOCK, rows - row)
    for (let tile = 0; tile < perBand; tile++) {
      const first = tile * BLOCK, width = min(BLOCK, cols - first), corner = (outer * rows + row) * cols + first
      let amax = 0, any = 0
      for (let r = 0; r < height; r++) {
        const from = src + (<usize>(corner + r * cols) << 2), largest = amax_any(from, width)
        any = max(any, largest)
        amax = max(amax, settled(largest, from, width, 4))
      }
      const s = block_scale(value_of(amax))
      if (scales != 0) store<u8>(scales + <usize>(item * perBand + tile), scale_byte(s))
      store<i32>(maxima, any)
      prepare_blocks(maxima, words, 1)
      const vector = width == BLOCK && all_ordinary(words, 1)
      for (let r = 0; r < height; r++) {
        const at = corner + r * cols
        if (vector) quantize_blocks(place(dst, <usize>at << 2), place(codes, <usize>at), src + (<usize>at << 2), 1, words)
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
