// One page for several runs: interventions on one parent, or runs that differ in anything else. The curves are those of the studied arm.
// The reference, against which differences are taken, is the null control if there is one (a fork whose precision was not changed: it alone separates the
// effect of a change from the effect of forking), else the parent, else the first run.
import { basename } from 'node:path'
import * as Plot from '@observablehq/plot'
import { describeScheme } from '../numerics/scheme.ts'
import { canonicalJson } from '../train/config-file.ts'
import { draw, figure, type Figure } from './chart.ts'
import { finalLoss, flatten, points, rowsOf, smooth, thin, type Point, type RunData } from './data.ts'
import { grid, logAxis, ratioAxis, smoothing, stepAxis } from './figures.ts'
import { html, type Html } from './html.ts'
import { page, relation, sideBySide, significant } from './page.ts'
import { color } from './style.ts'

interface Entry {
  readonly run: RunData
  readonly label: string
  readonly color: string
  /** Step of the fork, for an intervention. */
  readonly fork: number | null
  readonly control: boolean
  readonly loss: Point[]
  readonly smoothLoss: Point[]
  readonly final: number | null
  /** First step whose loss was not finite. */
  readonly lost: number | null
}

/** A fork whose last change of precision changes nothing. */
function isControl({ config, file }: RunData): boolean {
  const schedule = config.precisionSchedule, last = schedule.at(-1)
  return file.parent !== undefined && last !== undefined && canonicalJson(last.precision) === canonicalJson(schedule.at(-2)?.precision ?? config.precision)
}

function entries(runs: readonly RunData[]): Entry[] {
  const label = (run: RunData) => {
    const change = run.config.precisionSchedule.at(-1)
    return run.file.parent && change ? `step ${change.step}: ${isControl(run) ? 'no change (control)' : describeScheme(change.precision)}` : describeScheme(run.config.precision)
  }
  const labels = distinct(runs, runs.map(label))
  let next = 0
  return runs.map((run, i) => {
    const rows = rowsOf(run, 'step', 'studied'), loss = points(rows, r => r.loss), fork = run.file.parent?.step ?? null
    return {
      run, fork, loss, control: isControl(run), smoothLoss: smooth(loss, smoothing(run)), final: finalLoss(run, 'studied'), lost: rows.find(r => r.loss === null)?.step ?? null,
      label: labels[i]!,
      color: isControl(run) || (fork === null && runs.some(r => r.file.parent)) ? color.baseline : color.series(next++),
    }
  })
}

/** Labels that several runs share, told apart by the settings in which those differ; by the run's name where that does not do. */
function distinct(runs: readonly RunData[], labels: readonly string[]): string[] {
  const flat = runs.map(run => new Map(flatten(described(run)).filter(([key]) => key !== 'hash' && key !== 'parent').map(([key, v]) => [key, typeof v === 'string' ? v : JSON.stringify(v)])))
  const longer = labels.map((label, i) => {
    const same = flat.filter((_, k) => labels[k] === label)
    const keys = [...new Set(same.flatMap(f => [...f.keys()]))].filter(key => same.some(f => f.get(key) !== same[0]!.get(key)))
    return same.length > 1 && keys.length <= 4 ? [label, ...keys.map(key => `${key} ${flat[i]!.get(key) ?? '–'}`)].join(', ') : label
  })
  return longer.map((label, i) => longer.filter(l => l === label).length > 1 ? `${label} (${runs[i]!.name})` : label)
}

function reference(list: readonly Entry[]): Entry {
  return list.find(e => e.control) ?? list.find(e => e.fork === null) ?? list[0]!
}

const legend = (list: readonly Entry[]) => list.map(e => ({ label: e.label, color: e.color, dashed: e.control }))
const line = (e: Entry, series: readonly Point[]) => Plot.lineY(thin(series, 1600), { x: 'step', y: 'value', stroke: e.color, strokeWidth: e.fork === null ? 2.6 : 2, ...e.control ? { strokeDasharray: '6 4' } : {} })

