// blockscale quantize: a tensor to codes and scales, as a named quantizer makes them.
import { teHadamard, type Transform } from '../core/core.ts'
import { lookup, UsageError } from '../errors.ts'
import { raw } from '../io/safetensors.ts'
import { writeTensor } from '../io/tensor-file.ts'
import type { FormatName } from '../numerics/formats.ts'
import { namedQuantizer, profileNotes, verification, type ProfileName } from '../numerics/named-quantizers.ts'
import type { Rounding } from '../numerics/quantizer.ts'
import { parse, wholeNumber } from './arguments.ts'
import { number, parseAxes, readNumbers, writeQuantized } from './stored.ts'
import { coreHelp, coreOptions, withCore } from './with-core.ts'

export const help = `usage: blockscale quantize IN OUT --profile NAME [options]
       blockscale quantize --list

Quantizes a tensor of F32, BF16 or F16 numbers as a library, a standard or a vendor does, bit for bit. IN: FILE.npy, FILE.safetensors:NAME, or FILE.safetensors with a
single tensor. OUT: FILE.safetensors gets codes, scales, for NVFP4 tensor_scale, and metadata from which they are read back; FILE.npy gets the codes,
FILE.scales.npy the scales.

  --profile NAME    the quantizer; --list shows all, with their sources and how each was verified
  --format F        element format (default the profile's first)
  --axis N          axis of the blocks (default -1), or two for square tiles: --axis=-2,-1
  --block N         elements per block (default the profile's own; 0: the whole axis)
  --rounding R      nearest-even, nearest-away, nearest-zero, toward-zero or stochastic, in place of the profile's own
  --seed S          stochastic rounding: element i takes its bits from Philox under this seed
  --random-bits N   stochastic rounding: 8 or 16 bits per element
  --hadamard T      a Hadamard transform along the axis first: te (blocks of 16, TransformerEngine's signs, rounded to bf16), or signs as ++-+
  --tensor-amax X   NVFP4: make the tensor's scale from this largest magnitude, not from the tensor's own
  --packed          two FP4 codes in a byte, four FP6 codes in three
  --scale-layout L  plain (default), or 128x4: the tiles that cuBLAS and tcgen05 read
  --gguf            MXFP4 blocks in the order of GGUF
  --values          write the values that the codes stand for instead, as F32
${coreHelp}

examples:
  blockscale quantize x.npy q.safetensors --profile ocp --format e4m3
  blockscale quantize model.safetensors:w q.safetensors:w --profile te-nvfp4 --axis=-2,-1 --packed
  blockscale quantize x.npy q.safetensors --profile torchao-rceil --format e2m1 --packed --scale-layout 128x4
  blockscale quantize x.npy values.npy --profile microxcaling --format int8 --values
`

/** `te` or signs. */
function parseHadamard(text: string): Transform {
  if (text === 'te') return teHadamard
  if (!/^[+-]+$/.test(text)) throw new UsageError(`--hadamard ${text}: must be te, or signs such as ++-+`)
  return { signs: [...text].map(sign => sign === '+' ? 1 : -1) }
}

export async function run(args: string[]): Promise<void> {
  const { values, positionals } = parse('quantize', args, {
    profile: { type: 'string' }, list: { type: 'boolean' }, format: { type: 'string' }, axis: { type: 'string' }, block: { type: 'string' }, rounding: { type: 'string' }, seed: { type: 'string' },
    'random-bits': { type: 'string' }, hadamard: { type: 'string' }, 'tensor-amax': { type: 'string' }, packed: { type: 'boolean' }, 'scale-layout': { type: 'string' }, gguf: { type: 'boolean' },
    values: { type: 'boolean' }, ...coreOptions,
  }, args.includes('--list') ? [0, 0] : [2, 2])
  if (values.list) { process.stdout.write(list()); return }
  const [input, out] = positionals as [string, string]
  if (values.profile === undefined) throw new UsageError('quantize: --profile is needed; blockscale quantize --list shows the profiles')
  if (values['random-bits'] !== undefined && values['random-bits'] !== '8' && values['random-bits'] !== '16') throw new UsageError(`--random-bits ${values['random-bits']}: must be 8 or 16`)
  const profile = values.profile as ProfileName, note = lookup(profileNotes, profile, 'quantizer profile')
  const q = namedQuantizer(profile, {
    ...values.format !== undefined && { format: values.format as FormatName }, ...values.block !== undefined && { block: wholeNumber('--block', values.block, 0) },
    ...values.rounding !== undefined && { rounding: values.rounding as Rounding }, ...values['random-bits'] !== undefined && { randomBits: Number(values['random-bits']) as 8 | 16 },
  })
  if (q.rounding === 'stochastic' && values.seed === undefined) throw new UsageError('--rounding stochastic needs --seed')
  if (values.values && (values.packed || values.gguf || values['scale-layout'])) throw new UsageError('--values writes numbers: it goes without --packed, --gguf and --scale-layout')
  const x = readNumbers(input)
  const options = {
    ...values.axis !== undefined && { axis: parseAxes('--axis', values.axis) }, ...values.seed !== undefined && { random: { seed: BigInt(wholeNumber('--seed', values.seed, 0)) } },
    ...values.hadamard !== undefined && { hadamard: parseHadamard(values.hadamard) }, ...values['tensor-amax'] !== undefined && { tensorAmax: number('--tensor-amax', values['tensor-amax']) },
  }
  const summary = await withCore(values, async core => {
    const quantized = await core.quantize(x, q, options), { shape, format, scale, axis, tensorScale } = quantized
    const facts = { profile, format, ...values.rounding !== undefined && { rounding: values.rounding }, source: note.source, verified: note.verified }
    const files = values.values
      ? (writeTensor(out, raw((await core.dequantize(quantized)).data, shape)), [out])
      : writeQuantized(out, quantized, { packed: values.packed, scaleLayout: values['scale-layout'], gguf: values.gguf, metadata: { generator: 'blockscale quantize', ...facts } })
    return { ...facts, ...note.remark !== undefined && { remark: note.remark }, shape, axis, scale: scale.format, block: scale.block, scales: quantized.scales.length, ...scale.format === 'ue4m3' && { tensorScale }, files }
  })
  process.stdout.write(values.json ? `${JSON.stringify(summary)}\n` : [
    `${summary.files.join(', ')}: [${summary.shape}] ${summary.format}, ${summary.scales} ${summary.scale} scales per ${summary.block}${typeof summary.axis === 'number' ? '' : ` x ${summary.block}`} along axis ${summary.axis}${summary.tensorScale === undefined ? '' : `, tensor scale ${summary.tensorScale}`}`,
    `profile ${profile} (${verification(note)}): ${note.source}`,
    ...note.remark !== undefined ? [`remark: ${note.remark}`] : [],
  ].join('\n') + '\n')
}

/** Every profile with its formats, source and verification. */
function list(): string {
  const rows = Object.entries(profileNotes).map(([name, { formats, verified, source, remark }]) => [name, verified, formats?.join(' ') ?? 'any', remark === undefined ? source : `${source}; ${remark}`])
  const width = (i: number) => Math.max(...rows.map(r => r[i]!.length))
  return `${rows.map(r => r.map((cell, i) => i < 3 ? cell.padEnd(width(i)) : cell).join('  ')).join('\n')}\n\noutput: bit-equal to the source's own output; text: from its text or code alone\n`
}
