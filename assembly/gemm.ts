// f32 matrix product C[M,N] = A[M,K] B[K,N] (+ C), strict: each output is one sequential sum over k, product rounded, then sum rounded (the naive
// triple loop, src/oracle/gemm.ts). Operands are strided views, so every orientation of a backward pass is one kernel.
//
// Items: PANEL-wide panels along the longer of N and M, for each matrix of the batch in turn (src/ops/gemm.ts computes the same count).
import { use_block_tile } from './gemm-block'
import { gemm, time_tile } from './gemm-driver'
import { multiplyPacked, multiplyTurn } from './gemm-packed'
import { strict_tile, tile_columns, tile_rows, TILES } from './gemm-tiles'

/** The register tile in use; it changes the speed of this instance, never a result. */
let tile: i32 = 0

/** Use register tile `index`. Called once, before any kernel. */
export function set_gemm_tile(index: i32): void {
  tile = index
  use_block_tile(tile_columns(index))
}

/** Rows * 256 + columns of tile `index`; 0 beyond the last one. */
export function gemm_tile_shape(index: i32): i32 { return index < TILES ? tile_rows(index) << 8 | tile_columns(index) : 0 }

/** Run tile `index` `repeats` times over kc products in scratch memory, for timing. */
export function gemm_tile_time(index: i32, kc: i32, repeats: i32): void {
  time_tile(tile_columns(index), strict_tile(index), kc, repeats)
}

/**
 * Strides are in elements; C's rows are contiguous. `accumulate` != 0 starts every sum from C instead of +0. Product i of a batch (there are as many as
 * the items make) has its operands i / inner outer steps and i mod inner inner steps further, in elements; inner >= 1.
 */
export function gemm_f32(
  a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, c: usize, cRow: i32,
  M: i32, N: i32, K: i32, accumulate: i32,
  inner: i32, aOuter: i32, bOuter: i32, cOuter: i32, aInner: i32, bInner: i32, cInner: i32, begin: i32, end: i32,
): void {
  const strict = strict_tile(tile)
  gemm(a, aRow, aCol, b, bRow, bCol, c, cRow, M, N, K, accumulate, inner, aOuter, bOuter, cOuter, aInner, bInner, cInner, begin, end, tile_rows(tile), tile_columns(tile), strict, strict, false)
}

/** As gemm_f32, for products that are mostly exact in f32. The relaxed module, where there is one, replaces it by its own of the same name and bits. */
export function gemm_exact_f32(
  a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, c: usize, cRow: i32,
  M: i32, N: i32, K: i32, accumulate: i32,
  inner: i32, aOuter: i32, bOuter: i32, cOuter: i32, aInner: i32, bInner: i32, cInner: i32, begin: i32, end: i32,
): void {
  gemm_f32(a, aRow, aCol, b, bRow, bCol, c, cRow, M, N, K, accumulate, inner, aOuter, bOuter, cOuter, aInner, bInner, cInner, begin, end)
}

/**
 * C[M,N] = Q(A B), or Q(Q(A B) + Q(bias [N])) if bias != 0, of operands that gemm_pack_f32 left with the same K > 0 and `chunk`; `rounding` of Q as in bf16.ts.
 * `blockRows`: a multiple of 120. The relaxed module's kernel of the same name replaces this one, and gives the same bits.
 * Items: PANEL-wide panels of columns, each in blocks of `blockRows` rows.
 */
export function gemm_packed_f32(a: usize, b: usize, c: usize, cRow: i32, M: i32, N: i32, K: i32, chunk: i32, blockRows: i32, bias: usize, rounding: i32, begin: i32, end: i32): void {
  const strict = strict_tile(tile)
  multiplyPacked(a, b, c, cRow, M, N, K, chunk, blockRows, bias, rounding, begin, end, tile_rows(tile), tile_columns(tile), strict, strict)
}

/**
 * The same product in turns, without a bias if bias == 0: of A, gemm_pack_turn_f32 has left the rows that each item has in turn `turn` of `turns`, `slot` words
 * apart; B is whole. The relaxed module's kernel of the same name replaces this one, and gives the same bits. Items: `shares` shares of the turn's rows.
 */
export function gemm_packed_turn_f32(a: usize, slot: i32, b: usize, c: usize, cRow: i32, M: i32, N: i32, K: i32, chunk: i32, bias: usize, rounding: i32, turn: i32, turns: i32, shares: i32, begin: i32, end: i32): void {
  const strict = strict_tile(tile)
  multiplyTurn(a, slot, b, c, cRow, M, N, K, chunk, bias, rounding, turn, turns, shares, begin, end, tile_rows(tile), tile_columns(tile), strict, strict)
}
