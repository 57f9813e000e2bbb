// The page of one run: what it was, what came out, the charts, and everything needed to run it again.
import { describeScheme } from '../numerics/scheme.ts'
import { canonicalJson } from '../train/config-file.ts'
import type { EngineInfo } from '../train/types.ts'
import { figure } from './chart.ts'
import { arms, finalLoss, flatten, median, parameterCount, points, rowsOf, type Point, type RunData } from './data.ts'
import { gammaHistogramFigure, gammaOverflowFigure, gradientNormFigure, lossFigure, overflowFigure, probeColor, probeFigure, trajectoryFigure } from './figures.ts'
import { budgetFigure, samples } from './language-model.ts'
import { html, type Html } from './html.ts'
import { color } from './style.ts'
import { page, percent, settings, relation, sideBySide, significant, tiles, type Tile } from './page.ts'

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
  const probes = probeMedians(run).map(({ name, error, cosine }) => ({ label: name, value: `${error.toPrecision(2)} / ${cosine.toFixed(2)}`, color: probeColor(run, name) }))
  if (probes.length) list.push({ name: 'Gradient error ‖ε‖ / ‖g‖, and cosine: medians', rows: probes })
  return list
}

interface ProbeMedian { readonly name: string, readonly error: number, readonly cosine: number, /** The largest error, and where. */ readonly worst: Point }

/** Each probe's median error and cosine over the run. */
function probeMedians(run: RunData): ProbeMedian[] {
  return Object.keys(run.config.probes.schemes).flatMap(name => {
    const rows = rowsOf(run, 'probe').filter(r => r.probe === name), errors = points(rows, r => r.relativeError)
    const error = median(errors), cosine = median(points(rows, r => r.cosine))
    return error === null || cosine === null ? [] : [{ name, error, cosine, worst: errors.reduce((a, b) => b.value > a.value ? b : a) }]
  })
}

/** What the probes say, in a sentence or two. */
function probeFinding(run: RunData): Html | null {
  const probes = probeMedians(run).sort((a, b) => a.error - b.error), worst = probes.at(-1)
  if (!worst || probes.length < 2) return null
  return html`At the same weights, the gradient’s relative error was in the median ${probes.map((p, i) => html`${i === 0 ? '' : i === probes.length - 1 ? ' and ' : ', '}${significant(p.error, 2)} (cosine ${significant(p.cosine, 2)}) with <em>${p.name}</em>`)}. ${
    worst.worst.value > 1 ? html`With <em>${worst.name}</em> it reached ${significant(worst.worst.value, 2)} at step ${worst.worst.step}: more rounding error than gradient.` : ''}`
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
    list.push(Math.abs(gap) < 0.05 ? html`Both runs end within ${percent(Math.abs(gap))} of each other: what quantization did to the gradient did not stop this model from learning.`
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
  const probed = probeFinding(run)
  return probed ? [...list, probed] : list
}

function description(run: RunData): Html {
  const { config } = run, [studied, baseline] = arms(run).map(a => a.label).reverse()
  if (config.task === 'language-model') {
    const { model, batch, steps, optimizer, data } = config
    return html`A transformer of ${model.depth} blocks and width ${model.width} (${model.heads} heads, ${model.activation}) learns to predict ${data.tokenizer === 'bytes' ? 'bytes' : 'tokens'} of ${data.files.join(', ')}: ${steps} steps of ${batch} sequences of ${model.context} with AdamW at ${optimizer.lr}. Precision: <strong>${studied}</strong>.`
  }
  const { model, batch, steps, optimizer, schedule, precision } = config
  return html`A residual MLP of ${model.depth} blocks and width ${model.width} (${significant(parameterCount(config), 3)} weights, ${model.activation}${model.layerNorm ? '' : ', no layer norm'}) learns a fixed teacher network: ${steps} steps of ${batch} samples with ${optimizer.name === 'adam' ? 'Adam' : 'SGD'}, learning rate ${optimizer.lr}${schedule.kind === 'cosine' ? html` falling to ${schedule.lrMin}` : ''}. ${
    baseline ? html`It was trained twice from the same weights, inputs${config.labelNoiseStream === 'shared' && precision.teacher === 'fp32' ? ', labels' : ''} and batch order: in <strong>${baseline}</strong> and in <strong>${studied}</strong>.` : html`Precision: <strong>${studied}</strong>.`}${
    run.file.parent ? html` It is a fork of ${run.file.parent.directory} at step ${run.file.parent.step}.` : ''}`
}

/** Every scheme of the run, the studied one first; equal ones share a column. */
function precisions({ config }: RunData): { name: string, value: object }[] {
  const columns = new Map<string, { name: string, value: object }>()
  const all = [
    { name: 'studied', value: config.precision },
    ...config.precisionSchedule.map(({ step, precision }) => ({ name: `from step ${step}`, value: precision })),
    ...config.baseline ? [{ name: 'baseline', value: config.baseline }] : [],
    ...Object.entries(config.probes.schemes).map(([name, value]) => ({ name: `probe: ${name}`, value })),
  ]
  for (const { name, value } of all) {
    const key = canonicalJson(value), known = columns.get(key)
    columns.set(key, { name: known ? `${known.name}; ${name}` : name, value })
  }
  return [...columns.values()]
}

/** Engine, versions and fingerprints. */
function provenance(run: RunData): (readonly [string, unknown])[] {
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
${figures([lossFigure(run), budgetFigure(run)])}
${samples(run) ?? ''}
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
