// R16: when the runs with E3M2 weights and activations turn, by the detectors of spikes.ts on the paper's own curves.
import { dot, line } from '@observablehq/plot'
import { CURVE_INTERVAL, paperCurves } from '../paper-data.ts'
import { notTestable, outcome, shows, within, type Reproduction } from '../reproduction.ts'
import { riseOnset, smoothedMinimum } from '../spikes.ts'

/** The paper's window of 100 logs is 1000 steps. */
const WINDOW = 1000 / CURVE_INTERVAL

export const reproduction: Reproduction = {
  name: 'r16-spike-onset',
  title: 'Onset of the instability against tokens per parameter',
  claim: 'Runs that train longer for their size turn: their loss reaches a minimum, then drifts up, then spikes, with a gradient norm that grows first and never comes back.',
  source: 'arXiv 2506.20752, figure 1; notebook cells 9 to 13',
  cost: { quick: '48 curves of up to 400 values', full: 'as quick' },
  run({ data }) {
    const curves = paperCurves(data)
    if (!curves) return notTestable('Needs the paper\'s loss curves (paper-loss-curves.csv), which this repository does not contain: name their folder with --data.')
    const rows = curves.map(({ ratio, steps, losses, gradNorms }) => {
      const curve = { steps, values: losses }, minimum = smoothedMinimum(curve, WINDOW)
      return {
        ratio, steps: steps.at(-1)!, minimumStep: minimum?.step ?? null, minimum: minimum?.value ?? null, finalLoss: losses.at(-1)!,
        rise: minimum ? losses.at(-1)! - minimum.value : null, onset: riseOnset(curve, { window: WINDOW }), finalGradNorm: gradNorms.slice(-WINDOW).reduce((a, b) => a + b, 0) / WINDOW,
      }
    })
    const budget = rows.slice(-8) // the eight runs of the largest budget that the file holds, 4.57e18 FLOPs
    const at = (ratio: number) => budget.find(r => Math.abs(r.ratio - ratio) < 0.5)!
    const spiked = rows.filter(r => r.onset !== null)
    const drifted = rows.filter(r => r.rise !== null && r.rise > 0.1), stable = rows.filter(r => r.rise !== null && r.rise <= 0.1)
    const mean = (list: typeof rows) => list.reduce((sum, r) => sum + r.finalGradNorm, 0) / list.length
    return outcome([
      ...([[42, 9600], [62, 10400], [94, 11200], [144, 12400]] as const).map(([ratio, step]) => within(`step of the smoothed minimum at D/N = ${ratio}`, step, at(ratio).minimumStep!, CURVE_INTERVAL, 5)),
      shows('runs that spike (loss 0.8 above that of 1000 steps before)', 'only D/N = 144', spiked.map(r => `D/N = ${r.ratio.toFixed(0)}`).join(', ') || 'none', spiked.length === 1 && spiked[0] === at(144)),
      within('step of that spike', 20390, at(144).onset!, CURVE_INTERVAL, 5),
      shows('runs whose loss ends more than 0.1 above its minimum', 'the longest for their size', `D/N = ${drifted.map(r => r.ratio.toFixed(0)).sort((a, b) => +a - +b).join(', ')}`, Math.min(...drifted.map(r => r.ratio)) > 40),
      shows('mean final gradient norm of drifting and of other runs', 'higher where the loss drifts', `${mean(drifted).toFixed(2)} against ${mean(stable).toFixed(2)}`, mean(drifted) > 2 * mean(stable)),
    ], 'The file keeps one value in ten of the curves the paper used, so steps agree to 100.', [{
      name: 'r16-spike-onset', title: 'Train loss of the eight runs at 4.57e18 FLOPs, E3M2 weights and activations', caption: 'Dots: smoothed minimum of each run that turned. The longer a run is for its size, the darker.',
      plot: {
        height: 320, x: { label: 'step', tickFormat: (v: number) => v.toLocaleString('en') }, y: { label: 'train loss', domain: [1.7, 3.3], clamp: true, grid: true }, color: { type: 'log', scheme: 'blues', domain: [5, 160] },
        marks: [
          line(curves.slice(-8).flatMap(c => c.losses.map((loss, i) => ({ loss, step: c.steps[i]!, ratio: c.ratio }))), { x: 'step', y: 'loss', z: 'ratio', stroke: 'ratio', strokeWidth: 1.5 }),
          dot(budget.filter(r => r.rise! > 0.1), { x: 'minimumStep', y: 'minimum', r: 4, fill: 'var(--studied)' }),
        ],
      },
      data: rows,
    }])
  },
}
