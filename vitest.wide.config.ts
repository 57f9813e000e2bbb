import { defineConfig } from 'vitest/config'

// The kernel tests with the engine's 256-bit mode asked for, as the command line does. Run by test/runtime/modes.test.ts. An engine without that mode
// (Node 20) only gains relaxed SIMD, which concerns matrix products alone.
const products = ['test/ops/gemm.test.ts', 'test/ops/block-gemm.test.ts', 'test/runtime/selftest.test.ts']
const all = ['test/ops/**/*.test.ts', 'test/kernels/**/*.test.ts', 'test/runtime/selftest.test.ts']

export default defineConfig({
  test: { include: Number.parseInt(process.versions.v8) >= 12 ? all : products, setupFiles: ['test/wide.setup.ts'], testTimeout: 120_000, maxWorkers: 2 },
})
