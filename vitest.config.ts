import { defineConfig } from 'vitest/config'

// The everyday suite. Two workers: the machine that must finish it has two cores. Timings are never asserted, so timeouts only catch hangs.
export default defineConfig({
  test: { include: ['test/**/*.test.ts'], exclude: ['test/slow/**', 'test/slurm/**'], globalSetup: 'test/temporary.setup.ts', testTimeout: 120_000, hookTimeout: 120_000, maxWorkers: 2 },
})
