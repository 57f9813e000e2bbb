// A corpus: documents as one array of token ids. Text is encoded document by document, each followed by the tokenizer's end token; token files are cut
// after each end token, or, if they have none, every PIECE tokens. The whole corpus is held in memory (2 bytes per token, 4 if the vocabulary exceeds 65536).
import { createHash } from 'node:crypto'
import { UsageError } from '../errors.ts'
import { corpusDefaults, type CorpusOptions } from './corpus-options.ts'
import { defaultCorpusFiles } from './default-corpus.ts'
import { readDocuments } from './documents.ts'
import { expand } from './glob.ts'
import { isTokenFile, readTokenFile } from './token-files.ts'
import type { Tokenizer } from './tokenizer.ts'

export interface Corpus {
  readonly tokens: Uint16Array | Uint32Array
  /** First token of each document, and the end of the last: document i is tokens[starts[i], starts[i + 1]). */
  readonly starts: Float64Array
  readonly vocabulary: number
  /** SHA-256 over the tokens and document bounds: two corpora with one hash train the same model. */
  readonly hash: string
}

/** Document length for token files without end tokens. */
const PIECE = 4096

/** Files by name, folder or pattern; `default` stands for the text that every installation has (default-corpus.ts). */
export function corpusFiles(patterns: readonly string[]): string[] {
  return patterns.flatMap(p => p === 'default' ? defaultCorpusFiles() : expand(p))
}

/** Read and encode all files. Equal documents are kept once, so that none is both trained on and held out. Throws UsageError if nothing matches, a file is damaged, or there is no text at all. */
export async function loadCorpus(patterns: readonly string[], tokenizer: Tokenizer, options: Partial<CorpusOptions> = {}): Promise<Corpus> {
  const { tokenType, ...documents } = { ...corpusDefaults, ...options }
  const builder = new Builder(tokenizer.vocabulary)
  for (const file of corpusFiles(patterns)) {
    if (isTokenFile(file)) builder.addPieces(readTokenFile(file, tokenType, tokenizer.vocabulary), tokenizer.end)
    else for await (const text of readDocuments(file, documents)) builder.add(tokenizer.encode(text), tokenizer.end)
  }
  return builder.finish(patterns)
}

class Builder {
  readonly #vocabulary: number
  #tokens: Uint16Array | Uint32Array
  #length = 0
  readonly #starts: number[] = [0]
  readonly #seen = new Set<string>()

  constructor(vocabulary: number) {
    this.#vocabulary = vocabulary
    this.#tokens = vocabulary <= 65536 ? new Uint16Array(1 << 16) : new Uint32Array(1 << 16)
  }

  /** Append one document. An empty one, or one that is there already, adds nothing. */
  add(ids: ArrayLike<number>, end: number | null): void {
    if (ids.length === 0) return
    const length = this.#length + ids.length + (end === null ? 0 : 1)
    if (length > this.#tokens.length) {
      const larger = new (this.#tokens.constructor as Uint16ArrayConstructor)(Math.max(length, 2 * this.#tokens.length))
      larger.set(this.#tokens.subarray(0, this.#length))
      this.#tokens = larger
    }
    this.#tokens.set(ids, this.#length)
    if (end !== null) this.#tokens[length - 1] = end
    const document = this.#tokens.subarray(this.#length, length)
    const digest = createHash('sha256').update(document).digest('base64')
    if (this.#seen.has(digest)) return
    this.#seen.add(digest)
    this.#length = length
    this.#starts.push(length)
  }

  addPieces(tokens: Uint16Array | Uint32Array, end: number): void {
    const hasEnds = tokens.includes(end)
    for (let start = 0; start < tokens.length;) {
      const at = hasEnds ? tokens.indexOf(end, start) : start + PIECE - 1
      const stop = at < 0 ? tokens.length : Math.min(at + 1, tokens.length)
      this.add(tokens.subarray(start, stop), null)
      start = stop
    }
  }

  finish(patterns: readonly string[]): Corpus {
    if (this.#length === 0) throw new UsageError(`corpus is empty: no text in ${patterns.map(p => JSON.stringify(p)).join(', ')}`)
    const tokens = this.#tokens.slice(0, this.#length), starts = Float64Array.from(this.#starts)
    return { tokens, starts, vocabulary: this.#vocabulary, hash: createHash('sha256').update(tokens).update(starts).digest('hex') }
  }
}
