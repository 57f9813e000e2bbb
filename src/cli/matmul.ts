// blockscale matmul: a product of two matrices, summed as f32, exactly, or as a modelled matrix unit sums.
import type { ProductOptions, ProductResult } from '../core/core.ts'
import { UsageError } from '../errors.ts'
import type { Dtype } from '../io/safetensors.ts'
import { writeTensor } from '../io/tensor-file.ts'
import { profileNotes, verification, type ProfileName } from '../numerics/named-quantizers.ts'
import { plainSums, type Output, type PlainSum } from '../ops/matmul.ts'
import { rowScales } from '../core/quantized.ts'
import { parse, wholeNumber } from './arguments.ts'
import { number, readNumbers, readStored, type Stored } from './stored.ts'
import { coreHelp, coreOptions, withCore } from './with-core.ts'

export const help = `usage: blockscale matmul A B OUT [options]

D = alpha * (A B) + beta * C, summed in the arithmetic that --accumulate names, step by step in increasing k as a kernel chains its instructions.
A and B: FILE.npy, FILE.safetensors:NAME, or what blockscale quantize wrote. Numbers: A is [M, K] and B [K, N]. With scales both are stored with K last, [M, K] and [N, K],
in blocks along K (as cuBLAS and torch take them); FP4's tensor scales go into alpha.

  --accumulate NAME  f32 (default): one sum in order of k, products rounded; f32-fma: the same with fused multiply-adds; f64: in float64, rounded once;
                     exact: the exact sum, rounded once; or a unit, such as blackwell-mxf8f6f4, or an architecture, such as hopper, for its unit
                     (blockscale vectors --list shows the units, with how sure each model is)
  --output T         f32 (default), bf16 or f16, rounded to nearest even from f32
  --alpha X          factor of the product (default: the product of the operands' tensor scales, 1 where there are none)
  --beta X, --c C    added after the product: beta times C [M, N] (default beta 1)
  --start C          [M, N], where the sums start
  --split-k N        cut K into N parts, summed apart, added in f32 in order
  --promote-k N      cut K into parts of N instead
  --trans-b          numbers: B is stored as [N, K]
  --a-scales, --b-scales ADDRESS   scales of operands that come as codes
  --a-format, --b-format F         element formats, where the files do not say them
  --scale F/N        type and block of the scales, such as e8m0/32 or ue4m3/16
  --scale-layout L   plain (default) or 128x4
  --packed           two FP4 codes in a byte, four FP6 codes in three, stored as U8
${coreHelp}

examples:
  blockscale matmul a.npy b.npy d.npy
  blockscale matmul a.safetensors b.safetensors d.npy --accumulate blackwell-mxf8f6f4 --output bf16
  blockscale matmul v.safetensors:a v.safetensors:b d.npy --a-scales v.safetensors:scale_a --b-scales v.safetensors:scale_b --accumulate blackwell
  blockscale matmul a.npy b.npy d.npy --trans-b --a-format e4m3 --b-format e5m2 --accumulate hopper-fp8 --promote-k 128
`

/** Options that say how operands are stored. */
export const operandOptions = {
  'a-scales': { type: 'string' }, 'b-scales': { type: 'string' }, 'a-format': { type: 'string' }, 'b-format': { type: 'string' }, scale: { type: 'string' }, 'scale-layout': { type: 'string' },
  packed: { type: 'boolean' },
} as const
type OperandValues = { [K in keyof typeof operandOptions]?: K extends 'packed' ? boolean : string }

/** Operand `side` at `address`. Throws UsageError. */
export function readOperand(side: 'a' | 'b', address: string, values: OperandValues): Stored {
  const format = values[`${side}-format`], scales = values[`${side}-scales`], scaled = scales !== undefined
  return readStored(address, { format, formatOption: `--${side}-format`, scales, packed: values.packed, ...scaled && { scale: values.scale, scaleLayout: values['scale-layout'] } })
}

/** In words: what an operand is. */
function describeOperand(x: Stored): { shape: readonly number[], what: string, profile?: string, verified?: string } {
  if (x.kind === 'numbers') return { shape: x.value.shape, what: x.dtype }
  if (x.kind === 'codes') return { shape: x.value.shape, what: x.value.format }
  const { shape, format, scale } = x.value, known = x.profile !== undefined && Object.hasOwn(profileNotes, x.profile) ? profileNotes[x.profile as ProfileName] : undefined
  return { shape, what: `${format}, ${scale.format}/${scale.block}`, ...known && { profile: x.profile, verified: verification(known) } }
}

