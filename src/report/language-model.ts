// What a run's page shows of a language model alone: loss and gradient norm against tokens and operations, and what the model wrote.
import * as Plot from '@observablehq/plot'
import type { Arm } from '../train/config.ts'
import { draw, type Figure } from './chart.ts'
import { arms, points, rowsOf, smooth, thin, type RunData } from './data.ts'
import { logAxis, smoothing, strokeWidth } from './figures.ts'
import { html, type Html } from './html.ts'
import { color } from './style.ts'

/** 1234567 as "1.2M". */
const short = (n: number): string => {
  const [scale, unit] = ([[1e18, 'E'], [1e15, 'P'], [1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']] as const).find(([s]) => n >= s) ?? [1, '']
  return `${Number((n / scale).toPrecision(2))}${unit}`
}

/** Loss and gradient norm against tokens seen, with the paper's operations (6 N per token) on the upper edge. */
export function budgetFigure(run: RunData): Figure | null {
  const [about] = rowsOf(run, 'language-model')
  if (!about) return null
  const { tokensPerStep, flopsPerToken } = about
  const panel = (value: (arm: Arm) => { step: number, value: number }[], interval: number, yTitle: string) => {
    const lines = arms(run).map(({ arm, label }) => ({ arm, label, points: smooth(value(arm), smoothing(run, interval)).map(p => ({ tokens: p.step * tokensPerStep, value: p.value })) }))
    const all = lines.flatMap(l => l.points)
    if (all.length < 2) return null
    const axis = logAxis(all.map(p => p.value)), first = Math.min(...all.map(p => p.tokens)), last = Math.max(...all.map(p => p.tokens))
    const ticks = [1, 2, 5].flatMap(m => Array.from({ length: 15 }, (_, e) => m * 10 ** e)).filter(t => t >= first && t <= last)
    const svg = draw({
      height: 260, marginTop: 34, x: { type: 'log', domain: [first, last], axis: null }, y: axis.y,
      marks: [
        ...axis.marks, Plot.axisX(ticks, { anchor: 'bottom', label: 'tokens', labelArrow: 'none' as never, labelAnchor: 'center', tickFormat: short, tickSize: 4 }),
        Plot.axisX(ticks, { anchor: 'top', label: 'FLOPs (6 N per token)', labelArrow: 'none' as never, labelAnchor: 'center', tickFormat: (t: number) => short(t * flopsPerToken), tickSize: 4 }),
        ...lines.map(l => Plot.lineY(thin(l.points.map(p => ({ step: p.tokens, value: p.value })), 1600), { x: 'step', y: 'value', stroke: color[l.arm], strokeWidth: strokeWidth[l.arm], strokeOpacity: l.arm === 'baseline' ? 0.75 : 1 })),
      ],
    })
    return { yTitle, svg, lines }
  }
  const loss = panel(arm => points(rowsOf(run, 'step', arm), r => r.loss), run.config.metrics.loss, 'training loss, nats per token (running mean, log scale)')
  const norm = panel(arm => points(rowsOf(run, 'gradient', arm), r => r.norm), run.config.metrics.gradient, '\u2016g\u2016 (running mean, log scale)')
  if (!loss) return null
  return {
    id: 'budget', title: 'Loss and gradient norm against tokens and operations', legend: arms(run).map(({ arm, label }) => ({ label, color: color[arm] })), drawings: norm ? [loss, norm] : [loss],
    caption: html`${about.detail}. One step is ${tokensPerStep} tokens; ${short(flopsPerToken)} operations per token are six times the number of parameters, the paper\u2019s budget.`,
    data: loss.lines.flatMap(l => l.points.map(p => ({ arm: l.arm, precision: l.label, tokens: p.tokens, flops: p.tokens * flopsPerToken, loss: p.value }))),
  }
}

/** What each arm wrote last. */
export function samples(run: RunData): Html | null {
  const last = arms(run).flatMap(({ arm, label }) => { const row = rowsOf(run, 'sample', arm).at(-1); return row ? [{ label, row }] : [] })
  if (last.length === 0) return null
  return html`<section><h2>What the model writes</h2>${last.map(({ label, row }) => html`<h3>${label}, after ${row.step} steps</h3><pre>${row.text}</pre>`)}</section>`
}
