// Text from a language model, token by token. Each token takes a forward pass over the last `context` tokens: slow, but with the training's own arithmetic.
// The choice is a function of (seed, stream, position): Philox gives a uniform u, and the token is the first whose cumulative probability exceeds u.
import { UsageError } from '../errors.ts'
import type { Tokenizer } from '../data/tokenizer.ts'
import { exp } from '../oracle/math.ts'
import { philox4x32 } from '../oracle/philox.ts'
import type { Executor } from '../runtime/executor.ts'
import { Program } from '../runtime/program.ts'
import type { ParameterVector } from '../model/parameters.ts'
import { ropeTable } from '../model/rope.ts'
import { transformerForward } from '../model/transformer.ts'
import type { TransformerPrecision } from '../model/transformer-precision.ts'
import { headDim, type TransformerShape } from '../model/transformer-shape.ts'

/** Philox stream of the choices. */
const CHOICE = 0x63686f69

export interface GenerateOptions {
  readonly prompt: string
  readonly tokens: number
  /** 0 takes the likeliest token; 1 draws from the model's distribution. */
  readonly temperature: number
  readonly context: number
  readonly seed: number
  /** Tells draws of one seed apart. */
  readonly stream: number
  /** Called with each piece of text as it comes. */
  readonly onText?: (text: string) => void
}

/** Write `tokens` tokens after the prompt, ending early at the document separator. Returns the text without the prompt. Uses arena memory that the caller releases. */
export async function generate(
  executor: Executor, s: TransformerShape, params: ParameterVector, precision: TransformerPrecision, tokenizer: Tokenizer, options: GenerateOptions,
): Promise<string> {
  const { arena } = executor, { context, temperature, seed, stream } = options
  const ids = Array.from(tokenizer.encode(options.prompt)), start = ids.length
  if (start === 0) throw new UsageError('generate: the prompt is empty; give at least one character')
  const length = Math.min(context, start + options.tokens), input = arena.tensor(1, length)
  const table = arena.from(ropeTable(length, headDim(s), s.theta), length, 2, headDim(s) / 2)
  const p = new Program(arena), { logits } = transformerForward(p, s, params, { tokens: input, ropeTable: table }, precision, false)
  let written = ''
  for (let n = 0; n < options.tokens; n++) {
    const window = ids.slice(-length), tokens = arena.u32(input)
    tokens.fill(0)
    tokens.set(window)
    await executor.run(p)
    const row = arena.f32(logits).subarray((window.length - 1) * s.vocabulary, (window.length - 1) * s.vocabulary + tokenizer.vocabulary)
    const id = temperature === 0 ? largest(row) : draw(row, temperature, philox4x32([n, CHOICE, stream >>> 0, 0], [seed >>> 0, Math.floor(seed / 2 ** 32)])[0] / 2 ** 32)
    if (id === tokenizer.end) break
    ids.push(id)
    // Decoded as a whole, because a character can take several tokens; a trailing incomplete one waits.
    const text = tokenizer.decode(ids.slice(start)).replace(/\uFFFD+$/, '')
    if (text.length > written.length && text.startsWith(written)) { options.onText?.(text.slice(written.length)); written = text }
  }
  return tokenizer.decode(ids.slice(start))
}

function largest(row: Float32Array): number {
  let best = 0
  for (let i = 1; i < row.length; i++) if (row[i]! > row[best]!) best = i
  return best
}

/** The first index at which the cumulative softmax(row / temperature) exceeds u. */
function draw(row: Float32Array, temperature: number, u: number): number {
  const top = row[largest(row)]!, weights = row.map(x => exp(Math.fround((x - top) / temperature)))
  const total = weights.reduce((a, w) => a + w, 0)
  let sum = 0
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i]!
    if (sum > u * total) return i
  }
  return largest(row)
}
