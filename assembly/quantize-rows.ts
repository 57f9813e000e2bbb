// Fake-quantize along the last axis: maxima and scales of many blocks first, then, out of the first-level cache, all their elements.
import { quantize_blocks, quantize_part } from './quantize-blocks'
import { LARGE, ordinary_run, prepare_words, WORDS } from './quantize-lanes'
import { block_maxima } from './quantize-maxima'
import { amax_word } from './quantize-vector'
import { prepare } from './quantizer'
import { scratch } from './scratch'

/** Elements whose blocks are taken together while they and their results stay in the cache. */
const TOGETHER: i32 = 2048
/** The same in calls of LARGE bytes and more. A turn's loads from memory go on beside the stores of the turn before only as far as the processor looks ahead: turns are short. */
const TOGETHER_LARGE: i32 = 768

/**
 * dst = src [rows, cols] quantized and dequantized in blocks of `block` along the columns' axis (a row's last block may be shorter). In place is allowed.
 * Items: blocks, row by row.
 */
export function fake_quantize_rows(dst: usize, src: usize, cols: i32, block: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, begin: i32, end: i32): void {
  prepare(man, emin, emax, max, choices)
  const maxima = scratch, words = scratch + WORDS, bytes = <usize>block << 2
  const together = <usize>(end - begin) * bytes < LARGE ? TOGETHER : TOGETHER_LARGE
  let item = begin
  // Blocks of whole vectors that follow each other in memory.
  if ((block & 15) == 0 && cols % block == 0) while (item < end) {
    const count = min(max_of(together / block, 1), end - item)
    block_maxima(maxima, src + <usize>item * bytes, count, block)
    prepare_words(maxima, words, count)
    for (let k = 0; k < count;) {
      const run = ordinary_run(words + (<usize>k << 2), count - k, 1), at = <usize>(item + k) * bytes
      quantize_blocks(dst + at, src + at, run, block, words + (<usize>k << 2))
      k += run
      if (k < count) {
        const from = src + <usize>(item + k) * bytes
        quantize_part(dst + <usize>(item + k) * bytes, from, block, amax_word(from, block))
        k++
      }
    }
    item += count
  }
  const perRow = (cols + block - 1) / block
  for (; item < end; item++) {
    const row = item / perRow, first = (item - row * perRow) * block, n = min(block, cols - first), at = (<usize>row * cols + first) << 2
    quantize_part(dst + at, src + at, n, amax_word(src + at, n))
  }
}

// @ts-ignore: decorator
@inline function max_of(a: i32, b: i32): i32 { return a > b ? a : b }
