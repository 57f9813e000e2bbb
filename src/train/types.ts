// What a training run says about itself: rows of metrics.jsonl, progress, summary. The trainer writes them; the command line and the report read them.
// One JSON object per line, told apart by `kind`; `step` counts completed steps. Not-a-number and infinite values are written as null.
import type { EngineInfo as CoreEngine } from '../runtime/engine.ts'
import type { Arm, RunConfig } from './config.ts'

/** Loss of one training step, before its update. */
export interface StepRow { kind: 'step', arm: Arm, step: number, loss: number | null, lr: number, /** Wall time of the step, seconds. */ seconds: number }

export interface ValidationRow { kind: 'validation', arm: Arm, step: number, loss: number | null }

/** L2 norms of one step's gradient: over all parameters, and by group (`layers.0.ln`, `layers.0.fc1`...). */
export interface GradientRow { kind: 'gradient', arm: Arm, step: number, norm: number | null, groups: Record<string, number | null> }

/**
 * Two gradients compared: g (low precision) and h (reference).
 * `relativeError` ||g - h|| / ||h||; `cosine` g.h / (||g|| ||h||); `zeta` (||g - h|| / ||h||)^2, the original's stab/zeta_norm; `meanDifference` mean(g) - mean(h).
 */
export interface Comparison { relativeError: number | null, cosine: number | null, zeta: number | null, meanDifference: number | null }

/** The two arms' gradients at the same step, each at its own weights. */
export interface TrajectoryRow extends Comparison { kind: 'trajectory', step: number, /** ||g|| + ||h||, the original's bound. */ upperBound: number | null }

/** Gradient under the probe's scheme against the f32 gradient, both at the weights of `arm` and on the same batch. */
export interface ProbeRow extends Comparison { kind: 'probe', arm: Arm, step: number, probe: string }

/**
 * Share of values whose magnitude exceeds the largest element the block's scale can express (they land in the last bucket), by tensor name:
 * `layers.0.ln.gamma`, `layers.0.ln.beta`, `layers.0.fc1.weight`, `layers.0.hidden`, `layers.0.output`; and over all tensors of a kind.
 */
export interface OverflowRow { kind: 'overflow', arm: Arm, step: number, tensors: Record<string, number>, totals: { weights: number, gamma?: number, beta?: number, hidden: number, outputs: number } }

/** Mean and variance by tensor name: hidden activations, layer-norm outputs, gamma, beta. */
export interface MomentsRow { kind: 'moments', arm: Arm, step: number, tensors: Record<string, { mean: number | null, variance: number | null }> }

/** Layer-norm gamma, every value, one list per layer. */
export interface GammaRow { kind: 'gamma', arm: Arm, step: number, layers: number[][] }

/** What a language model is and reads: logged once, at the start. */
export interface LanguageModelRow {
  kind: 'language-model'
  step: number
  /** As the paper counts them, embeddings included. */
  parameters: number
  /** 6 per parameter: the paper's budget of a training step. */
  flopsPerToken: number
  tokensPerStep: number
  /** SHA-256 of the encoded text. */
  corpus: string
  detail: string
}

/** Text that a language model wrote. */
export interface SampleRow { kind: 'sample', arm: Arm, step: number, text: string }

/** Something that happened: a checkpoint, a change of precision, a spike of the loss, the end. */
export interface EventRow { kind: 'event', step: number, event: 'checkpoint' | 'precision' | 'resumed' | 'finished' | 'interrupted' | 'nan' | 'spike', detail: string }

export type MetricsRow = StepRow | ValidationRow | GradientRow | TrajectoryRow | ProbeRow | OverflowRow | MomentsRow | GammaRow | LanguageModelRow | SampleRow | EventRow

/** What ran: stored with every run, because results must not depend on it. */
export interface EngineInfo extends CoreEngine { readonly threads: number }

export interface Progress {
  step: number
  steps: number
  /** Last loss of each arm that has one. */
  loss: Partial<Record<Arm, number | null>>
  gflops: number
  /** Seconds until the end, estimated. */
  eta: number
}

export interface RunSummary {
  directory: string
  /** Completed steps. */
  steps: number
  finished: boolean
  loss: Partial<Record<Arm, number | null>>
  validation: Partial<Record<Arm, number | null>>
  seconds: number
  /** SHA-256 over the final weights of all arms: the run's fingerprint. */
  weightsHash: string
}

export interface TrainOptions {
  directory: string
  threads: number | 'auto'
  /** Note where the time goes: profile.txt and profile-trace.json in the run directory. */
  profile?: boolean
  /** Ask for the 256-bit mode (runtime/wide.ts). */
  wide?: boolean
  /** Continue the run in `directory` from its last checkpoint. */
  resume?: boolean
  /** Start the studied arm from this checkpoint file instead of from initial weights (intervene). */
  from?: string
  /** The run and step that `from` belongs to. */
  parent?: { directory: string, step: number }
  /** What the run is and needs, in a line, before its first step; for tasks that have something to say. */
  onStart?: (line: string) => void
  onProgress?: (progress: Progress) => void
  /** Aborting ends the run after the present step, with a checkpoint. */
  signal?: AbortSignal
}

/** Signature of src/train/trainer.ts. */
export type Train = (config: RunConfig, options: TrainOptions) => Promise<RunSummary>
