// Parameter names of other libraries. This project's own names are OLMo's (transformer.blocks.<i>.att_proj.weight). Hugging Face transformers splits the fused
// query-key-value matrix into three, and the first SwiGLU matrix into `up` (OLMo's first half) and `gate` (its second).
//
// What would surprise: no class in transformers is this very model (OlmoForCausalLM has no norm weights, Olmo2ForCausalLM norms after the sub-layer), so
// the names follow Olmo2, with input_layernorm and post_attention_layernorm for the norms before attention and MLP as in Llama.
import { UsageError } from '../errors.ts'
import { checkShape, innerWidth, transformerLayout, type TransformerShape } from './transformer-shape.ts'

export interface NamedTensor { readonly shape: readonly number[], readonly values: Float32Array }
export type NamedTensors = ReadonlyMap<string, NamedTensor>

export const namings = ['olmo', 'huggingface'] as const
export type Naming = typeof namings[number]

/** One of our parameters as parts of other names: rows [begin, end) of it each. */
interface Part { readonly name: string, readonly begin: number, readonly end: number }

function huggingFaceParts(s: TransformerShape, name: string, rows: number): Part[] {
  const whole = (to: string): Part[] => [{ name: to, begin: 0, end: rows }]
  if (name === 'transformer.wte.weight') return whole('model.embed_tokens.weight')
  if (name === 'transformer.ln_f.weight') return whole('model.norm.weight')
  if (name === 'transformer.ff_out_last.weight') return whole('lm_head.weight')
  const [, i, part] = /^transformer\.blocks\.(\d+)\.(\w+)\.weight$/.exec(name)!
  const at = (to: string) => `model.layers.${i}.${to}.weight`, d = s.width, inner = innerWidth(s)
  switch (part) {
    case 'att_proj': return ['q', 'k', 'v'].map((p, j) => ({ name: at(`self_attn.${p}_proj`), begin: j * d, end: (j + 1) * d }))
    case 'attn_out': return whole(at('self_attn.o_proj'))
    case 'q_norm': case 'k_norm': return whole(at(`self_attn.${part}`))
    case 'attn_norm': return whole(at('input_layernorm'))
    case 'ff_norm': return whole(at('post_attention_layernorm'))
    case 'ff_out': return whole(at('mlp.down_proj'))
    case 'ff_proj': return s.activation === 'swiglu' ? [{ name: at('mlp.up_proj'), begin: 0, end: inner }, { name: at('mlp.gate_proj'), begin: inner, end: 2 * inner }] : whole(at('mlp.up_proj'))
    default: throw new Error(`no Hugging Face name for ${name}`)
  }
}

const partsOf = (s: TransformerShape, naming: Naming, name: string, rows: number): Part[] => naming === 'olmo' ? [{ name, begin: 0, end: rows }] : huggingFaceParts(s, name, rows)

/** All parameters under another library's names. */
export function exportNames(s: TransformerShape, tensors: NamedTensors, naming: Naming): Map<string, NamedTensor> {
  const out = new Map<string, NamedTensor>()
  for (const { name, shape } of transformerLayout(s).slots) {
    const { values } = tensors.get(name)!, [rows, ...rest] = shape as [number, ...number[]], row = values.length / rows
    for (const part of partsOf(s, naming, name, rows)) out.set(part.name, { shape: [part.end - part.begin, ...rest], values: values.slice(part.begin * row, part.end * row) })
  }
  return out
}

/** The opposite of exportNames; the naming is found out. Throws UsageError for a missing, unknown or misshapen tensor. */
export function importNames(s: TransformerShape, tensors: NamedTensors): Map<string, NamedTensor> {
  checkShape(s)
  const naming: Naming = tensors.has('transformer.wte.weight') ? 'olmo' : 'huggingface', used = new Set<string>(), out = new Map<string, NamedTensor>()
  for (const { name, shape } of transformerLayout(s).slots) {
    const [rows, ...rest] = shape as [number, ...number[]], row = rest.reduce((n, d) => n * d, 1), values = new Float32Array(rows * row)
    for (const part of partsOf(s, naming, name, rows)) {
      const given = tensors.get(part.name), wanted = [part.end - part.begin, ...rest]
      if (!given) throw new UsageError(`weights: ${part.name} is missing; the file holds ${[...tensors.keys()].slice(0, 5).join(', ')} ...`)
      if (given.shape.join() !== wanted.join()) throw new UsageError(`weights: ${part.name} has shape [${given.shape}], the model needs [${wanted}]`)
      values.set(given.values, part.begin * row)
      used.add(part.name)
    }
    out.set(name, { shape, values })
  }
  const unknown = [...tensors.keys()].find(name => !used.has(name))
  if (unknown !== undefined) throw new UsageError(`weights: ${unknown} has no place in the model`)
  return out
}

/** The shape of a model from its weights alone; what they do not tell (heads, activation, theta) comes from `rest`. Throws UsageError. */
export function shapeOf(tensors: NamedTensors, rest: Pick<TransformerShape, 'heads' | 'activation' | 'theta'> & { readonly norm?: TransformerShape['norm'] }): TransformerShape {
  const table = tensors.get('transformer.wte.weight') ?? tensors.get('model.embed_tokens.weight')
  if (!table) throw new UsageError('weights: neither transformer.wte.weight (OLMo) nor model.embed_tokens.weight (Hugging Face) is there')
  const [vocabulary, width] = table.shape as [number, number], names = [...tensors.keys()]
  const depth = 1 + Math.max(-1, ...names.map(n => Number(/\.(?:blocks|layers)\.(\d+)\./.exec(n)?.[1] ?? -1)))
  const first = tensors.get('transformer.blocks.0.ff_proj.weight')?.shape[0] ?? (tensors.get('model.layers.0.mlp.up_proj.weight')?.shape[0] ?? 0) * (tensors.has('model.layers.0.mlp.gate_proj.weight') ? 2 : 1)
  return {
    ...rest, norm: rest.norm ?? 'layernorm', width, depth, vocabulary, mlpRatio: first / width, qkNorm: names.some(n => n.includes('q_norm')),
    tied: !tensors.has('transformer.ff_out_last.weight') && !tensors.has('lm_head.weight'),
  }
}
