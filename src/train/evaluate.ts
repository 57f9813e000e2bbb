// Evaluation of a language model: loss on text, and multiple-choice tasks.
//
// Text is cut into windows of `context` tokens that overlap by one, so that every token but the first of a file is predicted exactly once, from what
// precedes it in its window. A choice is scored by the log-probability of its tokens after the question's, raw or divided by its number of characters.
import { readFileSync } from 'node:fs'
import { UsageError } from '../errors.ts'
import { corpusDefaults } from '../data/corpus-options.ts'
import { corpusFiles } from '../data/corpus.ts'
import { readDocuments } from '../data/documents.ts'
import { isTokenFile, readTokenFile } from '../data/token-files.ts'
import { emitEvaluation } from '../model/language-model.ts'
import { ropeTable } from '../model/rope.ts'
import { headDim } from '../model/transformer-shape.ts'
import { readF64 } from '../ops/reduce.ts'
import type { Executor } from '../runtime/executor.ts'
import type { Tensor } from '../runtime/memory.ts'
import { Program } from '../runtime/program.ts'
import type { TrainedModel } from './trained-model.ts'

/** Sequences per program. */
const BATCH = 8

/** A model in core memory that gives the log-probability of every token of up to BATCH sequences. */
export class Scorer {
  readonly context: number
  readonly model: TrainedModel
  readonly #executor: Executor
  readonly #tokens: Tensor
  readonly #perPosition: Tensor
  readonly #program: Program

