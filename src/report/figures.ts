// The figures of a run's page. Each takes the run and returns a figure, or null if the run did not log what it needs.
import * as Plot from '@observablehq/plot'
import { describeScheme } from '../numerics/scheme.ts'
import { draw, type Figure, type LegendEntry } from './chart.ts'
import { arms, points, rowsOf, smooth, thin, type Point, type RunData } from './data.ts'
import { html } from './html.ts'
import { gammaFormat, lastBucket } from './last-bucket.ts'
import { percent } from './page.ts'
import { color } from './style.ts'

/** Points drawn per line. */
const DENSE = 1600

const thousands = (v: number): string => v.toLocaleString('en').replaceAll(',', '\u2009')

/** The step axis; `label: null` for a panel that stands above another. */
export const stepAxis = (steps: number, label: string | null = 'completed steps'): Plot.ScaleOptions =>
  ({ domain: [0, steps], label, labelArrow: 'none' as never, labelAnchor: 'center', tickSize: 4, tickFormat: thousands })

/** Ticks of a logarithmic axis: powers of ten, with 2 and 5 times them where those are too few, or evenly spaced round numbers. */
export function logTicks(low: number, high: number): number[] {
  const first = Math.floor(Math.log10(low)), decades = Array.from({ length: Math.ceil(Math.log10(high)) - first + 1 }, (_, i) => first + i)
  for (const digits of [[1], [1, 2, 5]]) {
    const shown = decades.flatMap(e => digits.map(d => Number(`${d}e${e}`))).filter(t => t >= low && t <= high)
    if (shown.length >= 3) return shown
  }
  const step = [1, 2, 5, 10].map(d => d * 10 ** Math.floor(Math.log10((high - low) / 5))).find(s => (high - low) / s <= 5)!
  return Array.from({ length: 6 }, (_, i) => Number(((Math.ceil(low / step) + i) * step).toPrecision(6))).filter(t => t <= high)
}

/** A logarithmic y axis over `values`, as scale and marks. */
export function logAxis(values: readonly number[], prefix = ''): { y: Plot.ScaleOptions, marks: Plot.Markish[] } {
  const low = Math.min(...values) / 1.05, high = Math.max(...values) * 1.05
  const shown = logTicks(low, high)
  const text = (v: number) => prefix + (v >= 1e-4 && v < 1e5 ? String(v) : v.toExponential(0))
  return { y: { type: 'log', domain: [low, high], axis: null }, marks: [Plot.gridY(shown, { stroke: 'var(--grid)', strokeOpacity: 1 }), Plot.axisY(shown, { label: null, text, tickSize: 4 })] }
}

/** Both arms' lines often coincide, so the baseline is the wider one below. */
export const strokeWidth = { baseline: 4, studied: 1.8 } as const

/** A horizontal grid under everything else, with as many lines as the axis has `ticks`. */
export const grid = (ticks?: number): Plot.Markish => Plot.gridY({ stroke: 'var(--grid)', strokeOpacity: 1, ticks })

/** Where the precision changed in mid-run. */
export function interventions({ config }: RunData): Plot.Markish[] {
  const changes = config.precisionSchedule.map(({ step, precision }) => ({ step, text: describeScheme(precision) }))
  return changes.length ? [
    Plot.ruleX(changes, { x: 'step', stroke: 'currentColor', strokeDasharray: '2 3', strokeOpacity: 0.6 }),
    Plot.text(changes, { x: 'step', text: 'text', frameAnchor: 'top', textAnchor: 'start', dx: 5, dy: 2, fill: 'currentColor', fillOpacity: 0.75 }),
  ] : []
}

const armLegend = (run: RunData): LegendEntry[] => arms(run).map(({ arm, label }) => ({ label, color: color[arm] }))

/** Width of the running mean, in rows that come every `interval` steps: a fortieth of the run's steps. */
export const smoothing = ({ config }: RunData, interval = config.metrics.loss): number => Math.max(1, Math.round(config.steps / 40 / (interval || 1)))

