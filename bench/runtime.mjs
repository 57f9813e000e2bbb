// What it costs to run a program, apart from the work in it: a call, a barrier, a walk. How much more two threads do than one is in the gemm family.
// And the edge entry: the same kernels on one thread as the inline executor, and its cold start.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { open } from '../build/edge.js'
import { blockQuantizer } from '../dist/numerics/profiles.js'
import { gemm } from '../dist/ops/gemm.js'
import { fakeQuantize } from '../dist/ops/quantize.js'
import { Program } from '../dist/runtime/program.js'
import { edgeWorker, load } from '../test/runtimes/bundle.mjs'

const CALLS = 200

/** A program of `calls` calls with almost no work, each shared by `threads` threads. */
function idle({ arena }, calls, threads) {
  const x = arena.tensor(threads)
  const p = new Program(arena)
  for (let i = 0; i < calls; i++) p.emit('fill_f32', [x.ptr, i], threads)
  return p
}

/** Each work in turn by the inline executor and by the edge entry's. */
async function edgeFigures(inline) {
  const edge = await open()
  const values = Float32Array.from({ length: 1 << 18 }, (_, i) => Math.fround(Math.sin(i) * 2 ** (i % 9)))
  const works = {
    'quantize e4m3/512x512': { unit: 'Gel/s', work: values.length, emit: (p, { arena }) => fakeQuantize(p, arena.from(values, 512, 512), arena.tensor(512, 512), 1, blockQuantizer('ocp', 'e4m3')) },
    'gemm strict/256': { unit: 'GFLOP/s', work: 2 * 256 ** 3, emit: (p, { arena }) => gemm(p, { a: arena.from(values.subarray(0, 65536), 256, 256), b: arena.from(values.subarray(65536, 131072), 256, 256), c: arena.tensor(256, 256) }) },
  }
  return Object.entries(works).flatMap(([name, { emit, ...what }]) => [['inline', inline], ['edge entry', edge]].map(([who, executor]) => {
    const p = new Program(executor.arena), task = `runtime/${name}`
    emit(p, executor)
    return { ...what, task, name: `${task}/${who}`, ...who !== 'inline' && { beside: `${task}/inline` }, run: () => executor.runSync(p) }
  }))
}

/** Import to first 1024 quantized values, each time in a new process or isolate. */
async function coldStarts() {
  const script = fileURLToPath(new URL('../test/runtimes/cold-start.mjs', import.meta.url))
  const command = `import(${JSON.stringify(script)}).then(m => m.coldStart()).then(r => console.log(r.coldStart))`
  const inNode = async () => Number((await promisify(execFile)(process.execPath, ['--input-type=module', '-e', command])).stdout)
  const figure = (where, measure) => ({ name: `runtime/cold start of the edge entry/${where}`, unit: 'ms', timer: { async sample() { const seconds = await measure() / 1e3; return { least: seconds, median: seconds } } } })
  return [figure('node', inNode), ...await load('miniflare') ? [figure('workerd', async () => (await edgeWorker('/cold')).coldStart)] : []]
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
  return [...figures, ...await edgeFigures(inline), ...await coldStarts()]
}
