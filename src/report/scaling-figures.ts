// Figures of a scaling-law fit: iso-loss contours with the compute-optimal line, profiles at constant compute, and what the law leaves unexplained.
import * as Plot from '@observablehq/plot'
import { optimalLine, predict, type Coefficients, type Form, type Observation } from '../experiments/fit.ts'
import { draw, type Figure } from './chart.ts'
import { html } from './html.ts'
import { significant } from './page.ts'
import { color } from './style.ts'

/** A fitted law and the runs that it was fitted to. */
export interface FittedLaw { readonly name: string, readonly form: Form, readonly coefficients: Coefficients, readonly observations: readonly Observation[] }

interface Run extends Observation { readonly flops: number }

const runsOf = ({ observations }: FittedLaw): Run[] => observations.filter(o => o.loss > 0 && o.loss < Infinity).map(o => ({ ...o, flops: 6 * o.params * o.tokens }))
const range = (values: readonly number[]): [number, number] => [Math.min(...values), Math.max(...values)]
const short = (v: number) => v >= 1e15 || v < 1e-3 ? v.toExponential(0).replace('e+', 'e') : v >= 1e9 ? `${Number((v / 1e9).toPrecision(3))}B` : v >= 1e6 ? `${Number((v / 1e6).toPrecision(3))}M` : v >= 1e3 ? `${Number((v / 1e3).toPrecision(3))}k` : String(Number(v.toPrecision(3)))
const suffix = (name: string) => name.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '')
const id = (kind: string, name: string) => name ? `${kind}-${suffix(name)}` : kind
const of = (name: string) => name ? `: ${name}` : ''

/** Loss levels of equal excess over the irreducible loss's ratio, lowest first: contours that lie about equally far apart. */
function levels([low, high]: readonly [number, number], E: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => E + (low - E) * ((high - E) / (low - E)) ** (i / (count - 1)))
}

/** Predicted loss over compute and parameters, the runs, and where to put compute. */
function contourFigure(law: FittedLaw): Figure | null {
  const runs = runsOf(law), { form, coefficients: c } = law
  if (runs.length < 2) return null
  const [flopsLow, flopsHigh] = range(runs.map(r => r.flops)), [paramsLow, paramsHigh] = range(runs.map(r => r.params))
  const x: [number, number] = [flopsLow / 2, flopsHigh * 2], y: [number, number] = [paramsLow / 1.6, paramsHigh * 1.6]
  const at = (flops: number, params: number) => predict(form, c, params, flops / (6 * params))
  const { G, a } = optimalLine(form, c)
  const best = Array.from({ length: 60 }, (_, i) => x[0] * (x[1] / x[0]) ** (i / 59)).map(flops => ({ flops, params: G * (flops / 6) ** a })).filter(p => p.params >= y[0] && p.params <= y[1])
  const lowest = Math.min(...best.map(p => at(p.flops, p.params)), ...runs.map(r => at(r.flops, r.params)))
  const highest = Math.max(...runs.map(r => at(r.flops, r.params)))
  const thresholds = levels([lowest * 1.0005, Math.max(highest, lowest * 1.001)], Math.min(c.E, lowest * 0.999), 10)
  const shares = thresholds.map((_, i) => color.ramp(1 - i / (thresholds.length - 1)))
  const bin = (loss: number) => shares[Math.max(0, thresholds.findLastIndex(t => t <= loss))]!
  // A contour is closed along the edge of where it is computed, so that edge lies outside the frame.
  const around = { x1: x[0] / 1.5, x2: x[1] * 1.5, y1: y[0] / 1.3, y2: y[1] * 1.3 }
  const drawing = draw({
    height: 400, marginLeft: 64, color: { type: 'identity' },
    x: { type: 'log', domain: x, label: 'compute C = 6 N D, FLOPs', labelAnchor: 'center', labelArrow: 'none' as never, tickFormat: short, tickSize: 4, ticks: 6 },
    y: { type: 'log', domain: y, label: null, tickFormat: short, ticks: 5, tickSize: 4 },
    marks: [
      ...thresholds.map((t, i) => Plot.contour({ fill: 'none', stroke: shares[i]!, strokeWidth: 1.4, value: ((flops: number, params: number) => at(flops, params)) as never, thresholds: [t], clip: true, ...around, pixelSize: 3 } as never)),
      Plot.line(best, { x: 'flops', y: 'params', stroke: color.studied, strokeWidth: 2.2, strokeDasharray: '7 5' }),
      Plot.dot(runs, { x: 'flops', y: 'params', r: 4, fill: (r: Run) => bin(r.loss), stroke: 'var(--ink)', strokeWidth: 0.8, title: (r: Run) => `N ${short(r.params)}, D ${short(r.tokens)} (D/N ${significant(r.tokens / r.params)})\nloss ${significant(r.loss, 4)}, law ${significant(at(r.flops, r.params), 4)}` }),
    ],
  })
  const shown = [0, 3, 6, 9]
  return {
    id: id('contours', law.name), title: `Loss over compute and model size${of(law.name)}`,
    legend: [...shown.map(i => ({ label: significant(thresholds[i]!, 4), color: shares[i]! })), { label: `compute-optimal N = ${G.toPrecision(4)} (C / 6)^${a.toPrecision(4)}`, color: color.studied, dashed: true }, { label: 'runs', color: 'currentColor', shape: 'dot' }],
    drawings: [{ yTitle: 'parameters N', svg: drawing }],
    caption: html`Lines of equal loss as the law predicts it. A dot is a run, in the colour of the loss that it reached: where dot and surrounding lines disagree, the law does not hold.`,
    data: runs.map(r => ({ fit: law.name, flops: r.flops, params: r.params, tokens: r.tokens, loss: r.loss, predicted: at(r.flops, r.params), optimal_params: G * (r.flops / 6) ** a })),
  }
}

