// f32 matrix products C = A B of n x n matrices: the ladder from the definition to the pool, products that are exact (bf16 values), and the block-exact
// accumulator on E2M1 values (the split into integers not counted; it is gemm/integers).
import { Program } from '../dist/runtime/program.js'
import { blockGemm, integerBlocks } from '../dist/ops/block-gemm.js'
import { gemm } from '../dist/ops/gemm.js'
import { compile, instantiate } from './wasm.mjs'

const ladder = `
/** The definition: one sum at a time. */
export function naive(n: i32, a: usize, b: usize, c: usize): void {
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) {
    let sum: f32 = 0
    for (let k = 0; k < n; k++) sum += load<f32>(a + (<usize>(i * n + k) << 2)) * load<f32>(b + (<usize>(k * n + j) << 2))
    store<f32>(c + (<usize>(i * n + j) << 2), sum)
  }
}
/** Sixteen columns at a time, operands where they lie. */
export function simd(n: i32, a: usize, b: usize, c: usize): void {
  const row = <usize>n << 2
  for (let i = 0; i < n; i++, a += row, c += row) for (let j: usize = 0; j < row; j += 64) {
    let c0 = f32x4.splat(0), c1 = c0, c2 = c0, c3 = c0, p = a, q = b + j
    for (let k = 0; k < n; k++, p += 4, q += row) {
      const x = v128.load32_splat(p)
      c0 = f32x4.add(c0, f32x4.mul(x, v128.load(q)))
      c1 = f32x4.add(c1, f32x4.mul(x, v128.load(q, 16)))
      c2 = f32x4.add(c2, f32x4.mul(x, v128.load(q, 32)))
      c3 = f32x4.add(c3, f32x4.mul(x, v128.load(q, 48)))
    }
    v128.store(c + j, c0)
    v128.store(c + j, c1, 16)
    v128.store(c + j, c2, 32)
    v128.store(c + j, c3, 48)
  }
}
`

/** bf16 values in (-1, 1). */
const fill = view => { for (let i = 0; i < view.length; i++) view[i] = ((Math.imul(i, 2654435761) >>> 8) % 255 - 127) / 128 }

/** Products in one program, so that its start is a small part even of small ones: some milliseconds of work. */
const calls = n => Math.max(1, Math.round(2e7 / n ** 3))

function program(executor, n, products) {
  const { arena } = executor
  const [a, b, c] = [arena.tensor(n, n), arena.tensor(n, n), arena.tensor(n, n)]
  fill(arena.f32(a))
  fill(arena.f32(b))
  const p = new Program(arena)
  for (let i = 0; i < calls(n); i++) gemm(p, { a, b, c, products })
  return p
}

export async function benches({ inline, pool, threads }) {
  const figures = []
  const bare = instantiate(await compile(ladder), 16)
  fill(new Float32Array(bare.memory.buffer))
  const flop = (n, count = 1) => ({ unit: 'GFLOP/s', work: 2 * n ** 3 * count, limit: 'flops', task: `gemm/${n}`, size: n })
  for (const n of [64, 128, 256, 512, 1024, 2048]) {
    if (n === 256) figures.push({ ...flop(n), name: `gemm/naive/${n}`, run: () => bare.naive(n, 0, 4 << 20, 8 << 20) })
    if (n >= 256 && n <= 1024) figures.push({ ...flop(n), name: `gemm/simd/${n}`, run: () => bare.simd(n, 0, 4 << 20, 8 << 20) })
    const e2m1 = inline.arena.tensor(n, n), c = inline.arena.tensor(n, n), split = new Program(inline.arena), multiply = new Program(inline.arena)
    inline.arena.f32(e2m1).forEach((_, i, x) => { x[i] = [0, 0.5, 1, 1.5, 2, 3, 4, 6][(Math.imul(i, 2654435761) >>> 8) % 8] * (i % 3 ? 1 : -1) })
    const blocks = integerBlocks(split, e2m1, 32)
    for (let i = 0; i < calls(n); i++) blockGemm(multiply, { a: blocks, b: blocks, c })
    inline.runSync(split)
    figures.push({ ...flop(n, calls(n)), name: `gemm/block-exact/${n}`, limit: null, beside: `gemm/strict/${n}`, besides: 'strict', run: () => inline.runSync(multiply) })
    figures.push({ name: `gemm/integers/${n}`, unit: 'Gel/s', work: n * n, run: () => inline.runSync(split) })
    for (const [name, products] of [['strict', 'rounded'], ['exact', 'exact']]) {
      const p = program(inline, n, products)
      figures.push({ ...flop(n, calls(n)), name: `gemm/${name}/${n}`, run: () => inline.runSync(p) })
      if (threads > 1 && n >= 128) {
        const many = await pool(), q = program(many, n, products)
        figures.push({ ...flop(n, calls(n)), name: `gemm/${name}/${n}/${threads} threads`, threads, run: () => many.run(q) })
      }
    }
  }
  return figures
}
