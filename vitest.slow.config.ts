import { defineConfig } from 'vitest/config'

// Exhaustive and long suites: `npm run test:slow`. Of one processor's time: matrix units about 40 minutes (two files, run side by side), encoders 6, the rest 3.
export default defineConfig({ test: { include: ['test/slow/**/*.test.ts'], globalSetup: 'test/temporary.setup.ts', disableConsoleIntercept: true, testTimeout: 3_600_000, hookTimeout: 120_000, maxWorkers: 2 } })
