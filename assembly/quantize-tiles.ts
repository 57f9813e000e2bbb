// Fake-quantize in tiles over two axes: src [outer, rows, mid, cols, inner], one exponent for `block` x `block` elements of rows x cols. In the common case
// mid = inner = 1 a tile's rows are runs of memory and take the vector path; everything else goes element by element.
import { prepare_random, random_fraction } from './quantize-random'
import { scratch } from './scratch'
import { FREE } from './quantize-lanes'
import { bump_of, BUMP_RELEASED, is_element, rounding_of, STOCHASTIC } from './quantize-modes'
import { quantize_part } from './quantize-blocks'
import { amax_word } from './quantize-vector'
import { fake_quantize_element, is_flushed, mode, prepare, saturates, scale_byte } from './quantizer'

/**
 * `blockRows`, `blockCols`: the tile's extents. `released`: bump as released, the maximum taken over the tiles along cols; its tile must fit in scratch.
 * `step` and the words before it serve stochastic rounding only. Items: (outer, block of rows, mid, inner): a band of tiles along cols.
 */
export function fake_quantize_tiles(dst: usize, src: usize, rows: i32, mid: i32, cols: i32, inner: i32, blockRows: i32, blockCols: i32, man: i32, emin: i32, emax: i32, max: f32, choices: i32, low: u32, high: u32, stream: u32, step: usize, begin: i32, end: i32): void {
  prepare(man, emin, emax, max, choices)
  const random = rounding_of(mode) == STOCHASTIC, released = bump_of(mode) == BUMP_RELEASED
  if (random) prepare_random(low, high, stream, step)
  const bands = (rows + blockRows - 1) / blockRows, positions = scratch + FREE
  for (let item = begin; item < end; item++) {
    const place = item % inner, m = item / inner % mid, slab = item / inner / mid
    const outer = slab / bands, firstRow = (slab - outer * bands) * blockRows, height = min(blockRows, rows - firstRow)
    const corner = ((outer * rows + firstRow) * mid + m) * cols * inner + place, down = mid * cols * inner
    if (released) {
      memory.fill(positions, 0, <usize>(blockRows * blockCols) << 2)
      for (let r = 0; r < height; r++) for (let c = 0; c < cols; c++) {
        const p = positions + (<usize>(r * blockCols + c % blockCols) << 2)
        store<i32>(p, max_word(load<i32>(p), load<i32>(src + (<usize>(corner + r * down + c * inner) << 2)) & 0x7fffffff))
      }
    }
    for (let first = 0; first < cols; first += blockCols) {
      const width = min(blockCols, cols - first), start = corner + first * inner
      let amax = 0
      for (let r = 0; r < height; r++) {
        if (inner == 1) amax = max_word(amax, amax_word(src + (<usize>(start + r * down) << 2), width))
        else for (let c = 0; c < width; c++) {
          const a = load<i32>(src + (<usize>(start + r * down + c * inner) << 2)) & 0x7fffffff
          if (a <= 0x7f800000 || !is_element(mode)) amax = max_word(amax, a)
        }
      }
      for (let r = 0; r < height; r++) {
        const at = <usize>(start + r * down) << 2
        if (inner == 1 && !random && !released) {
          quantize_part(dst + at, src + at, width, amax)
          continue
        }
        for (let c = 0; c < width; c++) {
          const index = start + r * down + c * inner, offset = <usize>index << 2
          const bump = released && saturates(load<i32>(positions + (<usize>(r * blockCols + c) << 2))) ? 1 : 0
          const x = load<f32>(src + offset)
          store<f32>(dst + offset, fake_quantize_element(is_flushed(amax, bump) ? x * 0 : x, scale_byte(amax, bump), random ? random_fraction(index) : 0))
        }
      }
    }
  }
}

// @ts-ignore: decorator
@inline function max_word(a: i32, b: i32): i32 { return a > b ? a : b }