export function lossFigure(run: RunData): Figure | null {
  const { steps } = run.config
  const series = arms(run).map(({ arm, label }) => {
    const rows = rowsOf(run, 'step', arm)
    const raw = points(rows, r => r.loss)
    return { arm, label, rows, raw, smooth: smooth(raw, smoothing(run)), validation: points(rowsOf(run, 'validation', arm), r => r.loss), lost: rows.find(r => r.loss === null)?.step }
  })
  if (series.every(s => s.raw.length === 0)) return null
  const low = Math.min(...series.flatMap(s => [...s.raw, ...s.validation].map(p => p.value)))
  const gap = relativeGap(run)
  const axis = logAxis(series.flatMap(s => [...s.raw, ...s.validation].map(p => p.value)))
  const loss = draw({
    height: 330, x: stepAxis(steps, gap ? null : undefined), y: axis.y,
    marks: [
      ...axis.marks,
      ...series.map(s => Plot.lineY(thin(s.raw, DENSE), { x: 'step', y: 'value', stroke: color[s.arm], strokeOpacity: 0.28, strokeWidth: 1 })),
      ...series.map(s => Plot.lineY(thin(s.smooth, DENSE), { x: 'step', y: 'value', stroke: color[s.arm], strokeWidth: strokeWidth[s.arm], strokeOpacity: s.arm === 'baseline' ? 0.75 : 1 })),
      ...series.map(s => Plot.dot(s.validation, { x: 'step', y: 'value', r: 3, fill: color[s.arm], stroke: 'var(--card)', strokeWidth: 1 })),
      ...series.filter(s => s.lost !== undefined).map(s => Plot.text([s.lost!], { x: d => d, y: low, text: () => '✕ NaN', fill: color[s.arm] })),
      ...interventions(run),
    ],
  })
  const drawings = [{ yTitle: `training loss (${run.config.task === 'language-model' ? 'cross entropy in nats per token' : 'mean squared error'}, log scale); dots: validation`, svg: loss }]
  if (gap) {
    const ground = ratioAxis(gap)
    drawings.push({ yTitle: 'loss relative to the baseline’s at the same step', svg: draw({
      height: 150, x: stepAxis(steps), y: ground.y,
      marks: [...ground.marks, Plot.ruleY([1], { stroke: color.baseline, strokeWidth: 1.5 }), Plot.lineY(thin(gap, DENSE), { x: 'step', y: 'value', stroke: color.studied, strokeWidth: 2 }), ...interventions(run)],
    }) })
  }
  return {
    id: 'loss', title: 'Training and validation loss', legend: armLegend(run), drawings,
    caption: html`Thin: every step. Thick: running mean over a fortieth of the run. Both arms start from the same weights and see the same inputs${run.config.task === 'student-teacher' && run.config.labelNoiseStream === 'shared' && run.config.precision.teacher === 'fp32' ? ' and labels' : ''} in the same order, so whatever separates the lines is precision${gap ? '; the lower panel shows that separation alone' : ''}.`,
    data: series.flatMap(s => [...s.rows.map(r => ({ arm: s.arm, precision: s.label, kind: 'train', step: r.step, loss: r.loss, lr: r.lr })), ...s.validation.map(p => ({ arm: s.arm, precision: s.label, kind: 'validation', step: p.step, loss: p.value, lr: null }))]),
  }
}

/** Smoothed studied / baseline, or null if the run has not both. */
function relativeGap(run: RunData): Point[] | null {
  const base = new Map(points(rowsOf(run, 'step', 'baseline'), r => r.loss).map(p => [p.step, p.value]))
  const ratio = points(rowsOf(run, 'step', 'studied'), r => r.loss !== null && base.has(r.step) ? r.loss / base.get(r.step)! : null)
  return ratio.length < 2 ? null : smooth(ratio, smoothing(run))
}

