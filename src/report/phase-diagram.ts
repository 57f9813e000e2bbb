// Phase diagrams: where in the space of settings a precision trains well, and where it does not. Heat maps over two settings, one panel per value of a third
// (columns) and per precision and whatever else varies (rows); seeds share a cell.
import * as Plot from '@observablehq/plot'
import type { Axis, ArmResult, SweepResults } from '../experiments/sweep-results.ts'
import { median } from '../experiments/statistics.ts'
import { draw, type Figure, type LegendEntry } from './chart.ts'
import { html } from './html.ts'
import { significant } from './page.ts'
import { color } from './style.ts'

/** Which settings go where. Learning rate, depth and width have their usual places; others take what is free, in the order of the file. */
export interface PhaseLayout { readonly x: Axis, readonly y: Axis | null, readonly column: Axis | null, readonly rest: readonly Axis[] }

export function phaseLayout(axes: readonly Axis[]): PhaseLayout | null {
  const free = axes.filter(a => a.numeric)
  const take = (...preferred: string[]): Axis | null => {
    const axis = preferred.map(key => free.find(a => a.key === key)).find(a => a) ?? free[0]
    if (!axis) return null
    free.splice(free.indexOf(axis), 1)
    return axis
  }
  const x = take('optimizer.lr')
  if (!x) return null
  const y = take('model.depth', 'model.width'), column = take('model.width')
  return { x, y, column, rest: axes.filter(a => a !== x && a !== y && a !== column) }
}

export interface PhaseCell {
  readonly x: number
  /** Value of the y setting, or the row's label where one setting alone varies. */
  readonly y: number | string
  readonly column: string
  readonly row: string
  /** Median of the finite losses of its runs. */
  readonly loss: number | null
  readonly runs: number
  /** Runs that diverged or had a spike. */
  readonly unstable: number
}

/** The cells of a phase diagram. */
export function phaseCells({ results }: Pick<SweepResults, 'results'>, { x, y, column, rest }: PhaseLayout): PhaseCell[] {
  const row = (r: ArmResult) => [r.precision, ...rest.map(a => `${a.key} ${r.at[a.key]}`)].join(', ')
  const groups = new Map<string, { cell: Pick<PhaseCell, 'x' | 'y' | 'column' | 'row'>, runs: ArmResult[] }>()
  for (const r of results) {
    const cell = { x: Number(r.at[x.key]), y: y ? Number(r.at[y.key]) : row(r), column: column ? `${column.key} ${r.at[column.key]}` : '', row: y ? row(r) : '' }
    const key = JSON.stringify(Object.values(cell)), group = groups.get(key)
    if (group) group.runs.push(r)
    else groups.set(key, { cell, runs: [r] })
  }
  return [...groups.values()].map(({ cell, runs }) => {
    const finite = runs.flatMap(r => r.loss === null ? [] : [r.loss])
    return { ...cell, loss: finite.length ? median(finite) : null, runs: runs.length, unstable: runs.filter(r => r.diverged || r.spikes > 0 || r.loss === null).length }
  })
}

const tick = (v: unknown) => typeof v === 'number' ? v !== 0 && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e5) ? v.toExponential().replace('e+', 'e') : String(v) : String(v)

interface Quantity { readonly share: (cell: PhaseCell) => number | null, readonly text: (cell: PhaseCell) => string }

