// The page of scaling-law fits: coefficients with intervals, what was left out, contours, profiles and residuals of each, and gaps between the groups.
import type { Described } from '../experiments/fit-table.ts'
import { coefficientNames } from '../experiments/fit.ts'
import { gapTable } from '../experiments/gaps.ts'
import { VERSION } from '../version.ts'
import { figure } from './chart.ts'
import { html } from './html.ts'
import { page, significant } from './page.ts'
import { scalingFigures } from './scaling-figures.ts'
import { download, gapMarkup, nats } from './tables.ts'

const laws = { chinchilla: 'L = A / N^alpha + B / D^beta + E', kaplan: 'L = ((A / N)^(alpha / beta) + B / D)^beta + E' } as const
const budget = (params: number, tokens: number) => Number((6 * params * tokens).toPrecision(2))

/** One self-contained document. `reference`: the group that the others are compared with, run by run. */
export function fitPage(source: string, fits: readonly Described[], reference?: string): string {
  const [first] = fits as [Described]
  const coefficients = fits.map(f => ({ fit: f.name, runs: f.rows, ...f.coefficients, r_squared: f.rSquared, huber_loss: f.objective, optimal_G: f.optimal.G, optimal_a: f.optimal.a, ...Object.fromEntries(coefficientNames.flatMap(n => f.intervals ? [[`${n}_low`, f.intervals[n][0]], [`${n}_high`, f.intervals[n][1]]] : [])) }))
  const gaps = reference === undefined ? null : gapTable(fits.flatMap(f => f.observations.map(o => ({ group: f.name, column: budget(o.params, o.tokens), pair: `${o.params} ${budget(o.params, o.tokens)}`, loss: o.loss }))), reference)
  const excluded = fits.flatMap(f => f.excluded.map(e => ({ fit: f.name, line: e.line, reason: e.reason })))
  return page(`${source} – blockscale`, html`<h1>Scaling law${fits.length > 1 ? 's' : ''} of ${source}</h1>
<p class="lead">${laws[first.form]}, N parameters, D tokens, L the column ${first.loss}. Fitted by the mean Huber loss (δ = 10⁻³) of log loss, the best of ${first.starts} starts.</p>
<div class="scroll" id="coefficients"><table class="matrix plain"><thead><tr><th scope="col"></th><th scope="col" class="number">runs</th>${coefficientNames.map(n => html`<th scope="col" class="number">${n}</th>`)}<th scope="col" class="number">R²</th><th scope="col" class="number">optimal N</th></tr></thead><tbody>
${fits.map(f => html`<tr><th scope="row">${f.name || 'all runs'}</th><td class="number">${f.rows}</td>${coefficientNames.map(n => html`<td class="number">${significant(f.coefficients[n], 5)}${f.frozen[n] !== undefined ? html`<br>frozen` : f.intervals ? html`<br>${significant(f.intervals[n][0])} – ${significant(f.intervals[n][1])}` : ''}</td>`)}<td class="number">${f.rSquared.toFixed(5)}</td><td class="number">${significant(f.optimal.G, 4)} (C / 6)^${significant(f.optimal.a, 4)}</td></tr>
`)}</tbody></table></div>
<p>${first.intervals ? 'Below each coefficient: its 95 % bootstrap interval. ' : ''}${download('coefficients', coefficients)}</p>
${fits.some(f => !f.converged) ? html`<p><strong>Not converged:</strong> ${fits.filter(f => !f.converged).map(f => f.name || 'all runs').join(', ')}.</p>` : ''}
${excluded.length ? html`<p>${excluded.length} row${excluded.length > 1 ? 's' : ''} left out: ${excluded.slice(0, 10).map(e => `line ${e.line} (${e.reason})`).join(', ')}${excluded.length > 10 ? ', …' : ''}.</p>` : ''}
${gaps?.rows.length ? html`<h2>Against ${reference}</h2>${gapMarkup(gaps, 'FLOPs', nats, c => Number(c).toExponential().replace('e+', 'e'))}` : ''}
${fits.map(f => html`${fits.length > 1 ? html`<h2>${f.name}</h2>` : ''}${scalingFigures(f).map(figure)}`)}
<footer>Written by blockscale ${VERSION}. This page is self-contained.</footer>`)
}
