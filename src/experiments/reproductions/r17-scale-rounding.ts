// R17, the part that needs no training: what rounding the scale up instead of down does to a Gaussian tensor.
import { barX, ruleX } from '@observablehq/plot'
import { formats } from '../../numerics/formats.ts'
import { blockQuantizer } from '../../numerics/profiles.ts'
import type { ScaleRule } from '../../numerics/quantizer.ts'
import { quantize } from '../../oracle/quantize.ts'
import { errorStatistics } from '../block-statistics.ts'
import { normalTensor, quantizeTensor } from '../core-tensors.ts'
import { outcome, shows, within, type Reproduction } from '../reproduction.ts'

export const reproduction: Reproduction = {
  name: 'r17-scale-rounding',
  title: 'Scale rounded up against scale rounded down',
  claim: 'The floor scale of OCP MX saturates the largest elements and so shrinks a tensor; a scale rounded up (RCEIL) saturates nothing and removes most of the bias.',
  source: 'arXiv 2506.08027 (Recipes for Pre-training LLMs with MXFP8); numbers by an earlier simulation of ours',
  cost: { quick: '2^21 values, eight quantizers, seconds', full: '2^24 values, a minute' },
  run({ scale, seed, log }) {
    const x = normalTensor(scale === 'quick' ? 2 ** 21 : 2 ** 24, seed), part = x.subarray(0, 2 ** 17)
    const rules: ScaleRule[] = ['floor', 'ceil', 'even', 'rceil']
    const rows = (['e4m3', 'e2m1'] as const).flatMap(format => rules.map(rule => {
      const quantizer = blockQuantizer('ocp', format, { scaleRule: rule })
      const { elementScales } = quantize(part, [part.length], 0, quantizer)
      const saturated = part.reduce((n, v, i) => n + (Math.abs(v) > formats[format].max * 2 ** (elementScales[i]! - 127) ? 1 : 0), 0)
      log(`${format} ${rule}`)
      return { format, rule, ...errorStatistics(x, quantizeTensor(x, quantizer)), saturated: saturated / part.length }
    }))
    const at = (format: string, rule: string) => rows.find(r => r.format === format && r.rule === rule)!
    return outcome([
      within('E4M3 floor: projection slope', 0.9972, at('e4m3', 'floor').slope, 3e-4),
      within('E4M3 rceil: projection slope', 0.9992, at('e4m3', 'rceil').slope, 3e-4),
      within('E4M3 floor: relative error', 0.0294, at('e4m3', 'floor').relativeError, 5e-4),
      within('E4M3 rceil: relative error', 0.0265, at('e4m3', 'rceil').relativeError, 5e-4),
      within('E2M1 floor: projection slope', 0.98, at('e2m1', 'floor').slope, 2e-3),
      within('E2M1 rceil: projection slope', 0.99, at('e2m1', 'rceil').slope, 2e-3),
      shows('elements that saturate under rceil', 'none', `${(100 * at('e4m3', 'rceil').saturated).toFixed(3)} %`, at('e4m3', 'rceil').saturated === 0 && at('e2m1', 'rceil').saturated === 0),
      shows('elements that saturate under floor', 'some', `${(100 * at('e4m3', 'floor').saturated).toFixed(2)} % in E4M3, ${(100 * at('e2m1', 'floor').saturated).toFixed(2)} % in E2M1`, at('e4m3', 'floor').saturated > 0),
      shows('bias left by rceil, as a share of the floor scale\'s', 'less than half', `${((1 - at('e4m3', 'rceil').slope) / (1 - at('e4m3', 'floor').slope)).toFixed(2)}`, (1 - at('e4m3', 'rceil').slope) < 0.5 * (1 - at('e4m3', 'floor').slope)),
    ], 'Whether this decides a training run is a question for the trainer; here the mechanism alone is measured.', [{
      name: 'r17-scale-rounding', title: 'How much a Gaussian tensor shrinks along itself, by scale rule', caption: '1 - <q, x> / <x, x>, blocks of 32, round to nearest even.',
      plot: { height: 200, marginTop: 36, marginLeft: 60, x: { label: 'shrinkage (%)', percent: true, grid: true }, y: { label: null, domain: rules }, fx: { label: null }, marks: [barX(rows, { fx: 'format', y: 'rule', x: d => 1 - d.slope, fill: 'var(--studied)' }), ruleX([0])] },
      data: rows,
    }])
  },
}
