// blockscale weights: a trained language model's weights for other programs.
import { UsageError } from '../errors.ts'
import { raw } from '../io/safetensors.ts'
import { writeSafetensors } from '../io/tensor-file.ts'
import { exportNames, namings, type Naming } from '../model/names.ts'
import { loadTrainedModel } from '../train/trained-model.ts'
import { modelSource, parse } from './arguments.ts'

export const help = `usage: blockscale weights RUN --out FILE.safetensors [--names olmo|huggingface] [--arm NAME] [--step N]

Writes the weights in float32 under OLMo's names (transformer.blocks.0.att_proj.weight) or Hugging Face's (model.layers.0.self_attn.q_proj.weight).
The other way: name such a file in a configuration's model.init.

  --out FILE         what is written
  --names NAMES      olmo (default) or huggingface
  --arm NAME         studied (default) or baseline
  --step N           checkpoint of this step (default: the newest)

examples:
  blockscale weights runs/lm-quick-0a1b2c3d4e5f --names huggingface --out model.safetensors
`

export async function run(args: string[]): Promise<void> {
  const { values, positionals: [source] } = parse('weights', args, { out: { type: 'string' }, names: { type: 'string' }, arm: { type: 'string' }, step: { type: 'string' } }, [1, 1])
  const naming = (values.names ?? 'olmo') as Naming
  if (!namings.includes(naming)) throw new UsageError(`--names ${naming}: use one of ${namings.join(', ')}`)
  if (values.out === undefined || !values.out.endsWith('.safetensors')) throw new UsageError('weights: --out FILE.safetensors is needed')
  const { shape, weights, label } = loadTrainedModel(modelSource(source!, values)), named = exportNames(shape, weights, naming)
  writeSafetensors(values.out, [...named].map(([name, t]) => [name, raw(t.values, t.shape)] as const), { format: 'pt', source: label })
  process.stdout.write(`${values.out}: ${named.size} tensors of ${label}\n`)
}
