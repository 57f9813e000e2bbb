// Random programs for the executors' tests: chains of operations over square matrices, each of which reads one or two earlier results.
import { gemm } from '../../src/ops/gemm.ts'
import type { Arena, Tensor } from '../../src/runtime/memory.ts'
import { Program } from '../../src/runtime/program.ts'

/** Width of the matrices: odd, so that kernels meet their tails. */
export const N = 37

/** One operation: emits calls that write `out` from `a` and `b`. */
export type Operation = (p: Program, out: Tensor, a: Tensor, b: Tensor, seed: number) => void

export const operations: Record<string, Operation> = {
  fill: (p, out, _a, _b, seed) => p.emit('fill_f32', [out.ptr, seed / 7], N * N),
  copy: (p, out, a, _b, seed) => p.emit('copy_f32', [out.ptr, a.ptr], N * N, 1 + seed % 100),
  'copy, alone': (p, out, a) => p.emit('copy_f32', [out.ptr, a.ptr], N * N, N * N),
  'two halves, no barrier between': (p, out, a, b) => p.nowait(() => {
    const half = (N * N) >> 1
    p.emit('copy_f32', [out.ptr, a.ptr], half).emit('copy_f32', [out.ptr + half * 4, b.ptr + half * 4], N * N - half, 64)
  }),
  'a chain over the same items': (p, out, a) => p.nowait(() => {
    const t = p.temp(N, N)
    p.emit('copy_f32', [t.ptr, a.ptr], N * N).emit('copy_f32', [out.ptr, t.ptr], N * N)
    p.free(t)
  }),
  gemm: (p, out, a, b, seed) => gemm(p, { a, b, c: out, transA: (seed & 1) === 1, transB: (seed & 2) === 2, products: seed & 4 ? 'exact' : 'rounded' }),
}

/** One step of a random program: which operation, which earlier results it reads, a number for its details. */
export interface Step {
  operation: string
  a: number
  b: number
  seed: number
}

/** Emit the steps over fresh memory of `arena`; the program's inputs are matrices of small numbers. Returns the results of all steps. */
export function build(arena: Arena, steps: readonly Step[]): { program: Program, results: Tensor[] } {
  const values = (seed: number) => Float32Array.from({ length: N * N }, (_, i) => ((i * 2654435761 + seed * 40503) >>> 16) % 199 / 64 - 1.5)
  const results = [arena.from(values(1), N, N), arena.from(values(2), N, N)]
  const program = new Program(arena)
  steps.forEach(({ operation, a, b, seed }, i) => program.scope(`step${i}`, () => {
    const out = arena.tensor(N, N)
    operations[operation]!(program, out, results[a % results.length]!, results[b % results.length]!, seed)
    results.push(out)
  }))
  return { program, results }
}

/** The bits of all results, NaNs alike. */
export function bits(arena: Arena, results: readonly Tensor[]): Uint32Array {
  const all = Float32Array.from(results.flatMap(t => [...arena.f32(t)]), v => Number.isNaN(v) ? NaN : v)
  return new Uint32Array(all.buffer)
}
