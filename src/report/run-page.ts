// The page of one run: what it was, what came out, the charts, and everything needed to run it again.
import { describeScheme } from '../numerics/scheme.ts'
import type { EngineInfo } from '../train/types.ts'
import { figure } from './chart.ts'
import { arms, flatten, parameterCount, points, rowsOf, smooth, tailMean, type RunData } from './data.ts'
import { gammaHistogramFigure, gammaOverflowFigure, gradientNormFigure, lossFigure, overflowFigure, probeColor, probeFigure, trajectoryFigure } from './figures.ts'
import { html, type Html } from './html.ts'
import { color } from './style.ts'
import { page, percent, settings, relation, sideBySide, significant, tiles, type Tile } from './page.ts'

/** Final loss of an arm: the geometric mean of the last twentieth, or null if it has none. */
function finalLoss(run: RunData, arm: 'baseline' | 'studied'): number | null {
  const losses = points(rowsOf(run, 'step', arm), r => r.loss)
  const tail = losses.slice(-Math.max(1, Math.round(losses.length / 20)))
  return smooth(tail, 2 * tail.length + 1)[0]?.value ?? null
}

const lastOf = <T>(list: readonly T[]): T | undefined => list.at(-1)

function headlines(run: RunData): Tile[] {
  const list: Tile[] = []
  const losses = arms(run).map(({ arm, label }) => ({ arm, label, loss: finalLoss(run, arm) }))
  const rows = losses.map(({ arm, label, loss }) => ({ label, value: significant(loss), color: color[arm] }))
  const [base, studied] = losses
  if (base?.loss && studied && studied.loss !== null) rows.push({ label: 'difference', value: relation(studied.loss / base.loss), color: 'transparent' })
  list.push({ name: 'Training loss at the end', rows })
  const gamma = arms(run).flatMap(({ arm, label }) => {
    const share = lastOf(rowsOf(run, 'overflow', arm))?.totals.gamma
    return share === undefined ? [] : [{ label, value: percent(share), color: color[arm] }]
  })
  if (gamma.length) list.push({ name: 'Gamma in the last bucket at the end', rows: gamma })
  const probes = probeMeans(run).map(({ name, error }) => ({ label: name, value: significant(error, 2), color: probeColor(run, name) }))
  if (probes.length) list.push({ name: 'Gradient error ‖ε‖ / ‖g‖, mean of the last quarter', rows: probes })
  return list
}

/** Each probe's mean error and cosine over the last quarter of the run. */
function probeMeans(run: RunData): { name: string, error: number, cosine: number }[] {
  return Object.keys(run.config.probes.schemes).flatMap(name => {
    const rows = rowsOf(run, 'probe').filter(r => r.probe === name)
    const error = tailMean(points(rows, r => r.relativeError), 0.25), cosine = tailMean(points(rows, r => r.cosine), 0.25)
    return error === null || cosine === null ? [] : [{ name, error, cosine }]
  })
}

/** What the numbers say, in sentences; each only where the run has the numbers. */
function findings(run: RunData): Html[] {
  const list: Html[] = []
  const labels = new Map(arms(run).map(a => [a.arm, a.label]))
  const lost = rowsOf(run, 'step', 'studied').find(r => r.loss === null)
  const [base, studied] = [finalLoss(run, 'baseline'), finalLoss(run, 'studied')]
  if (lost) list.push(html`The ${labels.get('studied')} run’s loss was no longer finite at step ${lost.step}.`)
  else if (base !== null && studied !== null) {
    const gap = studied / base - 1
    list.push(Math.abs(gap) < 0.05 ? html`Both runs end within ${percent(Math.abs(gap))} of each other: at this size, quantization is not fatal, whatever it does to the gradient.`
      : gap > 2 ? html`The ${labels.get('studied')} run diverged: it ends at ${relation(1 + gap)} the loss of the ${labels.get('baseline')} run.`
      : html`The ${labels.get('studied')} run ends ${percent(Math.abs(gap))} ${gap > 0 ? 'above' : 'below'} the ${labels.get('baseline')} run.`)
  }
  for (const arm of ['baseline', 'studied'] as const) {
    const rows = rowsOf(run, 'overflow', arm).filter(r => r.totals.gamma !== undefined)
    const first = rows[0], last = lastOf(rows)
    if (first && last && last.totals.gamma! - first.totals.gamma! > 0.2) {
      const scheme = arm === 'baseline' ? run.config.baseline! : run.config.precision
      list.push(html`Layer-norm gamma moved into the last bucket in the ${labels.get(arm)} run: ${percent(first.totals.gamma)} of it at step ${first.step}, ${percent(last.totals.gamma)} at step ${last.step}.${scheme.forward.weight === null ? ' Nothing is quantized in this run, so the crowding comes from optimization itself.' : ''}`)
      break
    }
  }
  const [best, worst] = [(a: number, b: number) => a - b, (a: number, b: number) => b - a].map(order => probeMeans(run).sort((a, b) => order(a.error, b.error))[0])
  if (best && worst && best.name !== worst.name) {
    list.push(html`Over the last quarter, at the same weights, the gradient’s relative error was ${significant(best.error, 2)} (cosine ${significant(best.cosine, 2)}) with <em>${best.name}</em> and ${significant(worst.error, 2)} (cosine ${significant(worst.cosine, 2)}) with <em>${worst.name}</em>.${worst.error > 0.7 ? ' An error of that size is comparable to the gradient itself.' : ''}`)
  }
  return list
}

