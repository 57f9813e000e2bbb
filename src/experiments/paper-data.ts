// The paper's published raw results, as files that a user has and this repository does not: paper-runs.csv (config, params, tokens, total_flops, ratio,
// val_loss, min_val_loss) and paper-loss-curves.csv (ratio, loss_curve, grad_norm_curve as JSON lists, one value per 100 steps).
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { numberColumn, parseCsv, textColumn } from '../io/csv.ts'
import type { Observation } from './fit.ts'

/** Train steps between two values of a curve in paper-loss-curves.csv. */
export const CURVE_INTERVAL = 100

function table(folder: string | null, name: string) {
  const file = folder === null ? null : join(folder, name)
  return file !== null && existsSync(file) ? parseCsv(readFileSync(file, 'utf8'), file) : null
}

/** Runs by precision pair `weights_activations`; null without the file. */
export function paperRuns(folder: string | null): Map<string, (Observation & { flops: number, finalLoss: number })[]> | null {
  const csv = table(folder, 'paper-runs.csv')
  if (!csv) return null
  const [params, tokens, flops, loss, finalLoss] = ['params', 'tokens', 'total_flops', 'min_val_loss', 'val_loss'].map(c => numberColumn(csv, c)) as [number[], number[], number[], number[], number[]]
  const runs = textColumn(csv, 'config').map((config, i) => ({ config, params: params[i]!, tokens: tokens[i]!, flops: flops[i]!, loss: loss[i]!, finalLoss: finalLoss[i]! }))
  return new Map([...new Set(runs.map(r => r.config))].map(config => [config, runs.filter(r => r.config === config)]))
}

/** Loss and gradient-norm curves of the E3M2/E3M2 runs, with the run's tokens per parameter; null without the file. */
export function paperCurves(folder: string | null): { ratio: number, steps: number[], losses: number[], gradNorms: number[] }[] | null {
  const csv = table(folder, 'paper-loss-curves.csv')
  if (!csv) return null
  const losses = textColumn(csv, 'loss_curve'), norms = textColumn(csv, 'grad_norm_curve')
  return numberColumn(csv, 'ratio').map((ratio, i) => {
    const values = JSON.parse(losses[i]!) as number[]
    return { ratio, steps: values.map((_, k) => (k + 1) * CURVE_INTERVAL), losses: values, gradNorms: JSON.parse(norms[i]!) }
  })
}
