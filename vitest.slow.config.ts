import { defineConfig } from 'vitest/config'

// Exhaustive and long suites: `npm run test:slow`.
export default defineConfig({ test: { include: ['test/slow/**/*.test.ts'], testTimeout: 3_600_000, hookTimeout: 120_000, maxWorkers: 2 } })
