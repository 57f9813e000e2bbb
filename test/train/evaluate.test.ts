import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { dispatch } from '../../src/cli/commands.ts'
import { loadTokenizer } from '../../src/data/tokenizer.ts'
import { readSafetensors } from '../../src/io/tensor-file.ts'
import { generate } from '../../src/train/generate.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { parseConfig } from '../../src/train/config.ts'
import { evaluateChoices, evaluateText, readQuestions, Scorer } from '../../src/train/evaluate.ts'
import { loadTrainedModel, type TrainedModel } from '../../src/train/trained-model.ts'
import { train } from '../../src/train/trainer.ts'

const folder = mkdtempSync(join(tmpdir(), 'evaluate-'))
const file = (name: string, content: string) => { const path = join(folder, name); writeFileSync(path, content); return path }
const alphabet = 'abcdefghijklmnopqrstuvwxyz'
/** The alphabet in a circle, from anywhere: easy to learn. */
const circle = (start: number, n: number) => Array.from({ length: n }, (_, i) => alphabet[(start + i) % 26]).join('')
const text = file('text.jsonl', Array.from({ length: 200 }, (_, d) => JSON.stringify({ text: circle(d, 40 + d) })).join('\n'))
const directory = join(folder, 'run')
let model: TrainedModel

beforeAll(async () => {
  const config = parseConfig({
    task: 'language-model', model: { width: 32, depth: 1, heads: 2, context: 16 }, data: { files: [text] }, optimizer: { lr: 1e-2 }, schedule: { warmup: 0.1 }, steps: 60, batch: 8,
    precision: 'e4m3/e4m3', baseline: 'fp32', validation: { every: 0 }, metrics: { gradient: 0, overflow: 0 },
  })
  await train(config, { directory, threads: 1 })
  model = loadTrainedModel({ source: directory, arm: 'baseline' })
})

describe('loss on text', () => {
  it('predicts every token but the first once, whatever the windows', async () => {
    const scorer = new Scorer(new InlineExecutor(), model), ids = Array.from(model.tokenizer.encode(circle(3, 200)))
    const [whole] = await scorer.losses([ids.slice(0, 16)]), [shorter] = await scorer.losses([ids.slice(0, 9)])
    expect(whole!.length).toBe(15)
    expect(whole!.slice(0, 8)).toEqual(shorter)
    const windows = Array.from({ length: 14 }, (_, i) => ids.slice(15 * i, 15 * i + 16)), all = (await scorer.losses(windows)).flatMap(l => [...l])
    expect(all.length).toBe(199)
    const [result] = await evaluateText(scorer, [file('circle.txt', circle(3, 200))])
    expect(result!.loss).toBeCloseTo(all.reduce((a, x) => a + x) / 199, 12)
    expect(result!.perplexity).toBeCloseTo(Math.exp(result!.loss), 12)
    expect(result!.bitsPerByte).toBeCloseTo(result!.loss * 199 / Math.LN2 / 200, 12)
    const [noise] = await evaluateText(scorer, [file('noise.txt', 'qzjxkvbqzxjqvkzqjxwqzkjvxqzj')])
    expect(result!.loss).toBeLessThan(1)
    expect(noise!.loss).toBeGreaterThan(3)
    await expect(evaluateText(scorer, [file('one.txt', 'a')])).rejects.toThrow(/holds 1 tokens, at least 2/)
  })

  it('depends on the precision', async () => {
    const scores = await Promise.all(['fp32', 'e2m1/e2m1'].map(async precision => {
      const scorer = new Scorer(new InlineExecutor(), loadTrainedModel({ source: directory, arm: 'baseline', precision }))
      return (await evaluateText(scorer, [file('p.txt', circle(5, 60))]))[0]!.loss
    }))
    expect(scores[0]).not.toBe(scores[1])
  })
})

