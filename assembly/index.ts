// The ABI of the core: what this file exports is what src/runtime can call. Conventions are in docs/architecture.md, "Kernels".
export { barrier, barrier_resume, barrier_halt } from './barrier'
export { fill_f32, copy_f32 } from './basic'
export { gemm_f32, gemm_exact_f32, set_gemm_tile, gemm_tile_shape, gemm_tile_time } from './gemm'
export { philox_words } from './philox'
export { set_scratch } from './scratch'