  constructor(executor: Executor, model: TrainedModel) {
    const { arena } = executor, { shape, config: { model: { context, theta } } } = model, { params, precision } = model.place(executor)
    this.context = context
    this.model = model
    this.#executor = executor
    this.#tokens = arena.tensor(BATCH, context)
    this.#perPosition = arena.tensor(BATCH * context, 4)
    const table = arena.from(ropeTable(context, headDim(shape), theta), context, 2, headDim(shape) / 2)
    this.#program = new Program(arena)
    emitEvaluation(this.#program, shape, params, { tokens: this.#tokens, ropeTable: table }, precision, { loss: arena.tensor(4), perPosition: this.#perPosition })
  }

  /** Per sequence (at most `context` tokens each), the cross entropy in nats of its tokens 1, 2, ...: one number less than it has tokens. */
  async losses(sequences: readonly ArrayLike<number>[]): Promise<Float64Array[]> {
    const { context } = this, { arena } = this.#executor, all: Float64Array[] = []
    for (let first = 0; first < sequences.length; first += BATCH) {
      const part = sequences.slice(first, first + BATCH), tokens = arena.u32(this.#tokens)
      tokens.fill(0)
      part.forEach((s, b) => tokens.set(s, b * context))
      await this.#executor.run(this.#program)
      const losses = readF64(arena, this.#perPosition)
      all.push(...part.map((s, b) => Float64Array.from({ length: Math.max(0, s.length - 1) }, (_, t) => losses[2 * (b * context + t)]!)))
    }
    return all
  }
}

export interface TextResult { readonly file: string, readonly tokens: number, /** Of text; null for token files. */ readonly bytes: number | null, /** Nats per token. */ readonly loss: number, readonly perplexity: number, readonly bitsPerByte: number | null }

/** Loss on each of the files (names, folders, patterns). Throws UsageError for files that are missing, damaged or hold less than two tokens. */
export async function evaluateText(scorer: Scorer, patterns: readonly string[]): Promise<TextResult[]> {
  const { tokenizer, config: { data } } = scorer.model, results: TextResult[] = []
  for (const file of corpusFiles(patterns)) {
    const ids: number[] = []
    let bytes: number | null = null
    if (isTokenFile(file)) for (const id of readTokenFile(file, data.tokenType, tokenizer.vocabulary)) ids.push(id)
    else {
      bytes = 0
      for await (const text of readDocuments(file, { textField: data.textField, documentBytes: corpusDefaults.documentBytes })) {
        bytes += Buffer.byteLength(text)
        for (const id of Array.from(tokenizer.encode(text))) ids.push(id)
      }
    }
    if (ids.length < 2) throw new UsageError(`${file} holds ${ids.length} tokens, at least 2 are needed`)
    const windows: number[][] = []
    for (let start = 0; start < ids.length - 1; start += scorer.context - 1) windows.push(ids.slice(start, start + scorer.context))
    let sum = 0
    for (const losses of await scorer.losses(windows)) for (const loss of losses) sum += loss
    const loss = sum / (ids.length - 1)
    results.push({ file, tokens: ids.length, bytes, loss, perplexity: Math.exp(loss), bitsPerByte: bytes === null ? null : sum / Math.LN2 / bytes })
  }
  return results
}

/** One question of a multiple-choice file: a line of JSON. `answer` is the index of the right choice. */
export interface Question { readonly context: string, readonly choices: readonly string[], readonly answer: number }

export interface ChoiceResult {
  readonly file: string
  readonly questions: number
  /** Share of questions whose right choice has the largest log-probability, raw and per character. */
  readonly accuracy: number
  readonly accuracyPerCharacter: number
  /** Mean cross entropy of the right choices, nats per token. */
  readonly loss: number
}

/** Read a task file. Throws UsageError naming line and rule. */
export function readQuestions(file: string): Question[] {
  let text: string
  try { text = readFileSync(file, 'utf8') } catch (cause) { throw new UsageError(`cannot read ${file}: ${(cause as Error).message}`, { cause }) }
  const questions = text.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return []
    const fail = (rule: string): never => { throw new UsageError(`${file} line ${i + 1}: ${rule}`) }
    let q: any
    try { q = JSON.parse(line) } catch { return fail('not JSON') }
    if (typeof q?.context !== 'string') fail('"context" must be a string')
    if (!Array.isArray(q.choices) || q.choices.length < 2 || !q.choices.every((c: unknown) => typeof c === 'string' && c !== '')) fail('"choices" must be a list of at least two non-empty strings')
    if (!Number.isInteger(q.answer) || q.answer < 0 || q.answer >= q.choices.length) fail(`"answer" must be an index of "choices", 0 to ${q.choices.length - 1}`)
    return [q as Question]
  })
  if (questions.length === 0) throw new UsageError(`${file} holds no question`)
  return questions
}

/** Answer the questions of a task file. A question too long for the model loses its beginning; a choice must fit. */
export async function evaluateChoices(scorer: Scorer, file: string): Promise<ChoiceResult> {
  const { tokenizer } = scorer.model, questions = readQuestions(file)
  let raw = 0, perCharacter = 0, sum = 0, tokens = 0
  for (const { context, choices, answer } of questions) {
    const encoded = choices.map(c => Array.from(tokenizer.encode(c))), question = [tokenizer.end, ...Array.from(tokenizer.encode(context))]
    const sequences = encoded.map((choice, i) => {
      if (choice.length >= scorer.context) throw new UsageError(`${file}: the choice ${JSON.stringify(choices[i]!.slice(0, 40))} has ${choice.length} tokens, the model's context is ${scorer.context}`)
      return [...question.slice(Math.max(0, question.length + choice.length - scorer.context)), ...choice]
    })
    const losses = await scorer.losses(sequences)
    const scores = losses.map((l, i) => -l.subarray(l.length - encoded[i]!.length).reduce((a, x) => a + x, 0))
    if (best(scores) === answer) raw++
    if (best(scores.map((s, i) => s / [...choices[i]!].length)) === answer) perCharacter++
    sum -= scores[answer]!
    tokens += encoded[answer]!.length
  }
  return { file, questions: questions.length, accuracy: raw / questions.length, accuracyPerCharacter: perCharacter / questions.length, loss: sum / tokens }
}

/** Index of the largest score, the first of equal ones. */
const best = (scores: readonly number[]): number => scores.indexOf(Math.max(...scores))
