// The curves of a sweep's runs, one panel per precision, coloured by what varies: tokens per parameter where that does (the paper's figure 1), else a number
// among the settings, else the run.
import * as Plot from '@observablehq/plot'
import type { SweepFolder } from '../experiments/manifest.ts'
import { settings, type Cell } from '../experiments/settings.ts'
import type { Axis, SweepResults } from '../experiments/sweep-results.ts'
import { canonicalJson } from '../train/config-file.ts'
import type { Arm } from '../train/config.ts'
import { readMetrics } from '../train/run-directory.ts'
import type { MetricsRow } from '../train/types.ts'
import { draw, type Figure, type LegendEntry } from './chart.ts'
import { points, smooth, thin, type Point } from './data.ts'
import { logAxis, stepAxis } from './figures.ts'
import { html } from './html.ts'
import { significant } from './page.ts'
import { color } from './style.ts'

/** Points that all curves of a figure share: what keeps a page of hundreds of runs a few megabytes. */
const POINTS = 16_000
/** Panels per figure; a sweep over more precisions shows the first ones. */
const PANELS = 12

export interface Curve {
  readonly name: string
  readonly hash: string
  readonly arm: Arm
  readonly precision: string
  readonly at: Readonly<Record<string, Cell>>
  /** Tokens per parameter at the end, of a language model. */
  readonly ratio: number | null
  readonly loss: readonly Point[]
  readonly norm: readonly Point[]
  /** First step whose loss was not finite. */
  readonly lost: number | null
}

/** The smoothed, thinned curves of all runs that have begun. One run's metrics are in memory at a time. */
export function readCurves(sweep: SweepFolder, { axes }: Pick<SweepResults, 'axes'>): Curve[] {
  const limit = Math.max(30, Math.min(800, Math.floor(POINTS / (2 * sweep.entries.length))))
  const curves = new Map<string, Curve>()
  for (const entry of sweep.entries) {
    const rows = readMetrics(sweep.runFolder(entry)), own = settings(entry.config)
    const at = Object.fromEntries(axes.map(a => [a.key, own[a.key] ?? null]))
    const model = rows.find(r => r.kind === 'language-model')
    for (const arm of ['baseline', 'studied'] as const) {
      const of = <K extends 'step' | 'gradient'>(kind: K) => rows.filter((r): r is Extract<MetricsRow, { kind: K }> => r.kind === kind && r.arm === arm)
      const steps = of('step'), precision = String(own[arm === 'baseline' ? 'baseline' : 'precision'] ?? arm)
      if (!steps.length) continue
      const key = canonicalJson([precision, at, own.seed ?? null])
      if (curves.has(key)) continue // the same baseline again
      const line = (list: Point[]) => thin(smooth(list, Math.round(list.length / 40)), limit)
      curves.set(key, {
        name: entry.name, hash: entry.hash, arm, precision, at, ratio: model ? model.tokensPerStep * steps.at(-1)!.step / model.parameters : null,
        loss: line(points(steps, r => r.loss)), norm: line(points(of('gradient'), r => r.norm)), lost: steps.find(r => r.loss === null)?.step ?? null,
      })
    }
  }
  return [...curves.values()]
}

interface Hue { readonly title: string, color(curve: Curve): string, readonly legend: LegendEntry[] }