function heatMap(cells: readonly PhaseCell[], { x, y }: PhaseLayout, quantity: Quantity) {
  const columns = [...new Set(cells.map(c => c.column))], rows = [...new Set(cells.map(c => c.row))]
  const ys = y ? y.values.map(Number).toReversed() : [...new Set(cells.map(c => c.y))]
  const words = y ? rows : ys.map(String), longest = Math.max(0, ...words.map(w => w.length))
  const panelHeight = Math.max(40, ys.length * 26), shown = columns.length * x.values.length <= 24
  const fill = (c: PhaseCell) => { const s = quantity.share(c); return s === null ? 'var(--band)' : color.ramp(s) }
  return draw({
    height: rows.length * (panelHeight + 12) + 56 + (columns.length > 1 ? 18 : 0), padding: 0.04,
    marginLeft: y ? 52 : Math.min(300, 24 + longest * 7), marginRight: rows.length > 1 ? Math.min(260, 24 + longest * 7) : 20, marginTop: columns.length > 1 ? 26 : 12,
    x: { type: 'band', domain: x.values.map(Number), label: x.key, labelAnchor: 'center', labelArrow: 'none' as never, tickFormat: tick, tickSize: 0 },
    y: { type: 'band', domain: ys, label: null, tickFormat: tick, tickSize: 0 },
    fx: { domain: columns, label: null, padding: 0.04 }, fy: { domain: rows, label: null, padding: 0.08 },
    color: { type: 'identity' },
    marks: [
      Plot.cell(cells, { x: 'x', y: 'y', fx: 'column', fy: 'row', fill, title: (c: PhaseCell) => `${c.row ? `${c.row}\n` : ''}${x.key} ${tick(c.x)}, ${y ? `${y.key} ` : ''}${tick(c.y)}${c.column ? `, ${c.column}` : ''}\n${quantity.text(c)}` }),
      ...shown ? [Plot.text(cells, { x: 'x', y: 'y', fx: 'column', fy: 'row', text: quantity.text, fontSize: columns.length * x.values.length > 12 ? 9 : 11, fill: (c: PhaseCell) => (quantity.share(c) ?? 0) > 0.45 ? 'var(--card)' : 'var(--ink)' })] : [],
    ],
  })
}

const swatch = (label: string, fill: string): LegendEntry => ({ label, color: fill, shape: 'area' })

/** Loss and instability over the settings; [] where no number varies. */
export function phaseFigures(results: SweepResults): Figure[] {
  const layout = phaseLayout(results.axes)
  if (!layout || results.results.length === 0) return []
  const cells = phaseCells(results, layout), losses = cells.flatMap(c => c.loss ?? [])
  const yTitle = layout.y ? `rows: ${layout.y.key}${layout.column ? `; panels: ${layout.column.key}` : ''}` : ''
  const data = cells.map(c => ({ precision: layout.y ? c.row : c.y, [layout.x.key]: c.x, ...layout.y ? { [layout.y.key]: c.y } : {}, ...layout.column ? { [layout.column.key]: c.column.slice(layout.column.key.length + 1) } : {}, loss: c.loss, runs: c.runs, unstable: c.unstable }))
  const figures: Figure[] = []
  if (losses.length) {
    // By rank: a few runs that blew up would leave one colour for all the others.
    const order = [...new Set(losses)].sort((a, b) => a - b)
    const share = (c: PhaseCell) => c.loss === null ? null : order.length < 2 ? 0 : order.indexOf(c.loss) / (order.length - 1)
    const levels = order.length < 2 ? [0] : [0, 0.25, 0.5, 0.75, 1]
    figures.push({
      id: 'phase-loss', title: 'Final loss over the settings',
      legend: [...levels.map(l => swatch(significant(order[Math.round(l * (order.length - 1))]), color.ramp(l))), ...cells.some(c => c.loss === null) ? [swatch('not finite', 'var(--band)')] : []],
      drawings: [{ yTitle, svg: heatMap(cells, layout, { share, text: c => c.loss === null ? '✕' : significant(c.loss, 3) }) }],
      caption: html`Each cell is the median over its seeds. Colours go by rank, so that runs that blew up do not drown the differences between the others.`, data,
    })
  }
  if (cells.some(c => c.unstable > 0)) {
    figures.push({
      id: 'phase-instability', title: 'Where training is unstable', legend: [0, 0.5, 1].map(s => swatch(`${s * 100} %`, color.ramp(s))),
      drawings: [{ yTitle, svg: heatMap(cells, layout, { share: c => c.unstable / c.runs, text: c => `${c.unstable}/${c.runs}` }) }],
      caption: html`Share of runs that diverged or had a loss spike. Diverged: the last validation loss is more than 0.02 above the lowest, or not finite. Spike: the loss is above ten times the median of the 200 logs before it for at least 50 logs.`, data,
    })
  }
  return figures
}
