// blockscale identify: which quantizer made this tensor, which arithmetic made this product? Exit code 0 if something explains every bit, 1 if nothing does.
import { identifyProduct, type ProductFindings, type ProductVerdict } from '../conformance/identify-product.ts'
import { identifyQuantizer, type QuantizerCandidate, type QuantizerFindings, type QuantizerVerdict } from '../conformance/identify-quantizer.ts'
import { turned } from '../conformance/product-forms.ts'
import { lookup, UsageError } from '../errors.ts'
import { typed } from '../io/safetensors.ts'
import { readTensor } from '../io/tensor-file.ts'
import { formats, type FormatName } from '../numerics/formats.ts'
import { profileNotes, verification, type ProfileName } from '../numerics/named-quantizers.ts'
import { rowScales } from '../core/quantized.ts'
import { parse, wholeNumber } from './arguments.ts'
import { operandOptions, readOperand } from './matmul.ts'
import { number, parseAxes, readDump, readNumbers, type Stored } from './stored.ts'
import { coreHelp, coreOptions, withCore } from './with-core.ts'

export const help = `usage: blockscale identify INPUT OUTPUT [options]
       blockscale identify A B OUTPUT [options]

INPUT OUTPUT: which quantizers explain every bit of OUTPUT? It holds what some library or kernel made of the numbers in INPUT: codes and scales (two tensors named codes
and scales, or --scales), codes alone, or the values that they stand for. All profiles, formats, blocks of 16 to 128, axes and tiles that fit are tried.
A B OUTPUT: which arithmetic explains every bit of a matrix product? All sums (f32, FMA, f64, exact) and modelled units that take the operands, orders of k (split-K, promotion,
SIMD lanes, binary trees), places of the scales and roundings of the output are tried. Operands as for blockscale matmul.
Says what explains all, and for what comes near which share it explains and a counterexample; of a product that nothing explains also how far it is from the exact one,
and whether a factor, or scales or operands read otherwise (transposed, in tiles), would account for that. Exit code 0: explained, 1: not.

  --scales ADDRESS   scales of OUTPUT's codes: F8_E8M0, F8_E4M3 or U8, plain or in 128x4 tiles
  --profile NAME     try only this profile (as often as needed)
  --format F         try only this format (as often as needed)
  --block N, --axis A  try only these (as often as needed)
  --tensor-amax X    NVFP4: the maximum from which the tensor's scale was made, if not INPUT's own
  --packed           OUTPUT's (A's and B's) codes: two FP4 in a byte, four FP6 in three, stored as U8
  --gguf             OUTPUT holds GGUF's MXFP4 blocks
  --alpha X, --beta X, --c C   products: alpha (A B) + beta C
  --trans-b          products: B's numbers are stored as [N, K]
  --a-scales, --b-scales ADDRESS, --a-format, --b-format F, --scale F/N, --scale-layout L   products: as for matmul
  --output bf16|f16  products: OUTPUT's U16 are codes of this type
  --all              products: check every output, however long it takes (else as many as 2^30 multiply-adds allow)
  --near N           how many near misses to describe (default 3)
${coreHelp}

examples:
  blockscale identify x.npy q.safetensors
  blockscale identify x.npy dequantized.npy --block 32
  blockscale identify dump.safetensors:x dump.safetensors:codes --scales dump.safetensors:scales
  blockscale identify a.npy b.npy d.npy --trans-b
  blockscale identify a.safetensors b.safetensors d.safetensors:d
`

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parse('identify', args, {
    scales: { type: 'string' }, profile: { type: 'string', multiple: true }, format: { type: 'string', multiple: true }, block: { type: 'string', multiple: true }, axis: { type: 'string', multiple: true },
    'tensor-amax': { type: 'string' }, gguf: { type: 'boolean' }, alpha: { type: 'string' }, beta: { type: 'string' }, c: { type: 'string' }, 'trans-b': { type: 'boolean' }, output: { type: 'string' },
    all: { type: 'boolean' }, near: { type: 'string' }, ...operandOptions, ...coreOptions,
  }, [2, 3])
  const near = values.near === undefined ? 3 : wholeNumber('--near', values.near, 0)
  const product = positionals.length === 3
  const alien = (product ? ['scales', 'profile', 'format', 'block', 'axis', 'tensor-amax', 'gguf'] as const : ['alpha', 'beta', 'c', 'trans-b', 'output', 'all', 'a-scales', 'b-scales', 'a-format', 'b-format', 'scale', 'scale-layout'] as const).find(o => values[o] !== undefined)
  if (alien) throw new UsageError(`--${alien} goes with identify ${product ? 'INPUT OUTPUT' : 'A B OUTPUT'}, not with ${product ? 'A B OUTPUT' : 'INPUT OUTPUT'}`)
  if (!product) {
    const [input, out] = positionals as [string, string], x = readNumbers(input)
    for (const profile of values.profile ?? []) lookup(profileNotes, profile, 'quantizer profile')
    for (const format of values.format ?? []) lookup(formats, format, 'format')
    const { shape, output } = readDump(out, { ...values.scales !== undefined && { scales: values.scales }, ...values.packed !== undefined && { packed: values.packed }, ...values.gguf !== undefined && { gguf: values.gguf }, ...values.format?.length === 1 && { format: values.format[0]! } })
    if (shape.join() !== x.shape.join()) throw new UsageError(`shapes differ: input [${x.shape}], output [${shape}]`)
    const found = await withCore(values, core => identifyQuantizer(core.executor, { shape, x: x.data, output }, {
      near, ...values.profile && { profiles: values.profile as ProfileName[] }, ...values.format && { formats: values.format as FormatName[] }, ...values.block && { blocks: values.block.map(b => wholeNumber('--block', b, 0)) },
      ...values.axis && { axes: values.axis.map(a => parseAxes('--axis', a)) }, ...values['tensor-amax'] !== undefined && { tensorAmax: number('--tensor-amax', values['tensor-amax']) },
    }))
    process.stdout.write(values.json ? `${JSON.stringify(found)}\n` : describeQuantizers(found, shape, output.kind === 'codes' ? output.scales ? 'codes and scales' : 'codes' : 'values'))
    return found.explanations.length ? 0 : 1
  }
  const [aAt, bAt, outAt] = positionals as [string, string, string]
  const a = operand(readOperand('a', aAt, values)), stored = readOperand('b', bAt, values), b = operand(stored)
  const out = readTensor(outAt), format = outputFormat(outAt, out.dtype, values.output)
  if (out.shape.length !== 2) throw new UsageError(`${outAt}: shape [${out.shape}], a matrix is needed`)
  const numbers = (option: 'alpha' | 'beta') => values[option] === undefined ? {} : { [option]: number(`--${option}`, values[option]) }
  if (values['trans-b'] && stored.kind === 'quantized') throw new UsageError('--trans-b: operands with scales are always stored with K last')
  const dump = {
    a, b: stored.kind === 'quantized' || values['trans-b'] ? b : turned('b', b), out: { format, codes: format === 'f32' ? typed(out, Uint32Array) : typed(out, Uint16Array) }, ...numbers('alpha'), ...numbers('beta'),
    ...values.c !== undefined && { c: readNumbers(values.c) },
  }
  if (dump.a.shape[0] !== out.shape[0] || dump.b.shape[0] !== out.shape[1]) throw new UsageError(`the product of ${aAt} and ${bAt} is [${dump.a.shape[0]}, ${dump.b.shape[0]}], ${outAt} is [${out.shape}]`)
  const found = await withCore(values, core => identifyProduct(core, dump, { near, ...values.all && { budget: Infinity } }))
  process.stdout.write(values.json ? `${JSON.stringify(found)}\n` : describeProducts(found))
  return found.explanations.length ? 0 : 1
}

