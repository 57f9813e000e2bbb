// A transformer as a language model: next-token loss with its gradient, and evaluation. Position t predicts the token at t + 1; the last one predicts nothing.
import { nextTokens } from '../ops/embedding.ts'
import { crossEntropy } from '../ops/loss.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Program } from '../runtime/program.ts'
import type { ParameterVector } from './parameters.ts'
import { transformerBackward, transformerForward, type TransformerInput, type TransformerTap } from './transformer.ts'
import type { TransformerPrecision } from './transformer-precision.ts'
import type { TransformerShape } from './transformer-shape.ts'

/** Target of a position that predicts nothing: no token id. */
const NO_TARGET = -1

export interface LossOptions {
  /** f64 x 2, shape [4]: mean cross entropy in nats over all predicted positions, and mean z-loss term. */
  readonly loss: Tensor
  /** If wanted, both per position: f64 x 2, shape [batch * context, 4]; 0 at the last position of a sequence. */
  readonly perPosition?: Tensor
  /** Weight of logsumexp(logits)^2 in the loss; default 0. */
  readonly zWeight?: number
  /** May emit calls that read the logits. */
  readonly onLogits?: (logits: Tensor) => void
  readonly tap?: (t: TransformerTap) => void
}

/** Emit loss and all gradients (into `grads`) for input.tokens [batch, context]. */
export function emitLossAndGradient(
  p: Program, s: TransformerShape, params: ParameterVector, grads: ParameterVector, input: TransformerInput, precision: TransformerPrecision, options: LossOptions,
): void {
  const { logits, saved } = transformerForward(p, s, params, input, precision, true, options.tap)
  options.onLogits?.(logits)
  emitLoss(p, input, logits, logits, options)
  transformerBackward(p, s, params, grads, saved!, logits, precision)
}

/** Emit the loss alone. */
export function emitEvaluation(p: Program, s: TransformerShape, params: ParameterVector, input: TransformerInput, precision: TransformerPrecision, options: LossOptions): void {
  const { logits } = transformerForward(p, s, params, input, precision, false, options.tap)
  options.onLogits?.(logits)
  emitLoss(p, input, logits, null, options)
  p.free(logits)
}

function emitLoss(p: Program, { tokens }: TransformerInput, logits: Tensor, gradient: Tensor | null, { loss, perPosition, zWeight }: LossOptions): void {
  p.scope('loss', () => {
    const targets = p.temp(...tokens.shape)
    nextTokens(p, tokens, targets, NO_TARGET)
    crossEntropy(p, { logits, targets, loss, gradient, ignore: NO_TARGET, zWeight, perRow: perPosition })
    p.free(targets)
  })
}
