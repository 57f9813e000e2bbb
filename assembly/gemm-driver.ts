// The blocked matrix product around a register tile, shared by the strict and the relaxed module. Five loops (Goto and van de Geijn, "Anatomy of
// high-performance matrix multiplication", 2008): NC columns, KC of k (pack B), MC rows (pack A), then tiles; a packed B panel stays in the first-level
// cache, a packed A block in the second. Each pass over k starts from the C the last one stored, so every element is one sequential sum over k
// whatever the block and tile sizes.
import { pack } from './gemm-pack'
import { fits, high, low, scan, width } from './gemm-exact'
import { scratch } from './scratch'
import { Tile } from './gemm-tiles'

/** Columns (N >= M) or rows (M > N) of one item. PANEL in src/ops/gemm.ts is the same number. */
export const PANEL: i32 = 16

const NC: i32 = 2048
export const KC: i32 = 512
const MC: i32 = 192
/** Widest tile of any module, in rows and columns. */
const MAX_ROWS: i32 = 8, MAX_COLUMNS: i32 = 32

/** Scratch layout: packed B, packed A, one tile for the edges of C. */
const A_AT: usize = KC * (NC + MAX_COLUMNS) * 4
const EDGE_AT: usize = A_AT + KC * (MC + MAX_ROWS) * 4

/** A row of zeros: where sums start. */
const zeros = memory.data(MAX_COLUMNS * 4, 64)

/**
 * The items [begin, end) of a (batched) product; parameters as gemm_f32. `strict` and `fused` are tiles of rows x columns; `fused` is used for
 * pairs of packed blocks whose products are all exact, and only if `exact` asks to look for them.
 */
export function gemm(
  a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, c: usize, cRow: i32,
  M: i32, N: i32, K: i32, accumulate: i32,
  inner: i32, aOuter: i32, bOuter: i32, cOuter: i32, aInner: i32, bInner: i32, cInner: i32, begin: i32, end: i32,
  rows: i32, columns: i32, strict: Tile, fused: Tile, exact: bool,
): void {
  const byColumns = N >= M
  const length = byColumns ? N : M
  const panels = (length + PANEL - 1) / PANEL
  while (begin < end) {
    const product = begin / panels
    const first = begin - product * panels
    const last = min(panels, end - product * panels)
    const outer = product / inner
    const within = product - outer * inner
    let pa = a + bytes(outer, aOuter) + bytes(within, aInner)
    let pb = b + bytes(outer, bOuter) + bytes(within, bInner)
    let pc = c + bytes(outer, cOuter) + bytes(within, cInner)
    const skip = first * PANEL
    const count = min(length, last * PANEL) - skip
    if (byColumns) {
      pb += bytes(skip, bCol)
      pc += bytes(skip, 1)
    } else {
      pa += bytes(skip, aRow)
      pc += bytes(skip, cRow)
    }
    multiply(pa, aRow, aCol, pb, bRow, bCol, pc, cRow, byColumns ? M : count, byColumns ? count : N, K, accumulate, rows, columns, strict, fused, exact)
    begin = product * panels + last
  }
}

/** Bytes from an element to the one `count` strides further. */
// @ts-ignore: decorator
@inline
export function bytes(count: i32, stride: i32): usize { return (<usize>count * <usize>stride) << 2 }

function multiply(
  a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, c: usize, cRow: i32, M: i32, N: i32, K: i32, accumulate: i32,
  rows: i32, columns: i32, strict: Tile, fused: Tile, exact: bool,
): void {
  if (K <= 0) {
    if (!accumulate) for (let m = 0; m < M; m++) memory.fill(c + bytes(m, cRow), 0, bytes(N, 1))
    return
  }
  const passes = (K + KC - 1) / KC
  const depth = (K + passes - 1) / passes
  const aPack = scratch + A_AT
  for (let n = 0; n < N; n += NC) {
    const nc = min(NC, N - n)
    for (let k = 0; k < K; k += depth) {
      const kc = min(depth, K - k)
      const bEnd = pack(scratch, columns, kc * (<usize>columns << 2), b + bytes(k, bRow) + bytes(n, bCol), bytes(1, bCol), bytes(1, bRow), nc, kc)
      if (exact) scan(scratch, bEnd)
      const widthB = width, lowB = low, highB = high
      const fromZero = k == 0 && !accumulate
      for (let m = 0; m < M; m += MC) {
        const mc = min(MC, M - m)
        const aEnd = pack(aPack, rows, kc * (<usize>rows << 2), a + bytes(m, aRow) + bytes(k, aCol), bytes(1, aRow), bytes(1, aCol), mc, kc)
        if (exact) scan(aPack, aEnd)
        const tile = exact && fits(widthB, lowB, highB) ? fused : strict
        tiles(aPack, c + bytes(m, cRow) + bytes(n, 1), bytes(1, cRow), mc, nc, kc, fromZero, rows, columns, tile)
      }
    }
  }
}

/** C[mc, nc] = (C or 0) + packed A * packed B, tile by tile. */
export function tiles(aPack: usize, c: usize, cRow: usize, mc: i32, nc: i32, kc: usize, fromZero: bool, rows: i32, columns: i32, tile: Tile): void {
  let b = scratch
  for (let n = 0; n < nc; n += columns, b += kc * (<usize>columns << 2)) strip(aPack, kc * (<usize>rows << 2), b, c + bytes(n, 1), cRow, mc, min(columns, nc - n), kc, fromZero, rows, columns, tile)
}

/** C[mc, across] = (C or 0) + packed A, whose panels are `panel` bytes apart, * one packed panel of B. */
export function strip(a: usize, panel: usize, b: usize, to: usize, cRow: usize, mc: i32, across: i32, kc: usize, fromZero: bool, rows: i32, columns: i32, tile: Tile): void {
  const edge = scratch + EDGE_AT
  const edgeRow = <usize>columns << 2
  for (let m = 0; m < mc; m += rows, a += panel, to += <usize>rows * cRow) {
    const down = min(rows, mc - m)
    if (down == rows && across == columns) {
      if (fromZero) tile(kc, a, b, zeros, 0, to, cRow)
      else tile(kc, a, b, to, cRow, to, cRow)
    } else if (fromZero) {
      tile(kc, a, b, zeros, 0, edge, edgeRow)
      copyRows(to, cRow, edge, edgeRow, down, across)
    } else {
      copyRows(edge, edgeRow, to, cRow, down, across)
      tile(kc, a, b, edge, edgeRow, edge, edgeRow)
      copyRows(to, cRow, edge, edgeRow, down, across)
    }
  }
}

function copyRows(to: usize, toRow: usize, from: usize, fromRow: usize, rows: i32, columns: i32): void {
  for (let r = 0; r < rows; r++, to += toRow, from += fromRow) {
    for (let i = 0; i < columns; i++) store<f32>(to + bytes(i, 1), load<f32>(from + bytes(i, 1)))
  }
}

/** Run a tile `repeats` times over kc products inside the scratch area, for timing. */
export function time_tile(columns: i32, tile: Tile, kc: i32, repeats: i32): void {
  const edge = scratch + EDGE_AT
  for (let i = 0; i < repeats; i++) tile(kc, scratch + A_AT, scratch, edge, <usize>columns << 2, edge, <usize>columns << 2)
}