/** Loss against model size at each compute budget that several runs share. */
function isoFlopFigure(law: FittedLaw): Figure | null {
  const runs = runsOf(law), { form, coefficients: c } = law
  // One budget: runs within 3 % of it.
  const budgets: Run[][] = []
  for (const run of runs.toSorted((a, b) => a.flops - b.flops)) {
    const last = budgets.at(-1)
    if (last && run.flops / last[0]!.flops < 1.03) last.push(run)
    else budgets.push([run])
  }
  const kept = budgets.filter(b => new Set(b.map(r => r.params)).size >= 3)
  if (kept.length === 0) return null
  const stroke = (i: number) => color.ramp(kept.length < 2 ? 1 : i / (kept.length - 1))
  const flops = kept.map(b => b.reduce((sum, r) => sum + r.flops, 0) / b.length)
  const [low, high] = range(kept.flat().map(r => r.params))
  const curve = (budget: number) => Array.from({ length: 60 }, (_, i) => low / 1.2 * (high * 1.44 / low) ** (i / 59)).map(params => ({ params, loss: predict(form, c, params, budget / (6 * params)) }))
  const [lossLow, lossHigh] = range(kept.flat().map(r => r.loss)), pad = (lossHigh - lossLow) * 0.06
  const inside = (p: { loss: number }) => p.loss <= lossHigh + pad && p.loss >= lossLow - pad
  return {
    id: id('isoflop', law.name), title: `Loss at constant compute${of(law.name)}`, legend: flops.map((f, i) => ({ label: `${f.toExponential(1).replace('e+', 'e')} FLOPs`, color: stroke(i) })),
    drawings: [{ yTitle: 'loss', svg: draw({
      height: 320, x: { type: 'log', label: 'parameters N', labelAnchor: 'center', labelArrow: 'none' as never, tickFormat: short, tickSize: 4, ticks: 5 }, y: { label: null, domain: [lossLow - pad, lossHigh + pad], ticks: 6 },
      marks: [
        Plot.gridY({ stroke: 'var(--grid)', strokeOpacity: 1 }),
        ...kept.flatMap((b, i) => [
          Plot.line(curve(flops[i]!).filter(inside), { x: 'params', y: 'loss', stroke: stroke(i), strokeWidth: 1.6 }),
          Plot.dot(b, { x: 'params', y: 'loss', r: 3.5, fill: stroke(i), stroke: 'var(--card)', strokeWidth: 0.8, title: (r: Run) => `N ${short(r.params)}, D ${short(r.tokens)}, loss ${significant(r.loss, 4)}` }),
        ]),
      ],
    }) }],
    caption: html`Dots: runs that share a budget. Lines: the law. The bottom of a line is the size to train at that budget.`,
    data: kept.flatMap((b, i) => b.map(r => ({ fit: law.name, budget: flops[i]!, params: r.params, tokens: r.tokens, loss: r.loss, predicted: predict(form, c, r.params, r.tokens) }))),
  }
}

/** Observed loss over the law's, against D/N: a law that holds leaves no trend. */
function residualFigure(law: FittedLaw): Figure | null {
  const runs = runsOf(law).map(r => ({ ...r, ratio: r.tokens / r.params, residual: r.loss / predict(law.form, law.coefficients, r.params, r.tokens) - 1 }))
  if (runs.length < 2) return null
  const most = Math.max(1e-4, ...runs.map(r => Math.abs(r.residual))) * 1.08
  const [low, high] = range(runs.map(r => Math.log(r.flops)))
  return {
    id: id('residuals', law.name), title: `What the law leaves${of(law.name)}`, legend: [0, 1].map(s => ({ label: `${Math.exp(low + (high - low) * s).toExponential(1).replace('e+', 'e')} FLOPs`, color: color.ramp(s), shape: 'dot' as const })),
    drawings: [{ yTitle: 'loss relative to the law', svg: draw({
      height: 220, x: { type: 'log', label: 'tokens per parameter, D / N', labelAnchor: 'center', labelArrow: 'none' as never, tickFormat: short, tickSize: 4, ticks: 6 },
      y: { label: null, domain: [-most, most], ticks: 5, tickFormat: (v: number) => `${v > 0 ? '+' : v < 0 ? '−' : ''}${Number((Math.abs(v) * 100).toPrecision(3))} %` }, color: { type: 'identity' },
      marks: [Plot.gridY({ stroke: 'var(--grid)', strokeOpacity: 1 }), Plot.ruleY([0], { stroke: color.baseline, strokeWidth: 1.5 }),
        Plot.dot(runs, { x: 'ratio', y: 'residual', r: 3.5, fill: r => color.ramp(high > low ? (Math.log(r.flops) - low) / (high - low) : 1), title: r => `N ${short(r.params)}, D ${short(r.tokens)}, loss ${significant(r.loss, 4)}` })],
    }) }],
    caption: html`A trend to the right means that long training is worse than the law says: the sign of an instability that a fit would hide.`,
    data: runs.map(r => ({ fit: law.name, flops: r.flops, params: r.params, tokens: r.tokens, ratio: r.ratio, loss: r.loss, residual: r.residual })),
  }
}

export const scalingFigures = (law: FittedLaw): Figure[] => [contourFigure(law), isoFlopFigure(law), residualFigure(law)].filter(f => f !== null)