/** A y axis for ratios around 1: per cent where all stay near it, times on a log scale where they do not. */
export function ratioAxis(series: readonly Point[]): { y: Plot.ScaleOptions, marks: Plot.Markish[] } {
  const low = Math.min(1, ...series.map(p => p.value)), high = Math.max(1, ...series.map(p => p.value))
  if (high > 3 || low < 0.3) return logAxis([low, high], '× ')
  const pad = Math.max(0.001, (high - low) * 0.08)
  return { y: { label: null, domain: [low - pad, high + pad], ticks: 4, tickFormat: (v: number) => v === 1 ? '0' : `${v > 1 ? '+' : '−'}${Number((Math.abs(v - 1) * 100).toPrecision(3))} %` }, marks: [grid(4)] }
}

export function gammaOverflowFigure(run: RunData): Figure | null {
  const { steps, model: { depth } } = run.config
  const rows = rowsOf(run, 'overflow').filter(r => r.totals.gamma !== undefined)
  if (rows.length === 0) return null
  const labels = new Map(arms(run).map(({ arm, label }) => [arm, label]))
  const title = (arm: 'baseline' | 'studied') => `${labels.get(arm)} run`
  const layers = rows.flatMap(r => Object.entries(r.tensors).flatMap(([name, value]) => {
    const layer = /^(?:layers\.(\d+)\.ln\.gamma|transformer\.blocks\.(\d+)\.attn_norm\.weight)$/.exec(name)?.slice(1).find(l => l !== undefined)
    return layer === undefined ? [] : [{ arm: title(r.arm), step: r.step, layer: Number(layer), value }]
  }))
  const totals = rows.map(r => ({ arm: title(r.arm), step: r.step, value: r.totals.gamma! }))
  const panels = [...labels.keys()].filter(arm => rows.some(r => r.arm === arm)).map(title)
  return {
    id: 'gamma-overflow', title: 'Layer-norm gamma in the last bucket',
    legend: [{ label: 'first layer', color: color.layer(0, depth) }, ...depth > 1 ? [{ label: 'last layer', color: color.layer(depth - 1, depth) }] : [], { label: 'all layers', color: 'var(--studied)', dashed: true }],
    drawings: [{ yTitle: 'share of gamma values that an MX block could not represent and would clamp', svg: draw({
      height: 260, x: { ...stepAxis(steps), ticks: 5 }, fx: { label: null, domain: panels, padding: 0.08 }, y: { label: null, domain: [0, 1], tickFormat: (v: number) => `${Math.round(v * 100)} %`, ticks: 5 },
      marginTop: 26,
      marks: [
        grid(5),
        Plot.lineY(layers, { x: 'step', y: 'value', fx: 'arm', z: 'layer', stroke: d => color.layer(d.layer, depth), strokeWidth: 1.6 }),
        Plot.lineY(totals, { x: 'step', y: 'value', fx: 'arm', stroke: 'var(--studied)', strokeWidth: 2, strokeDasharray: '5 4' }),
      ],
      color: { type: 'identity' },
    }) }],
    caption: html`A block’s scale follows its largest value, and everything above ${gammaFormat(run).name.toUpperCase()}’s largest code under that scale lands in the last bucket: for gammas just below 1, everything above ${gammaFormat(run).max / 2 ** (gammaFormat(run).emax + 1)}. The curve of the unquantized run asks what a block format <em>would</em> do to it: gamma gathers below 1 through optimization, not through quantization.`,
    data: layers.map(r => ({ run: r.arm, step: r.step, layer: r.layer, share: r.value })),
  }
}

