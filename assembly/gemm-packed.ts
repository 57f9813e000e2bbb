// The matrix product of operands that were packed before (gemm-prepare.ts), with what follows it done while C is in the first-level cache:
//   C[M,N] = Q(A B), or Q(Q(A B) + Q(bias)),  Q the rounding to bf16 (bf16.ts) or the identity
// Each element is one sequential sum over k, as in gemm-driver.ts, whatever the order of the loops around.
//
// A packed operand: for each `chunk` of k sixteen bytes that say what products are exact (the words of gemm-exact.ts); from a cache line on, panels of W
// lanes, [K][W]. W is the register tile's, rows for A and columns for B, so only kernels of one executor can share a packed operand.
import { AWAY, Away, EVEN, Even, None, round, rounded, step } from './bf16'
import { bytes, KC, PANEL, strip } from './gemm-driver'
import { fits, high, low, measure, width } from './gemm-exact'
import { Tile } from './gemm-tiles'
import { loadSome, storeSome } from './lanes'
import { scratch } from './scratch'

/** Rows of A that stay in the second-level cache; a multiple of every tile's rows. */
const MC: i32 = 240

/** Below this magnitude, 2^126, no sum of two is infinite, and the short form of rounding serves (bf16.ts). */
const TAME: f32 = 8.507059173023462e37

/** Bytes before the panels. */
export function header(K: i32, chunk: i32): usize { return (<usize>((K + chunk - 1) / chunk) * 16 + 63) & ~63 }

/** Set width, low and high for k in [first, end). */
function scanned(packed: usize, chunk: i32, first: i32, end: i32): void {
  let bits: u32 = 0, largest: u32 = 0, smallest: u32 = u32.MAX_VALUE
  for (let at = packed + (<usize>(first / chunk) << 4), stop = packed + (<usize>((end - 1) / chunk) << 4); at <= stop; at += 16) {
    bits |= load<u32>(at)
    largest = max(largest, load<u32>(at, 4))
    smallest = min(smallest, load<u32>(at, 8))
  }
  measure(bits, largest, smallest)
}

/**
 * The items [begin, end) of the product; parameters as gemm_packed_f32. `strict` and `fused` are tiles of rows x columns; `fused` is used where all
 * products are exact.
 */
export function multiplyPacked(
  a: usize, b: usize, c: usize, cRow: i32, M: i32, N: i32, K: i32, chunk: i32, blockRows: i32, bias: usize, rounding: i32, begin: i32, end: i32,
  rows: i32, columns: i32, strict: Tile, fused: Tile,
): void {
  const blocks = (M + blockRows - 1) / blockRows
  while (begin < end) {
    const panel = begin / blocks, block = begin - panel * blocks
    // As many whole panels as there are, or what there is of one.
    const whole = block == 0 ? (end - begin) / blocks : 0
    const count = whole ? whole * blocks : min(blocks - block, end - begin)
    const m = block * blockRows, n = panel * PANEL
    rectangle(a, b, c, cRow, m, whole ? M : min(M, m + count * blockRows), n, min(N, n + max(whole, 1) * PANEL), K, chunk, bias, rounding, rows, columns, strict, fused)
    begin += count
  }
}

/** Rows of A before item `item` of a turn: whole tiles, as many for each of the `shares` items of the `turns` turns as for any other, within one tile. */
export function rowsBefore(item: i32, turn: i32, turns: i32, shares: i32, M: i32, rows: i32): i32 {
  const tiles = (M + rows - 1) / rows
  return min(M, <i32>(<i64>(item * turns + turn) * tiles / (turns * shares)) * rows)
}

/** The items [begin, end) of one turn; parameters as gemm_packed_turn_f32. */
export function multiplyTurn(
  a: usize, slot: i32, b: usize, c: usize, cRow: i32, M: i32, N: i32, K: i32, chunk: i32, bias: usize, rounding: i32, turn: i32, turns: i32, shares: i32, begin: i32, end: i32,
  rows: i32, columns: i32, strict: Tile, fused: Tile,
): void {
  for (let item = begin; item < end; item++) {
    const first = rowsBefore(item, turn, turns, shares, M, rows), last = rowsBefore(item, turn + 1, turns, shares, M, rows)
    if (first < last) rectangle(a + bytes(item, slot), b, c + bytes(first, cRow), cRow, 0, last - first, 0, N, K, chunk, bias, rounding, rows, columns, strict, fused)
  }
}