/** What tells the curves apart by colour. */
function hue(curves: readonly Curve[], axes: readonly Axis[]): Hue {
  const ratios = curves.map(c => c.ratio), low = Math.min(...ratios.map(r => r ?? NaN)), high = Math.max(...ratios.map(r => r ?? NaN))
  const scale = (title: string, value: (c: Curve) => number, from: number, to: number): Hue => {
    const log = from > 0 && to / from > 4
    const share = (v: number) => to === from ? 1 : log ? Math.log(v / from) / Math.log(to / from) : (v - from) / (to - from)
    const at = (s: number) => log ? from * (to / from) ** s : from + (to - from) * s
    return { title, color: c => color.ramp(share(value(c))), legend: [0, 0.5, 1].map(s => ({ label: significant(at(s)), color: color.ramp(s) })) }
  }
  if (high / low > 1.05) return scale('tokens per parameter, D/N', c => c.ratio!, low, high)
  const numeric = axes.find(a => a.key === 'optimizer.lr' && a.numeric) ?? axes.find(a => a.numeric)
  if (numeric) return scale(numeric.key, c => Number(c.at[numeric.key]), Number(numeric.values[0]), Number(numeric.values.at(-1)))
  const categories = axes[0]?.values ?? []
  const of = (c: Curve) => axes[0] ? categories.indexOf(c.at[axes[0].key]!) : 0
  return { title: axes[0]?.key ?? '', color: c => color.series(of(c)), legend: categories.slice(0, 12).map((v, i) => ({ label: String(v), color: color.series(i) })) }
}

function curvesFigure(curves: readonly Curve[], axes: readonly Axis[], about: { id: string, title: string, yTitle: string, caption: string, series: (c: Curve) => readonly Point[] }): Figure | null {
  const drawn = curves.map(c => ({ c, series: about.series(c).filter(p => p.value > 0) })).filter(d => d.series.length > 1)
  if (drawn.length === 0) return null
  const precisions = [...new Set(drawn.map(d => d.c.precision))], shown = precisions.slice(0, PANELS)
  const steps = Math.max(...drawn.flatMap(d => d.series.at(-1)!.step)), { title, legend, color: stroke } = hue(drawn.map(d => d.c), axes)
  const axis = logAxis(drawn.flatMap(d => d.series.map(p => p.value)))
  return {
    id: about.id, title: about.title, legend,
    drawings: shown.map((precision, i) => {
      const panel = drawn.filter(d => d.c.precision === precision)
      return {
        yTitle: `${precision}: ${about.yTitle}`,
        svg: draw({
          height: shown.length > 3 ? 180 : 260, x: stepAxis(steps, i === shown.length - 1 ? undefined : null), y: axis.y,
          marks: [
            ...axis.marks,
            ...panel.map(({ c, series }) => Plot.lineY(series, { x: 'step', y: 'value', stroke: stroke(c), strokeWidth: drawn.length > 60 ? 1 : 1.6, title: () => `${c.name}, ${c.precision}` })),
            ...panel.filter(({ c }) => c.lost !== null).map(({ c, series }) => Plot.text([series.at(-1)!], { x: 'step', y: 'value', text: () => '✕', fill: stroke(c), fontSize: 13 })),
          ],
        }),
      }
    }),
    caption: html`${title ? `Colour: ${title}. ` : ''}${about.caption}${precisions.length > shown.length ? ` The first ${shown.length} of ${precisions.length} precisions are drawn; the data hold all.` : ''} Running means over a fortieth of each run, thinned to what the eye can see.`,
    data: drawn.flatMap(({ c, series }) => series.map(p => ({ run: c.hash, precision: c.precision, ...c.ratio === null ? {} : { ratio: Number(c.ratio.toPrecision(4)) }, step: p.step, value: Number(p.value.toPrecision(6)) }))),
  }
}

/** Loss and gradient norm of every run. */
export function curveFigures(curves: readonly Curve[], axes: readonly Axis[]): Figure[] {
  return [
    curvesFigure(curves, axes, { id: 'curves', title: 'Training loss of every run', yTitle: 'training loss, log scale', caption: '✕: the loss was no longer finite.', series: c => c.loss }),
    curvesFigure(curves, axes, { id: 'gradient-norms', title: 'Gradient norm of every run', yTitle: '‖g‖ over all parameters, log scale', caption: 'A norm that creeps upward and does not come back is what precedes a divergence.', series: c => c.norm }),
  ].filter(f => f !== null)
}