export function overflowFigure(run: RunData): Figure | null {
  const { steps } = run.config
  const rows = rowsOf(run, 'overflow', 'studied')
  if (rows.length === 0) return null
  const kinds = [['weights', 'weights'], ['hidden', 'hidden activations'], ['outputs', 'block outputs']] as const
  const series = kinds.map(([key, label], i) => ({ label, stroke: color.series(i), points: points(rows, r => r.totals[key]) }))
  return {
    id: 'overflow', title: 'Other tensors in the last bucket',
    legend: series.map(s => ({ label: s.label, color: s.stroke })),
    drawings: [{ yTitle: `share of values in the last bucket, ${arms(run).at(-1)!.label} run`, svg: draw({
      height: 190, x: stepAxis(steps), y: { label: null, zero: true, nice: true, ticks: 4, tickFormat: (v: number) => percent(v) },
      marks: [grid(4), ...series.map(s => Plot.lineY(thin(s.points, DENSE), { x: 'step', y: 'value', stroke: s.stroke, strokeWidth: 2 }))],
    }) }],
    caption: html`For values drawn from a bell curve the share is 0.9 % of the elements, in one block out of six (E4M3, blocks of 32, scale rounded down). What stays near that line is the ordinary cost of the scale rule; what leaves it is a change in the tensor’s distribution.`,
    data: rows.flatMap(r => Object.entries(r.tensors).map(([tensor, share]) => ({ step: r.step, tensor, share }))),
  }
}

/** Two panels, error above (log scale) and cosine below, for comparisons of gradients. Series may coincide, so the first are wider and lie below. */
function comparisonPanels(run: RunData, series: readonly { label: string, stroke: string, error: Point[], cosine: Point[] }[]): Figure['drawings'] {
  const { steps } = run.config
  const dots = series[0]!.error.length <= 60
  const lines = (key: 'error' | 'cosine', shown: (p: Point) => boolean = () => true) => series.flatMap((s, i) => {
    const points = s[key].filter(shown), extra = series.length - 1 - i
    return [
      Plot.lineY(thin(points, DENSE), { x: 'step', y: 'value', stroke: s.stroke, strokeWidth: 1.8 + 1.6 * extra, strokeOpacity: extra ? 0.75 : 1 }),
      ...dots ? [Plot.dot(points, { x: 'step', y: 'value', fill: s.stroke, r: 2 + 0.8 * extra })] : [],
    ]
  })
  const positive = (p: Point) => p.value > 0
  const values = series.flatMap(s => s.error.filter(positive).map(p => p.value))
  const axis = logAxis(values), largest = Math.max(...values)
  const lowest = Math.min(...series.flatMap(s => s.cosine.map(p => p.value)))
  return [
    { yTitle: `relative gradient error ‖ε‖ / ‖g‖, log scale${largest >= 1 ? '; dotted: an error as large as the gradient' : ''}`, svg: draw({
      height: 250, x: stepAxis(steps, null), y: axis.y,
      marks: [...axis.marks, ...largest >= 1 ? [Plot.ruleY([1], { stroke: 'currentColor', strokeDasharray: '2 3', strokeOpacity: 0.7 })] : [], ...lines('error', positive), ...interventions(run)],
    }) },
    { yTitle: 'cosine between the two gradients', svg: draw({
      height: 190, x: stepAxis(steps), y: { label: null, domain: [lowest < 0 ? -1 : lowest > 0.8 ? 0.8 : 0, 1], ticks: 5 },
      marks: [grid(5), ...lines('cosine'), ...interventions(run)],
    }) },
  ]
}

/** The studied scheme keeps its colour among the probes; the others take theirs in order. */
export function probeColor({ config }: RunData, name: string): string {
  const studied = describeScheme(config.precision)
  const others = Object.keys(config.probes.schemes).filter(n => describeScheme(config.probes.schemes[n]!) !== studied)
  return others.includes(name) ? color.series(others.indexOf(name)) : color.studied
}

