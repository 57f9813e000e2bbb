// Fake-quantize along an axis that is not the last: [outer, rows, cols], blocks down the rows. Each lane is a column with a block of its own, so no
// maximum crosses lanes. A panel of columns is swept row by row, twice, so that memory is read in runs; per-column words wait in scratch.
import { scratch } from './scratch'
import { zero_sign_of, ZERO_POSITIVE, ZERO_PRESERVE, ZERO_TORCH } from './quantize-modes'
import { ADD_HALF_AWAY, ADD_HALF_EVEN, AWAY, EVEN, exponent_mask, how_of_mode, last_bit, magnitude_mask, misreads, quantize_eight, quantize_vector, step_word, tiny_word, to_half, ZERO } from './quantize-vector'
import { emin, fake_quantize_element, is_flushed, lowest_words, man, mode, ordinary_lanes, prepare, scale_byte, toLimit } from './quantizer'

/** Widest panel. Scratch holds, a word per column each: the maxima; then the words of the columns' blocks; then CHUNK rows of eight columns. */
const WIDEST: i32 = 1024
const WORDS: usize = WIDEST << 2, COPY: usize = WORDS * 5
const CHUNK: i32 = 256
// Byte offsets among the words of a block: of 2^emin first, of the largest magnitude, tiny_word, and all ones if it is ordinary.
const LIMIT: usize = WIDEST << 2, TINY_WORD: usize = LIMIT * 2, ORDINARY: usize = LIMIT * 3

/**
 * maxima[c] = largest magnitude, as a word, of n rows in column c. The result has the low 16 bits set that any element has, where `bits` is true: zero says
 * that all are bf16 numbers, whose fractions are too short for the halves-by-adding defect to show.
 */
// @ts-ignore: decorator
@inline function maxima_of(maxima: usize, from: usize, n: i32, rowBytes: usize, w: i32, bits: bool): i32 {
  const magnitude = magnitude_mask()
  memory.fill(maxima, 0, <usize>w << 2)
  const wide = <usize>(w & ~3) << 2, all = <usize>w << 2
  let seen = i32x4.splat(0), low = 0
  let r = 0
  for (; r + 4 <= n; r += 4) {
    const p0 = from + <usize>r * rowBytes, p1 = p0 + rowBytes, p2 = p1 + rowBytes, p3 = p2 + rowBytes
    for (let c: usize = 0; c < wide; c += 16) {
      const x0 = v128.load(p0 + c), x1 = v128.load(p1 + c), x2 = v128.load(p2 + c), x3 = v128.load(p3 + c)
      const a = i32x4.max_s(v128.and(x0, magnitude), v128.and(x1, magnitude)), b = i32x4.max_s(v128.and(x2, magnitude), v128.and(x3, magnitude))
      if (bits) seen = v128.or(seen, v128.or(v128.or(x0, x1), v128.or(x2, x3)))
      v128.store(maxima + c, i32x4.max_s(v128.load(maxima + c), i32x4.max_s(a, b)))
    }
  }
  for (; r < n; r++) {
    const p = from + <usize>r * rowBytes
    for (let c: usize = 0; c < wide; c += 16) {
      const x = v128.load(p + c)
      if (bits) seen = v128.or(seen, x)
      v128.store(maxima + c, i32x4.max_s(v128.load(maxima + c), v128.and(x, magnitude)))
    }
  }
  for (let c = wide; c < all; c += 4) {
    let m = 0
    for (let p = from + c, stop = p + <usize>n * rowBytes; p < stop; p += rowBytes) {
      const x = load<i32>(p)
      m = max(m, x & 0x7fffffff)
      low |= x
    }
    store<i32>(maxima + c, m)
  }
  return bits ? (low | i32x4.extract_lane(seen, 0) | i32x4.extract_lane(seen, 1) | i32x4.extract_lane(seen, 2) | i32x4.extract_lane(seen, 3)) & 0xffff : 0
}

function column_maxima(maxima: usize, from: usize, n: i32, rowBytes: usize, w: i32): void { maxima_of(maxima, from, n, rowBytes, w, false) }
function column_maxima_bits(maxima: usize, from: usize, n: i32, rowBytes: usize, w: i32): i32 { return maxima_of(maxima, from, n, rowBytes, w, true) }