function lossFigure(list: readonly Entry[]): Figure | null {
  if (list.every(e => e.loss.length === 0)) return null
  const steps = Math.max(...list.map(e => e.run.config.steps)), forks = list.flatMap(e => e.fork ?? [])
  const panel = (from: number, height: number, last: boolean) => {
    const part = list.map(e => ({ e, series: e.smoothLoss.filter(p => p.step >= from) }))
    const axis = logAxis(part.flatMap(p => p.series.map(q => q.value)))
    return draw({
      height, x: { ...stepAxis(steps, last ? undefined : null), domain: [from, steps] }, y: axis.y,
      marks: [...axis.marks, Plot.ruleX([...new Set(forks)], { stroke: 'currentColor', strokeDasharray: '2 3', strokeOpacity: 0.6 }), ...part.map(({ e, series }) => line(e, series)),
        ...part.filter(p => p.e.lost !== null && p.series.length > 0).map(({ e, series }) => Plot.text([series.at(-1)!], { x: 'step', y: 'value', text: () => '✕', fill: e.color, fontSize: 14 }))],
    })
  }
  const first = forks.length ? Math.min(...forks) : 0, from = Math.max(0, Math.round(first - (steps - first) * 0.1))
  return {
    id: 'loss', title: 'Training loss', legend: legend(list),
    drawings: [{ yTitle: 'running mean, log scale', svg: panel(0, 300, from === 0) }, ...from > 0 ? [{ yTitle: `from step ${from}`, svg: panel(from, 280, true) }] : []],
    caption: html`${forks.length ? html`Dotted lines: where the precision was changed. Every fork continues from the same checkpoint with the same inputs and labels. ` : ''}${list.some(e => e.control) ? 'The control was forked without any change: what separates it from its parent is forking alone, what separates the others from it is precision.' : ''}`,
    data: list.flatMap(e => e.loss.map(p => ({ run: e.run.name, label: e.label, step: p.step, loss: p.value }))),
  }
}

function differenceFigure(list: readonly Entry[], ref: Entry): Figure | null {
  const base = new Map(ref.loss.map(p => [p.step, p.value]))
  const series = list.filter(e => e !== ref).map(e => ({ e, points: smooth(e.loss.filter(p => base.has(p.step)).map(p => ({ step: p.step, value: p.value / base.get(p.step)! })), smoothing(e.run)) })).filter(s => s.points.length > 1)
  if (series.length === 0) return null
  const steps = Math.max(...list.map(e => e.run.config.steps)), from = Math.min(...series.map(s => s.points[0]!.step)), axis = ratioAxis(series.flatMap(s => s.points))
  return {
    id: 'difference', title: `Loss relative to ${ref.label}`, legend: legend(series.map(s => s.e)),
    drawings: [{ svg: draw({
      height: 240, x: { ...stepAxis(steps), domain: [from, steps] }, y: axis.y,
      marks: [...axis.marks, Plot.ruleY([1], { stroke: color.baseline, strokeWidth: 1.5 }), ...series.map(s => line(s.e, s.points))],
    }) }],
    caption: html`The losses’ ratio on the same batch, as a running mean. Lower is better.`,
    data: series.flatMap(s => s.points.map(p => ({ run: s.e.run.name, label: s.e.label, step: p.step, ratio: p.value }))),
  }
}

/** A panel of one quantity against the step, one line per run. */
function simpleFigure(list: readonly Entry[], id: string, title: string, yTitle: string, caption: string, value: (run: RunData) => Point[], log: boolean): Figure | null {
  const series = list.map(e => ({ e, points: value(e.run) })).filter(s => s.points.length > 1)
  if (series.length === 0) return null
  const steps = Math.max(...list.map(e => e.run.config.steps))
  const axis = log ? logAxis(series.flatMap(s => s.points.map(p => p.value)).filter(v => v > 0)) : { y: { label: null, domain: [0, 1], tickFormat: (v: number) => `${Math.round(v * 100)} %`, ticks: 5 }, marks: [grid()] }
  return {
    id, title, legend: legend(series.map(s => s.e)), drawings: [{ yTitle, svg: draw({ height: 230, x: stepAxis(steps), y: axis.y as Plot.ScaleOptions, marks: [...axis.marks, ...series.map(s => line(s.e, log ? s.points.filter(p => p.value > 0) : s.points))] }) }],
    caption: html`${caption}`, data: series.flatMap(s => s.points.map(p => ({ run: s.e.run.name, label: s.e.label, step: p.step, value: p.value }))),
  }
}

