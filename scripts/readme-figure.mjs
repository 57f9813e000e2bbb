// node scripts/readme-figure.mjs RUN > docs/quick.svg
// The picture of the README from a real run (`npm start`): layer-norm gamma in the last bucket, and the gradient error of the three layer-norm modes.
import * as Plot from '@observablehq/plot'
import { draw } from '../dist/report/chart.js'
import { loadRun, points, rowsOf } from '../dist/report/data.js'
import { logAxis, stepAxis } from '../dist/report/figures.js'

const run = loadRun(process.argv[2]), { steps } = run.config
const WIDTH = 430, HEIGHT = 250
const colours = { fp32: '--baseline', 'e4m3/e4m3': '--studied', 'layer norm fp32': '--baseline', 'layer norm bf16': '--studied', 'layer norm mx': '--third' }
const style = `
svg { --ink: #1d2126; --grid: #e3e1da; --card: #ffffff; --baseline: #5f6b7a; --studied: #d2540d; --third: #8a4bc7; color: var(--ink); font: 12px system-ui, "Segoe UI", sans-serif }
@media (prefers-color-scheme: dark) { svg { --ink: #e8eaed; --grid: #30363e; --card: #0d1117; --baseline: #a9b4c2; --studied: #ff8b4a; --third: #c49bff } }`

/** Lines and their names, written where they are asked to stand. */
const lines = series => series.flatMap(({ name, points: list, at: [step, value] }, i) => [
  Plot.lineY(list, { x: 'step', y: 'value', stroke: `var(${colours[name]})`, strokeWidth: i === 0 ? 3.4 : 1.8 }),
  Plot.text([{ step, value }], { x: 'step', y: 'value', text: () => name, fill: `var(${colours[name]})`, textAnchor: 'start', fontWeight: 600 }),
])
const overflow = arm => points(rowsOf(run, 'overflow', arm), row => row.totals.gamma)
const error = probe => points(rowsOf(run, 'probe').filter(row => row.probe === probe), row => row.relativeError)
const common = { width: WIDTH, height: HEIGHT, marginLeft: 52, marginRight: 18 }

const left = draw({
  ...common, x: { ...stepAxis(steps), ticks: 5 }, y: { label: null, domain: [0, 1], tickFormat: v => `${v * 100} %`, ticks: 5 },
  marks: [Plot.gridY({ stroke: 'var(--grid)', strokeOpacity: 1, ticks: 5 }), ...lines([{ name: 'fp32', points: overflow('baseline'), at: [480, 0.75] }, { name: 'e4m3/e4m3', points: overflow('studied'), at: [700, 0.66] }])],
})
const errors = ['layer norm fp32', 'layer norm bf16', 'layer norm mx'].map((name, i) => ({ name, points: error(name), at: [[30, 0.115], [540, 0.115], [560, 5]][i] }))
const axis = logAxis([0.1, ...errors.flatMap(s => s.points.map(p => p.value))])
const right = draw({ ...common, x: { ...stepAxis(steps), ticks: 5 }, y: axis.y, marks: [...axis.marks, Plot.ruleY([1], { stroke: 'var(--ink)', strokeDasharray: '2 3', strokeOpacity: 0.6 }), ...lines(errors)] })

/** A drawing at x, under a title. */
const place = ({ text }, x, title) => `<text x="${x + 8}" y="16" font-size="13" font-weight="600" fill="currentColor">${title}</text>\n${text.replace(/^<svg /, `<svg x="${x}" y="26" `)}`
process.stdout.write(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${2 * WIDTH + 16} ${HEIGHT + 28}" role="img" aria-label="Two charts of a training run">
<style>${style}</style>
${place(left, 0, 'Layer-norm gamma in the last bucket')}
${place(right, WIDTH + 16, 'Gradient error ‖ε‖ / ‖g‖ at the same weights (log scale)')}
</svg>
`)
