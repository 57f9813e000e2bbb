// From a corpus to training samples. Sample i of a stream is a function of (corpus, seed, i) alone, so a run can stop and go on at any step:
// epoch e concatenates the documents in the order of Philox keys drawn for (seed, e) and cuts the result into contexts; the rest, shorter than one, is dropped.
// As in OLMo, a sample is `context` tokens, of which context - 1 are predicted; samples ignore document bounds.
import { UsageError } from '../errors.ts'
import { philox4x32 } from '../oracle/philox.ts'
import type { Corpus } from './corpus.ts'

/** Philox stream ids (second counter word) of this file. */
const SHUFFLE = 0x73687566, SPLIT = 0x73706c69

/** `items` documents' indices in the order of their random keys; equal keys in index order. */
function shuffled(items: ArrayLike<number>, stream: number, epoch: number, key: readonly [number, number]): Uint32Array {
  const keys = new Map(Array.from(items, d => { const [a, b] = philox4x32([d, stream, epoch, 0], key); return [d, a * 2 ** 21 + (b >>> 11)] }))
  return Uint32Array.from(items).sort((x, y) => keys.get(x)! - keys.get(y)! || x - y)
}

/** Documents to train on and documents held out, by index. */
export interface Split { readonly train: Uint32Array, readonly validation: Uint32Array }

/**
 * Hold out random documents that together have at least `fraction` of all tokens. The choice depends on `seed` alone and not on a run's seed, so that runs
 * of different seeds are compared on the same text. Throws UsageError when the corpus has a single document.
 */
export function splitDocuments(corpus: Corpus, fraction: number, seed = 0): Split {
  const documents = corpus.starts.length - 1
  if (documents < 2) throw new UsageError(`corpus holds ${documents} document, a validation split needs at least 2; name validation files instead`)
  const order = shuffled(Array.from({ length: documents }, (_, i) => i), SPLIT, 0, [seed, 0])
  let held = 0, tokens = 0
  while (held < documents - 1 && (held === 0 || tokens < fraction * corpus.tokens.length)) {
    const d = order[held++]!
    tokens += corpus.starts[d + 1]! - corpus.starts[d]!
  }
  return { train: order.slice(held).sort(), validation: order.slice(0, held).sort() }
}

/** Fixed-length samples of some documents of a corpus. */
export class Samples {
  readonly context: number
  /** Samples per epoch. */
  readonly count: number
  readonly #corpus: Corpus
  readonly #documents: Uint32Array
  readonly #key: readonly [number, number] | null
  #epoch = -1
  #order: Uint32Array = new Uint32Array(0)
  /** Position in the epoch's text of each document's first token, and the end. */
  #positions = new Float64Array(0)

  /** `seed` null: documents in index order, the same in every epoch. Throws UsageError when the text is shorter than one context; `what` names it ("training text"). */
  constructor(corpus: Corpus, documents: Uint32Array, { context, seed, what }: { context: number, seed: number | null, what: string }) {
    this.context = context
    this.#corpus = corpus
    this.#documents = documents
    this.#key = seed === null ? null : [seed >>> 0, Math.floor(seed / 2 ** 32)]
    const tokens = documents.reduce((n, d) => n + corpus.starts[d + 1]! - corpus.starts[d]!, 0)
    this.count = Math.floor(tokens / context)
    if (this.count === 0) throw new UsageError(`${what} holds ${tokens} tokens, fewer than one context of ${context}`)
  }

  /** Write sample `index` (any integer >= 0) to `out` from `offset` on. */
  read(index: number, out: Int32Array | Uint32Array, offset = 0): void {
    this.#arrange(this.#key ? Math.floor(index / this.count) : 0)
    let position = index % this.count * this.context
    let at = this.#find(position)
    for (let done = 0; done < this.context;) {
      const d = this.#order[at]!, skip = position - this.#positions[at]!
      const start = this.#corpus.starts[d]! + skip
      const n = Math.min(this.#corpus.starts[d + 1]! - start, this.context - done)
      out.set(this.#corpus.tokens.subarray(start, start + n), offset + done)
      done += n
      position += n
      at++
    }
  }

  #arrange(epoch: number): void {
    if (epoch === this.#epoch) return
    const { starts } = this.#corpus
    this.#order = this.#key ? shuffled(this.#documents, SHUFFLE, epoch, this.#key) : this.#documents
    this.#positions = new Float64Array(this.#order.length + 1)
    this.#order.forEach((d, i) => { this.#positions[i + 1] = this.#positions[i]! + starts[d + 1]! - starts[d]! })
    this.#epoch = epoch
  }

  /** Index of the document that holds `position`. */
  #find(position: number): number {
    let low = 0, high = this.#order.length
    while (high - low > 1) {
      const mid = (low + high) >> 1
      if (this.#positions[mid]! <= position) low = mid
      else high = mid
    }
    return low
  }
}