const operand = (x: Stored) => x.kind === 'quantized' ? rowScales(x.value) : x.value

function outputFormat(address: string, dtype: string, said: string | undefined): 'f32' | 'bf16' | 'f16' {
  const known = { F32: 'f32', BF16: 'bf16', F16: 'f16' } as const
  if (Object.hasOwn(known, dtype)) return known[dtype as keyof typeof known]
  if (dtype === 'U16' && (said === 'bf16' || said === 'f16')) return said
  throw new UsageError(`${address}: ${dtype}; a product is F32, BF16 or F16, or U16 with --output bf16 or f16`)
}

const percent = (n: number, of: number) => n === of ? '100 %' : `${(Math.floor(1e6 * n / of) / 1e4)} %`

/** Where a candidate has its blocks, in words. */
function place({ format, block, axis, layout }: QuantizerCandidate): string {
  const where = axis === 2 ? `blocks of ${block} along the last axis` : axis === 1 ? `blocks of ${block} along the axis before the last` : `tiles of ${block} x ${block}`
  return `${format}, ${where}${layout === 'plain' ? '' : layout === '128x4' ? ', scales in 128x4 tiles' : ', scales transposed'}`
}

const title = ({ profile, changed }: QuantizerCandidate): string => `${profile}${changed === undefined ? '' : ` with one change: ${changed}`}`
const name = (c: QuantizerCandidate): string => `${title(c)}, ${place(c)}`

/** How many are listed before the rest is counted. */
const LISTED = 12

