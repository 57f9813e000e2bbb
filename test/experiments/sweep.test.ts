import { describe, expect, it } from 'vitest'
import { manifest, resolveRunConfig } from '../../src/experiments/manifest.ts'
import { fromOlmo, overOlmo, parseOlmoConfig } from '../../src/experiments/olmo-config.ts'
import { flatten, parseSweep, unflatten } from '../../src/experiments/sweep.ts'
import { parameterCount } from '../../src/model/transformer-shape.ts'
import { merge, type RunConfig } from '../../src/train/config.ts'

const points = (text: string) => parseSweep(text, 's.yaml').points
/** Patches laid over one another, no schema. */
const plain = (_: string | null, patches: readonly Record<string, unknown>[]) => patches.reduce(merge, {}) as Record<string, unknown>

describe('our form', () => {
  it('expands entries, grid and seeds in order', () => {
    const text = `
extends: tiny
steps: 20
probes: { every: 0 }
entries:
  fp32: { precision: fp32, baseline: null }
  e4m3: { precision: e4m3/e4m3 }
grid:
  optimizer.lr: [1e-4, 1e-3]
  model: { depth: [2, 3] }
  batch: [16]
seeds: 2
`
    const sweep = parseSweep(text, 's.yaml')
    expect(sweep.base).toBe('tiny')
    expect(sweep.points).toHaveLength(16)
    expect(sweep.points[0]!.name).toBe('fp32 optimizer.lr=0.0001 model.depth=2 seed=0')
    expect(sweep.points[1]!.name).toBe('fp32 optimizer.lr=0.0001 model.depth=2 seed=1')
    expect(sweep.points[15]!.name).toBe('e4m3 optimizer.lr=0.001 model.depth=3 seed=1')
    const entries = manifest(sweep)
    const configs = entries.map(e => e.config as unknown as RunConfig)
    expect(configs.map(c => c.seed)).toEqual(Array(8).fill([0, 1]).flat())
    expect(configs[15]).toMatchObject({ steps: 20, batch: 16, model: { depth: 3 }, optimizer: { lr: 1e-3 }, precision: { backward: 'quantized' } })
    expect(configs[0]!.baseline).toBeNull()
    expect(new Set(entries.map(e => e.hash)).size).toBe(16)
    expect(manifest(parseSweep(text, 's.yaml')).map(e => e.hash)).toEqual(entries.map(e => e.hash))
  })
  it('keeps lists outside grid and seeds as values, and a list in a list as one value', () => {
    const [a, b] = points('probes: [1, 2]\ngrid: { optimizer.betas: [[0.9, 0.95], [0.9, 0.999]] }').map(p => plain(null, p.patches))
    expect(a).toEqual({ probes: [1, 2], optimizer: { betas: [0.9, 0.95] } })
    expect(b).toMatchObject({ optimizer: { betas: [0.9, 0.999] } })
  })
  it('changes one setting of a scheme', () => {
    const [, second] = manifest(parseSweep('precision: e4m3/e4m3\ngrid: { precision.blockSize: [32, 2] }', 's'), resolveRunConfig)
    expect((second!.config as unknown as RunConfig).precision).toMatchObject({ blockSize: 2, forward: { weight: 'e4m3' } })
  })
  it.each([
    ['a: 1', 'nothing to sweep'],
    ['seeds: []', 'expands to no run'],
    ['grid: { lr: [] }', 'expands to no run'],
    ['seeds: [1, 2]\ngrid:\n  lr: 3', 's.yaml: grid.lr = 3: must be a list (s.yaml line 3, column 7)'],
    ['seeds: many', 'seeds = "many": must be a number of seeds or a list of them (s.yaml line 1, column 8)'],
    ['seeds: 20\nlimit: 10', 'expands to 20 runs, limit 10'],
    ['seeds: 2000000', 'expands to 2000000 runs, limit 10000'],
    ['entries: { a: { x: 1 }, a: { x: 2 } }', 's.yaml line 1, column 25: Map keys must be unique'],
    ['entries: [1', 's.yaml line 1, column 12'],
    ['- 1', 'a sweep is a mapping'],
    ['extends: [a]\nseeds: 2', 'extends = ["a"]: must be the name of a preset'],
  ])('%j: %s', (text, message) => expect(() => points(text)).toThrow(message))
  it('says which run has a wrong configuration and where, and which two are the same', () => {
    expect(() => manifest(parseSweep('grid: { batch: [16, -1] }', 's'))).toThrow(/^run 1 \(batch=-1\): config: batch = -1.* \(s line 1, column 16\)$/)
    expect(() => manifest(parseSweep('extends: tiny\nsteps: 0\nseeds: 1', 's'))).toThrow(/^run 0: config: steps = 0: [^()]* \(s line 2, column 8\)$/)
    expect(() => manifest(parseSweep('seeds: 1\nentries:\n  a: {}\n  b:\n    model: { depth: no }', 's'))).toThrow(/^run 1 \(b\): config: model.depth = "no": .* \(s line 5, column 21\)$/)
    expect(() => manifest(parseSweep('seeds: 1\nstepz: 3', 's'))).toThrow(/config: stepz: unknown key.* \(s line 2, column 8\)$/)
    expect(() => manifest(parseSweep('entries: { a: { batch: 16 }, b: { batch: 16 } }', 's'))).toThrow('runs 0 (a) and 1 (b) are the same configuration')
  })
})

