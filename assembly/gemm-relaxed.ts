// gemm_exact_f32, gemm_packed_f32 and gemm_packed_turn_f32 with fused multiply-adds: the same bits as assembly/gemm.ts, because a block is fused only when all its products are
// exact (assembly/gemm-exact.ts). An engine without relaxed SIMD keeps the strict kernels of these names.
import { gemm, time_tile } from './gemm-driver'
import { multiplyPacked, multiplyTurn } from './gemm-packed'
import { fused_tile, strict_tile, tile_columns, tile_rows, TILES } from './gemm-tiles-relaxed'

let tile: i32 = 0

/** Use register tile `index` of this module. Called once, before any kernel. */
export function set_gemm_tile(index: i32): void { tile = index }

/** Rows * 256 + columns of tile `index`; 0 beyond the last one. */
export function gemm_tile_shape(index: i32): i32 { return index < TILES ? tile_rows(index) << 8 | tile_columns(index) : 0 }

/** Run fused tile `index` `repeats` times over kc products in scratch memory, for timing. */
export function gemm_tile_time(index: i32, kc: i32, repeats: i32): void {
  time_tile(tile_columns(index), fused_tile(index), kc, repeats)
}

/** Parameters and result as gemm_f32. */
export function gemm_exact_f32(
  a: usize, aRow: i32, aCol: i32, b: usize, bRow: i32, bCol: i32, c: usize, cRow: i32,
  M: i32, N: i32, K: i32, accumulate: i32,
  inner: i32, aOuter: i32, bOuter: i32, cOuter: i32, aInner: i32, bInner: i32, cInner: i32, begin: i32, end: i32,
): void {
  gemm(a, aRow, aCol, b, bRow, bCol, c, cRow, M, N, K, accumulate, inner, aOuter, bOuter, cOuter, aInner, bInner, cInner, begin, end, tile_rows(tile), tile_columns(tile), strict_tile(tile), fused_tile(tile), true)
}

/** Parameters and result as gemm_packed_f32 of the strict module. */
export function gemm_packed_f32(a: usize, b: usize, c: usize, cRow: i32, M: i32, N: i32, K: i32, chunk: i32, blockRows: i32, bias: usize, rounding: i32, begin: i32, end: i32): void {
  multiplyPacked(a, b, c, cRow, M, N, K, chunk, blockRows, bias, rounding, begin, end, tile_rows(tile), tile_columns(tile), strict_tile(tile), fused_tile(tile))
}

/** Parameters and result as gemm_packed_turn_f32 of the strict module. */
export function gemm_packed_turn_f32(a: usize, slot: i32, b: usize, c: usize, cRow: i32, M: i32, N: i32, K: i32, chunk: i32, bias: usize, rounding: i32, turn: i32, turns: i32, shares: i32, begin: i32, end: i32): void {
  multiplyTurn(a, slot, b, c, cRow, M, N, K, chunk, bias, rounding, turn, turns, shares, begin, end, tile_rows(tile), tile_columns(tile), strict_tile(tile), fused_tile(tile))
}
