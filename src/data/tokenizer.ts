// Tokenizers: text <-> ids. `bytes` (the default: UTF-8 bytes are the ids), a byte-level BPE trained here, and any Hugging Face tokenizer.json.
//
// A file written by saveBytePairs is an ordinary tokenizer.json, and loading it gives the same ids through this project's encoder, through
// @huggingface/tokenizers and through the tokenizers library.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { UsageError } from '../errors.ts'
import { BytePairEncoder, END_TEXT, WORD_PATTERN, vocabularySize, type BytePairs } from './bpe.ts'

export interface Tokenizer {
  /** `bytes`, or the path of the tokenizer.json. */
  readonly name: string
  /** Number of ids: every id is below it. */
  readonly vocabulary: number
  /** The id placed after every document. */
  readonly end: number
  /** SHA-256 of what decides the ids: equal fingerprints mean equal encodings. Stored with checkpoints. */
  readonly fingerprint: string
  encode(text: string): ArrayLike<number>
  /** Ids of a special token decode to nothing, invalid UTF-8 to U+FFFD. */
  decode(ids: ArrayLike<number>): string
}

const sha256 = (text: string | Uint8Array): string => createHash('sha256').update(text).digest('hex')

/** UTF-8 bytes as ids, vocabulary 256. The byte 0, which text does not contain, separates documents. */
export function byteTokenizer(): Tokenizer {
  const utf8 = new TextEncoder()
  return {
    name: 'bytes', vocabulary: 256, end: 0, fingerprint: sha256('bytes'),
    encode: text => utf8.encode(text),
    decode: ids => new TextDecoder().decode(Uint8Array.from(ids).filter(b => b !== 0)),
  }
}

/** A tokenizer over merges learnt by trainBytePairs. */
export function bytePairTokenizer(pairs: BytePairs, name: string): Tokenizer {
  const encoder = new BytePairEncoder(pairs), vocabulary = vocabularySize(pairs)
  return {
    name, vocabulary, end: vocabulary - 1, fingerprint: sha256(JSON.stringify([WORD_PATTERN, pairs.merges])),
    encode: text => encoder.encode(text),
    decode: ids => new TextDecoder().decode(concat(Array.from(ids, id => encoder.bytes(id)))),
  }
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const p of parts) { all.set(p, at); at += p.length }
  return all
}

/**
 * `bytes`, or the path of a tokenizer.json. Throws UsageError for a file that is missing, not JSON, not a tokenizer, or has no document separator:
 * the separator is the token `<|endoftext|>` or `</s>` unless `end` names another one.
 */
export function loadTokenizer(name: string, end?: string): Tokenizer {
  if (name === 'bytes') return byteTokenizer()
  let text: string
  try { text = readFileSync(name, 'utf8') } catch (cause) { throw new UsageError(`tokenizer ${JSON.stringify(name)}: cannot be read; use "bytes" or the path of a tokenizer.json`, { cause }) }
  let json: any
  try { json = JSON.parse(text) } catch (cause) { throw new UsageError(`tokenizer ${name}: not JSON (${(cause as Error).message})`, { cause }) }
  const own = parseBytePairs(json)
  if (own && end === undefined) return bytePairTokenizer(own, name)
  if (typeof json?.model?.vocab !== 'object') throw new UsageError(`tokenizer ${name}: not a tokenizer.json (no model.vocab)`)
  let inner: HuggingFaceTokenizer
  try { inner = new HuggingFaceTokenizer(json, {}) } catch (cause) { throw new UsageError(`tokenizer ${name}: not a usable tokenizer.json (${(cause as Error).message})`, { cause }) }
  const ends = end === undefined ? [END_TEXT, '</s>', '<eos>'] : [end]
  const endId = ends.map(e => inner.token_to_id(e)).find(id => id !== undefined)
  if (endId === undefined) throw new UsageError(`tokenizer ${name}: no document separator; it has none of the tokens ${ends.join(', ')}`)
  return {
    name, vocabulary: 1 + largestId(inner.get_vocab(true).values()), end: endId, fingerprint: sha256(text),
    encode: t => inner.encode(t, { add_special_tokens: false }).ids,
    decode: ids => ids.length === 0 ? '' : inner.decode(Array.from(ids), { skip_special_tokens: true, clean_up_tokenization_spaces: false }),
  }
}

function largestId(ids: Iterable<number>): number {
  let max = 0
  for (const id of ids) if (id > max) max = id
  return max
}

/** The printable stand-in of each byte in Hugging Face's byte-level vocabularies (GPT-2): itself if printable Latin-1, else the next unused code point from 256 up. */
const byteText: readonly string[] = (() => {
  let next = 256
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++))
})()

/** The tokenizer.json of a learnt encoding, as text. */
export function bytePairJson(pairs: BytePairs): string {
  const text = [...byteText]
  for (const [left, right] of pairs.merges) text.push(text[left]! + text[right]!)
  const end = { id: text.length, content: END_TEXT, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
  const split = { type: 'Split', pattern: { Regex: WORD_PATTERN }, behavior: 'Isolated', invert: false }
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false }
  return JSON.stringify({
    version: '1.0', truncation: null, padding: null, added_tokens: [end], normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [split, bytes] }, post_processor: null, decoder: bytes,
    model: {
      type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges: false,
      vocab: Object.fromEntries([...text, END_TEXT].map((t, id) => [t, id])),
      merges: pairs.merges.map(([left, right]) => [text[left], text[right]]),
    },
  })
}

/** The merges of a tokenizer.json that bytePairJson wrote; undefined for any other. */
function parseBytePairs(json: any): BytePairs | undefined {
  if (json?.pre_tokenizer?.pretokenizers?.[0]?.pattern?.Regex !== WORD_PATTERN || json.normalizer !== null || !Array.isArray(json.model?.merges)) return undefined
  const ids = new Map(byteText.map((t, b) => [t, b]))
  const merges: [number, number][] = []
  for (const merge of json.model.merges) {
    const left = ids.get(merge?.[0]), right = ids.get(merge?.[1])
    if (left === undefined || right === undefined || json.model.vocab[merge[0] + merge[1]] !== 256 + merges.length) return undefined
    ids.set(merge[0] + merge[1], 256 + merges.length)
    merges.push([left, right])
  }
  return { merges }
}
