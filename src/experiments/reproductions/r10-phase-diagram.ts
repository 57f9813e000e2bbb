// R10: where training is stable, over learning rate, depth and width, in f32 and in MX (forward E4M3, backward E5M2, as in the paper's sweep). A cell is
// unstable if its loss ends above twice the lowest that any learning rate reached in f32 at the same depth and width, or is not finite.
import { cell, text } from '@observablehq/plot'
import { outcome, shows, type Context, type Outcome, type Reproduction, type Scale } from '../reproduction.ts'
import { proxy, trainRun, withExecutor } from './training.ts'
import { endLevel } from '../statistics.ts'

interface Settings { rates: readonly number[], depths: readonly number[], widths: readonly number[], batch: number, steps: number }
const settings: Record<Scale, Settings> = {
  quick: { rates: [2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2], depths: [2, 4, 8], widths: [32, 64, 128], batch: 64, steps: 200 },
  full: { rates: [5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2], depths: [3, 4, 5, 6, 7, 8], widths: [64, 96, 128], batch: 256, steps: 2000 },
}
const precisions = { fp32: 'fp32', mx: 'mx-mix' } as const

export interface Cell { precision: keyof typeof precisions, depth: number, width: number, lr: number, loss: number }

export const reproduction: Reproduction = {
  name: 'r10-phase-diagram',
  title: 'Stability over learning rate, depth and width',
  claim: 'Instabilities appear at high learning rates in FP32 as well; they are more likely at higher learning rates and in larger models, and low precision adds to them.',
  source: 'arXiv 2506.20752, appendix C and the released sweep (forward E4M3, backward E5M2)',
  cost: { quick: '90 runs of L=2 to 8, d=32 to 128, 200 steps of 64: a minute and a half', full: '216 runs of L=3 to 8, d=64 to 128, 2000 steps of 256: about eight hours' },
  run: context => measure(settings[context.scale], context),
}

export async function measure({ rates, depths, widths, batch, steps }: Settings, { seed, log, signal }: Context): Promise<Outcome> {
  const cells: Cell[] = []
  await withExecutor(async executor => {
    for (const width of widths) for (const depth of depths) {
      for (const [label, precision] of Object.entries(precisions)) for (const lr of rates) {
        const run = await trainRun(executor, proxy({ model: { depth, width }, batch, steps, seed, optimizer: { lr }, precision, validation: { every: 0 } }), { signal })
        cells.push({ precision: label as Cell['precision'], depth, width, lr, loss: endLevel(run.losses.studied) })
      }
      log(`d=${width}, L=${depth}: losses ${cells.slice(-2 * rates.length).map(c => c.loss.toPrecision(2)).join(' ')}`)
    }
  })
  return judge(cells)
}

/** The verdict that the cells of a whole grid amount to. */
export function judge(cells: readonly Cell[]): Outcome {
  const best = (c: Cell) => Math.min(...cells.filter(o => o.precision === 'fp32' && o.depth === c.depth && o.width === c.width).map(o => o.loss))
  const judged = cells.map(c => ({ ...c, excess: c.loss / best(c), unstable: !(c.loss <= 2 * best(c)) }))
  const count = (precision: Cell['precision'], lr?: number) => judged.filter(c => c.precision === precision && c.unstable && (lr === undefined || c.lr === lr)).length
  const rates = distinct(cells, 'lr'), perRate = judged.length / rates.length / 2
  // A step along an axis, everything else equal, that goes from unstable back to stable.
  const against = (key: 'lr' | 'depth' | 'width') => {
    const values = distinct(cells, key)
    const pairs = judged.flatMap(a => { const next = values[values.indexOf(a[key]) + 1]; return judged.filter(b => b[key] === next && (['lr', 'depth', 'width', 'precision'] as const).every(k => k === key || a[k] === b[k])).map(b => [a, b] as const) })
    const back = pairs.filter(([a, b]) => a.unstable && !b.unstable).length, into = pairs.filter(([a, b]) => !a.unstable && b.unstable).length
    return shows(`steps to the next larger ${{ lr: 'learning rate', depth: 'depth', width: 'width' }[key]} that turn a stable cell unstable, and the reverse`, 'far more than the reverse: above five times', `${into} and ${back}`, into > 5 * back)
  }
  return outcome([
    shows('unstable f32 cells at the highest learning rate, and at the lowest', 'some, and none', `${count('fp32', rates.at(-1))} and ${count('fp32', rates[0])} of ${perRate}`, count('fp32', rates.at(-1)) > 0 && count('fp32', rates[0]) === 0),
    against('lr'), against('depth'), against('width'),
    shows('unstable cells in MX and in f32', 'more in MX', `${count('mx')} and ${count('fp32')} of ${judged.length / 2}`, count('mx') > count('fp32')),
  ], 'Unstable: the loss ends above twice the lowest that any learning rate reached in f32 at the same depth and width. One seed; far smaller and shorter than the paper\'s sweep, at learning rates that are higher in proportion.', [{
    name: 'r10-phase-diagram', title: 'Loss at the end, relative to the lowest f32 loss of the same depth and width', caption: 'Rows: depth, twice; columns: width. A number above 2 counts as unstable.',
    plot: {
      height: 360, marginLeft: 60, marginRight: 50, marginTop: 40, x: { label: 'learning rate', type: 'band', tickFormat: String }, y: { label: 'depth', type: 'band' }, fx: { label: null, tickFormat: (w: number) => `d = ${w}` }, fy: { label: null },
      color: { legend: true, domain: ['stable', 'unstable'], range: ['var(--series-5)', 'var(--studied)'] },
      marks: [
        cell(judged, { x: 'lr', y: 'depth', fx: 'width', fy: 'precision', fill: d => d.unstable ? 'unstable' : 'stable', fillOpacity: d => d.unstable ? 0.75 : 0.35 }),
        text(judged, { x: 'lr', y: 'depth', fx: 'width', fy: 'precision', text: d => d.excess < 100 ? d.excess.toPrecision(2) : Number.isFinite(d.excess) ? '>99' : '∞', fontSize: 10 }),
      ],
    },
    data: judged.map(({ excess, loss, ...rest }) => ({ ...rest, loss: Number.isFinite(loss) ? Number(loss.toPrecision(4)) : null, excess: Number.isFinite(excess) ? Number(excess.toPrecision(4)) : null })),
  }])
}

const distinct = <K extends 'lr' | 'depth' | 'width'>(cells: readonly Cell[], key: K) => [...new Set(cells.map(c => c[key]))].sort((a, b) => a - b)
