// What it costs to run a program, apart from the work in it: a call, a barrier, a walk. How much more two threads do than one is in the gemm family.
import { Program } from '../dist/runtime/program.js'

const CALLS = 200

/** A program of `calls` calls with almost no work, each shared by `threads` threads. */
function idle({ arena }, calls, threads) {
  const x = arena.tensor(threads)
  const p = new Program(arena)
  for (let i = 0; i < calls; i++) p.emit('fill_f32', [x.ptr, i], threads)
  return p
}

export async function benches({ inline, pool, threads }) {
  const us = { unit: 'us' }
  const one = idle(inline, CALLS, 1)
  const figures = [{ ...us, name: 'runtime/call', per: CALLS, run: () => inline.runSync(one) }]
  if (threads > 1) {
    const many = await pool()
    const shared = idle(many, CALLS, threads), single = idle(many, 1, threads)
    const alone = new Program(many.arena).emit('fill_f32', [many.arena.tensor(1).ptr, 0], 1)
    figures.push(
      { ...us, name: `runtime/call and barrier/${threads} threads`, per: CALLS, run: () => many.run(shared) },
      { ...us, name: `runtime/program of one call/${threads} threads`, run: () => many.run(single) },
      { ...us, name: 'runtime/program of one call on the caller', run: () => many.run(alone) },
    )
  }
  return figures
}