/** n rows of `count` columns (a multiple of 8), all ordinary; `words` holds four rows of one word per column: lowest, limit, tiny, and whether it is ordinary. */
// @ts-ignore: decorator
@inline function sweep(to: usize, from: usize, n: i32, rowBytes: usize, count: i32, words: usize, how: i32, sign: i32): void {
  const exponent = exponent_mask(), magnitude = magnitude_mask(), one = last_bit()
  const step = i32x4.splat(step_word()), shift = i32x4.splat(man << 23), toHalf = i32x4.splat(to_half())
  for (let r = 0; r < n; r++) {
    for (let c: usize = 0, stop = <usize>count << 2; c < stop; c += 32) {
      if (how == ZERO && sign == ZERO_TORCH && misreads(v128.load(from + c), v128.load(from + c, 16))) {
        quantize_eight(to + c, from + c, words + c, 4)
        continue
      }
      const w = words + c
      const low0 = v128.load(w), low1 = v128.load(w, 16)
      const y0 = quantize_vector(v128.load(from + c), how, sign, low0, v128.load(w, LIMIT), i32x4.add(low0, toHalf), v128.load(w, TINY_WORD), step, shift, exponent, magnitude, one)
      const y1 = quantize_vector(v128.load(from + c, 16), how, sign, low1, v128.load(w, LIMIT + 16), i32x4.add(low1, toHalf), v128.load(w, TINY_WORD + 16), step, shift, exponent, magnitude, one)
      v128.store(to + c, y0)
      v128.store(to + c, y1, 16)
    }
    from += rowBytes
    to += rowBytes
  }
}

function quantize_ordinary(to: usize, from: usize, n: i32, rowBytes: usize, count: i32, words: usize, how: i32): void {
  const sign = zero_sign_of(mode)
  if (sign == ZERO_POSITIVE) {
    if (how == EVEN) sweep(to, from, n, rowBytes, count, words, EVEN, ZERO_POSITIVE)
    else if (how == AWAY) sweep(to, from, n, rowBytes, count, words, AWAY, ZERO_POSITIVE)
    else sweep(to, from, n, rowBytes, count, words, ZERO, ZERO_POSITIVE)
  } else if (sign == ZERO_PRESERVE) {
    if (how == EVEN) sweep(to, from, n, rowBytes, count, words, EVEN, ZERO_PRESERVE)
    else if (how == AWAY) sweep(to, from, n, rowBytes, count, words, AWAY, ZERO_PRESERVE)
    else sweep(to, from, n, rowBytes, count, words, ZERO, ZERO_PRESERVE)
  } else {
    if (how == EVEN) sweep(to, from, n, rowBytes, count, words, EVEN, ZERO_TORCH)
    else if (how == AWAY) sweep(to, from, n, rowBytes, count, words, AWAY, ZERO_TORCH)
    else if (how == ZERO) sweep(to, from, n, rowBytes, count, words, ZERO, ZERO_TORCH)
    else if (how == ADD_HALF_EVEN) sweep(to, from, n, rowBytes, count, words, ADD_HALF_EVEN, ZERO_TORCH)
    else sweep(to, from, n, rowBytes, count, words, ADD_HALF_AWAY, ZERO_TORCH)
  }
}

/** One column of n rows, element by element. */
function quantize_column(to: usize, from: usize, n: i32, rowBytes: usize, amax: i32): void {
  const byte = scale_byte(amax, 0), flushed = is_flushed(amax, 0)
  for (let i: usize = 0, stop = <usize>n * rowBytes; i < stop; i += rowBytes) {
    const x = load<f32>(from + i)
    store<f32>(to + i, fake_quantize_element(flushed ? x * 0 : x, byte, 0))
  }
}

/** Are the `count` <= 8 columns from `words` on all ordinary? */
// @ts-ignore: decorator
@inline function all_ordinary(words: usize, count: i32): bool {
  if (count == 8) return v128.all_true<i32>(v128.and(v128.load(words, ORDINARY), v128.load(words, ORDINARY + 16)))
  for (let c: usize = 0, stop = <usize>count << 2; c < stop; c += 4) if (load<i32>(words + c, ORDINARY) == 0) return false
  return true
}