describe('the paper\'s form', () => {
  // Shape of olmo/configs/sweeps/scale_llama2.yaml, with axes as scale_fixed_tokens_overtrained.yaml has (there commented out).
  const text = `
training:
  batch_size: 512 # global_train_batch_size
data:
  paths: [fineweb, starcoder]
sweep:
- max_duration: 6509
  model: { context_length: 512, d_model: 256, n_heads: 4 }
  scheduler:
    t_warmup: 1301
  total_flops: 200000000000000000
- max_duration: 4774
  model: { d_model: [320, 384] }
  training: { seed: 7 }
`
  it('merges each entry over the top level, every list an axis, the last fastest', () => {
    const sweep = parseSweep(text, 'scale.yaml')
    const configs = manifest(sweep, plain).map(e => e.config)
    expect(sweep.form).toBe('olmo')
    expect(configs).toHaveLength(2 + 4)
    expect(configs[1]).toEqual({
      training: { batch_size: 512 }, data: { paths: 'starcoder' }, max_duration: 6509,
      model: { context_length: 512, d_model: 256, n_heads: 4 }, scheduler: { t_warmup: 1301 }, total_flops: 2e17,
    })
    expect(configs.slice(2).map(c => flatten(c)).map(c => [c['data.paths'], c['model.d_model'], c['training.batch_size'], c['training.seed']]))
      .toEqual([['fineweb', 320, 512, 7], ['fineweb', 384, 512, 7], ['starcoder', 320, 512, 7], ['starcoder', 384, 512, 7]])
    expect(sweep.points[3]!.name).toBe('entry=1 data.paths=fineweb model.d_model=384')
  })
  it('takes a file without entries as one, by its keys', () => {
    const sweep = parseSweep('max_duration: 100\nmodel: { d_model: [256, 320], n_heads: 4 }\n', 's')
    expect([sweep.form, ...sweep.points.map(p => p.name)]).toEqual(['olmo', 'model.d_model=256', 'model.d_model=320'])
  })
  it('refuses what is no list', () => expect(() => parseSweep('sweep: 3', 's')).toThrow('sweep: must be a list of mappings (s line 1, column 8)'))
})

