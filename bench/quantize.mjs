// Fake-quantization f32 to f32 (quantize and dequantize in one pass), E4M3 in blocks of 32: along rows and down columns, in the cache and out of it; and
// elementwise rounding to bf16. A limit is the copy of as many f32.
import { bf16Even, blockQuantizer } from '../dist/numerics/profiles.js'
import { fakeQuantize, roundElements } from '../dist/ops/quantize.js'
import { Program } from '../dist/runtime/program.js'

/** Values of many magnitudes, as in a trained layer. */
const fill = view => { for (let i = 0; i < view.length; i++) view[i] = (((Math.imul(i, 2654435761) >>> 8) & 0xffff) / 32768 - 1) * 2 ** (i * 7 % 11 - 6) }

const quantizers = [
  ['floor-even', blockQuantizer('ocp', 'e4m3')],
  ['floor-away', blockQuantizer('ocp', 'e4m3', { rounding: 'nearest-away' })],
  ['rceil-even', blockQuantizer('ocp', 'e4m3', { scaleRule: 'rceil' })],
  ['microxcaling', blockQuantizer('microxcaling', 'e4m3')],
]

export async function benches({ inline, pool, threads }) {
  const figures = []
  const add = async (name, shape, limit, emit) => {
    const program = executor => {
      const { arena } = executor, x = arena.tensor(...shape), y = arena.tensor(...shape), p = new Program(arena)
      fill(arena.f32(x))
      emit(p, x, y)
      return p
    }
    const common = { unit: 'Gel/s', work: shape[0] * shape[1], bytes: 4, limit, task: `quantize/${name}` }
    const one = program(inline)
    figures.push({ ...common, name: `quantize/${name}`, run: () => inline.runSync(one) })
    if (threads > 1 && limit === 'copy-memory') {
      const many = await pool(), all = program(many)
      figures.push({ ...common, name: `quantize/${name}/${threads} threads`, threads, run: () => many.run(all) })
    }
  }
  for (const [name, q] of quantizers) await add(`${name}/rows/2048x256`, [2048, 256], 'copy', (p, x, y) => fakeQuantize(p, x, y, 1, q))
  await add('floor-even/columns/2048x256', [2048, 256], 'copy', (p, x, y) => fakeQuantize(p, x, y, 0, quantizers[0][1]))
  await add('floor-even/rows/8192x1024', [8192, 1024], 'copy-memory', (p, x, y) => fakeQuantize(p, x, y, 1, quantizers[0][1]))
  await add('bf16-even/2048x256', [2048, 256], 'copy', (p, x, y) => roundElements(p, x, y, bf16Even))
  return figures
}
