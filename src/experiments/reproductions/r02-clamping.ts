// R2: under the floor scale rule the top eighth of every binade saturates.
import { line, ruleY } from '@observablehq/plot'
import { blockQuantizer } from '../../numerics/profiles.ts'
import { quantize } from '../../oracle/quantize.ts'
import { equals, outcome, shows, type Reproduction } from '../reproduction.ts'

/** What an E4M3 block of 32 makes of its largest value. */
function largestOf(value: number, profile: 'ocp' | 'microxcaling'): number {
  const block = new Float32Array(32).fill(1)
  block[0] = value
  return quantize(block, [32], 0, blockQuantizer(profile, 'e4m3')).values[0]!
}

export const reproduction: Reproduction = {
  name: 'r2-clamping',
  title: 'The clamp rule of the floor scale',
  claim: 'With the shared exponent floor(log2 max) - emax, block values in (1.75, 2) 2^k saturate at 1.75 2^k: a 957 in an E4M3 block becomes 896.',
  source: 'arXiv 2506.20752, section 3; microxcaling issue 4',
  cost: { quick: 'a thousand blocks of 32', full: 'as quick' },
  run({ log }) {
    const profiles = ['ocp', 'microxcaling'] as const
    const sweep = Array.from({ length: 512 }, (_, i) => 512 * (1 + i / 512))
    const curve = profiles.flatMap(profile => sweep.map(v => ({ profile, value: v, result: largestOf(v, profile) })))
    const clamped = curve.filter(p => p.value > 1.75 * 512), below = curve.filter(p => p.value <= 1.75 * 512)
    log(`${curve.length} blocks`)
    return outcome([
      ...profiles.map(p => equals(`957 under ${p}`, 896, largestOf(957, p), 0)),
      shows('values in (896, 1024)', 'all become 896', `${clamped.filter(p => p.result === 896).length} of ${clamped.length} do`, clamped.every(p => p.result === 896)),
      // Half a step of the binade [512, 1024) with three fraction bits.
      shows('values in [512, 896]', 'none is off by more than half a step, 32', `largest error ${Math.max(...below.map(p => Math.abs(p.result - p.value)))}`, below.every(p => Math.abs(p.result - p.value) <= 32)),
    ], 'Exact. An error of up to 128 where rounding alone would cost 32.', [{
      name: 'r2-clamping', title: 'Largest value of an E4M3 block, before and after', caption: 'Above 1.75 times a power of two the value can no longer follow.',
      plot: {
        height: 260, x: { label: 'value', domain: [512, 1024] }, y: { label: 'after quantization', domain: [480, 1040], grid: true },
        marks: [ruleY([896], { strokeDasharray: '3 3' }), line([[512, 512], [1024, 1024]], { strokeOpacity: 0.4 }), line(curve.filter(p => p.profile === 'ocp'), { x: 'value', y: 'result', stroke: 'var(--studied)', curve: 'step' })],
      },
      data: curve,
    }])
  },
}
