// The frame of a page: one HTML file that asks the network for nothing, by what it holds and by policy.
import { flatten } from './data.ts'
import { html, type Html } from './html.ts'
import { stylesheet } from './style.ts'

/** A whole document. */
export function page(title: string, body: Html): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>${title}</title>
<style>${html.raw(stylesheet)}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`.text
}

export interface Tile { readonly name: string, readonly rows: readonly { readonly label: string, readonly value: string, readonly color?: string }[] }

/** The figures to see first: each a name and a value or several, aligned. */
export const tiles = (list: readonly Tile[]): Html => html`<div class="tiles">${list.map(({ name, rows }) => html`<div class="tile"><div class="name">${name}</div>
<table>${rows.map(({ label, value, color }) => html`<tr><th scope="row">${color ? html`<span class="chip" style="background:${color}"></span>` : ''}${label}</th><td>${value}</td></tr>`)}</table></div>
`)}</div>`

/** Keys and values, one table per top-level key; single values together first. */
export function settings(entries: readonly (readonly [string, unknown])[]): Html {
  const groups = new Map<string, (readonly [string, unknown])[]>()
  for (const [key, value] of entries) {
    const dot = key.indexOf('.')
    const group = dot < 0 ? '' : key.slice(0, dot)
    groups.set(group, [...groups.get(group) ?? [], [dot < 0 ? key : key.slice(dot + 1), value]])
  }
  return html`<div class="columns">${[...groups].map(([group, rows]) => html`<table>${group ? html`<caption>${group}</caption>` : ''}<tbody>
${rows.map(([key, value]) => html`<tr><th scope="row">${key}</th><td class="mono">${typeof value === 'string' ? value : JSON.stringify(value)}</td></tr>
`)}</tbody></table>`)}</div>`
}

/** Objects side by side, one column each, one row per dotted key. Values that differ from the first column's are marked. */
export function sideBySide(columns: readonly { readonly name: string, readonly value: object }[], only: 'all' | 'differing' = 'all'): Html {
  const flat = columns.map(({ value }) => new Map(flatten(value).map(([key, v]) => [key, typeof v === 'string' ? v : JSON.stringify(v)])))
  const keys = [...new Set(flat.flatMap(f => [...f.keys()]))].filter(key => only === 'all' || flat.some(f => f.get(key) !== flat[0]!.get(key)))
  return html`<div class="scroll"><table class="matrix"><thead><tr><th></th>${columns.map(c => html`<th scope="col">${c.name}</th>`)}</tr></thead><tbody>
${keys.map(key => html`<tr><th scope="row">${key}</th>${flat.map(f => html`<td class="mono${f.get(key) === flat[0]!.get(key) ? '' : ' differs'}">${f.get(key) ?? '–'}</td>`)}</tr>
`)}</tbody></table></div>`
}

/** A number to `digits` significant digits: 0.00853, 1.20e-7, 12 300. */
export function significant(value: number | null | undefined, digits = 3): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–'
  if (value === 0) return '0'
  const a = Math.abs(value)
  return a >= 1e6 || a < 1e-4 ? value.toExponential(digits - 1) : a >= 1000 ? Math.round(value).toLocaleString('en').replaceAll(',', '\u2009') : Number(value.toPrecision(digits)).toString()
}

/** A share as a percentage. */
export const percent = (value: number | null | undefined, digits = 2): string =>
  value === null || value === undefined || !Number.isFinite(value) ? '–' : `${significant(value * 100, digits)} %`

/** How a quantity stands to its reference, from their ratio: "+1.1 %", or "150 times" where a percentage would mislead. */
export function relation(ratio: number | null | undefined): string {
  if (ratio === null || ratio === undefined || !Number.isFinite(ratio)) return '–'
  if (ratio === 1) return '0 %'
  return ratio >= 3 ? `${significant(ratio, 2)} times` : `${ratio >= 1 ? '+' : '−'}${significant(Math.abs(ratio - 1) * 100, 2)} %`
}
