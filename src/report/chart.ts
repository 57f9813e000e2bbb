// Charts as inline SVG: Observable Plot over a jsdom document, drawn when the report is written. Colours are CSS variables and currentColor, so that one
// SVG serves light and dark. A chart is a figure with title, legend, caption, and its data to download; nothing is loaded from elsewhere.
import * as Plot from '@observablehq/plot'
import { JSDOM } from 'jsdom'
import { escape, html, type Html } from './html.ts'

const WIDTH = 880

let document: Document | undefined

/** Draw with Plot. Returns the SVG element's markup. */
export function draw(options: Plot.PlotOptions): Html {
  document ??= new JSDOM('').window.document as unknown as Document
  const element = Plot.plot({
    width: WIDTH, height: 300, marginLeft: 58, marginRight: 20, marginTop: 12, marginBottom: 42,
    style: { fontFamily: 'inherit', fontSize: '12px', background: 'none', color: 'inherit', overflow: 'visible' },
    ...options, document,
  })
  return html.raw(element.outerHTML)
}

export interface LegendEntry { readonly label: string, readonly color: string, readonly dashed?: boolean, readonly shape?: 'line' | 'dot' | 'area' }

export interface Figure {
  readonly id: string
  readonly title: string
  /** What one sees, and why it matters. */
  readonly caption: Html
  readonly legend?: readonly LegendEntry[]
  /** One or more drawings, one above the other, each with an optional axis title. */
  readonly drawings: readonly { readonly yTitle?: string, readonly svg: Html }[]
  /** Rows behind the chart: offered as CSV. */
  readonly data: readonly Readonly<Record<string, string | number | boolean | null>>[]
}

/** Rows as CSV; the columns are those of all rows, in order of appearance. */
export function csv(rows: Figure['data']): string {
  const columns = [...new Set(rows.flatMap(row => Object.keys(row)))]
  const cell = (value: unknown) => value === null || value === undefined ? '' : /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value)
  return `${[columns, ...rows.map(row => columns.map(c => row[c]))].map(line => line.map(cell).join(',')).join('\n')}\n`
}

/** A figure's markup. */
export function figure({ id, title, caption, legend = [], drawings, data }: Figure): Html {
  const swatch = ({ label, color, dashed, shape = 'line' }: LegendEntry) =>
    html`<li><svg viewBox="0 0 22 10" aria-hidden="true">${html.raw(
      shape === 'dot' ? `<circle cx="11" cy="5" r="4" fill="${escape(color)}"/>`
      : shape === 'area' ? `<rect x="2" y="0" width="18" height="10" rx="2" fill="${escape(color)}"/>`
      : `<line x1="1" x2="21" y1="5" y2="5" stroke="${escape(color)}" stroke-width="2.5" stroke-linecap="round"${dashed ? ' stroke-dasharray="4 4"' : ''}/>`)}</svg>${label}</li>`
  return html`<figure id="${id}">
<div class="head"><h3>${title}</h3>${legend.length ? html`<ul class="legend">${legend.map(swatch)}</ul>` : ''}</div>
${drawings.map(({ yTitle, svg }) => html`${yTitle ? html`<p class="axis">${yTitle}</p>` : ''}<div class="plot">${svg}</div>`)}
<figcaption>${caption} <a class="data" download="${id}.csv" href="data:text/csv;charset=utf-8,${encodeURIComponent(csv(data))}">Data (CSV)</a></figcaption>
</figure>
`
}
