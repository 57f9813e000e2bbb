// The live page's part in the browser: draws what live.ts sends, with uPlot (a global of the page). Runs of a sweep are chosen by the address's fragment.
import type UPlot from 'uplot'
import type { LiveChart } from './live-points.ts'
import type { PointsEvent, StateEvent, SweepEvent } from './live.ts'

declare const uPlot: typeof UPlot

interface Line { color: string, steps: number[], values: (number | null)[] }
interface Chart extends LiveChart { readonly lines: Map<string, Line>, plot: UPlot | null, figure: HTMLElement | null }

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T
const charts = new Map((JSON.parse(document.body.dataset.charts!) as LiveChart[]).map(c => [c.id, { ...c, lines: new Map<string, Line>(), plot: null, figure: null } as Chart]))
const isSweep = document.body.dataset.sweep === 'yes'
const cssColor = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()

function reset(): void {
  for (const chart of charts.values()) {
    chart.lines.clear()
    chart.plot?.destroy()
    chart.figure?.remove()
    chart.plot = chart.figure = null
  }
}

function extend({ reset: anew, charts: news }: PointsEvent): void {
  if (anew) reset()
  for (const [id, lines] of Object.entries(news)) {
    const chart = charts.get(id)
    if (!chart) continue
    const known = chart.lines.size
    for (const [name, { color, steps, values }] of Object.entries(lines)) {
      const line = chart.lines.get(name) ?? { color, steps: [], values: [] }
      chart.lines.set(name, line)
      // A loop: spreading a long history into push would overflow the stack.
      steps.forEach((step, i) => { line.steps.push(step); line.values.push(values[i]!) })
    }
    draw(chart, chart.lines.size > known)
  }
}

const HEIGHT = 260
/** What a figure leaves inside its padding. */
const plotWidth = ({ figure }: Chart) => Math.max(200, figure!.clientWidth - 36)

/** Draw or redraw a chart; with new lines it is built anew. */
function draw(chart: Chart, rebuild: boolean): void {
  const lines = [...chart.lines.values()]
  // On a logarithmic axis zero has no place.
  const tables = lines.map(l => [l.steps, chart.log ? l.values.map(v => v !== null && v > 0 ? v : null) : l.values] as UPlot.AlignedData)
  const data = uPlot.join(tables)
  if (chart.plot && !rebuild) { chart.plot.setData(data); return }
  chart.plot?.destroy()
  if (!chart.figure) {
    chart.figure = document.createElement('figure')
    chart.figure.id = `chart-${chart.id}`
    chart.figure.append(Object.assign(document.createElement('h3'), { textContent: chart.title }))
    const later = [...charts.keys()].slice([...charts.keys()].indexOf(chart.id) + 1).map(id => charts.get(id)!.figure).find(f => f) ?? null
    element('charts').insertBefore(chart.figure, later)
    new ResizeObserver(() => { chart.plot?.setSize({ width: plotWidth(chart), height: HEIGHT }) }).observe(chart.figure)
  }
  const axis: UPlot.Axis = { stroke: cssColor('soft'), grid: { stroke: cssColor('grid'), width: 1 }, ticks: { stroke: cssColor('grid') } }
  chart.plot = new uPlot({
    width: plotWidth(chart), height: HEIGHT,
    scales: { x: { time: false }, y: { distr: chart.log ? 3 : 1 } },
    axes: [axis, { ...axis, size: 64, values: (_, ticks) => ticks.map(t => t === null ? '' : Math.abs(t) >= 1e-3 && Math.abs(t) < 1e4 || t === 0 ? String(Number(t.toPrecision(3))) : t.toExponential(0)) }],
    series: [{ label: 'step' }, ...[...chart.lines].map(([label, { color }]): UPlot.Series => {
      const sparse = label.endsWith('validation')
      return { label, stroke: cssColor(color), width: 1.5, spanGaps: true, ...sparse ? { dash: [4, 4], points: { show: true, size: 5 } } : { points: { show: false } }, value: (_, v) => v === null ? '–' : v.toPrecision(4) }
    })],
  }, data, chart.figure)
}

function redrawAll(): void { for (const chart of charts.values()) if (chart.lines.size) draw(chart, true) }

function showState({ name, state, step, steps, secondsPerStep }: StateEvent): void {
  const left = state === 'running' && steps !== null && secondsPerStep !== null ? `, about ${Math.ceil((steps - step) * secondsPerStep / 60)} min left` : ''
  element('status').textContent = `${isSweep ? `${name}: ` : ''}${state}, step ${step}${steps === null ? '' : ` of ${steps}`}${left}`
  element('status').dataset.step = String(step)
  Object.assign(element<HTMLProgressElement>('progress'), { value: step, max: steps ?? Math.max(step, 1) })
}

function showRuns(runs: SweepEvent): void {
  const chosen = location.hash.slice(1)
  element('runs').querySelector('tbody')!.replaceChildren(...runs.map(({ name, hash, state, step, loss }) => {
    const row = document.createElement('tr')
    row.dataset.hash = hash
    row.ariaCurrent = String(hash === chosen)
    for (const [text, kind] of [[name, ''], [state, ''], [step ?? '–', 'number'], [loss === null ? '–' : loss.toPrecision(4), 'number']] as const) {
      row.append(Object.assign(document.createElement('td'), { textContent: String(text), className: kind }))
    }
    row.addEventListener('click', () => { location.hash = hash })
    return row
  }))
  if (!chosen && runs.length) location.replace(`#${(runs.find(r => r.state === 'running') ?? runs[0]!).hash}`)
}

/** An event stream; the browser reconnects by itself, and the server then starts from the first row. */
function listen(address: string, handlers: Record<string, (data: any) => void>): EventSource {
  const source = new EventSource(address)
  for (const [event, handle] of Object.entries(handlers)) source.addEventListener(event, message => handle(JSON.parse((message as MessageEvent).data)))
  source.addEventListener('error', () => { element('status').textContent = 'connection lost, trying again' })
  return source
}

const problem = (text: string) => { element('status').textContent = text }
let current: EventSource | null = null
function follow(): void {
  current?.close()
  reset()
  if (isSweep && !location.hash) return
  current = listen(isSweep ? `/events?run=${location.hash.slice(1)}` : '/events', { points: extend, state: showState, problem, reload: () => { location.reload() } })
  for (const row of document.querySelectorAll<HTMLElement>('#runs tbody tr')) row.ariaCurrent = String(row.dataset.hash === location.hash.slice(1))
}

if (isSweep) {
  listen('/events', { sweep: showRuns, problem })
  addEventListener('hashchange', follow)
}
follow()
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redrawAll)
