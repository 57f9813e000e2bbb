// The ABI of the relaxed-SIMD module: kernels whose operands make a fused multiply-add exact, so that fused and unfused give the same bits.
export { gemm_exact_f32, gemm_packed_f32, gemm_packed_turn_f32, set_gemm_tile, gemm_tile_shape, gemm_tile_time } from './gemm-relaxed'
export { set_scratch } from './scratch'
