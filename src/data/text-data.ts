// The text of a language-model run, encoded and cut: a stream of training samples and a fixed list of held-out ones.
import { UsageError } from '../errors.ts'
import { loadCorpus, type Corpus } from './corpus.ts'
import type { CorpusOptions } from './corpus-options.ts'
import { Samples, splitDocuments } from './samples.ts'
import { loadTokenizer, type Tokenizer } from './tokenizer.ts'

export interface TextOptions extends CorpusOptions {
  readonly files: readonly string[]
  /** Without any, a part of `files` is held out by document. */
  readonly validationFiles: readonly string[]
  readonly validationFraction: number
  readonly splitSeed: number
  readonly tokenizer: string
  readonly endToken: string | null
}

export interface TextData {
  readonly tokenizer: Tokenizer
  readonly train: Samples
  readonly validation: Samples
  /** SHA-256 of training and held-out corpus. */
  readonly hash: string
  /** "2.1 million training tokens in 812 documents, ..." */
  readonly description: string
}

const everything = (corpus: Corpus): Uint32Array => Uint32Array.from({ length: corpus.starts.length - 1 }, (_, d) => d)

/** Read, encode and split. `seed` decides the order of training documents. Throws UsageError for missing, damaged or too little text. */
export async function loadTextData(options: TextOptions, { context, seed }: { context: number, seed: number }): Promise<TextData> {
  const tokenizer = loadTokenizer(options.tokenizer, options.endToken ?? undefined)
  const corpus = await loadCorpus(options.files, tokenizer, options)
  const held = options.validationFiles.length ? await loadCorpus(options.validationFiles, tokenizer, options) : corpus
  const split = held === corpus ? splitDocuments(corpus, options.validationFraction, options.splitSeed) : { train: everything(corpus), validation: everything(held) }
  const train = new Samples(corpus, split.train, { context, seed, what: 'training text' })
  const validation = new Samples(held, split.validation, { context, seed: null, what: 'held-out text' })
  return {
    tokenizer, train, validation, hash: held === corpus ? corpus.hash : `${corpus.hash}+${held.hash}`,
    description: `${train.count} training samples of ${context} ${tokenizer.name === 'bytes' ? 'bytes' : 'tokens'} from ${split.train.length} documents, ${validation.count} held out from ${split.validation.length}; corpus ${corpus.hash.slice(0, 12)}`,
  }
}

/** The tokenizer's fingerprint as eight words, for a checkpoint. */
export const fingerprintWords = ({ fingerprint }: Tokenizer): Uint32Array => Uint32Array.from({ length: 8 }, (_, i) => parseInt(fingerprint.slice(8 * i, 8 * i + 8), 16))

/** Throws UsageError unless the words are this tokenizer's. `what` names the checkpoint. */
export function checkFingerprint(tokenizer: Tokenizer, words: ArrayLike<number> | undefined, what: string): void {
  const own = fingerprintWords(tokenizer)
  if (words && Array.from(own).some((w, i) => w !== words[i])) throw new UsageError(`${what} was trained with another tokenizer than ${tokenizer.name}`)
}
