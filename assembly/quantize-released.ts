// Fake-quantize with the exponent bump as released: a position within a block is bumped if the largest magnitude at that position over all blocks of the
// axis has a significand beyond the format's, so that exponents differ inside a block (Bump in src/numerics/quantizer.ts). The axis is read twice.
import { scratch } from './scratch'
import { all_ordinary, FREE, prepare_words, quantize_ordinary, store_words, WIDEST, WORDS } from './quantize-lanes'
import { column_maxima } from './quantize-maxima'
import { amax_word, how_of_mode, magnitude_mask } from './quantize-vector'
import { fake_quantize_element, is_flushed, is_ordinary, lowest_word, prepare, saturates, scale_byte } from './quantizer'

/** bumps[i] = max(bumps[i], |x[i]|) for n words. */
function accumulate(bumps: usize, from: usize, n: i32): void {
  const magnitude = magnitude_mask()
  const wide = <usize>(n & ~3) << 2
  for (let i: usize = 0; i < wide; i += 16) v128.store(bumps + i, i32x4.max_s(v128.load(bumps + i), v128.and(v128.load(from + i), magnitude)))
  for (let i = wide; i < <usize>n << 2; i += 4) store<i32>(bumps + i, max(load<i32>(bumps + i), load<i32>(from + i) & 0x7fffffff))
}

/** Maxima by position -> what to add to an exponent field in place. */
function decide(bumps: usize, n: i32): void {
  for (let i: usize = 0; i < <usize>n << 2; i += 4) store<i32>(bumps + i, saturates(load<i32>(bumps + i)) ? 0x800000 : 0)
}

/** `count` <= 8 elements of a row, bumped as `bumps` says; `maxima` of their blocks `stride` (0 or 4) bytes apart. */
function quantize_each(to: usize, from: usize, count: i32, maxima: usize, stride: usize, bumps: usize): void {
  for (let k: usize = 0; k < <usize>count; k++) {
    const amax = load<i32>(maxima + k * stride), bump = load<i32>(bumps + (k << 2)) >> 23, x = load<f32>(from + (k << 2))
    store<f32>(to + (k << 2), fake_quantize_element(is_flushed(amax, bump) ? x * 0 : x, scale_byte(amax, bump), 0))
  }
}

/** As fake_quantize_rows, bumped as released. Items: rows. */
export function fake_quantize_rows_released(dst: usize, src: usize, cols: i32, block: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, begin: i32, end: i32): void {
  prepare(man, emin, emax, max, choices)
  const words = scratch + WORDS, maximum = scratch, bumps = scratch + FREE, how = how_of_mode()
  const length = min(block, cols)
  for (let row = begin; row < end; row++) {
    const offset = <usize>row * cols << 2
    memory.fill(bumps, 0, <usize>length << 2)
    for (let first = 0; first < cols; first += block) accumulate(bumps, src + offset + (<usize>first << 2), min(block, cols - first))
    decide(bumps, length)
    for (let first = 0; first < cols; first += block) {
      const n = min(block, cols - first), at = offset + (<usize>first << 2)
      const amax = amax_word(src + at, n), m = amax == 0 ? 0x3f800000 : amax
      store<i32>(maximum, amax)
      let i = 0
      if (is_ordinary(m)) {
        const lowest = i32x4.splat(lowest_word(m))
        while (n - i >= 8) {
          const count = min(WIDEST, n - i) & ~7, part = at + (<usize>i << 2)
          for (let k = 0; k < count; k += 4) store_words(words + (<usize>k << 2), i32x4.add(lowest, v128.load(bumps + (<usize>(i + k) << 2))))
          quantize_ordinary(dst + part, src + part, 1, 0, count, words, how)
          i += count
        }
      }
      quantize_each(dst + at + (<usize>i << 2), src + at + (<usize>i << 2), n - i, maximum, 0, bumps + (<usize>i << 2))
    }
  }
}

/** As fake_quantize_columns, bumped as released; block * panel words must fit in scratch. Items: (outer, panel of columns). */
export function fake_quantize_columns_released(dst: usize, src: usize, rows: i32, cols: i32, block: i32, panel: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, begin: i32, end: i32): void {
  prepare(man, emin, emax, max, choices)
  const panels = (cols + panel - 1) / panel, rowBytes = <usize>cols << 2, length = min(block, rows)
  const maxima = scratch, words = scratch + WORDS, bumps = scratch + FREE * 2, how = how_of_mode()
  for (let item = begin; item < end; item++) {
    const outer = item / panels, column = (item - outer * panels) * panel, w = min(panel, cols - column)
    const offset = <usize>(outer * rows) * rowBytes + (<usize>column << 2), bumpBytes = <usize>w << 2
    memory.fill(bumps, 0, <usize>length * bumpBytes)
    for (let r = 0; r < rows; r++) accumulate(bumps + <usize>(r % block) * bumpBytes, src + offset + <usize>r * rowBytes, w)
    decide(bumps, length * w)
    for (let first = 0; first < rows; first += block) {
      const n = min(block, rows - first)
      column_maxima(maxima, src + offset + <usize>first * rowBytes, n, rowBytes, w)
      // Unbumped words are kept after the bumped ones; a group of eight is ordinary for all rows or for none.
      const base = scratch + FREE
      prepare_words(maxima, base, w)
      for (let r = 0; r < n; r++) {
        const to = dst + offset + <usize>(first + r) * rowBytes, from = src + offset + <usize>(first + r) * rowBytes, bump = bumps + <usize>r * bumpBytes
        for (let c = 0; c < w; c += 8) {
          const at = <usize>c << 2, count = min(8, w - c)
          if (count == 8 && all_ordinary(base + at, 8)) {
            store_words(words, i32x4.add(v128.load(base + at), v128.load(bump + at)))
            store_words(words + 16, i32x4.add(v128.load(base + at, 16), v128.load(bump + at, 16)))
            quantize_ordinary(to + at, from + at, 1, 0, 8, words, how)
          } else quantize_each(to + at, from + at, count, maxima + at, 4, bump + at)
        }
      }
    }
  }
}
