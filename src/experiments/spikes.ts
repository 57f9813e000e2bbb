// Detectors of spikes and divergence, each with its rule stated before the runs it judges. All take the logged values in order; a value that is not
// finite counts as infinitely large, so a NaN loss is a divergence and never drops out of a comparison.
//
// The released code of arXiv 2506.20752 calls the onset of a spike the first step where the 100-log moving average of the train loss grows by more
// than 0.008 from one log to the next. A moving average of W logs grows by (x[t] - x[t - W]) / W, so that rule says no more and no less than:
// the loss is more than 0.8 above what it was 100 logs (1000 steps) before. It is stated here in that form, which does not depend on the log interval.
import { UsageError } from '../errors.ts'
import { clopperPearson, median, type Interval } from './statistics.ts'

/** A logged curve: values[i] was logged at steps[i], steps increasing. */
export interface Curve { readonly steps: ArrayLike<number>, readonly values: ArrayLike<number> }

const orInfinity = (v: number) => Number.isFinite(v) ? v : Infinity

function checked(curve: Curve): { steps: number[], values: number[] } {
  if (curve.steps.length !== curve.values.length) throw new UsageError(`curve: ${curve.steps.length} steps and ${curve.values.length} values`)
  return { steps: Array.from(curve.steps), values: Array.from(curve.values, orInfinity) }
}

/** First logged step at which the value exceeds that of `window` logs before by more than `rise`; null if none. Paper: window 100 logs of 10 steps, rise 0.8. */
export function riseOnset(curve: Curve, { window = 100, rise = 0.8 } = {}): number | null {
  const { steps, values } = checked(curve)
  const i = values.findIndex((v, t) => t >= window && (v === Infinity ? values[t - window] !== Infinity : v - values[t - window]! > rise))
  return i < 0 ? null : steps[i]!
}

/** Step and value of the lowest moving average over `window` logs; the step is the last one inside the window. Null for a curve shorter than the window. */
export function smoothedMinimum(curve: Curve, window = 100): { step: number, value: number } | null {
  const { steps, values } = checked(curve)
  let best: { step: number, value: number } | null = null
  movingAverage(values, window).forEach((value, i) => {
    if (!best || value < best.value) best = { step: steps[i + window - 1]!, value }
  })
  return best
}

/** Averages of `window` consecutive values, values.length - window + 1 of them, each summed anew so that one huge value does not spoil the rest. */
export function movingAverage(values: readonly number[], window: number): number[] {
  return values.slice(window - 1).map((_, i) => {
    let sum = 0
    for (let k = i; k < i + window; k++) sum += values[k]!
    return sum / window
  })
}

/** Sample variance of every `window` consecutive values, as movingAverage: the paper's picture of an unsteady gradient norm (window 100). */
export function rollingVariance(values: readonly number[], window: number): number[] {
  return movingAverage(values, window).map((m, i) => {
    let sum = 0
    for (let k = i; k < i + window; k++) sum += (values[k]! - m) ** 2
    return sum / (window - 1)
  })
}

export interface Spike {
  /** First step above the threshold, and the last. */
  start: number
  end: number
  /** Largest value, Infinity if one was not finite. */
  peak: number
  /** Median of the logs before the spike, against which it is measured. */
  baseline: number
  /** Did the curve come back below the threshold before it ended? */
  recovered: boolean
}

/**
 * Spikes of a loss that falls over orders of magnitude (the proxy's mean squared error): the value is above `factor` times the median of the
 * `trailing` logs before the spike, for at least `sustain` logs in a row, or is not finite. The baseline is held while a spike lasts.
 */
export function spikes(curve: Curve, { factor = 10, trailing = 200, sustain = 50 } = {}): Spike[] {
  const { steps, values } = checked(curve)
  const found: Spike[] = []
  for (let i = 1; i < values.length; i++) {
    const first = Math.max(0, i - trailing)
    // No median is below the smallest value, so most steps need none.
    let lowest = Infinity
    for (let k = first; k < i; k++) if (values[k]! < lowest) lowest = values[k]!
    if (!(values[i]! > factor * lowest)) continue
    const baseline = median(values.slice(first, i))
    const above = (k: number) => k < values.length && values[k]! > factor * baseline
    if (!above(i)) continue
    let end = i
    while (above(end + 1)) end++
    const peak = values.slice(i, end + 1).reduce((a, b) => Math.max(a, b))
    if (end - i + 1 >= sustain || peak === Infinity) found.push({ start: steps[i]!, end: steps[end]!, peak, baseline, recovered: end + 1 < values.length })
    i = end
  }
  return found
}

/** Did a run diverge? Its final loss is not finite, or exceeds its own minimum by more than `gap` (paper's validation losses: 0.02). */
export function diverged(final: number, minimum: number, gap = 0.02): boolean {
  return !(final - minimum <= gap)
}

/** Divergence frequency with its 95 % Clopper-Pearson interval. */
export function divergenceFrequency(outcomes: readonly boolean[]): { diverged: number, runs: number, interval: Interval } {
  const count = outcomes.filter(Boolean).length
  return { diverged: count, runs: outcomes.length, interval: clopperPearson(count, outcomes.length) }
}
