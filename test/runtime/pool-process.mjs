// A process that runs programs on a pool of the built package, for process.test.ts: `MODE=... node pool-process.mjs`. Prints one line of JSON.
import { createHash } from 'node:crypto'
import { isMainThread } from 'node:worker_threads'

const mode = process.env.MODE

if (!isMainThread) {
  // Preloaded in the workers: a traced thread looks at the clock after every part of its plan, which is where this one goes wrong.
  let looks = 0
  const now = performance.now.bind(performance)
  performance.now = () => {
    if (++looks === 10 && mode === 'exit') process.exit(7)
    if (looks === 10 && mode === 'throw') throw new Error('no clock')
    return now()
  }
} else {
  const { open } = await import('../../dist/runtime/open.js')
  const { Program } = await import('../../dist/runtime/program.js')
  const { gemm } = await import('../../dist/ops/gemm.js')
  const N = 97, threads = 3
  const executor = await open({ threads })
  const values = (n, step) => Float32Array.from({ length: n }, (_, i) => ((i * step) % 101 - 50) / 64)
  const { arena } = executor
  const a = arena.from(values(N * N, 7), N, N), b = arena.from(values(N * N, 11), N, N), c = arena.tensor(N, N)
  const program = new Program(arena)
  for (let i = 0; i < 20; i++) program.scope(`step${i}`, () => gemm(program, { a, b, c }))
  let steps = 0, stopped = false
  process.once('SIGINT', () => { stopped = true })
  try {
    await executor.run(program)
    if (mode === 'sigint') {
      console.log('running')
      for (; !stopped; steps++) await executor.run(program)
    } else if (mode !== 'hash') {
      // A thread told to exit may still finish what it walks: the next walk must notice.
      for (let i = 0; i < (mode === 'trace' ? 1 : 20); i++) await executor.trace(program)
    }
    console.log(JSON.stringify({ steps, sha256: createHash('sha256').update(arena.f32(c).slice()).digest('hex') }))
  } catch (error) {
    console.log(JSON.stringify({ name: error.name, message: error.message }))
    process.exitCode = 1
  } finally {
    await executor.close()
  }
}
