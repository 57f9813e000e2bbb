// The matrix product of operands that were packed before (gemm-prepare.ts), with what follows it done while C is in the first-level cache:
//   C[M,N] = Q(A B), or Q(Q(A B) + Q(bias)),  Q the rounding to bf16 (bf16.ts) or the identity
// Each element is one sequential sum over k, as in gemm-driver.ts, whatever the order of the loops around.
//
// A packed operand: for each `chunk` of k sixteen bytes that say what products are exact (the words of gemm-exact.ts); from a cache line on, panels of W
// lanes, [K][W]. W is the register tile's, rows for A and columns for B, so only kernels of one executor can share a packed operand.
import { AWAY, Away, EVEN, Even, NONE, None, round, rounded } from './bf16'
import { bytes, KC, PANEL, strip } from './gemm-driver'
import { fits, high, low, measure, width } from './gemm-exact'
import { Tile } from './gemm-tiles'
import { loadPart, storePart } from './lanes'
import { scratch } from './scratch'

/** Rows of A that stay in the second-level cache; a multiple of every tile's rows. */
const MC: i32 = 240

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

function rectangle(
  a: usize, b: usize, c: usize, cRow: i32, m0: i32, m1: i32, n0: i32, n1: i32, K: i32, chunk: i32, bias: usize, rounding: i32,
  rows: i32, columns: i32, strict: Tile, fused: Tile,
): void {
  const panelA = bytes(K, rows), panelB = bytes(K, columns), first = header(K, chunk), row = bytes(1, cRow)
  const passes = (K + KC - 1) / KC
  const depth = (K + passes - 1) / passes
  for (let k = 0; k < K; k += depth) {
    const kc = min(depth, K - k)
    scanned(a, chunk, k, k + kc)
    const widthA = width, lowA = low, highA = high
    scanned(b, chunk, k, k + kc)
    const tile = fits(widthA, lowA, highA) ? fused : strict
    for (let m = m0; m < m1; m += MC) {
      const mc = min(MC, m1 - m), from = a + first + <usize>(m / rows) * panelA + bytes(k, rows)
      for (let n = n0; n < n1; n += columns) {
        const across = min(columns, n1 - n), to = c + bytes(m, cRow) + bytes(n, 1)
        strip(from, panelA, b + first + <usize>(n / columns) * panelB + bytes(k, columns), to, row, mc, across, kc, k == 0, rows, columns, tile)
        if (k + kc == K) finish(to, row, mc, across, bias ? bias + bytes(n, 1) : 0, rounding)
      }
    }
  }
}

/** Round `count` <= 16 columns of C, add the bias, round again. */
function finish(c: usize, cRow: usize, rows: i32, count: i32, bias: usize, rounding: i32): void {
  if (bias) for (let i = 0; i < count; i += 4) v128.store(scratch + bytes(i, 1), round(count - i >= 4 ? v128.load(bias + bytes(i, 1)) : loadPart(bias + bytes(i, 1), count - i), rounding))
  if (rounding == AWAY) finishRows<Away>(c, cRow, rows, count, bias != 0)
  else if (rounding == EVEN) finishRows<Even>(c, cRow, rows, count, bias != 0)
  else if (bias) finishRows<None>(c, cRow, rows, count, true)
}

function finishRows<R>(c: usize, cRow: usize, rows: i32, count: i32, biased: bool): void {
  for (let r = 0; r < rows; r++, c += cRow) {
    let i = 0
    for (; i + 8 <= count; i += 8) {
      let x = rounded<R>(v128.load(c + bytes(i, 1))), y = rounded<R>(v128.load(c + bytes(i, 1), 16))
      if (biased) {
        x = rounded<R>(f32x4.add(x, v128.load(scratch + bytes(i, 1))))
        y = rounded<R>(f32x4.add(y, v128.load(scratch + bytes(i, 1), 16)))
      }
      v128.store(c + bytes(i, 1), x)
      v128.store(c + bytes(i, 1), y, 16)
    }
    for (; i < count; i += 4) {
      const left = count - i, at = c + bytes(i, 1)
      let x = rounded<R>(left >= 4 ? v128.load(at) : loadPart(at, left))
      if (biased) x = rounded<R>(f32x4.add(x, v128.load(scratch + bytes(i, 1))))
      if (left >= 4) v128.store(at, x)
      else storePart(at, x, left)
    }
  }
}
