// R3: the share of activations that overflow. The hidden activations are those of the proxy model at initialization: GELU(W LN(x)).
import { barX, ruleX } from '@observablehq/plot'
import type { FormatName } from '../../numerics/formats.ts'
import { activationForward } from '../../ops/activation.ts'
import { gemm } from '../../ops/gemm.ts'
import { InlineExecutor } from '../../runtime/executor.ts'
import { Program } from '../../runtime/program.ts'
import { overflowShares } from '../block-statistics.ts'
import { normalTensor } from '../core-tensors.ts'
import { outcome, shows, within, type Reproduction } from '../reproduction.ts'
import { Random } from '../statistics.ts'

/** GELU(x W^T), x standard normal (what a fresh layer norm puts out), W uniform in +-1/sqrt(d) (torch's default Linear). */
function hidden(seed: number, rows: number, width: number): Float32Array {
  const executor = new InlineExecutor(), { arena } = executor
  const x = arena.from(normalTensor(rows * width, seed, 1), rows, width)
  const random = new Random(seed)
  const weight = arena.from(Float32Array.from({ length: 4 * width * width }, () => (2 * random.uniform() - 1) / Math.sqrt(width)), 4 * width, width)
  const y = arena.tensor(rows, 4 * width)
  const program = new Program(arena)
  gemm(program, { a: x, b: weight, c: y, transB: true })
  activationForward(program, 'gelu', { kind: 'exact' }, { x: y, y })
  executor.runSync(program)
  return arena.f32(y).slice()
}

export const reproduction: Reproduction = {
  name: 'r3-activation-overflow',
  title: 'Share of activations in the last bucket',
  claim: 'About 1 % of the activations overflow: a small fraction, unlike layer-norm weights, of which all do.',
  source: 'arXiv 2506.20752, figure 3 right; block statistics of a Gaussian',
  cost: { quick: '2^19 values, seconds', full: '2^22 values, half a minute' },
  run({ scale, seed, log }) {
    const count = scale === 'quick' ? 2 ** 19 : 2 ** 22
    const tensors = { 'Gaussian': normalTensor(count, seed), 'GELU hidden': hidden(seed, count / 1024, 256) }
    log(`${count} values each of ${Object.keys(tensors).join(', ')}`)
    const formats: FormatName[] = ['e4m3', 'e5m2', 'e3m2', 'e2m3', 'e2m1']
    const rows = Object.entries(tensors).flatMap(([tensor, x]) => formats.map(format => ({ tensor, format, ...overflowShares(x, format) })))
    const at = (tensor: string, format: string) => rows.find(r => r.tensor === tensor && r.format === format)!
    const gaussian = at('Gaussian', 'e4m3'), gelu = at('GELU hidden', 'e4m3')
    return outcome([
      shows('share of hidden GELU values that overflow in E4M3', 'about 1 %', `${(100 * gelu.elements).toFixed(2)} %`, gelu.elements > 0.003 && gelu.elements < 0.03),
      within('share of Gaussian values, E4M3 (claimed by our own earlier simulation)', 0.0087, gaussian.elements, 5e-4),
      within('share of Gaussian blocks of 32 with at least one', 0.169, gaussian.blocks, 5e-3),
      within('share of Gaussian values, E2M3', 0.0038, at('Gaussian', 'e2m3').elements, 5e-4),
      within('share of Gaussian values, E2M1', 0.0236, at('Gaussian', 'e2m1').elements, 5e-4),
    ], 'Few values overflow, but one block in six has one: its largest, which carries much of the block\'s weight.', [{
      name: 'r3-activation-overflow', title: 'Values beyond the last one that their block can express', caption: 'Floor scale rule, blocks of 32. E5M2 and E3M2 have the same threshold as E4M3: 1.75 times the block\'s power of two.',
      plot: {
        height: 240, marginLeft: 60, marginRight: 100, x: { label: 'share of values (%)', percent: true, grid: true }, y: { label: null, domain: formats }, fy: { label: null },
        marks: [barX(rows, { y: 'format', x: 'elements', fy: 'tensor', fill: 'var(--studied)' }), ruleX([0])],
      },
      data: rows,
    }])
  },
}
