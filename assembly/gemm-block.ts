// Matrix product of block-quantized operands with its own accumulator, "block-exact": within a block of k the dot product is exact, and each block adds
// to the sum with one rounding (src/oracle/block-gemm.ts). It rests on small integers: the elements of a block in E2M1, E2M3, E3M2 or INT8 are integers of
// at most 9 bits times one power of two, their products are summed by an integer instruction, eight at a time, and the sum (below 2^24) is exact in f32.
import { bytes, PANEL, tiles } from './gemm-driver'
import { transposeLanes } from './gemm-pack'
import { block_columns, block_rows, block_tile, set_pairs } from './gemm-tiles-block'
import { scratch } from './scratch'

/** Register tile in use; set with that of the strict kernel (gemm.ts), which is as wide. */
let tile: i32 = 0
export function use_block_tile(columns: i32): void { tile = columns == 16 ? 1 : 0 }

const NC: i32 = 2048
const MC: i32 = 192
/** Rows of a packed panel at most, as KC of gemm-driver.ts. */
const DEPTH: i32 = 512
const A_AT: usize = DEPTH * (NC + 32) * 4

/** All but the sign; 1; the fraction. */
const masks = memory.data<i32>([0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff, 1, 1, 1, 1, 0x7fffff, 0x7fffff, 0x7fffff, 0x7fffff])

/**
 * Split each block of `size` values of a row of K into integers and a scale: scales[row][block] is the largest power of two that divides every value (1 if
 * all are 0) and elements[row][block][i] = value / scale, 16 bits each, padded with zeros to an even count. A block with an infinity, NaN or an
 * integer beyond +-511 (then it is in none of the formats above) gets the scale NaN. Items: blocks of all rows.
 */
export function block_integers(src: usize, K: i32, size: i32, elements: usize, scales: usize, begin: i32, end: i32): void {
  const blocks = (K + size - 1) / size
  const width = (size + 1) & ~1
  for (let item = begin; item < end; item++) {
    const row = item / blocks
    const block = item - row * blocks
    const from = src + bytes(row, K) + bytes(block * size, 1)
    const to = elements + (<usize>item * <usize>width << 1)
    const count = min(size, K - block * size)
    const whole = count & ~7
    let mosts = i32x4.splat(0), leasts = i32x4.splat(-1)
    for (let i = 0; i < whole; i += 4) {
      const x = v128.and(v128.load(from + bytes(i, 1)), v128.load(masks))
      mosts = i32x4.max_u(mosts, x)
      leasts = i32x4.min_u(leasts, i32x4.sub(lowestBit(x), v128.load(masks, 16))) // zero becomes the largest unsigned integer, so it never counts
    }
    mosts = i32x4.max_u(mosts, v128.shuffle<i32>(mosts, mosts, 2, 3, 0, 1))
    leasts = i32x4.min_u(leasts, v128.shuffle<i32>(leasts, leasts, 2, 3, 0, 1))
    let most = max(<u32>i32x4.extract_lane(mosts, 0), <u32>i32x4.extract_lane(mosts, 1))
    let least = min(<u32>i32x4.extract_lane(leasts, 0), <u32>i32x4.extract_lane(leasts, 1))
    for (let i = whole; i < count; i++) {
      const x = load<u32>(from + bytes(i, 1)) & 0x7fffffff
      most = max(most, x)
      least = min(least, <u32>i32x4.extract_lane(lowestBit(i32x4.splat(x)), 0) - 1)
    }
    const unit = most ? reinterpret<f32>(least + 1) : <f32>1
    if (!(reinterpret<f32>(most) / unit <= 511)) {
      store<u32>(scales + bytes(item, 1), 0x7fc00000)
      memory.fill(to, 0, <usize>width << 1)
      continue
    }
    store<f32>(scales + bytes(item, 1), unit)
    const divisor = f32x4.splat(unit)
    let i = 0
    for (; i < whole; i += 8) {
      const x = f32x4.div(v128.load(from + bytes(i, 1)), divisor), y = f32x4.div(v128.load(from + bytes(i, 1), 16), divisor)
      v128.store(to + (<usize>i << 1), i16x8.narrow_i32x4_s(i32x4.trunc_sat_f32x4_s(x), i32x4.trunc_sat_f32x4_s(y)))
    }
    for (; i < count; i++) store<i16>(to + (<usize>i << 1), <i16><i32>(load<f32>(from + bytes(i, 1)) / unit))
    for (; i < width; i++) store<i16>(to + (<usize>i << 1), 0)
  }
}

