// The keys of the paper's OLMo configurations (arXiv 2506.20752, olmo/configs) as keys of our language-model configuration. A setting that this model does
// not have is refused; what has no bearing on results here is left out and named: logging, file names of checkpoints, sharding, evaluators, and facts that
// follow from the rest (params, tokens, ratio, total_flops).
import { UsageError } from '../errors.ts'
import { parseYaml } from '../io/yaml.ts'
import { flatten, isOlmo, mergeMaps, unflatten } from './sweep.ts'

/** microxcaling's format names. */
const formats: Readonly<Record<string, string>> = {
  fp8_e4m3: 'e4m3', fp8_e5m2: 'e5m2', fp6_e3m2: 'e3m2', fp6_e2m3: 'e2m3', fp4_e2m1: 'e2m1', fp4: 'e2m1', bfloat16: 'bf16', bf16: 'bf16', int8: 'int8',
}

type Flat = Record<string, unknown>
/** Their key to ours. */
const renamed: Readonly<Record<string, string>> = {
  'max_duration': 'steps', 'seed': 'seed', 'eval_interval': 'validation.every',
  'model.d_model': 'model.width', 'model.n_layers': 'model.depth', 'model.n_heads': 'model.heads', 'model.context_length': 'model.context', 'model.mlp_ratio': 'model.mlpRatio',
  'model.attention_layer_norm': 'model.qkNorm', 'model.weight_tying': 'model.tied',
  'optimizer.learning_rate': 'optimizer.lr', 'optimizer.betas': 'optimizer.betas', 'optimizer.eps': 'optimizer.eps', 'optimizer.weight_decay': 'optimizer.weightDecay', 'max_grad_norm': 'optimizer.clip',
  'scheduler.alpha_f': 'schedule.end', 'training.batch_size': 'batch', 'global_train_batch_size': 'batch',
  'model.block_size': 'precision.blockSize',
  'data.memmap_dtype': 'data.tokenType', 'datasets.memmap_dtype': 'data.tokenType',
}

/** What their model can be and ours is always. */
const fixed: Readonly<Record<string, unknown>> = {
  'model.rope': true, 'model.block_type': 'sequential', 'model.include_bias': false, 'model.bias_for_layer_norm': false, 'model.multi_query_attention': false,
  'model.attention_layer_norm_with_affine': true, 'model.layer_norm_with_affine': true, 'model.init_fn': 'mitchell', 'model.embedding_dropout': 0, 'model.attention_dropout': 0,
  'model.residual_dropout': 0, 'optimizer.name': 'adamw', 'softmax_auxiliary_loss': false,
}

/** Keys whose value changes, too. They see all keys. */
const converted: Readonly<Record<string, (value: unknown, all: Flat) => Flat>> = {
  'scheduler.t_warmup': (value, all) => typeof all.max_duration === 'number' ? { 'schedule.warmup': Number(value) / all.max_duration } : {},
  // Per GPU there, where gradients are averaged over more of them; here it only has to divide the batch.
  'device_train_microbatch_size': (value, all) => Number(all['training.batch_size'] ?? all.global_train_batch_size) % Number(value) === 0 ? { microBatch: value } : {},
  'scheduler.name': value => ({ 'schedule.kind': value === 'cosine_with_warmup' ? 'cosine' : value === 'constant' ? 'constant' : fail('scheduler.name', value, 'cosine_with_warmup, constant') }),
  'model.activation_type': value => ({ 'model.activation': value }),
  'model.layer_norm_type': value => ({ 'model.norm': value === 'rms' ? 'rmsnorm' : value === 'default' ? 'layernorm' : fail('model.layer_norm_type', value, 'default, rms') }),
  // Their table has more rows than the vocabulary.
  'model.vocab_size': (value, all) => ({ 'model.vocabulary': all['model.embedding_size'] ?? value }),
  'model.embedding_size': value => ({ 'model.vocabulary': value }),
  'data.paths': value => ({ 'data.files': [value].flat() }),
  'datasets.paths': value => ({ 'data.files': [value].flat() }),
  'model.w_mx_format': (value, all) => ({ 'precision.scheme': scheme(value, all['model.a_mx_format'] ?? value) }),
  'model.a_mx_format': (value, all) => 'model.w_mx_format' in all ? {} : { 'precision.scheme': scheme(value, value) },
}

function fail(key: string, value: unknown, valid: string): never { throw new UsageError(`${key} = ${JSON.stringify(value)}: expected one of ${valid}`) }

function scheme(weight: unknown, activation: unknown): string {
  const [w, a] = [weight, activation].map(name => formats[String(name)] ?? fail('mx_format', name, Object.keys(formats).join(', ')))
  return w === 'bf16' && a === 'bf16' ? 'bf16' : `${w}/${a}`
}

/** A patch for our language-model configuration, and the keys that were left out. Throws UsageError for a value that we cannot express. */
export function fromOlmo(config: Record<string, unknown>): { patch: Record<string, unknown>, ignored: string[] } {
  const all = flatten(config), ours: Flat = {}, ignored: string[] = []
  for (const [key, value] of Object.entries(all)) {
    if (Object.hasOwn(fixed, key)) {
      if (value !== fixed[key]) throw new UsageError(`${key} = ${JSON.stringify(value)}: this model has only ${JSON.stringify(fixed[key])}`)
    } else if (Object.hasOwn(converted, key)) Object.assign(ours, converted[key]!(value, all))
    else if (Object.hasOwn(renamed, key)) ours[renamed[key]!] = value
    else ignored.push(key)
  }
  if ('model.width' in ours) ours['model.size'] = null
  return { patch: { task: 'language-model', ...unflatten(ours) }, ignored }
}

/** One of their whole configurations (the file that a sweep's entries are laid over), or null if `text` is none. Its lists are values, not axes. */
export function parseOlmoConfig(text: string, source: string): Record<string, unknown> | null {
  const { value } = parseYaml(text, source)
  return isOlmo(value) ? value as Record<string, unknown> : null
}

/** `base` with a run's keys laid over it. Conversions see all keys at once, so this comes before fromOlmo. */
export const overOlmo = (base: Record<string, unknown>, run: Record<string, unknown>): Record<string, unknown> => mergeMaps(base, unflatten(flatten(run)))