/** Up to 8 ordinary columns that do not fill a group: through scratch, CHUNK rows at a time. */
function quantize_narrow(to: usize, from: usize, n: i32, rowBytes: usize, count: i32, words: usize, how: i32): void {
  const copy = scratch + COPY
  for (let first = 0; first < n; first += CHUNK) {
    const rows = min(CHUNK, n - first), offset = <usize>first * rowBytes
    memory.fill(copy, 0, <usize>rows << 5)
    for (let r = 0; r < rows; r++) for (let c: usize = 0; c < <usize>count << 2; c += 4) store<i32>(copy + (<usize>r << 5) + c, load<i32>(from + offset + <usize>r * rowBytes + c))
    quantize_ordinary(copy, copy, rows, 32, 8, words, how)
    for (let r = 0; r < rows; r++) for (let c: usize = 0; c < <usize>count << 2; c += 4) store<i32>(to + offset + <usize>r * rowBytes + c, load<i32>(copy + (<usize>r << 5) + c))
  }
}

/** One block of every column of a panel: n rows, w columns. */
function quantize_panel(to: usize, from: usize, n: i32, rowBytes: usize, w: i32): void {
  const maxima = scratch, words = scratch + WORDS
  let how = how_of_mode()
  if (how == ADD_HALF_EVEN || how == ADD_HALF_AWAY) {
    if (column_maxima_bits(maxima, from, n, rowBytes, w) == 0) how = how == ADD_HALF_EVEN ? EVEN : AWAY
  } else column_maxima(maxima, from, n, rowBytes, w)
  for (let c: usize = 0, stop = <usize>w << 2; c < stop; c += 16) {
    const m = v128.load(maxima + c)
    const amax = v128.bitselect(f32x4.splat(1), m, i32x4.eq(m, i32x4.splat(0))) // a column of zeros may take any scale
    const lowest = lowest_words(amax)
    v128.store(words + c, lowest)
    v128.store(words + c, i32x4.add(lowest, i32x4.splat(toLimit)), LIMIT)
    v128.store(words + c, i32x4.splat(0), TINY_WORD)
    if (v128.any_true(i32x4.gt_s(lowest, i32x4.splat((emin + 127) << 23)))) for (let k = c; k < c + 16; k += 4) store<i32>(words + k, tiny_word(load<i32>(words + k)), TINY_WORD)
    v128.store(words + c, ordinary_lanes(amax), ORDINARY)
  }
  // Runs of ordinary groups of eight columns; the other groups one column at a time.
  let c = 0
  while (c < w) {
    const at = <usize>c << 2
    let count = 0
    while (c + count + 8 <= w && all_ordinary(words + (<usize>(c + count) << 2), 8)) count += 8
    if (count > 0) quantize_ordinary(to + at, from + at, n, rowBytes, count, words + at, how)
    else {
      count = min(8, w - c)
      if (count < 8 && all_ordinary(words + at, count)) quantize_narrow(to + at, from + at, n, rowBytes, count, words + at, how)
      else for (let k = at; k < at + (<usize>count << 2); k += 4) quantize_column(to + k, from + k, n, rowBytes, load<i32>(maxima + k))
    }
    c += count
  }
}

/**
 * dst = src [outer, rows, cols] quantized and dequantized in blocks of `block` along the rows' axis. `panel` <= 1024: columns per item. In place is allowed.
 * Items: (outer, block of rows, panel of columns), in this order.
 */
export function fake_quantize_columns(dst: usize, src: usize, rows: i32, cols: i32, block: i32, panel: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, begin: i32, end: i32): void {
  prepare(man, emin, emax, max, choices)
  const blocks = (rows + block - 1) / block, panels = (cols + panel - 1) / panel, rowBytes = <usize>cols << 2
  for (let item = begin; item < end; item++) {
    const slab = item / panels, outer = slab / blocks
    const column = (item - slab * panels) * panel, row = (slab - outer * blocks) * block
    const offset = <usize>(outer * rows + row) * rowBytes + (<usize>column << 2)
    quantize_panel(dst + offset, src + offset, min(block, rows - row), rowBytes, min(panel, cols - column))
  }
}
