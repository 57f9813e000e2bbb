// Fake-quantization f32 to f32 (quantize and dequantize in one pass), E4M3 in blocks of 32: along rows and down columns, in the cache and out of it; and
// elementwise rounding to bf16. A limit is the copy of as many f32. Out of the cache the columns' order of access (32 rows of a panel, then the next panel)
// has a limit of its own, beside which that figure is put: a copy in that order. Rows of up to 1024 columns are one panel, and need not pay it.
import { bf16Even, blockQuantizer } from '../dist/numerics/profiles.js'
import { fakeQuantize, roundElements } from '../dist/ops/quantize.js'
import { Program } from '../dist/runtime/program.js'
import { compile, instantiate } from './wasm.mjs'

/** Values of many magnitudes, as in a trained layer. */
const fill = view => { for (let i = 0; i < view.length; i++) view[i] = (((Math.imul(i, 2654435761) >>> 8) & 0xffff) / 32768 - 1) * 2 ** (i * 7 % 11 - 6) }

const quantizers = [
  ['floor-even', blockQuantizer('ocp', 'e4m3')],
  ['floor-away', blockQuantizer('ocp', 'e4m3', { rounding: 'nearest-away' })],
  ['rceil-even', blockQuantizer('ocp', 'e4m3', { scaleRule: 'rceil' })],
  ['microxcaling', blockQuantizer('microxcaling', 'e4m3')],
]

/** Copies [rows, cols] f32 in bands of 32 rows and panels of 512 columns, a row of a panel at a time. */
const copyPanels = `export function copy_panels(to: usize, from: usize, rows: usize, cols: usize): void {
  for (let row: usize = 0; row < rows; row += 32) for (let panel: usize = 0; panel < cols; panel += 512) for (let r = row; r < row + 32; r++) {
    const start = r * cols + panel << 2
    for (let p = from + start, q = to + start, stop = p + 2048; p < stop; p += 32, q += 32) {
      const a = v128.load(p), b = v128.load(p, 16)
      v128.store(q, a)
      v128.store(q, b, 16)
    }
  }
}`

export async function benches({ inline, pool, threads, wanted }) {
  const figures = []
  const add = async (name, shape, limit, emit, more = {}) => {
    const program = executor => {
      const { arena } = executor, x = arena.tensor(...shape), y = arena.tensor(...shape), p = new Program(arena)
      fill(arena.f32(x))
      emit(p, x, y)
      return p
    }
    const one = { unit: 'Gel/s', work: shape[0] * shape[1], bytes: 4, limit, task: `quantize/${name}`, ...more, name: `quantize/${name}` }, all = { ...one, name: `${one.name}/${threads} threads`, threads }
    if (wanted(one)) {
      const p = program(inline)
      figures.push({ ...one, run: () => inline.runSync(p) })
    }
    if (threads > 1 && limit === 'copy-memory' && wanted(all)) {
      const many = await pool(), p = program(many)
      figures.push({ ...all, run: () => many.run(p) })
    }
  }
  for (const [name, q] of quantizers) await add(`${name}/rows/2048x256`, [2048, 256], 'copy', (p, x, y) => fakeQuantize(p, x, y, 1, q))
  await add('floor-even/columns/2048x256', [2048, 256], 'copy', (p, x, y) => fakeQuantize(p, x, y, 0, quantizers[0][1]))
  const large = [8192, 4096], [rows, cols] = large, order = `quantize/copy in panels/${rows}x${cols}`
  await add(`floor-even/rows/${rows}x${cols}`, large, 'copy-memory', (p, x, y) => fakeQuantize(p, x, y, 1, quantizers[0][1]))
  await add(`floor-even/rows/${rows}x${cols} in place`, large, 'copy-memory', (p, x) => fakeQuantize(p, x, x, 1, quantizers[0][1]))
  await add(`floor-even/columns/${rows}x${cols}`, large, 'copy-memory', (p, x, y) => fakeQuantize(p, x, y, 0, quantizers[0][1]), { task: order, beside: order, besides: 'a copy in that order' })
  await add('floor-even/columns/32768x1024', [32768, 1024], 'copy-memory', (p, x, y) => fakeQuantize(p, x, y, 0, quantizers[0][1]))
  const copy = { name: order, unit: 'Gel/s', work: rows * cols, bytes: 4, limit: 'copy-memory', task: order }
  if (wanted(copy)) {
    const { copy_panels, memory } = instantiate(await compile(copyPanels), 1 + rows * cols / 2 ** 17)
    new Uint8Array(memory.buffer).fill(1)
    figures.push({ ...copy, run: () => copy_panels(rows * cols * 4, 0, rows, cols) })
  }
  await add('bf16-even/2048x256', [2048, 256], 'copy', (p, x, y) => roundElements(p, x, y, bf16Even))
  return figures
}