function describeQuantizers({ elements, tried, explanations, near, shares }: QuantizerFindings, shape: readonly number[], what: string): string {
  const hex = (code: number) => `0x${code.toString(16).padStart(2, '0')}`
  const side = (s: { value: number, code?: number, scale?: number }) => `${s.value}${s.code === undefined ? '' : ` (code ${hex(s.code)}${s.scale === undefined ? '' : `, scale ${hex(s.scale)}`})`}`
  const miss = ({ candidate, explained, checked, counterexample: c }: QuantizerVerdict) => [
    `  ${name(candidate)}: ${checked - explained} of ${checked} elements differ (${percent(explained, checked)} explained)`,
    ...c ? [`    at [${c.coordinates}]: input ${c.input}, largest magnitude of its block ${c.blockAmax}${c.tensorAmax === undefined ? '' : `, of the tensor ${c.tensorAmax}`}: expected ${side(c.expected)}, actual ${side(c.actual)}`] : [],
  ]
  const byTitle = new Map<string, QuantizerVerdict[]>()
  for (const v of explanations) byTitle.set(title(v.candidate), [...byTitle.get(title(v.candidate)) ?? [], v])
  const rest = shares.filter(s => s.share < 1 && !near.some(v => v.candidate === s.candidate)).slice(0, LISTED)
  return `${[
    `[${shape}], ${elements} elements, ${what}; ${tried} candidates tried`,
    ...explanations.length ? ['explained, every bit, by:', ...[...byTitle.values()].flatMap(([first, ...others]) => [
      `  ${name(first!.candidate)}${others.slice(0, 3).map(v => `; or ${place(v.candidate)}`).join('')}${others.length > 3 ? `; and ${others.length - 3} more` : ''}`,
      `    profile ${first!.candidate.profile}, ${verification(profileNotes[first!.candidate.profile])}: ${profileNotes[first!.candidate.profile].source}`,
    ])] : ['no candidate explains every bit'],
    ...explanations.length > 1 ? ['  (this input does not tell them apart)'] : [],
    ...near.length ? ['nearest of the others:', ...near.flatMap(miss)] : [],
    ...rest.length ? ['share of a sample that others explain:', ...rest.map(({ candidate, share }) => `  ${(100 * share).toFixed(3).padStart(7)} %  ${name(candidate)}`)] : [],
  ].join('\n')}\n`
}

function describeProducts({ outputs, tried, explanations, near: nearest, distance }: ProductFindings): string {
  const line = ({ candidate: c }: ProductVerdict) => [c.accumulate, c.operands, ...c.scales ? [`scales ${c.scales}`] : [], c.order, ...c.c ? [`C ${c.c}`] : [], `output ${c.epilogue}`].join('; ')
  const sure = ({ candidate: c }: ProductVerdict) => c.same.length ? `    ${c.same.length > 1 ? `the same arithmetic: ${c.same.join(', ')}; ` : ''}confidence of the model: ${c.confidence}: ${c.source}` : `    ${c.source} (by definition)`
  const checked = [...explanations, ...nearest][0]?.checked ?? 0, near = nearest.filter(v => v.explained > (distance?.findings.length ? 0.01 * v.checked : 0)) // else by chance
  return `${[
    `${outputs} outputs; ${tried} candidates tried on a sample, the best checked on ${checked === outputs ? 'all' : `${checked} outputs (--all checks every one)`}`,
    ...explanations.length ? ['explained, every bit, by:', ...explanations.slice(0, LISTED).flatMap(v => [`  ${line(v)}`, sure(v)])] : ['no candidate explains every bit'],
    ...explanations.length > LISTED ? [`  and ${explanations.length - LISTED} more`] : [], ...explanations.length > 1 ? ['  (these operands do not tell them apart)'] : [],
    ...near.length ? ['nearest of the others:', ...near.flatMap(v => [
      `  ${line(v)}: ${v.checked - v.explained} of ${v.checked} outputs differ (${percent(v.explained, v.checked)} explained)`,
      ...v.candidate.same.length ? [sure(v)] : [],
      ...v.counterexample ? [`    at [${v.counterexample.row}, ${v.counterexample.column}]: expected ${v.counterexample.expected} (0x${v.counterexample.expectedCode.toString(16)}), actual ${v.counterexample.actual} (0x${v.counterexample.actualCode.toString(16)})`] : [],
    ])] : [],
    ...distance && Number.isFinite(distance.median) ? [`a sample differs from the exact product by ${(100 * distance.median).toPrecision(2)} % of its root mean square (median)`, ...distance.findings.map(f => `  ${f}`)] : [],
  ].join('\n')}\n`
}
