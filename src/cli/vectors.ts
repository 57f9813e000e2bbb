// blockscale vectors: conformance vectors of a matrix unit, for a kernel to be checked against.
import { makeVectors, vectorsJson, vectorsTensors } from '../conformance/vectors.ts'
import { UsageError } from '../errors.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import { writeSafetensors } from '../io/tensor-file.ts'
import type { FormatName } from '../numerics/formats.ts'
import { mmaConfig, mmaModels, refusedMmaModels, type MmaScale } from '../numerics/mma.ts'
import { parse, wholeNumber } from './arguments.ts'
import { parseScaleType } from './stored.ts'

export const help = `usage: blockscale vectors --model NAME [options]
       blockscale vectors --list

Writes dot products with the results that a modelled matrix unit gives, made to provoke rounding, alignment, cancellation, subnormals, special values
and scale corners. Run them through a kernel (case i is row i of a with row i of b: the diagonal of A B^T), then compare:
blockscale compare vectors.safetensors:d mine.safetensors:d

  --model NAME    the matrix unit; --list shows all, with how sure each model is
  --a, --b FORMAT operand formats (default the unit's first)
  --scale F/N     block scales, such as e8m0/32 or ue4m3/16 (default the unit's first)
  --count N       how many (default 1000)
  --seed S        which (default 0)
  --steps N       chained steps of the unit along k (default 2)
  --start any|zero  accumulators of every kind (default), or every case from +0
  --out FILE      FILE.json (hex strings) or FILE.safetensors; default: JSON on standard output

examples:
  blockscale vectors --model blackwell-mxf8f6f4 --count 1000 --seed 1 --out vectors.safetensors
  blockscale vectors --model hopper-bf16 --steps 4 --start zero --count 100
`

export async function run(args: string[]): Promise<void> {
  const { values } = parse('vectors', args, {
    model: { type: 'string' }, list: { type: 'boolean' }, a: { type: 'string' }, b: { type: 'string' }, scale: { type: 'string' }, count: { type: 'string' }, seed: { type: 'string' },
    steps: { type: 'string' }, start: { type: 'string' }, out: { type: 'string' },
  })
  if (values.list) { process.stdout.write(list()); return }
  if (!values.model) throw new UsageError('vectors: --model is needed; blockscale vectors --list shows the models')
  const start = values.start ?? 'any'
  if (start !== 'any' && start !== 'zero') throw new UsageError(`--start ${start}: use any or zero`)
  const config = mmaConfig(values.model, {
    ...values.a && { a: values.a as FormatName }, ...values.b && { b: values.b as FormatName }, ...values.scale && { scale: parseScaleType('--scale', values.scale) as MmaScale },
  })
  const options = {
    count: wholeNumber('--count', values.count ?? '1000', 1), seed: wholeNumber('--seed', values.seed ?? '0', 0), steps: wholeNumber('--steps', values.steps ?? '2', 1), start,
  } as const
  const { out } = values
  if (out !== undefined && !/\.(json|safetensors)$/.test(out)) throw new UsageError(`--out ${out}: must end in .json or .safetensors`)
  const vectors = makeVectors(config, options)
  if (out === undefined) process.stdout.write(vectorsJson(config, options, vectors))
  else if (out.endsWith('.json')) writeFileAtomic(out, vectorsJson(config, options, vectors))
  else {
    const { tensors, metadata } = vectorsTensors(config, options, vectors)
    writeSafetensors(out, tensors, metadata)
  }
  if (out !== undefined) process.stderr.write(`${vectors.length} vectors of ${config.model.name} (confidence: ${config.confidence}) in ${out}\n`)
}

/** Every model, and what is refused and why. */
function list(): string {
  const rows = Object.values(mmaModels).map(m => [m.name, m.confidence, m.formats.join(' '), m.instruction])
  const width = (i: number) => Math.max(...rows.map(r => r[i]!.length))
  const table = rows.map(r => r.map((cell, i) => i < 3 ? cell.padEnd(width(i)) : cell).join('  ')).join('\n')
  const refused = Object.entries(refusedMmaModels).map(([name, reason]) => `${name}: ${reason}`).join('\n')
  return `${table}\n\nhardware: equal to published GPU outputs; simulator: its authors claim equality with silicon; unverified: by analogy (also FP6 operands everywhere)\n\nnot offered:\n${refused}\n`
}
