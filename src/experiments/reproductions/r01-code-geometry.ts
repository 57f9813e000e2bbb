// R1: the spacing of E4M3 codes. Exact: every code is decoded.
import { lineY, ruleX, ruleY } from '@observablehq/plot'
import { formats } from '../../numerics/formats.ts'
import { decode } from '../../oracle/codec.ts'
import { equals, outcome, type Reproduction } from '../reproduction.ts'

export const reproduction: Reproduction = {
  name: 'r1-code-geometry',
  title: 'Relative gaps between E4M3 codes',
  claim: 'E4M3 has 126 positive finite codes; from one to the next the relative gap falls from 12.5 % to 6.6 % within a binade; values above 448 have no code.',
  source: 'arXiv 2506.20752, figure 3 left',
  cost: { quick: 'decodes 256 codes', full: 'as quick' },
  run() {
    const values = Array.from({ length: 256 }, (_, code) => decode(formats.e4m3, code)).filter(v => v > 0 && Number.isFinite(v)).sort((a, b) => a - b)
    const gaps = values.slice(0, -1).map((v, i) => ({ index: i, code: v, gap: values[i + 1]! / v - 1 }))
    const normal = gaps.filter(g => g.code >= 2 ** -6)
    const binade = normal.filter(g => g.code >= 1 && g.code < 2)
    return outcome([
      equals('positive finite codes', 126, values.length, 0),
      equals('largest relative gap among normal codes', 12.5, 100 * Math.max(...normal.map(g => g.gap)), 1, ' %'),
      equals('smallest relative gap (exactly 1/15; the paper prints 6.6 %, which is 6.67 % cut short)', 6.7, 100 * Math.min(...normal.map(g => g.gap)), 1, ' %'),
      equals('steps within a binade', 8, binade.length, 0),
      equals('largest finite value', 448, values.at(-1)!, 0),
    ], 'Exact. The 7 subnormal codes have gaps of up to 100 %, which the paper\'s range leaves out.', [{
      name: 'r1-code-geometry', title: 'Relative gap from each positive E4M3 code to the next',
      caption: 'Eight steps per binade, from 1/8 down to 1/15; the first seven codes are subnormal. Beyond the last code, 448, lies the overflow region.',
      plot: {
        height: 260, x: { label: 'code, from smallest to largest', domain: [0, 140] }, y: { label: 'relative gap', percent: true, domain: [0, 26], grid: true, clamp: true },
        marks: [ruleY([0]), ruleX([125], { strokeDasharray: '3 3' }), lineY(gaps, { x: 'index', y: 'gap', stroke: 'var(--studied)', curve: 'step-after' })],
      },
      data: gaps,
    }])
  },
}
