// Fake-quantize along an axis that is not the last: [outer, rows, cols], blocks down the rows. Each lane is a column with a block of its own, so no
// maximum crosses lanes. A panel of columns is swept row by row, twice, so that memory is read in runs; best is a panel of whole rows.
import { scratch } from './scratch'
import { all_ordinary, FREE, LARGE, ordinary_run, prepare_words, quantize_ordinary, WORDS } from './quantize-lanes'
import { column_maxima } from './quantize-maxima'
import { how_of_mode } from './quantize-vector'
import { fake_quantize_element, is_flushed, prepare, scale_byte } from './quantizer'

/** Rows of eight columns that pass through scratch at a time. */
const CHUNK: i32 = 256

/** One column of n rows, element by element. */
function quantize_column(to: usize, from: usize, n: i32, rowBytes: usize, amax: i32): void {
  const byte = scale_byte(amax, 0), flushed = is_flushed(amax, 0)
  for (let i: usize = 0, stop = <usize>n * rowBytes; i < stop; i += rowBytes) {
    const x = load<f32>(from + i)
    store<f32>(to + i, fake_quantize_element(flushed ? x * 0 : x, byte, 0))
  }
}

/** Up to 8 ordinary columns that do not fill a group: through scratch, CHUNK rows at a time. */
function quantize_narrow(to: usize, from: usize, n: i32, rowBytes: usize, count: i32, words: usize, how: i32): void {
  const copy = scratch + FREE
  for (let first = 0; first < n; first += CHUNK) {
    const rows = min(CHUNK, n - first), offset = <usize>first * rowBytes
    memory.fill(copy, 0, <usize>rows << 5)
    for (let r = 0; r < rows; r++) for (let c: usize = 0; c < <usize>count << 2; c += 4) store<i32>(copy + (<usize>r << 5) + c, load<i32>(from + offset + <usize>r * rowBytes + c))
    quantize_ordinary(copy, copy, rows, 32, 8, words, how)
    for (let r = 0; r < rows; r++) for (let c: usize = 0; c < <usize>count << 2; c += 4) store<i32>(to + offset + <usize>r * rowBytes + c, load<i32>(copy + (<usize>r << 5) + c))
  }
}

/** One block of every column of a panel: n rows, w columns. */
function quantize_panel(to: usize, from: usize, n: i32, rowBytes: usize, w: i32, inOrder: bool): void {
  const maxima = scratch, words = scratch + WORDS
  const how = how_of_mode()
  column_maxima(maxima, from, n, rowBytes, w, inOrder)
  prepare_words(maxima, words, w)
  // Runs of ordinary groups of eight columns; the other groups one column at a time.
  let c = 0
  while (c < w) {
    const at = <usize>c << 2
    let count = ordinary_run(words + at, w - c, 8)
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
  const inOrder = panel >= cols && <usize>(end - begin) * block * rowBytes >= LARGE
  for (let item = begin; item < end; item++) {
    const slab = item / panels, outer = slab / blocks
    const column = (item - slab * panels) * panel, row = (slab - outer * blocks) * block
    const offset = <usize>(outer * rows + row) * rowBytes + (<usize>column << 2)
    quantize_panel(dst + offset, src + offset, min(block, rows - row), rowBytes, min(panel, cols - column), inOrder)
  }
}
