// What every reproduced claim has in common: the claim, what it costs to test, a run that measures, and a verdict that follows from the measurements by
// one rule. A claim is taken apart into findings, each stated so that it can fail; whoever disagrees with a verdict can see on which finding it rests.
import type { PlotOptions } from '@observablehq/plot'

export type Scale = 'quick' | 'full'
export const scales: readonly Scale[] = ['quick', 'full']

/** `direction only`: what the claim says qualitatively holds, a number it gives does not. */
export type Verdict = 'reproduced' | 'direction only' | 'not reproduced' | 'not testable here'

export interface Finding {
  /** What was measured. */
  what: string
  /** What the source says it is, in its words or number. */
  claimed: string
  /** What came out, with its unit. */
  found: string
  holds: boolean
  /** `number`: agreement to the precision the source gives. `direction`: a sign, an order, a limit that is or is not reached. */
  kind: 'number' | 'direction'
}

export interface ReproductionFigure {
  /** File name without ending. */
  name: string
  title: string
  caption: string
  plot: PlotOptions
  /** The numbers drawn. */
  data: readonly Readonly<Record<string, string | number | boolean | null>>[]
}

export interface Outcome {
  verdict: Verdict
  /** What a reader should know about the verdict, in a sentence or two: what disagrees, what was assumed. */
  comment: string
  findings: Finding[]
  figures: ReproductionFigure[]
}

export interface Context {
  scale: Scale
  seed: number
  /** Folder with the paper's data (paper-runs.csv, paper-loss-curves.csv), which this repository does not contain; null if not given. */
  data: string | null
  log(line: string): void
  signal?: AbortSignal
}

export interface Reproduction {
  name: string
  title: string
  /** What the source claims. */
  claim: string
  source: string
  /** What each scale does and costs, on two cores. */
  cost: Readonly<Record<Scale, string>>
  run(context: Context): Outcome | Promise<Outcome>
}

/** The verdict that the findings amount to: all hold; or all of those about direction (and there are some); or neither. */
export function verdictOf(findings: readonly Finding[]): Verdict {
  if (findings.every(f => f.holds)) return 'reproduced'
  const directions = findings.filter(f => f.kind === 'direction')
  return directions.length > 0 && directions.every(f => f.holds) ? 'direction only' : 'not reproduced'
}

/** An outcome whose verdict follows from its findings. */
export const outcome = (findings: Finding[], comment: string, figures: ReproductionFigure[] = []): Outcome => ({ verdict: verdictOf(findings), comment, findings, figures })

/** The outcome of what cannot be tried: why. */
export const notTestable = (comment: string): Outcome => ({ verdict: 'not testable here', comment, findings: [], figures: [] })

/** A finding that a measured value equals the claimed one to `decimals` decimals, as the source prints it. */
export function equals(what: string, claimed: number, found: number, decimals: number, unit = ''): Finding {
  return { what, claimed: claimed.toFixed(decimals) + unit, found: found.toFixed(decimals) + unit, holds: found.toFixed(decimals) === claimed.toFixed(decimals), kind: 'number' }
}

/** A finding that a measured value lies within `tolerance` of the claimed one; the tolerance is the claim's own uncertainty or the sampling error, said in `what`. */
export function within(what: string, claimed: number, found: number, tolerance: number, digits = 4): Finding {
  return { what, claimed: `${claimed} ± ${tolerance}`, found: found.toPrecision(digits), holds: Math.abs(found - claimed) <= tolerance, kind: 'number' }
}

/** A finding that something holds or does not. */
export const shows = (what: string, claimed: string, found: string, holds: boolean): Finding => ({ what, claimed, found, holds, kind: 'direction' })