describe('multiple choice', () => {
  it('prefers what the model expects', async () => {
    const scorer = new Scorer(new InlineExecutor(), model)
    const questions = Array.from({ length: 10 }, (_, i) => JSON.stringify({ context: circle(i, 12), choices: i % 2 ? ['zq', circle(i + 12, 2)] : [circle(i + 12, 2), 'zq'], answer: i % 2 }))
    expect(await evaluateChoices(scorer, file('q.jsonl', questions.join('\n')))).toMatchObject({ questions: 10, accuracy: 1, accuracyPerCharacter: 1 })
    // Four unlikely characters weigh less per character than in all; one unlikely character is the better raw choice.
    const long = file('long.jsonl', JSON.stringify({ context: circle(0, 8), choices: ['x', circle(8, 7) + 'x'], answer: 1 }))
    const r = await evaluateChoices(scorer, long)
    expect([r.accuracy, r.accuracyPerCharacter]).toEqual([expect.any(Number), 1])
  })

  it('names what is wrong with a task file', async () => {
    expect(() => readQuestions(file('b1.jsonl', '{"context": "a"}'))).toThrow(/b1.jsonl line 1: "choices" must be a list/)
    expect(() => readQuestions(file('b2.jsonl', '{"context": "a", "choices": ["b", "c"], "answer": 2}'))).toThrow(/line 1: "answer" must be an index of "choices", 0 to 1/)
    expect(() => readQuestions(file('b3.jsonl', 'x'))).toThrow(/line 1: not JSON/)
    expect(() => readQuestions(file('b4.jsonl', '\n'))).toThrow(/holds no question/)
    const scorer = new Scorer(new InlineExecutor(), model)
    await expect(evaluateChoices(scorer, file('b5.jsonl', JSON.stringify({ context: 'a', choices: ['b', circle(0, 16)], answer: 0 })))).rejects.toThrow(/has 16 tokens, the model's context is 16/)
  })
})

describe('generation', () => {
  it('goes on as it was taught, the same every time', async () => {
    const write = (options: { temperature: number, seed: number }) => {
      const ex = new InlineExecutor(), { params, precision } = model.place(ex)
      return generate(ex, model.shape, params, precision, model.tokenizer, { prompt: circle(4, 6), tokens: 20, context: 16, stream: 0, ...options })
    }
    expect((await write({ temperature: 0, seed: 0 })).slice(0, 10)).toBe(circle(10, 10))
    expect(await write({ temperature: 1, seed: 5 })).toBe(await write({ temperature: 1, seed: 5 }))
    expect(new Set(await Promise.all([1, 2, 3, 4].map(seed => write({ temperature: 3, seed })))).size).toBe(4)
  })
})

describe('commands', () => {
  /** Run a command in this process; what it wrote to the standard output. */
  async function output(...args: string[]): Promise<string> {
    const write = process.stdout.write
    let out = ''
    process.stdout.write = ((chunk: string) => { out += chunk; return true }) as typeof write
    try { expect(await dispatch(args)).toBe(0) } finally { process.stdout.write = write }
    return out
  }

  it('tokenize, evaluate, generate, weights', async () => {
    const tokenizer = join(folder, 'tokenizer.json'), tokens = join(folder, 'tokens.npy'), weights = join(folder, 'weights.safetensors')
    expect(await output('tokenize', 'train', text, '--vocabulary', '270', '--out', tokenizer)).toMatch(/270 ids/)
    expect(await output('tokenize', 'encode', text, '--tokenizer', tokenizer, '--out', tokens)).toMatch(/tokens of uint16 in 200 documents/)
    expect((await output('tokenize', 'decode', tokens, '--tokenizer', tokenizer)).split('\n')[1]).toBe(circle(1, 41))
    expect(loadTokenizer(tokenizer).vocabulary).toBe(270)
    expect(await output('evaluate', directory, text, '--threads', '1', '--narrow')).toMatch(/text.jsonl: loss \d\.\d{4}, perplexity \d+\.\d\d, \d\.\d{4} bits per byte \(\d+ tokens\)/)
    expect(JSON.parse((await output('evaluate', directory, text, '--json', '--threads', '1', '--narrow')))).toMatchObject({ kind: 'text', loss: expect.any(Number) })
    expect(await output('generate', directory, '--prompt', 'abcdef', '--tokens', '4', '--temperature', '0', '--arm', 'baseline', '--threads', '1', '--narrow')).toBe('abcdefghij\n')
    expect(await output('weights', directory, '--out', weights, '--names', 'huggingface')).toMatch(/13 tensors/)
    expect([...readSafetensors(weights).tensors.keys()]).toContain('model.layers.0.self_attn.q_proj.weight')
    await expect(dispatch(['evaluate', directory])).rejects.toThrow(/nothing to evaluate on/)
    await expect(dispatch(['generate', 'quick'])).rejects.toThrow(/no language model/)
    await expect(dispatch(['weights', directory, '--out', weights, '--step', '7'])).rejects.toThrow(/has no checkpoint at step 7, it has 60/)
    await expect(dispatch(['tokenize', 'split', text])).rejects.toThrow(/use train, encode or decode/)
  })
})
