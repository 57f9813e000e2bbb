// blockscale dequantize: codes and scales back to numbers.
import { UsageError } from '../errors.ts'
import { raw } from '../io/safetensors.ts'
import { writeTensor } from '../io/tensor-file.ts'
import { lookup } from '../errors.ts'
import { profileNotes, verification } from '../numerics/named-quantizers.ts'
import { parse } from './arguments.ts'
import { readStored } from './stored.ts'
import { coreHelp, coreOptions, withCore } from './with-core.ts'

/** Options that say what the files do not. */
const storedOptions = {
  format: { type: 'string' }, scales: { type: 'string' }, scale: { type: 'string' }, axis: { type: 'string' }, 'scale-layout': { type: 'string' }, 'tensor-scale': { type: 'string' },
  packed: { type: 'boolean' }, gguf: { type: 'boolean' },
} as const

export const help = `usage: blockscale dequantize IN OUT [options]

Writes the numbers, F32, that codes and scales stand for: code times scale, rounded once; for E4M3 scales code times (scale times the tensor's scale).
IN: what blockscale quantize wrote (FILE.safetensors, or FILE.safetensors:NAME for NAME.codes and NAME.scales), or the address of the codes with --scales.

  --scales ADDRESS  where the scales are: F8_E8M0, F8_E4M3 or U8
  --format F        element format of the codes, where the file does not say it
  --scale F/N       type and block of the scales, such as e8m0/32 or ue4m3/16
  --axis N          axis of the blocks (default -1), or two for tiles: --axis=-2,-1
  --scale-layout L  plain (default) or 128x4
  --tensor-scale X  NVFP4: the tensor's decoding scale (default 1)
  --packed          two FP4 codes in a byte, four FP6 codes in three, stored as U8
  --gguf            IN holds GGUF's MXFP4 blocks
${coreHelp}

examples:
  blockscale dequantize q.safetensors values.npy
  blockscale dequantize codes.npy values.npy --scales scales.npy --format e4m3
  blockscale dequantize mine.safetensors:codes values.npy --scales mine.safetensors:scales --scale ue4m3/16 --scale-layout 128x4 --tensor-scale 0.25
`

export async function run(args: string[]): Promise<void> {
  const { values, positionals } = parse('dequantize', args, { ...storedOptions, ...coreOptions }, [2, 2])
  const [input, out] = positionals as [string, string]
  const stored = readStored(input, { ...values, scaleLayout: values['scale-layout'], tensorScale: values['tensor-scale'] })
  if (stored.kind !== 'quantized') throw new UsageError(`${input}: one tensor without scales; say where they are with --scales`)
  const { value: q, profile } = stored
  const { data } = await withCore(values, core => core.dequantize(q))
  writeTensor(out, raw(data, q.shape))
  const note = profile === undefined ? undefined : lookup(profileNotes, profile, 'quantizer profile')
  const summary = { shape: q.shape, format: q.format, scale: q.scale.format, block: q.scale.block, axis: q.axis, scaleLayout: q.scaleLayout ?? 'plain', ...q.scale.format === 'ue4m3' && { tensorScale: q.tensorScale }, ...note && { profile, verified: note.verified }, files: [out] }
  process.stdout.write(values.json ? `${JSON.stringify(summary)}\n` : `${out}: F32 [${q.shape}] from ${q.format} with ${q.scale.format} scales per ${q.scale.block} along axis ${q.axis}\n${note ? `written by profile ${profile} (${verification(note)}): ${note.source}\n` : ''}`)
}
