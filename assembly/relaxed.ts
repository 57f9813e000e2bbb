// The ABI of the relaxed-SIMD module: kernels whose operands make a fused multiply-add exact, so that fused and unfused give the same bits.
export { set_scratch } from './scratch'