describe('the paper\'s keys', () => {
  const entry = {
    max_duration: 6509, eval_interval: 650, training: { batch_size: 512 }, device_train_microbatch_size: 128, scheduler: { t_warmup: 1301, name: 'cosine_with_warmup', alpha_f: 0.1 },
    model: { d_model: 256, n_heads: 4, n_layers: 4, context_length: 512, w_mx_format: 'fp8_e4m3', a_mx_format: 'bfloat16', block_size: 16, layer_norm_type: 'default' },
    optimizer: { learning_rate: 2e-4, betas: [0.9, 0.95] }, max_grad_norm: 1, data: { paths: 'fineweb' }, params: 19534080, wandb: { group: 'g' },
  }
  it('become ours, the rest is named', () => {
    const { patch, ignored } = fromOlmo(entry)
    expect(ignored).toEqual(['params', 'wandb.group'])
    expect(resolveRunConfig(null, [patch])).toMatchObject({
      task: 'language-model', steps: 6509, batch: 512, microBatch: 128, validation: { every: 650 }, schedule: { kind: 'cosine', warmup: 1301 / 6509, end: 0.1 },
      model: { width: 256, heads: 4, depth: 4, context: 512, norm: 'layernorm' }, precision: { forward: { weight: 'e4m3', activation: 'bf16' }, blockSize: 16 },
      optimizer: { lr: 2e-4, betas: [0.9, 0.95], clip: 1 }, data: { files: ['fineweb'] },
    })
  })
  it('lie over a whole configuration, whose lists are values and whose table may be larger than its vocabulary', () => {
    const base = parseOlmoConfig('max_duration: 48000\nscheduler: { name: cosine_with_warmup, t_warmup: 1000 }\noptimizer: { name: adamw, betas: [0.9, 0.95] }\nmodel: { d_model: 1024, n_heads: 16, n_layers: 6, rope: true, vocab_size: 32000, embedding_size: 32100, w_mx_format: fp8_e4m3, a_mx_format: fp8_e4m3 }\ndatasets: { memmap_dtype: uint16 }\nprecision: amp_bf16\n', 'b')!
    const [point] = points('sweep: [{ max_duration: 100, scheduler: { t_warmup: 20 }, model: { d_model: 256, n_heads: 4, n_layers: 4 } }]')
    const { patch, ignored } = fromOlmo(overOlmo(base, point!.patches[0]!))
    expect(ignored).toEqual(['precision'])
    const config = resolveRunConfig(null, [patch]) as unknown as RunConfig & { task: 'language-model' }
    expect(config).toMatchObject({ steps: 100, schedule: { warmup: 0.2 }, model: { width: 256, depth: 4, heads: 4, vocabulary: 32100 }, optimizer: { betas: [0.9, 0.95] }, data: { tokenType: 'uint16' }, precision: { forward: { activation: 'e4m3' } } })
    expect(parameterCount({ ...config.model, vocabulary: 32000 })).toBe(19534080) // as the paper's file says of this size
    expect(parseOlmoConfig('steps: 3', 'ours')).toBeNull()
  })
  it('are refused where we have no such thing', () => {
    expect(() => fromOlmo({ model: { layer_norm_with_affine: false } })).toThrow('model.layer_norm_with_affine = false: this model has only true')
    expect(() => fromOlmo({ model: { w_mx_format: 'fp3' } })).toThrow('mx_format = "fp3": expected one of fp8_e4m3')
    expect(() => fromOlmo({ scheduler: { name: 'linear' } })).toThrow('scheduler.name = "linear": expected one of cosine_with_warmup, constant')
  })
})

it('flatten and unflatten are inverse', () => {
  const nested = { a: 1, b: { c: [1, 2], d: { e: null } }, f: {} }
  expect(flatten(nested)).toEqual({ a: 1, 'b.c': [1, 2], 'b.d.e': null, f: {} })
  expect(unflatten(flatten(nested))).toEqual(nested)
  expect(unflatten({ 'a.b': 1, a: { c: 2 } })).toEqual({ a: { b: 1, c: 2 } })
})