/** How sure a product's model is, in a line. */
const describeModel = (accumulate: string, model: ProductResult['model']): string =>
  model ? `${model.name} (confidence of the model: ${model.confidence}): ${model.source}` : `${accumulate}: ${plainSums[accumulate as PlainSum]} (by definition)`

export async function run(args: string[]): Promise<void> {
  const { values, positionals } = parse('matmul', args, {
    accumulate: { type: 'string' }, output: { type: 'string' }, alpha: { type: 'string' }, beta: { type: 'string' }, c: { type: 'string' }, start: { type: 'string' }, 'split-k': { type: 'string' },
    'promote-k': { type: 'string' }, 'trans-b': { type: 'boolean' }, ...operandOptions, ...coreOptions,
  }, [3, 3])
  const [aAt, bAt, out] = positionals as [string, string, string]
  const a = readOperand('a', aAt, values), b = readOperand('b', bAt, values)
  if ((a.kind === 'quantized') !== (b.kind === 'quantized')) throw new UsageError(`matmul: ${a.kind === 'quantized' ? aAt : bAt} has scales and ${a.kind === 'quantized' ? bAt : aAt} has none; both need them, or neither`)
  if (values['trans-b'] && b.kind === 'quantized') throw new UsageError('--trans-b: operands with scales are always stored with K last')
  const accumulate = values.accumulate ?? 'f32', numberOf = (option: 'alpha' | 'beta') => values[option] === undefined ? {} : { [option]: number(`--${option}`, values[option]) }
  const options: ProductOptions = {
    accumulate, out: (values.output ?? 'f32') as Output, ...numberOf('alpha'), ...numberOf('beta'), ...values.c !== undefined && { c: readNumbers(values.c) }, ...values.start !== undefined && { start: readNumbers(values.start) },
    ...values['split-k'] !== undefined && { splitK: wholeNumber('--split-k', values['split-k'], 1) }, ...values['promote-k'] !== undefined && { promoteK: wholeNumber('--promote-k', values['promote-k'], 1) },
  }
  const result = await withCore(values, core => a.kind === 'quantized' && b.kind === 'quantized'
    ? core.scaledMatmul(rowScales(a.value), rowScales(b.value), options) : core.matmul(a.value, b.value, { ...options, transB: values['trans-b'] }))
  const dtype = ({ f32: 'F32', bf16: 'BF16', f16: 'F16' } as const satisfies Record<Output, Dtype>)[result.format]
  writeTensor(out, { dtype, shape: result.shape, bytes: new Uint8Array(result.codes.buffer, result.codes.byteOffset, result.codes.byteLength) })
  const alpha = options.alpha ?? (a.kind === 'quantized' && b.kind === 'quantized' ? Math.fround(a.value.tensorScale * b.value.tensorScale) : 1)
  const summary = {
    shape: result.shape, output: result.format, accumulate, model: result.model, alpha, beta: options.beta ?? (options.c ? 1 : 0), ...options.splitK !== undefined && { splitK: options.splitK }, ...options.promoteK !== undefined && { promoteK: options.promoteK },
    a: describeOperand(a), b: describeOperand(b), files: [out],
  }
  const operand = ({ shape, what, profile, verified }: ReturnType<typeof describeOperand>) => `[${shape}] ${what}${profile === undefined ? '' : ` (profile ${profile}, ${verified})`}`
  process.stdout.write(values.json ? `${JSON.stringify(summary)}\n` : [
    `${out}: ${dtype} [${result.shape}] = ${alpha === 1 ? '' : `${alpha} * `}${operand(summary.a)} times ${operand(summary.b)}${summary.beta ? ` + ${summary.beta} C` : ''}${summary.splitK === undefined ? '' : `, K in ${summary.splitK} parts`}${summary.promoteK === undefined ? '' : `, K in parts of ${summary.promoteK}`}`,
    `summed as ${describeModel(accumulate, result.model)}`,
  ].join('\n') + '\n')
}