/** Does the control go its parent's way? Its losses are the parent's, bit for bit, unless forking alone makes a difference. */
function controlCheck(list: readonly Entry[]): Html | '' {
  const control = list.find(e => e.control), parent = control && list.find(e => e.run.name === basename(control.run.file.parent!.directory))
  if (!parent) return ''
  const base = new Map(parent.loss.map(p => [p.step, p.value])), common = control.loss.filter(p => base.has(p.step))
  const first = common.find(p => p.value !== base.get(p.step))
  return html`<p>${first ? `The control and its parent part at step ${first.step}.` : `The control’s loss is its parent’s in all ${common.length} steps that both have, bit for bit: forking alone changes nothing.`}</p>`
}

/** A configuration with its schemes by name. */
function described({ config, file }: RunData): object {
  const { precision, baseline, precisionSchedule, probes, ...rest } = config
  return {
    hash: file.hash.slice(0, 12), parent: file.parent ? `${basename(file.parent.directory)} at step ${file.parent.step}` : null, precision: describeScheme(precision), baseline: baseline && describeScheme(baseline),
    precisionSchedule: precisionSchedule.map(s => `${s.step}: ${describeScheme(s.precision)}`).join('; '), ...rest, probes: { ...probes, schemes: Object.keys(probes.schemes).join(', ') },
  }
}

/** The page that compares `runs` (two or more): one self-contained document. */
export function comparisonPage(runs: readonly RunData[]): string {
  const list = entries(runs), ref = reference(list)
  const figures = [
    lossFigure(list), differenceFigure(list, ref),
    simpleFigure(list, 'gradient-norm', 'Gradient norm', '‖g‖ over all parameters (log scale)', 'A norm that creeps upward and does not come back is what precedes a divergence.', run => points(rowsOf(run, 'gradient', 'studied'), r => r.norm), true),
    simpleFigure(list, 'gamma-overflow', 'Layer-norm gamma in the last bucket', 'share of gamma values, all layers', 'Gamma that crowds into the last bucket is clamped to one value wherever layer norm is quantized in MX.', run => points(rowsOf(run, 'overflow', 'studied'), r => r.totals.gamma), false),
  ].filter(f => f !== null).map(figure)
  const validation = (e: Entry) => points(rowsOf(e.run, 'validation', 'studied'), r => r.loss).at(-1)?.value
  return page(`${runs.length} runs compared – blockscale`, html`<h1>${runs.length} runs compared</h1>
<p class="lead">${list.some(e => e.fork !== null) ? html`Interventions: forks of a run at a checkpoint, with its data and labels. Differences are taken against <strong>${ref.label}</strong>.` : html`Differences are taken against <strong>${ref.label}</strong>.`}</p>
<div class="scroll"><table><thead><tr><th scope="col">run</th><th scope="col">precision</th><th scope="col" class="number">final loss</th><th scope="col" class="number">difference</th><th scope="col" class="number">validation</th><th scope="col">outcome</th></tr></thead><tbody>
${list.map(e => html`<tr><td>${e.run.name}</td><td><span class="chip" style="background:${e.color}"></span>${e.label}</td><td class="number">${significant(e.final)}</td><td class="number">${e === ref ? 'reference' : relation(e.final !== null && ref.final ? e.final / ref.final : null)}</td><td class="number">${significant(validation(e))}</td><td>${e.lost !== null ? `not finite at step ${e.lost}` : e.run.summary?.finished ? 'finished' : 'unfinished'}</td></tr>
`)}</tbody></table></div>
${controlCheck(list)}
<h2>Curves</h2>
${figures}
<h2>What differs in the configurations</h2>
${sideBySide(list.map(e => ({ name: e.label, value: described(e.run) })), 'differing')}
<h3>Precision in force at the end</h3>
${sideBySide(list.map(e => ({ name: e.label, value: e.run.config.precisionSchedule.at(-1)?.precision ?? e.run.config.precision })), 'differing')}
<footer>Written by blockscale ${runs[0]!.file.version}. This page is self-contained.</footer>`)
}
