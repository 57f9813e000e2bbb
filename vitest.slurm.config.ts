import { defineConfig } from 'vitest/config'

// A real Slurm on this machine: `npm run test:slurm`. Needs root and Debian's slurmctld, slurmd, slurm-client and munge; skipped with the reason otherwise.
export default defineConfig({ test: { include: ['test/slurm/**/*.test.ts'], globalSetup: 'test/temporary.setup.ts', testTimeout: 300_000, hookTimeout: 120_000, maxWorkers: 1 } })
