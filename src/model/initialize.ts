// Initial weights of a transformer, OLMo's "mitchell" scheme: matrices from a normal distribution cut off at 3 standard deviations, sigma = 1 / sqrt(inputs);
// the two projections back into the residual stream, attn_out and ff_out of block i, with sigma further divided by sqrt(2 (i + 1)); embedding and head
// sigma = 1 / sqrt(d); norm weights 1.
//
// Element k of a matrix is the first of its draws 0, 1, 2, ... that lies within the cut; draw a of all elements is a Philox fill with step a. So the weights
// are a function of seed, shape and parameter alone.
import { normal } from '../ops/random.ts'
import type { Executor } from '../runtime/executor.ts'
import { Program } from '../runtime/program.ts'
import type { ParameterVector } from './parameters.ts'

/** Where the distribution is cut, in standard deviations. */
const CUT = 3
/** Philox stream of the first parameter; one per parameter follows. */
const STREAM = 3 << 20

/** Standard deviation of a parameter by its OLMo name; null for a norm's weight, which is 1. */
export function initialDeviation(name: string, shape: readonly number[]): number | null {
  if (shape.length === 1) return null
  const block = /blocks\.(\d+)\.(attn_out|ff_out)\./.exec(name)
  return 1 / Math.sqrt(shape[1]! * (block ? 2 * (Number(block[1]) + 1) : 1))
}

/** Draw all parameters for `seed`. Uses arena memory for the duration of the call. */
export function initializeTransformer(executor: Executor, params: ParameterVector, seed: number): void {
  const { arena } = executor, mark = arena.mark(), stepPtr = arena.allocBytes(8)
  const draw = (attempt: number, stream: number, shape: readonly number[]): Float32Array => {
    const before = arena.mark(), t = arena.tensor(...shape), p = new Program(arena)
    new DataView(arena.memory.buffer).setBigUint64(stepPtr, BigInt(attempt), true)
    normal(p, t, { seed: BigInt(seed), stream, stepPtr })
    for (const { kernel, args, items } of p.calls) executor.call(kernel, args as never, items)
    const values = arena.f32(t).slice()
    arena.release(before)
    return values
  }
  params.layout.slots.forEach(({ name, shape }, index) => {
    const deviation = initialDeviation(name, shape)
    if (deviation === null) { arena.f32(params.get(name)).fill(1); return }
    const z = draw(0, STREAM + index, shape)
    let outside = [...z.keys()].filter(i => Math.abs(z[i]!) > CUT)
    for (let attempt = 1; outside.length > 0; attempt++) {
      const again = draw(attempt, STREAM + index, shape)
      for (const i of outside) z[i] = again[i]!
      outside = outside.filter(i => Math.abs(z[i]!) > CUT)
    }
    arena.f32(params.get(name)).set(z.map(v => deviation * v))
  })
  arena.release(mark)
}
