// R18: the exponent bump as its authors meant it: one more for the shared exponent of a block that would saturate.
import { dot, ruleY } from '@observablehq/plot'
import { blockQuantizer } from '../../numerics/profiles.ts'
import { quantize } from '../../oracle/quantize.ts'
import { overflowShares } from '../block-statistics.ts'
import { normalTensor } from '../core-tensors.ts'
import { outcome, shows, type Reproduction } from '../reproduction.ts'

const BLOCK = 32

export const reproduction: Reproduction = {
  name: 'r18-exponent-bump',
  title: 'The exponent bump, done right',
  claim: 'Adding one to the shared exponent of a block that would saturate removes all saturation; it costs one bit of resolution, and only in the bumped blocks. As released, the bump takes the maximum over the wrong axis, so that exponents differ within a block.',
  source: 'arXiv 2506.20752, intervention "exponent bump"; student_teacher.py --bump_up_overflow_exponent',
  cost: { quick: '2^15 values, a second', full: '2^18 values, seconds' },
  run({ scale, seed }) {
    const rows = (scale === 'quick' ? 2 ** 15 : 2 ** 18) / 256
    const x = normalTensor(rows * 256, seed), shape = [rows, 256]
    const run = (bump: 'none' | 'intended' | 'as-released') => quantize(x, shape, 1, blockQuantizer('ocp', 'e4m3', { bump }))
    const [none, intended, released] = [run('none'), run('intended'), run('as-released')]
    const blocks = Array.from({ length: x.length / BLOCK }, (_, b) => {
      const range = Array.from({ length: BLOCK }, (_, i) => b * BLOCK + i)
      const error = (q: Float32Array) => Math.sqrt(range.reduce((s, i) => s + (q[i]! - x[i]!) ** 2, 0) / range.reduce((s, i) => s + x[i]! ** 2, 0))
      const amax = range.reduce((m, i) => Math.max(m, Math.abs(x[i]!)), 0)
      return {
        significand: amax / 2 ** Math.floor(Math.log2(amax)),
        bumped: intended.elementScales[b * BLOCK]! - none.elementScales[b * BLOCK]!,
        same: range.every(i => Object.is(intended.values[i], none.values[i])),
        largestError: range.reduce((m, i) => Math.max(m, Math.abs(intended.values[i]! - x[i]!)), 0) / amax,
        none: error(none.values), intended: error(intended.values),
        releasedScales: new Set(range.map(i => released.elementScales[i])).size,
      }
    })
    const bumped = blocks.filter(b => b.bumped === 1), rest = blocks.filter(b => b.bumped === 0)
    const mixed = blocks.filter(b => b.releasedScales > 1).length
    const mean = (list: typeof blocks, key: 'none' | 'intended') => list.reduce((s, b) => s + b[key], 0) / list.length
    const shown = blocks.slice(0, 600)
    return outcome([
      shows('share of blocks bumped', 'those that would saturate, and no other', `${(100 * bumped.length / blocks.length).toFixed(2)} %, would saturate ${(100 * overflowShares(x, 'e4m3').blocks).toFixed(2)} %`, bumped.length / blocks.length === overflowShares(x, 'e4m3').blocks && bumped.length + rest.length === blocks.length),
      // A bumped block's largest element lies in [1, 2) of its binade after scaling, where half a step is 1/16 of a power of two no larger than it.
      shows('largest error in a bumped block, relative to its largest element', 'rounding alone, at most 1/16', Math.max(...bumped.map(b => b.largestError)).toFixed(4), bumped.every(b => b.largestError <= 1 / 16)),
      shows('blocks that are not bumped', 'unchanged, bit for bit', `${rest.filter(b => b.same).length} of ${rest.length} unchanged`, rest.every(b => b.same)),
      shows('bump as released: blocks whose elements have different exponents', 'not a valid MX encoding', `${mixed} of ${blocks.length}`, mixed > 0),
    ], `Mean relative error of the bumped blocks: ${mean(bumped, 'none').toFixed(4)} saturating, ${mean(bumped, 'intended').toFixed(4)} bumped. E4M3 holds its resolution down to 2^-6 of the maximum, so the bit is lost only below that.`, [{
      name: 'r18-exponent-bump', title: 'Error of each block with and without the bump, by the significand of its largest value', caption: 'Grey: floor scale. Orange: with the bump, which acts above 1.75 alone.',
      plot: {
        height: 260, x: { label: 'significand of the block\'s largest value', domain: [1, 2] }, y: { label: 'relative error', grid: true, domain: [0, 0.07] },
        marks: [ruleY([0]), dot(shown, { x: 'significand', y: 'none', r: 1.5, fill: 'var(--baseline)' }), dot(shown.filter(b => b.bumped), { x: 'significand', y: 'intended', r: 1.5, fill: 'var(--studied)' })],
      },
      data: shown.map(({ significand, bumped, none, intended }) => ({ significand, bumped, none, intended })),
    }])
  },
}