export function probeFigure(run: RunData): Figure | null {
  const rows = rowsOf(run, 'probe')
  if (rows.length === 0) return null
  const names = Object.keys(run.config.probes.schemes)
  const series = names.map(label => {
    const own = rows.filter(r => r.probe === label)
    return { label, stroke: probeColor(run, label), error: points(own, r => r.relativeError), cosine: points(own, r => r.cosine) }
  }).filter(s => s.error.length > 0)
  const at = arms(run).find(a => a.arm === run.config.probes.weights)!.label
  return {
    id: 'probes', title: 'Gradient error at the same weights', legend: series.map(s => ({ label: s.label, color: s.stroke, shape: 'line' as const })),
    drawings: comparisonPanels(run, series),
    caption: html`Every ${run.config.probes.every} steps the gradient is computed once in f32 and once under each scheme, at the weights of the ${at} run and on the same batch, so the difference is rounding and nothing else. Rounding errors follow the size of the values, so they weigh the more the smaller the true gradient becomes. Schemes: ${names.map((n, i) => html`${i ? '; ' : ''}<em>${n}</em> is ${describeScheme(run.config.probes.schemes[n]!)}`)}.`,
    data: rows.map(r => ({ step: r.step, probe: r.probe, scheme: describeScheme(run.config.probes.schemes[r.probe]!), relative_error: r.relativeError, cosine: r.cosine, zeta: r.zeta, mean_difference: r.meanDifference })),
  }
}

export function trajectoryFigure(run: RunData): Figure | null {
  const rows = rowsOf(run, 'trajectory')
  if (rows.length === 0) return null
  return {
    id: 'trajectory', title: 'Gradients of the two runs compared', drawings: comparisonPanels(run, [{ label: '', stroke: color.studied, error: points(rows, r => r.relativeError), cosine: points(rows, r => r.cosine) }]),
    caption: html`Each run’s own gradient at the same step and batch. This mixes rounding with the distance the two runs have drifted apart, so it is usually larger than the error at the same weights; it is the quantity that the original experiments logged (as its square, ζ).`,
    data: rows.map(r => ({ step: r.step, relative_error: r.relativeError, cosine: r.cosine, zeta: r.zeta, mean_difference: r.meanDifference, upper_bound: r.upperBound })),
  }
}

export function gradientNormFigure(run: RunData): Figure | null {
  const series = arms(run).map(({ arm, label }) => ({ arm, label, points: points(rowsOf(run, 'gradient', arm), r => r.norm) })).filter(s => s.points.length > 0)
  if (series.length === 0) return null
  const axis = logAxis(series.flatMap(s => s.points.map(p => p.value)).filter(v => v > 0))
  return {
    id: 'gradient-norm', title: 'Gradient norm', legend: series.map(s => ({ label: s.label, color: color[s.arm] })),
    drawings: [{ yTitle: '‖g‖ over all parameters (log scale)', svg: draw({
      height: 210, x: stepAxis(run.config.steps), y: axis.y,
      marks: [...axis.marks, ...series.map(s => Plot.lineY(thin(s.points.filter(p => p.value > 0), DENSE), { x: 'step', y: 'value', stroke: color[s.arm], strokeWidth: strokeWidth[s.arm], strokeOpacity: s.arm === 'baseline' ? 0.75 : 1 })), ...interventions(run)],
    }) }],
    caption: html`A norm that creeps upward and does not come back is what precedes a divergence.`,
    data: series.flatMap(s => s.points.map(p => ({ arm: s.arm, step: p.step, norm: p.value }))),
  }
}

