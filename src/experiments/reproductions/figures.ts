// Figures that several reproductions share: lines over steps, gaps by arm, losses with their spikes. Few points, so that the SVG files stay small.
import * as Plot from '@observablehq/plot'
import { thin, type Point } from '../../report/data.ts'
import { logTicks } from '../../report/figures.ts'
import { color } from '../../report/style.ts'
import type { ReproductionFigure } from '../reproduction.ts'
import { gap, lossPoints, spikesOf } from './readings.ts'
import type { ArmRuns } from './training.ts'

/** A logarithmic axis with few round ticks. */
function logScale(values: readonly number[]): Plot.ScaleOptions {
  const domain = [Math.min(...values), Math.max(...values)] as const
  return { type: 'log', domain, ticks: logTicks(...domain), tickFormat: (v: number) => String(v) }
}

/** A figure of lines over steps, one colour each; at most `points` points per line are drawn and kept as data. */
export function linesFigure(
  { name, title, caption, y, series, log = false, marks = [], points = 160 }: {
    readonly name: string, readonly title: string, readonly caption: string, readonly y: string, readonly series: Readonly<Record<string, readonly Point[]>>
    readonly log?: boolean, readonly marks?: Plot.Markish[], readonly points?: number
  }): ReproductionFigure {
  const names = Object.keys(series), data = Object.entries(series).flatMap(([series, all]) => thin(all, points).map(p => ({ series, step: p.step, value: Number(p.value.toPrecision(5)) })))
  return {
    name, title, caption, data,
    plot: {
      height: 280, x: { label: 'completed steps' }, y: { label: y, grid: true, ...log ? logScale(data.map(d => d.value)) : {} },
      color: { legend: true, domain: names, range: names.map((_, i) => color.series(i)) },
      marks: [Plot.line(data, { x: 'step', y: 'value', stroke: 'series', strokeWidth: 1.8 }), ...marks],
    },
  }
}

/** Final losses relative to those of arm `baseline` with the same seed: every seed, and the mean with its standard error. */
export function gapsFigure<Name extends string>(runs: ArmRuns<Name>, baseline: Name, { name, title, caption }: { readonly name: string, readonly title: string, readonly caption: string }): ReproductionFigure {
  const arms = [...runs.keys()].filter(arm => arm !== baseline)
  const means = arms.map(arm => { const { mean, standardError: e } = gap(runs, baseline, arm); return { arm, mean, low: mean - e, high: mean + e } })
  const data = arms.flatMap(arm => runs.get(arm)!.map((run, seed) => ({ arm, seed, gap: Number((100 * (run.validation.studied / runs.get(baseline)![seed]!.validation.studied - 1)).toFixed(4)) })))
  return {
    name, title, caption: `${caption} Small dots: one seed each. Bars: mean and standard error.`, data,
    plot: {
      height: 60 + 32 * arms.length, marginLeft: 20 + 7 * Math.max(...arms.map(a => a.length)), x: { label: `loss above ${baseline} (%)`, grid: true }, y: { type: 'point', domain: arms, label: null },
      marks: [
        Plot.ruleX([0]), Plot.link(means, { x1: 'low', x2: 'high', y1: 'arm', y2: 'arm', stroke: 'var(--studied)', strokeWidth: 3 }),
        Plot.dot(means, { x: 'mean', y: 'arm', fill: 'var(--studied)', r: 5 }), Plot.dot(data, { x: 'gap', y: 'arm', r: 2.5, fill: 'currentColor', fillOpacity: 0.6 }),
      ],
    },
  }
}

/** Losses of all runs, one panel per arm, on a logarithmic axis; steps inside spikes are marked. */
export function spikeFigure(runs: ArmRuns, { name, title, caption }: { readonly name: string, readonly title: string, readonly caption: string }): ReproductionFigure {
  const data = [...runs].flatMap(([arm, list]) => list.flatMap((run, seed) => thin(lossPoints(run, 'studied', 1), 60).map(p => ({ arm, seed, step: p.step, loss: Number(p.value.toPrecision(4)), spike: spikesOf(run).some(s => p.step >= s.start && p.step <= s.end) }))))
  return {
    name, title, caption, data,
    plot: {
      height: 60 + 110 * runs.size, marginRight: 110, x: { label: 'completed steps' }, y: { label: 'loss', grid: true, ...logScale(data.map(d => d.loss)) }, fy: { label: null, domain: [...runs.keys()] },
      marks: [
        Plot.line(data, { x: 'step', y: 'loss', z: 'seed', fy: 'arm', stroke: 'var(--baseline)', strokeWidth: 1.2 }),
        Plot.dot(data.filter(d => d.spike), { x: 'step', y: 'loss', fy: 'arm', r: 1.8, fill: 'var(--studied)' }),
      ],
    },
  }
}
