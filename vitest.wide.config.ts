import { defineConfig } from 'vitest/config'

// The kernel tests with the engine's 256-bit mode asked for, as the command line does. Run by test/runtime/modes.test.ts.
export default defineConfig({
  test: { include: ['test/ops/**/*.test.ts', 'test/runtime/selftest.test.ts'], setupFiles: ['test/wide.setup.ts'], testTimeout: 120_000, maxWorkers: 2 },
})
