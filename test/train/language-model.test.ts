import { existsSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { trainBytePairs } from '../../src/data/bpe.ts'
import { bytePairJson } from '../../src/data/tokenizer.ts'
import { writeSafetensors } from '../../src/io/tensor-file.ts'
import { raw } from '../../src/io/safetensors.ts'
import { exportNames } from '../../src/model/names.ts'
import { transformerLayout } from '../../src/model/transformer-shape.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { readCheckpoint } from '../../src/train/checkpoint.ts'
import { parseConfig, type LanguageModelConfig } from '../../src/train/config.ts'
import { LanguageModel, memoryNeeded, scheduledRate, transformerShape } from '../../src/train/language-model.ts'
import { checkpointFile, listCheckpoints, readMetrics } from '../../src/train/run-directory.ts'
import { train } from '../../src/train/trainer.ts'
import type { MetricsRow } from '../../src/train/types.ts'

const folder = mkdtempSync(join(tmpdir(), 'language-model-'))
const text = join(folder, 'text.jsonl')
// Documents with something to learn: counting in words.
const words = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine']
writeFileSync(text, Array.from({ length: 120 }, (_, d) => JSON.stringify({ text: Array.from({ length: 12 }, (_, i) => words[(d + i * (1 + d % 3)) % 10]).join(' ') })).join('\n'))

const base = {
  task: 'language-model', model: { width: 32, depth: 2, heads: 2, context: 32 }, data: { files: [text], validationFraction: 0.1 },
  optimizer: { lr: 5e-3 }, steps: 6, batch: 4, precision: 'fp32', validation: { every: 3, sequences: 5 }, metrics: { gradient: 3, overflow: 3 }, checkpoints: { every: 3, keep: 0 },
}
const config = (changes: Record<string, unknown> = {}) => parseConfig({ ...base, ...changes }) as LanguageModelConfig
let runs = 0
async function run(c: LanguageModelConfig, options: Partial<Parameters<typeof train>[1]> = {}) {
  const directory = options.directory ?? join(folder, `run-${++runs}`)
  const summary = await train(c, { directory, threads: 1, ...options })
  return { directory, summary, rows: readMetrics(directory) }
}
const kind = <K extends MetricsRow['kind']>(rows: MetricsRow[], k: K) => rows.filter((r): r is Extract<MetricsRow, { kind: K }> => r.kind === k)

describe('training a language model', () => {
  it('learns', async () => {
    const { rows } = await run(config({ steps: 80, validation: { every: 40, sequences: 8 }, checkpoints: {} }))
    const losses = kind(rows, 'validation').map(r => r.loss!)
    expect(losses.length).toBe(3)
    expect(losses[0]!).toBeGreaterThan(5)
    expect(losses[2]!).toBeLessThan(1.6)
    expect(kind(rows, 'language-model')[0]!.detail).toMatch(/parameters, \d+ MiB of memory; \d+ training samples of 32 bytes from \d+ documents, \d+ held out/)
  })

  it('gives the same bits for any number of threads, and after a break', async () => {
    const c = config({ precision: { scheme: 'e4m3/e4m3', activation: 'bf16' }, baseline: 'fp32', samples: { every: 3, tokens: 8 } })
    const whole = await run(c), two = await run(c, { threads: 2 })
    expect(two.summary.weightsHash).toBe(whole.summary.weightsHash)
    const stop = new AbortController(), directory = join(folder, 'broken')
    await run(c, { directory, signal: stop.signal, onProgress: ({ step }) => { if (step === 4) stop.abort() } })
    expect(listCheckpoints(directory)).toEqual([3, 4])
    const { summary, rows } = await run(c, { directory, resume: true })
    expect(summary.weightsHash).toBe(whole.summary.weightsHash)
    const results = (r: MetricsRow[]) => r.filter(x => x.kind !== 'event').map(x => x.kind === 'step' ? { ...x, seconds: 0 } : x)
    expect(results(rows)).toEqual(results(whole.rows))
    expect(kind(rows, 'sample').length).toBe(4)
    expect(kind(rows, 'overflow')[0]!.totals).toMatchObject({ weights: expect.any(Number), gamma: expect.any(Number), hidden: expect.any(Number), outputs: expect.any(Number) })
  })

  it.each<[string, Record<string, unknown>]>([
    ['NVFP4 without the head', { precision: 'nvfp4', sites: { head: false } }], ['MXFP4 backward', { precision: 'mxfp4-backward' }],
    ['NVFP4 as on Blackwell, every block', { precision: { scheme: 'nvfp4/blackwell', highLast: 0 } }], ['MXFP8 as on Blackwell, one block and the head in bf16', { precision: { scheme: 'mxfp8-rceil/blackwell', highFirst: 1 }, sites: { head: false } }],
    ['attention products, MXFP8 with scales rounded up', { precision: 'mxfp8-rceil', sites: { attentionProducts: true } }],
    ['attention products, forward only, rounded stochastically', { precision: { scheme: 'e4m3/e4m3/forward-only', rounding: 'stochastic' }, sites: { attentionProducts: true } }],
  ])('has the same bits for any number of threads and micro-batches of equal size, and after a break: %s', async (_, changes) => {
    const c = config({ ...changes, microBatch: 2, steps: 3, checkpoints: { every: 2, keep: 0 }, validation: { every: 0 }, metrics: { gradient: 0, overflow: 0 } }), whole = await run(c), two = await run(c, { threads: 2 })
    expect(two.summary.weightsHash).toBe(whole.summary.weightsHash)
    const stop = new AbortController(), directory = join(folder, `broken-${++runs}`)
    await run(c, { directory, signal: stop.signal, onProgress: ({ step }) => { if (step === 1) stop.abort() } })
    const { summary } = await run(c, { directory, resume: true })
    expect(summary.weightsHash).toBe(whole.summary.weightsHash)
    const other = await run(config({ ...changes, microBatch: 2, steps: 3, precision: 'bf16', checkpoints: {}, validation: { every: 0 } }))
    expect(other.summary.weightsHash).not.toBe(whole.summary.weightsHash)
  })

  it('averages the gradients of micro-batches', async () => {
    const whole = await run(config({ steps: 1, metrics: { gradient: 1 } })), parts = await run(config({ steps: 1, microBatch: 1, metrics: { gradient: 1 } }))
    const [a, b] = [whole, parts].map(r => kind(r.rows, 'gradient')[0]!) as [any, any]
    expect(Math.abs(a.norm - b.norm) / a.norm).toBeLessThan(1e-6)
    for (const group of Object.keys(a.groups)) expect(Math.abs(a.groups[group] - b.groups[group]) / a.groups[group], group).toBeLessThan(1e-5)
    expect(Math.abs(whole.summary.loss.studied! - parts.summary.loss.studied!)).toBeLessThan(1e-6)
  })

  it('changes precision in mid-run, and probes gradients at the same weights', async () => {
    const c = config({ precision: 'e4m3/e4m3', precisionSchedule: [{ step: 3, precision: 'fp32' }], probes: { every: 3, weights: 'studied', schemes: { mx: 'e4m3/e4m3', self: 'fp32' } } })
    const { rows } = await run(c), plain = await run(config({ precision: 'e4m3/e4m3' }))
    expect(kind(rows, 'event').find(e => e.event === 'precision')).toMatchObject({ step: 3, detail: 'fp32' })
    const losses = (r: MetricsRow[]) => kind(r, 'step').map(x => x.loss)
    expect(losses(rows).slice(0, 3)).toEqual(losses(plain.rows).slice(0, 3))
    expect(losses(rows)[3]).not.toBe(losses(plain.rows)[3])
    const probes = kind(rows, 'probe').filter(p => p.step === 3)
    expect(probes.find(p => p.probe === 'self')!.relativeError).toBe(0)
    expect(probes.find(p => p.probe === 'mx')!.relativeError).toBeGreaterThan(0.01)
  })

  it('sees the same tokens whatever the precision', async () => {
    const c = config({ steps: 1, baseline: 'fp32', precision: 'fp32' }), { summary } = await run(c)
    expect(summary.loss.studied).toBe(summary.loss.baseline)
    const deeper = await run(config({ steps: 1, precision: { scheme: 'e4m3/e4m3', highFirst: 2 }, sites: { head: false } })), plain = await run(config({ steps: 1, precision: 'bf16' }))
    expect(deeper.summary.loss).toEqual(plain.summary.loss)
  })

  it('reports spikes, and where a value stopped being finite', async () => {
    const { rows } = await run(config({ steps: 40, optimizer: { lr: 0.9, clip: null }, schedule: { warmup: 0.5 }, spikes: { window: 5, rise: 0.5 }, validation: { every: 0 }, checkpoints: {} }))
    expect(kind(rows, 'event').some(e => e.event === 'spike')).toBe(true)
    const c = config({ steps: 4 }), ex = new InlineExecutor(), task = await LanguageModel.create(ex, c)
    task.build(0)
    await task.prepare(0)
    const name = 'transformer.blocks.1.ff_proj.weight', tensors = task.save() as Record<string, { data: Float32Array, shape: readonly number[] }>
    tensors[`studied.weight.${name}`]!.data[5] = Infinity
    task.restore(tensors, 'test')
    await task.gradients()
    expect(task.losses().studied).toBeNaN()
    expect(await task.diagnose('studied')).toBe(`the first value that is not finite is element 5 of ${name}`)
  })
})

describe('the learning rate', () => {
  it('warms up from a tenth, then falls to a tenth along a cosine', () => {
    const c = config({ steps: 100, optimizer: { lr: 1 }, schedule: { warmup: 0.2 } }), at = (step: number) => scheduledRate(c, step - 1)
    expect(at(1)).toBeCloseTo(0.1 + 0.9 / 20, 12)
    expect(at(10)).toBeCloseTo(0.55, 12)
    expect(at(20)).toBe(1)
    expect(at(60)).toBeCloseTo(0.55, 12)
    expect(at(100)).toBeCloseTo(0.1, 12)
    expect(scheduledRate(config({ steps: 100, optimizer: { lr: 1 }, schedule: { kind: 'constant', warmup: 0 } }), 50)).toBe(1)
  })
})

describe('starting from weights', () => {
  it('of a file under OLMo\'s or Hugging Face\'s names is starting from those weights', async () => {
    const c = config({ steps: 1, checkpoints: {} }), { directory } = await run(c), { tensors } = readCheckpoint(checkpointFile(directory, 1))
    const own = new Map(Object.entries(tensors).filter(([n]) => n.startsWith('studied.weight.')).map(([n, t]) => [n.slice('studied.weight.'.length), { shape: t.shape, values: t.data as Float32Array }]))
    const losses = []
    for (const naming of ['olmo', 'huggingface'] as const) {
      const file = join(folder, `${naming}.safetensors`)
      writeSafetensors(file, [...exportNames(transformerShape(c, 256), own, naming)].map(([name, t]) => [name, raw(t.values, t.shape)] as const))
      losses.push((await run(config({ steps: 1, model: { ...base.model, init: file } }))).summary.loss.studied)
    }
    expect(losses[0]).toBe(losses[1])
    await expect(run(config({ model: { ...base.model, depth: 1, init: join(folder, 'olmo.safetensors') } }))).rejects.toThrow(/blocks.1.* has no place in the model/)
  })
})

describe('bad input', () => {
  it('is refused before anything is written', async () => {
    const directory = join(folder, 'never')
    const fails = (changes: Record<string, unknown>, message: RegExp) => expect(run(config(changes), { directory })).rejects.toThrow(message)
    const empty = join(folder, 'empty.txt')
    writeFileSync(empty, '')
    await fails({ data: { files: [empty] } }, /corpus is empty/)
    await fails({ data: { files: [join(folder, 'nothing*.txt')] } }, /no file matches/)
    await fails({ model: { ...base.model, context: 100000 } }, /training text holds \d+ tokens, fewer than one context of 100000/)
    await fails({ model: { ...base.model, vocabulary: 100 } }, /the tokenizer has 256 ids/)
    await fails({ batch: 4096, model: { width: 512, depth: 8, heads: 8, context: 64 } }, /this run needs \d+ MiB of memory, WebAssembly has 4096 MiB: lower microBatch 4096/)
    expect(existsSync(directory)).toBe(false)
    await expect(LanguageModel.create(new InlineExecutor(), config(), { memory: 1e5 })).rejects.toThrow(/this run needs \d+ MiB of memory, this machine has 1 MiB: lower microBatch 4/)
  })

  it('in a configuration is named', () => {
    expect(() => config({ model: { size: 'huge' } })).toThrow(/config: model.size = "huge": .*expected one of "tiny"/)
    expect(() => config({ model: { width: 32, depth: 2, heads: 5 } })).toThrow(/config: model.heads = 5: must divide model.width 32/)
    expect(() => config({ microBatch: 3 })).toThrow(/microBatch = 3: must divide batch 4/)
    expect(() => config({ model: { contxt: 3 } })).toThrow(/config: model.contxt: unknown key, use one of size, width/)
    expect(() => config({ precision: { scheme: 'e4m3/e4m3', highFirst: 2, highLast: 1 } })).toThrow(/must not exceed depth 2 together/)
    expect(() => config({ precision: 'mxfp4-backward', model: { ...base.model, width: 48 } })).toThrow(/precision.hadamard = "backward": needs model.width 48 to be a multiple of precision.blockSize 32/)
    expect(() => config({ precision: 'mxfp8-rceil/blackwell', model: { ...base.model, context: 40 } })).toThrow(/precision.accumulator = "blackwell": needs model.context 40 to be a multiple of precision.blockSize 32/)
    expect(config({ model: { size: 'olmo-256', context: 64 } }).model).toMatchObject({ size: null, width: 256, depth: 4, heads: 4 })
  })

  it('a checkpoint of another tokenizer is refused', async () => {
    const file = join(folder, 'tokenizer.json')
    writeFileSync(file, bytePairJson(trainBytePairs([words.join(' ')], 256 + 1)))
    const c = config({ steps: 2, model: { ...base.model, vocabulary: 257 } }), { directory } = await run(c)
    await expect(run(config({ steps: 4, model: { ...base.model, vocabulary: 257 }, data: { files: [text], tokenizer: file } }), { from: checkpointFile(directory, 2) }))
      .rejects.toThrow(/was trained with another tokenizer/)
  })

  it('the memory a run needs is what it takes', async () => {
    const c = config({ microBatch: 2, samples: {} }), ex = new InlineExecutor(), before = ex.arena.used, task = await LanguageModel.create(ex, c)
    task.build(0)
    const taken = ex.arena.used, planned = memoryNeeded(c, task.shape, 1)
    expect(taken).toBeGreaterThan(before)
    expect(Math.abs(taken - planned) / taken).toBeLessThan(0.01)
  })

  it('is weights, gradients, two moments, what the backward pass needs, and little else', () => {
    const c = (precision: unknown) => config({ model: { size: 'olmo-256', context: 256 }, batch: 8, precision }), s = transformerShape(c('fp32'), 256)
    // Per position and block 18 d: input, norm, q and k before and after their norms, v, attention, middle, norm, 4 d before and after GELU.
    const activations = 8 * 256 * 4 * (s.depth * 18 * s.width + s.width + s.vocabulary), weights = 4 * 4 * transformerLayout(s).count
    for (const precision of ['fp32', { scheme: 'e4m3/e4m3', activation: 'bf16' }]) expect(memoryNeeded(c(precision), s, 1) - memoryNeeded(config(), transformerShape(config(), 256), 1)).toBeLessThan(1.2 * (activations + weights))
  })
})