export function gammaHistogramFigure(run: RunData): Figure | null {
  const arm = rowsOf(run, 'gamma', 'studied').length ? 'studied' : 'baseline'
  const all = rowsOf(run, 'gamma', arm)
  if (all.length === 0) return null
  const shown = [...new Set([0, 1 / 3, 2 / 3, 1].map(q => all[Math.round(q * (all.length - 1))]!))]
  const format = gammaFormat(run), { blockSize } = run.config.precision
  const values = shown.flatMap(({ step, layers }) => layers.flatMap((gamma, layer) => lastBucket(gamma, format, blockSize).map(b => ({ panel: `step ${step}`, step, layer, ...b }))))
  const sorted = values.map(v => v.value).sort((a, b) => a - b)
  const low = sorted[Math.round(0.002 * (sorted.length - 1))]!, high = sorted[Math.round(0.998 * (sorted.length - 1))]!
  const pad = Math.max(0.02, (high - low) * 0.08)
  const panels = shown.map(s => `step ${s.step}`)
  // The commonest block exponent of each snapshot decides which code points are drawn.
  const codes = panels.flatMap(panel => {
    const exponents = values.filter(v => v.panel === panel).map(v => v.exponent)
    const e = exponents.toSorted((a, b) => exponents.filter(x => x === b).length - exponents.filter(x => x === a).length)[0]!
    const top = format.max * 2 ** (e - format.emax), mantissa = format.kind === 'float' ? format.manBits : format.bits - 2
    const points: { panel: string, value: number }[] = []
    for (let binade = e; binade >= e - 1; binade--) for (let i = 0; i < 2 ** mantissa; i++) points.push({ panel, value: 2 ** binade * (1 + i / 2 ** mantissa) })
    return [{ panel, top, next: 2 ** (e + 1), points: points.filter(p => p.value <= top) }]
  })
  const domain: [number, number] = [Math.min(low - pad, codes.at(-1)!.top - pad), high + pad]
  const inside = (v: number) => v >= domain[0] && v <= domain[1]
  const clamp = (v: number) => Math.min(domain[1], Math.max(domain[0], v))
  const bins = Array.from({ length: 97 }, (_, i) => domain[0] + (domain[1] - domain[0]) * i / 96)
  return {
    id: 'gamma-histogram', title: 'Gamma against the format’s code points',
    legend: [{ label: 'representable', color: color.series(0), shape: 'area' }, { label: 'in the last bucket', color: color.studied, shape: 'area' }, { label: `${format.name.toUpperCase()} codes under the block’s scale`, color: 'currentColor' }],
    drawings: [{ yTitle: `number of gamma values, all layers, ${arms(run).find(a => a.arm === arm)!.label} run`, svg: draw({
      height: 92 * panels.length + 44, marginRight: 78, x: { domain, label: 'gamma', labelAnchor: 'center', labelArrow: 'none' as never, tickSize: 4 }, fy: { domain: panels, label: null, padding: 0.12 }, y: { label: null, ticks: 2, nice: true },
      marks: [
        Plot.rect(codes.filter(c => c.top < domain[1]), { fy: 'panel', x1: c => clamp(c.top), x2: c => clamp(c.next), fill: 'var(--band)' }),
        Plot.rectY(values.filter(v => inside(v.value)), Plot.binX({ y: 'count' }, { x: 'value', fy: 'panel', fill: (v: { clamped: boolean }) => v.clamped ? 'var(--studied)' : 'var(--series-0)', thresholds: bins, insetLeft: 0.5, insetRight: 0.5 } as never)),
        Plot.ruleY([0], { stroke: 'currentColor', strokeOpacity: 0.5 }),
        Plot.tickX(codes.flatMap(c => c.points.filter(p => inside(p.value))), { x: 'value', fy: 'panel', stroke: 'currentColor', strokeOpacity: 0.45, strokeDasharray: '2 2' }),
        Plot.ruleX(codes.filter(c => inside(c.top)), { x: 'top', fy: 'panel', stroke: 'currentColor', strokeWidth: 1.5 }),
      ],
      color: { type: 'identity' },
    }) }],
    caption: html`Dashed: the values that a block can hold under its scale. Solid: the largest one, ${codes.at(-1)!.top}. The shaded gap above it, up to ${codes.at(-1)!.next}, holds no code at all: every gamma there becomes ${codes.at(-1)!.top}, and a whole block that lies there becomes one constant, losing what layer norm learned.`,
    data: values.map(v => ({ step: v.step, layer: v.layer, gamma: v.value, in_last_bucket: v.clamped })),
  }
}
