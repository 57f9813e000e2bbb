// Generates assembly/gemm-tiles.ts, the register-tile micro-kernels of the GEMM.
export function generateTiles() {}