function description(run: RunData): Html {
  const { model, batch, steps, optimizer, baseline, precision } = run.config
  return html`A residual MLP of ${model.depth} blocks and width ${model.width} (${significant(parameterCount(run.config), 3)} weights, ${model.activation}${model.layerNorm ? '' : ', no layer norm'}) learns a fixed teacher network: ${steps} steps of ${batch} samples with ${optimizer.name === 'adam' ? 'Adam' : 'SGD'} at ${optimizer.lr}. ${
    baseline ? html`It was trained twice from the same weights, inputs${run.config.labelNoiseStream === 'shared' && precision.teacher === 'fp32' ? ', labels' : ''} and batch order: in <strong>${describeScheme(baseline)}</strong> and in <strong>${describeScheme(precision)}</strong>.` : html`Precision: <strong>${describeScheme(precision)}</strong>.`}${
    run.file.parent ? html` It is a fork of ${run.file.parent.directory} at step ${run.file.parent.step}.` : ''}`
}

/** Every scheme of the run, the studied one first. */
function precisions({ config }: RunData): { name: string, value: object }[] {
  return [
    { name: 'studied', value: config.precision },
    ...config.precisionSchedule.map(({ step, precision }) => ({ name: `from step ${step}`, value: precision })),
    ...config.baseline ? [{ name: 'baseline', value: config.baseline }] : [],
    ...Object.entries(config.probes.schemes).map(([name, value]) => ({ name: `probe: ${name}`, value })),
  ]
}

/** Engine, versions and fingerprints. */
export function provenance(run: RunData): (readonly [string, unknown])[] {
  const { file, summary } = run
  return [
    ['configuration', file.hash],
    ...summary?.weightsHash ? [['final weights', summary.weightsHash] as const] : [],
    ['blockscale', file.version],
    ...summary ? [['finished', summary.finished ? `yes, ${summary.steps} steps in ${significant(summary.seconds)} s` : `no, stopped after ${summary.steps} steps`] as const] : [['finished', 'no'] as const],
    ...file.engine ? describeEngine(file.engine) : [],
    ...file.engine ? Object.entries(file.engine.modules).map(([name, hash]) => [`module ${name}`, hash] as const) : [],
  ]
}

function describeEngine({ runtime, v8, threads, simd, relaxed, tiles, wide }: EngineInfo): [string, unknown][] {
  return [
    ['engine', `${runtime}${v8 ? `, V8 ${v8}` : ''}`], ['threads', threads],
    ['SIMD', `${simd} bits${relaxed ? ', relaxed' : ''}; register tiles ${tiles.strict}${tiles.fused ? ` strict, ${tiles.fused} fused` : ''}`], ...wide ? [['256-bit mode', wide] as [string, unknown]] : [],
  ]
}

/** report.html of a run: one self-contained document. */
export function runPage(run: RunData): string {
  const figures = (list: (ReturnType<typeof lossFigure>)[]) => list.filter(f => f !== null).map(figure)
  const gamma = figures([gammaOverflowFigure(run), gammaHistogramFigure(run)])
  const gradient = figures([probeFigure(run), trajectoryFigure(run), gradientNormFigure(run)])
  const rest = figures([overflowFigure(run)])
  const said = findings(run)
  return page(`${run.name} – blockscale`, html`<h1>${run.name}</h1>
<p class="lead">${description(run)}</p>
${tiles(headlines(run))}
${said.length ? html`<ul class="findings">${said.map(f => html`<li>${f}</li>`)}</ul>` : ''}
<h2>Loss</h2>
${figures([lossFigure(run)])}
${gradient.length ? html`<h2>What rounding does to the gradient</h2>${gradient}` : ''}
${gamma.length ? html`<h2>Where layer norm’s gamma goes</h2>${gamma}` : ''}
${rest.length ? html`<h2>Overflow elsewhere</h2>${rest}` : ''}
<h2>Configuration</h2>
<p>Resolved, every value spelled out. The same configuration gives the same final weights on any engine and any number of threads.</p>
${settings(flatten({ ...run.config, precision: describeScheme(run.config.precision), baseline: run.config.baseline && describeScheme(run.config.baseline), precisionSchedule: run.config.precisionSchedule.map(s => `${s.step}: ${describeScheme(s.precision)}`), probes: { ...run.config.probes, schemes: Object.keys(run.config.probes.schemes) } }))}
<h3>Precision schemes</h3>
${sideBySide(precisions(run))}
<h2>Provenance</h2>
<div class="scroll"><table><tbody>${provenance(run).map(([key, value]) => html`<tr><th scope="row">${key}</th><td class="mono">${value}</td></tr>
`)}</tbody></table></div>
<footer>Written by blockscale ${run.file.version}. This page is self-contained.</footer>`)
}
