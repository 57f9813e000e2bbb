// Rows of metrics.jsonl as points of the live page's charts. Shared words between server and browser are types only; this part runs on the server.
import { describeScheme } from '../numerics/scheme.ts'
import type { Arm, RunConfig } from '../train/config.ts'
import type { MetricsRow } from '../train/types.ts'

export interface LiveChart { readonly id: string, readonly title: string, readonly log: boolean }

/** Charts in the order of the page; one appears when it has its first point. */
export const liveCharts: readonly LiveChart[] = [
  { id: 'loss', title: 'Loss', log: true },
  { id: 'error', title: 'Relative gradient error ‖ε‖/‖g‖', log: true },
  { id: 'cosine', title: 'Cosine of low-precision and reference gradient', log: false },
  { id: 'gradient', title: 'Gradient norm', log: true },
  { id: 'overflow', title: 'Share of values in the last bucket', log: false },
]

/** One value of one line. `color`: a colour of the page's sheet. */
export interface LivePoint { chart: string, series: string, color: string, step: number, value: number | null }

const probeColors = (i: number) => `series-${i % 8}`

/** The points that a row adds, by the run's configuration (null: not known yet, arms go by their own names). */
export function livePoints(row: MetricsRow, config: Pick<RunConfig, 'precision' | 'baseline' | 'probes'> | null): LivePoint[] {
  const label = (arm: Arm): string => {
    const scheme = arm === 'studied' ? config?.precision : config?.baseline
    return scheme ? describeScheme(scheme) : arm
  }
  const point = (chart: string, series: string, color: string, value: number | null | undefined): LivePoint[] => value === undefined ? [] : [{ chart, series, color, step: row.step, value }]
  switch (row.kind) {
    case 'step': return point('loss', label(row.arm), row.arm, row.loss)
    case 'validation': return point('loss', `${label(row.arm)}, validation`, row.arm, row.loss)
    case 'gradient': return point('gradient', label(row.arm), row.arm, row.norm)
    case 'trajectory': return [...point('error', 'between the two trajectories', 'studied', row.relativeError), ...point('cosine', 'between the two trajectories', 'studied', row.cosine)]
    case 'probe': {
      const color = probeColors(Math.max(0, Object.keys(config?.probes.schemes ?? {}).indexOf(row.probe)))
      return [...point('error', row.probe, color, row.relativeError), ...point('cosine', row.probe, color, row.cosine)]
    }
    case 'overflow': return [
      ...point('overflow', `gamma, ${label(row.arm)}`, row.arm, row.totals.gamma),
      ...row.arm === 'studied' ? [...point('overflow', 'weights', 'series-0', row.totals.weights), ...point('overflow', 'hidden activations', 'series-2', row.totals.hidden)] : [],
    ]
    default: return []
  }
}
