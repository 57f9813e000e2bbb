// The page of a sweep: where its runs stand, their curves, phase diagrams, gaps to the reference precision, how often training was unstable, the scaling law
// where there is one, and every run with what is its own. It can be written while the sweep goes on, and then shows what is there.
import { basename, resolve } from 'node:path'
import { UsageError } from '../errors.ts'
import type { Cell } from '../experiments/collect.ts'
import { fit, type Fit } from '../experiments/fit.ts'
import { gapTable } from '../experiments/gaps.ts'
import type { ManifestEntry, RunState, SweepFolder } from '../experiments/manifest.ts'
import { divergenceFrequency } from '../experiments/spikes.ts'
import { sweepResults, type ArmResult, type SweepResults } from '../experiments/sweep-results.ts'
import { canonicalJson } from '../train/config-file.ts'
import { VERSION } from '../version.ts'
import { figure, type Figure } from './chart.ts'
import { html, type Html } from './html.ts'
import { page, percent, settings as settingsTable, significant, tiles } from './page.ts'
import { phaseFigures } from './phase-diagram.ts'
import { scalingFigures } from './scaling-figures.ts'
import { curveFigures, readCurves } from './sweep-curves.ts'
import { download, gapMarkup, nats, relative } from './tables.ts'

const stateOrder: readonly RunState[] = ['finished', 'running', 'pending', 'interrupted', 'lost', 'failed']
const best = (results: readonly ArmResult[]) => results.filter(r => r.loss !== null).toSorted((a, b) => a.loss! - b.loss!)[0]
const where = (r: ArmResult, seeds: boolean) => [...Object.entries(r.at).map(([key, v]) => `${key} ${v}`), ...seeds ? [`seed ${r.seed}`] : []].join(', ')

/** Differences to the reference precision; null without one. */
function gaps({ results, reference, axes, task }: SweepResults): Html | null {
  if (reference === null) return null
  const budgets = new Set(results.flatMap(r => r.size ? [Number(r.size.flops.toPrecision(2))] : []))
  const axis = axes.find(a => a.key === 'optimizer.lr' && a.numeric) ?? axes.find(a => a.numeric)
  const [columnName, column] = budgets.size > 1 ? ['FLOPs', (r: ArmResult) => Number((r.size?.flops ?? 0).toPrecision(2))] as const
    : axis ? [axis.key, (r: ArmResult) => Number(r.at[axis.key])] as const : ['all', () => 'all'] as const
  const table = gapTable(results.map(r => ({ group: r.precision, column: column(r), pair: canonicalJson([r.at, r.seed]), loss: r.loss })), reference,
    task === 'language-model' ? undefined : (loss, base) => loss / base - 1)
  return table.rows.length ? gapMarkup(table, columnName, task === 'language-model' ? nats : relative, c => typeof c === 'number' ? c >= 1e5 ? c.toExponential().replace('e+', 'e') : String(Number(c.toPrecision(3))) : c) : null
}

/** How often each precision was unstable, with what so few runs can say about it. */
function stability({ results }: SweepResults): Html {
  const rows = [...new Set(results.map(r => r.precision))].map(precision => {
    const own = results.filter(r => r.precision === precision)
    return { precision, diverged: divergenceFrequency(own.map(r => r.diverged || r.loss === null)), spiked: divergenceFrequency(own.map(r => r.spikes > 0)) }
  })
  const cell = ({ diverged, runs, interval: [low, high] }: ReturnType<typeof divergenceFrequency>) => html`<td class="number">${diverged} of ${runs}</td><td class="number">${percent(low)} to ${percent(high)}</td>`
  const data = rows.map(r => ({ precision: r.precision, runs: r.diverged.runs, diverged: r.diverged.diverged, diverged_low: r.diverged.interval[0], diverged_high: r.diverged.interval[1], spiked: r.spiked.diverged, spiked_low: r.spiked.interval[0], spiked_high: r.spiked.interval[1] }))
  return html`<div class="scroll" id="stability"><table><thead><tr><th scope="col">precision</th><th scope="col" class="number">diverged</th><th scope="col" class="number">95 % interval</th><th scope="col" class="number">had a spike</th><th scope="col" class="number">95 % interval</th></tr></thead><tbody>
${rows.map(r => html`<tr><th scope="row">${r.precision}</th>${cell(r.diverged)}${cell(r.spiked)}</tr>
`)}</tbody></table></div>
<p>Over all settings and seeds; the intervals are Clopper and Pearson’s. ${download('stability', data)}</p>`
}

/** A law per precision, where there are runs enough; why not, where there are none. */
function scaling(results: SweepResults): Html | null {
  const sized = results.results.filter(r => r.size)
  if (new Set(sized.map(r => r.size!.params)).size < 2) return null
  const laws = [...new Set(sized.map(r => r.precision))].map(precision => {
    const observations = sized.filter(r => r.precision === precision).map(r => ({ params: r.size!.params, tokens: r.size!.tokens, loss: r.lowest ?? r.loss ?? NaN }))
    try { return { precision, observations, law: fit(observations) } } catch (error) {
      if (error instanceof UsageError) return { precision, observations, why: error.message }
      throw error
    }
  })
  return html`<h2 id="scaling">Scaling law</h2>
<p>L = A / N^alpha + B / D^beta + E, fitted to the lowest validation loss of each run.</p>
<div class="scroll"><table><thead><tr><th scope="col">precision</th>${['A', 'B', 'E', 'alpha', 'beta', 'R²', 'runs'].map(c => html`<th scope="col" class="number">${c}</th>`)}</tr></thead><tbody>
${laws.map(l => html`<tr><th scope="row">${l.precision}</th>${'law' in l ? coefficientCells(l.law!) : html`<td colspan="7">no fit: ${l.why}</td>`}</tr>
`)}</tbody></table></div>
${laws.flatMap(l => 'law' in l ? scalingFigures({ name: laws.length > 1 ? l.precision : '', form: l.law!.form, coefficients: l.law!.coefficients, observations: l.observations }).map(figure) : [])}`
}

