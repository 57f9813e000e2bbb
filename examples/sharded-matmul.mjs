// A matrix product shared out over threads. node sharded-matmul.mjs [N]
import { availableParallelism } from 'node:os'
import { Core, open } from 'blockscale'

const n = Number(process.argv[2] ?? 1024)
const matrix = seed => ({ shape: [n, n], data: Float32Array.from({ length: n * n }, (_, i) => Math.sin(i * seed)) })
const a = matrix(0.7), b = matrix(1.3)

let first
for (const threads of new Set([1, 2, availableParallelism()])) {
  const executor = await open({ threads })
  try {
    const core = new Core(executor)
    await core.matmul(a, b) // the engine optimizes code while it runs
    const start = performance.now()
    const { codes } = await core.matmul(a, b)
    const seconds = (performance.now() - start) / 1000
    first ??= codes
    console.log(`${threads} thread${threads > 1 ? 's' : ''}: ${(2 * n ** 3 / seconds / 1e9).toFixed(1)} GFLOP/s, ${codes.every((word, i) => word === first[i]) ? 'the same bits' : 'OTHER BITS'}`)
  } finally {
    await executor.close()
  }
}