function rectangle(
  a: usize, b: usize, c: usize, cRow: i32, m0: i32, m1: i32, n0: i32, n1: i32, K: i32, chunk: i32, bias: usize, rounding: i32,
  rows: i32, columns: i32, strict: Tile, fused: Tile,
): void {
  const panelA = bytes(K, rows), panelB = bytes(K, columns), first = header(K, chunk), row = bytes(1, cRow)
  const passes = (K + KC - 1) / KC
  const depth = (K + passes - 1) / passes
  scanned(a, chunk, 0, K)
  const high0 = high
  scanned(b, chunk, 0, K)
  // Each of K products is below 2^(high + high0), and roundings do not double their sum: it is below 2^126 if
  const tame = high + high0 + 33 - clz(K) <= 126
  for (let k = 0; k < K; k += depth) {
    const kc = min(depth, K - k)
    scanned(a, chunk, k, k + kc)
    const widthA = width, lowA = low, highA = high
    scanned(b, chunk, k, k + kc)
    const tile = fits(widthA, lowA, highA) ? fused : strict
    // Rows that are finished together: all, unless they are so far apart that a first-level cache has the same few places for all of them.
    const some = row & 4095 ? MC : 2 * rows
    for (let m = m0; m < m1; m += MC) {
      const mc = min(MC, m1 - m), from = a + first + <usize>(m / rows) * panelA + bytes(k, rows)
      for (let n = n0; n < n1; n += columns) {
        const across = min(columns, n1 - n), to = c + bytes(m, cRow) + bytes(n, 1)
        const panel = b + first + <usize>(n / columns) * panelB + bytes(k, columns)
        if (k + kc < K) strip(from, panelA, panel, to, row, mc, across, kc, k == 0, rows, columns, tile)
        else {
          const usual = prepareBias(bias ? bias + bytes(n, 1) : 0, across, rounding) && tame
          for (let r = 0; r < mc; r += some) {
            const at = to + <usize>r * row, down = min(some, mc - r)
            strip(from + <usize>(r / rows) * panelA, panelA, panel, at, row, down, across, kc, k == 0, rows, columns, tile)
            finish(at, row, down, across, bias != 0, rounding, usual)
          }
        }
      }
    }
  }
}

/** Round `count` <= 16 elements of the bias into scratch, if there is one: are all tame? */
function prepareBias(bias: usize, count: i32, rounding: i32): bool {
  let tame = true
  if (bias) for (let i = 0; i < count; i += 4) {
    const at = bias + bytes(i, 1), x = round(loadSome(at, count - i), rounding)
    tame = tame && v128.all_true<i32>(f32x4.lt(f32x4.abs(x), f32x4.splat(TAME)))
    v128.store(scratch + bytes(i, 1), x)
  }
  return tame
}

/** Round `count` <= 16 columns of C, add the bias in scratch, round again. `tame`: no sum is near the ends of the range. */
function finish(c: usize, cRow: usize, rows: i32, count: i32, bias: bool, rounding: i32, tame: bool): void {
  if (rounding == AWAY) finishColumns<Away>(c, cRow, rows, count, bias, tame)
  else if (rounding == EVEN) finishColumns<Even>(c, cRow, rows, count, bias, tame)
  else if (bias) finishColumns<None>(c, cRow, rows, count, true, true)
}

function finishColumns<R>(c: usize, cRow: usize, rows: i32, count: i32, biased: bool, tame: bool): void {
  const whole = count & -8
  if (!tame) finishAny<R>(c, cRow, rows, 0, count, biased)
  else {
    if (biased) finishBiased<R>(c, cRow, rows, whole)
    else finishPlain<R>(c, cRow, rows, whole)
    if (whole < count) finishAny<R>(c, cRow, rows, whole, count, biased)
  }
}

/** `count` columns, a multiple of 8, of tame sums. (A loop with stores of its own is a function of its own, as gemm-quantize.ts says.) */
function finishPlain<R>(c: usize, cRow: usize, rows: i32, count: i32): void {
  for (; rows; rows--, c += cRow) for (let p = c, stop = c + bytes(count, 1); p < stop; p += 32) {
    const x = step<R>(v128.load(p)), y = step<R>(v128.load(p, 16))
    v128.store(p, y, 16)
    v128.store(p, x)
  }
}

/** The same and the bias in scratch. */
function finishBiased<R>(c: usize, cRow: usize, rows: i32, count: i32): void {
  for (; rows; rows--, c += cRow) for (let p = c, b = scratch, stop = c + bytes(count, 1); p < stop; p += 32, b += 32) {
    const x = step<R>(f32x4.add(step<R>(v128.load(p)), v128.load(b))), y = step<R>(f32x4.add(step<R>(v128.load(p, 16)), v128.load(b, 16)))
    v128.store(p, y, 16)
    v128.store(p, x)
  }
}

/** Columns [first, count) of any sums. */
function finishAny<R>(c: usize, cRow: usize, rows: i32, first: i32, count: i32, biased: bool): void {
  for (; rows; rows--, c += cRow) for (let i = first; i < count; i += 4) {
    const left = count - i, at = c + bytes(i, 1)
    let x = rounded<R>(loadSome(at, left))
    if (biased) x = rounded<R>(f32x4.add(x, v128.load(scratch + bytes(i, 1))))
    storeSome(at, x, left)
  }
}