const coefficientCells = ({ coefficients: c, rSquared, rows }: Fit): Html => html`${[c.A, c.B, c.E, c.alpha, c.beta, rSquared].map(v => html`<td class="number">${significant(v, 5)}</td>`)}<td class="number">${rows}</td>`

/** Every run: state, results per arm, and the settings that tell it from the others. */
function runTable(sweep: SweepFolder, results: SweepResults, states: ReadonlyMap<ManifestEntry, RunState>): Html {
  const keys = [...new Set([...results.varying.values()].flatMap(Object.keys))]
  const arms = (['baseline', 'studied'] as const).filter(arm => results.results.some(r => r.arm === arm))
  const rows = sweep.entries.map(entry => {
    const outcome = Object.fromEntries(arms.flatMap((arm): [string, Cell][] => {
      const r = results.of(entry, arm)
      return [[`${arm}.loss`, r?.loss ?? null], [`${arm}.lowest`, r?.lowest ?? null], [`${arm}.outcome`, r ? r.diverged || r.loss === null ? 'diverged' : r.spikes ? `${r.spikes} spike${r.spikes > 1 ? 's' : ''}` : 'stable' : null]]
    }))
    return { index: entry.index, hash: entry.hash, state: states.get(entry)!, ...results.varying.get(entry.hash)!, ...outcome }
  })
  const columns = ['index', 'hash', 'state', ...keys, ...arms.flatMap(arm => [`${arm}.loss`, `${arm}.lowest`, `${arm}.outcome`])]
  const text = (value: Cell | undefined) => value === null || value === undefined ? '–' : typeof value === 'number' ? Number.isInteger(value) ? String(value) : significant(value, 4) : String(value)
  return html`<div class="scroll" id="runs"><table class="matrix plain"><thead><tr>${columns.map(c => html`<th scope="col">${c}</th>`)}</tr></thead><tbody>
${rows.map(row => html`<tr>${columns.map(c => html`<td class="mono">${text((row as Record<string, Cell>)[c])}</td>`)}</tr>
`)}</tbody></table></div>
<p>Loss: the last ${results.results.some(r => r.lowest !== null) ? 'validation' : 'training'} loss. ${download('runs', rows)}</p>`
}

/** The page of `sweep`: one self-contained document. */
export function sweepPage(sweep: SweepFolder): string {
  const results = sweepResults(sweep), name = basename(resolve(sweep.folder))
  const states = new Map(sweep.entries.map(e => [e, sweep.state(e, Date.now).state]))
  const count = (state: RunState) => [...states.values()].filter(s => s === state).length
  const precisions = [...new Set(results.results.map(r => r.precision))]
  const unstable = results.results.filter(r => r.diverged || r.loss === null)
  const figures = (list: readonly Figure[]) => list.map(figure)
  const curves = figures(curveFigures(readCurves(sweep, results), results.axes)), phases = figures(phaseFigures(results)), gap = gaps(results)
  const top = best(results.results), seeds = 'seed' in (results.varying.values().next().value ?? {})
  return page(`${name} – blockscale`, html`<h1>${name}</h1>
<p class="lead">A sweep of ${sweep.entries.length} run${sweep.entries.length === 1 ? '' : 's'}${results.axes.length ? html` over ${results.axes.map((a, i) => html`${i ? ', ' : ''}${a.key} (${a.values.length})`)}` : ''}${precisions.length > 1 ? `, in ${precisions.length} precisions` : precisions.length ? html`, in <strong>${precisions[0]}</strong>` : ''}.</p>
${tiles([
    { name: 'Runs', rows: stateOrder.filter(s => count(s) || s === 'finished').map(s => ({ label: s, value: String(count(s)) })) },
    ...precisions.length ? [{ name: 'Lowest final loss', rows: precisions.slice(0, 6).map(p => ({ label: p, value: significant(best(results.results.filter(r => r.precision === p))?.loss) })) }] : [],
    ...precisions.length ? [{ name: 'Diverged', rows: precisions.slice(0, 6).map(p => ({ label: p, value: `${unstable.filter(r => r.precision === p).length} of ${results.results.filter(r => r.precision === p).length}` })) }] : [],
  ])}
${top ? html`<ul class="findings"><li>The lowest final loss, ${significant(top.loss, 4)}, was reached in ${top.precision}${where(top, seeds) ? ` with ${where(top, seeds)}` : ''}.</li></ul>` : html`<p>No run has finished yet.</p>`}
${curves.length ? html`<h2>Curves</h2>${curves}` : ''}
${phases.length ? html`<h2>Phase diagrams</h2>${phases}` : ''}
${gap ? html`<h2>Against ${results.reference}</h2>${gap}` : ''}
${results.results.length ? html`<h2>Stability</h2>${stability(results)}` : ''}
${scaling(results) ?? ''}
<h2>Runs</h2>
${runTable(sweep, results, states)}
<h2>What the runs share</h2>
${settingsTable(Object.entries(results.shared))}
<footer>Written by blockscale ${VERSION}. This page is self-contained.</footer>`)
}