/** The value of the lowest set bit of each positive f32: x minus x without that bit of its word. A power of two (no fraction bits) is its own. */
// @ts-ignore: decorator
@inline
function lowestBit(x: v128): v128 {
  const less = v128.and(x, i32x4.sub(x, v128.load(masks, 16)))
  return f32x4.sub(x, v128.andnot(less, i32x4.eq(v128.and(x, v128.load(masks, 32)), i32x4.splat(0))))
}

/**
 * C[M,N] = A B^T (+ C) for A [M, blocks, size] and B [N, blocks, size] as block_integers leaves them; `size` is even. Items: as gemm_f32.
 */
export function gemm_block(
  a: usize, aScales: usize, b: usize, bScales: usize, c: usize, cRow: i32, M: i32, N: i32, blocks: i32, size: i32, accumulate: i32, begin: i32, end: i32,
): void {
  if (begin >= end) return
  const byColumns = N >= M
  const from = begin * PANEL, to = min(byColumns ? N : M, end * PANEL)
  const m0 = byColumns ? 0 : from, n0 = byColumns ? from : 0
  const m1 = byColumns ? M : to, n1 = byColumns ? to : N
  const pairs = size >> 1
  const rows = block_rows(tile), columns = block_columns(tile), kernel = block_tile(tile)
  set_pairs(pairs)
  const most = max(1, DEPTH / (pairs + 1))
  const passes = (blocks + most - 1) / most
  const depth = passes ? (blocks + passes - 1) / passes : 0
  const aPack = scratch + A_AT
  const row = blocks * pairs
  if (blocks == 0 && !accumulate) for (let m = m0; m < m1; m++) memory.fill(c + bytes(m, cRow) + bytes(n0, 1), 0, bytes(n1 - n0, 1))
  for (let n = n0; n < n1; n += NC) {
    const nc = min(NC, n1 - n)
    for (let k = 0; k < blocks; k += depth) {
      const kc = min(depth, blocks - k)
      packBlocks(scratch, columns, b + bytes(n, row) + bytes(k, pairs), bytes(1, row), bScales + bytes(n, blocks) + bytes(k, 1), bytes(1, blocks), nc, kc, pairs)
      for (let m = m0; m < m1; m += MC) {
        const mc = min(MC, m1 - m)
        packBlocks(aPack, rows, a + bytes(m, row) + bytes(k, pairs), bytes(1, row), aScales + bytes(m, blocks) + bytes(k, 1), bytes(1, blocks), mc, kc, pairs)
        tiles(aPack, c + bytes(m, cRow) + bytes(n, 1), bytes(1, cRow), mc, nc, kc * (pairs + 1), k == 0 && !accumulate, rows, columns, kernel)
      }
    }
  }
}

/** Panels of W lanes: for each block, `pairs` rows of integer pairs and a row of scales. Strides in bytes. */
function packBlocks(to: usize, W: i32, from: usize, lane: usize, scales: usize, scaleLane: usize, lanes: i32, blocks: i32, pairs: i32): void {
  const row = <usize>W << 2
  for (; lanes > 0; lanes -= W, from += <usize>W * lane, scales += <usize>W * scaleLane) {
    const count = min(W, lanes)
    if (count < W) memory.fill(to, 0, <usize>(blocks * (pairs + 1)) * row)
    for (let k = 0; k < blocks; k++) {
      transposeLanes(to, W, from + bytes(k, pairs), lane, count, pairs)
      to += <usize>pairs * row
      for (let l = 0; l < count; l++) store<f32>(to + bytes(l, 1), load<f32>(scales + <usize>l * scaleLane + bytes(k, 1)))
      to += row
    }
  }
}
