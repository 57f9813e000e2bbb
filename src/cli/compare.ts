// blockscale compare: two tensors, bit for bit. Exit code 0 if they are the same, 1 if not.
import { compare, type Comparison } from '../conformance/compare.ts'
import { UsageError } from '../errors.ts'
import { dtypeBits } from '../io/safetensors.ts'
import { readTensor } from '../io/tensor-file.ts'
import { parse, wholeNumber } from './arguments.ts'

export const help = `usage: blockscale compare EXPECTED ACTUAL [options]

Compares two tensors bit for bit: FILE.npy, FILE.safetensors:NAME, or FILE.safetensors with a single tensor. Codes stored as U8, U16 or U32 are taken for the
other's dtype.
Says how many elements differ, by how many units in the last place, which come first, and where they gather. Exit code 0: equal, 1: not.

  --block N       elements per block along the last axis (default 32)
  --first N       how many mismatches to list (default 10)
  --nan any|bits  any NaN equals any NaN (default), or payloads count
  --json          the whole comparison as JSON

examples:
  blockscale compare expected.npy actual.npy
  blockscale compare golden.safetensors:codes mine.safetensors:codes --block 16
`

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parse('compare', args, { block: { type: 'string' }, first: { type: 'string' }, nan: { type: 'string' }, json: { type: 'boolean' } }, [2, 2])
  const nan = values.nan ?? 'any'
  if (nan !== 'any' && nan !== 'bits') throw new UsageError(`--nan ${nan}: use one of any, bits`)
  const [expected, actual] = positionals.map(readTensor) as [ReturnType<typeof readTensor>, ReturnType<typeof readTensor>]
  const result = compare(expected, actual, { nan, block: values.block === undefined ? 32 : wholeNumber('--block', values.block, 1), first: values.first === undefined ? 10 : wholeNumber('--first', values.first, 0) })
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : describe(result))
  return result.mismatches === 0 ? 0 : 1
}

function describe({ dtype, shape, elements, mismatches, histogram, kinds, first, blocks, rows, findings }: Comparison): string {
  const head = `${dtype} [${shape}], ${elements} elements: `
  if (mismatches === 0) return `${head}equal, bit for bit\n`
  const hex = (code: number | bigint) => `0x${code.toString(16).padStart(Math.ceil(dtypeBits[dtype] / 4), '0')}`
  const lines = [
    `${head}${mismatches} mismatch${mismatches === 1 ? '' : 'es'} (${(100 * mismatches / elements).toPrecision(3)} %)`,
    `kinds      ${Object.entries(kinds).filter(([, n]) => n).map(([kind, n]) => `${kind} ${n}`).join(', ')}`,
    ...histogram.length ? [`ulps       ${histogram.map(({ upTo, count }) => `${upTo === 1 ? '1' : upTo === 2 ? '2' : `${upTo / 2 + 1}..${upTo}`}: ${count}`).join(', ')}`] : [],
    ...(shape.at(-1) ?? 1) >= blocks.size ? [`blocks     ${blocks.touched} of ${blocks.all} (of ${blocks.size}) hold a mismatch, ${blocks.whole} throughout`] : [],
    `rows       ${rows.touched} of ${rows.all} hold a mismatch`,
    ...findings.map(f => `finding    ${f}`),
    ...first.length ? ['first mismatches:'] : [],
    ...first.map(m => `  [${m.coordinates}]  expected ${m.expected} (${hex(m.expectedCode)})  actual ${m.actual} (${hex(m.actualCode)})  ${Number.isNaN(m.ulps) || m.kind === 'zero sign' ? m.kind : `${m.ulps} ulp`}`),
  ]
  return `${lines.join('\n')}\n`
}
