import { defineConfig } from 'vitest/config'

// Exhaustive and long suites: `npm run test:slow`. Of one processor's time: matrix units some 50 minutes (two files, run side by side), reproductions 15, encoders 8, the rest 1.
export default defineConfig({ test: { include: ['test/slow/**/*.test.ts'], globalSetup: 'test/temporary.setup.ts', disableConsoleIntercept: true, reporters: 'verbose', testTimeout: 3_600_000, hookTimeout: 120_000, maxWorkers: 2 } })
