// Tables that several pages share: gaps to a reference, and tables whose rows can be downloaded.
import type { GapTable } from '../experiments/gaps.ts'
import { csv, type Figure } from './chart.ts'
import { html, type Html } from './html.ts'

type Rows = Figure['data']

/** A link that saves `rows` as `name`.csv. */
export const download = (name: string, rows: Rows): Html => html`<a class="data" download="${name}.csv" href="data:text/csv;charset=utf-8,${encodeURIComponent(csv(rows))}">Data (CSV)</a>`

/** Writes a difference: "+0.009", "+1.2 %". */
export type Difference = (value: number) => string
export const nats: Difference = v => `${v < -5e-5 ? '−' : v > 5e-5 ? '+' : ''}${Math.abs(v).toFixed(4)}`
export const relative: Difference = v => `${v < -5e-5 ? '−' : v > 5e-5 ? '+' : ''}${Math.abs(v * 100).toFixed(2)} %`

/** The gap table as markup: medians, with the number of pairs where it is not the row's first. `column` names what the columns are. */
export function gapMarkup({ reference, columns, rows }: GapTable, column: string, write: Difference, columnText: (c: string | number) => string = String): Html {
  const lost = (n: number) => n ? html` <span title="runs whose loss is not finite">✕${n}</span>` : ''
  const flat: Rows = rows.flatMap(r => r.cells.map((c, i) => ({ precision: r.group, reference, [column]: columns[i]!, median_difference: c.median, pairs: c.pairs, not_finite: c.notFinite })))
  const unmatched = rows.reduce((sum, r) => sum + r.unmatched, 0)
  return html`<div class="scroll" id="gaps"><table class="matrix plain"><thead><tr><th scope="col">precision</th>${columns.length > 1 ? columns.map(c => html`<th scope="col" class="number">${columnText(c)}</th>`) : ''}<th scope="col" class="number">median of all</th><th scope="col" class="number">mean ± standard error</th><th scope="col" class="number">worse in</th></tr></thead><tbody>
${rows.map(r => html`<tr><th scope="row">${r.group}</th>${columns.length > 1 ? r.cells.map(c => html`<td class="number" title="${c.pairs} pairs">${c.median === null ? '–' : write(c.median)}${lost(c.notFinite)}</td>`) : ''}<td class="number">${r.all.median === null ? '–' : write(r.all.median)}${lost(r.all.notFinite)}</td><td class="number">${r.all.pairs ? `${write(r.all.mean)}${r.all.pairs > 1 ? ` ± ${write(r.all.standardError).replace('+', '')}` : ''}` : '–'}</td><td class="number">${r.all.higher} of ${r.all.pairs}</td></tr>
`)}</tbody></table></div>
<p>Columns: ${column}. Each run is compared with the ${reference} run of the same everything else${unmatched ? `; ${unmatched} runs without one are left out` : ''}. ${download('gaps', flat)}</p>`
}
