// Byte-level byte-pair encoding: a trainer and an encoder.
//
// Training (Sennrich et al. 2016 on bytes): cut the text into words by WORD_PATTERN, then repeat: find the adjacent pair of tokens with the highest
// total count, make it a new token, replace it everywhere. Ties go to the smallest (left id, right id), so the result is a function of the text alone.
// Encoding: within each word, merge the adjacent pair that was learnt first until no learnt pair is left.
//
// Ids: 0-255 are the bytes themselves, then the merges in the order learnt, then one END token that separates documents.
// What would surprise: WORD_PATTERN spells its classes out instead of using \p{L}, because an engine's Unicode version must not move a token boundary.
import { UsageError } from '../errors.ts'

/** Words: letters (any non-ASCII character counts as one) with a leading space; up to three digits; a run of symbols; line ends; blanks. Covers every character. */
export const WORD_PATTERN = ' ?[^\\x00-@\\[-`{-\\x7f]+| ?[0-9]{1,3}| ?[!-/:-@\\[-`{-~]+[\\r\\n]*|[ \\t]*[\\r\\n]+|[ \\t]+(?![^ \\t])|[\\x00- \\x7f]'

/** The document separator's text in tokenizer.json. */
export const END_TEXT = '<|endoftext|>'

/** A learnt encoding: merge i joins two earlier ids into id 256 + i. */
export interface BytePairs { readonly merges: readonly (readonly [left: number, right: number])[] }

/** Number of ids of an encoding: bytes, merges and END. */
export const vocabularySize = ({ merges }: BytePairs): number => 256 + merges.length + 1

/**
 * Learn `vocabulary - 257` merges from texts. Stops early, with fewer merges, when no pair occurs twice.
 * Throws UsageError when `vocabulary` leaves no room for the bytes and END.
 */
export function trainBytePairs(texts: Iterable<string>, vocabulary: number): BytePairs {
  if (!Number.isInteger(vocabulary) || vocabulary < 257) throw new UsageError(`vocabulary must be an integer of at least 257 (256 bytes and the document separator), got ${vocabulary}`)
  const words = countWords(texts)
  const pairs = new PairCounts()
  words.forEach((word, w) => { for (let i = 1; i < word.ids.length; i++) pairs.add(word.ids[i - 1]!, word.ids[i]!, word.count, w) })
  pairs.heapify()

  const merges: [number, number][] = []
  while (merges.length < vocabulary - 257) {
    const best = pairs.takeMax()
    if (!best || best.count < 2) break
    const { left, right } = best, id = 256 + merges.length
    merges.push([left, right])
    for (const w of best.words) {
      const { ids, count } = words[w]!
      for (let i = 1; i < ids.length; i++) {
        if (ids[i - 1] !== left || ids[i] !== right) continue
        pairs.add(left, right, -count, w)
        if (i > 1) { pairs.add(ids[i - 2]!, left, -count, w); pairs.add(ids[i - 2]!, id, count, w) }
        if (i + 1 < ids.length) { pairs.add(right, ids[i + 1]!, -count, w); pairs.add(id, ids[i + 1]!, count, w) }
        ids.splice(i - 1, 2, id)
      }
    }
    pairs.requeueTouched()
  }
  return { merges }
}

/** Distinct words as byte ids, in order of first appearance, with their counts. */
function countWords(texts: Iterable<string>): { ids: number[], count: number }[] {
  const counts = new Map<string, number>()
  const pattern = new RegExp(WORD_PATTERN, 'gu')
  for (const text of texts) for (const [word] of text.matchAll(pattern)) counts.set(word, (counts.get(word) ?? 0) + 1)
  const utf8 = new TextEncoder()
  return Array.from(counts, ([word, count]) => ({ ids: [...utf8.encode(word)], count }))
}

/** Ids stay below 2^21, so a pair is one exact double. */
const pairKey = (left: number, right: number): number => left * 2 ** 21 + right

interface Pair { readonly left: number, readonly right: number, count: number, readonly words: Set<number> }

/** Counts of adjacent pairs and a max-heap over them. Heap entries may be stale: they carry the count they were pushed with and are dropped when it has changed. */
class PairCounts {
  readonly #pairs = new Map<number, Pair>()
  readonly #touched = new Set<Pair>()
  #heap: { pair: Pair, count: number }[] = []

  /** Change a pair's count by `delta` because of word number `word`. */
  add(left: number, right: number, delta: number, word: number): void {
    const key = pairKey(left, right)
    let pair = this.#pairs.get(key)
    if (!pair) this.#pairs.set(key, pair = { left, right, count: 0, words: new Set() })
    pair.count += delta
    if (delta > 0) pair.words.add(word)
    this.#touched.add(pair)
  }

  heapify(): void {
    this.#heap = Array.from(this.#touched, pair => ({ pair, count: pair.count })).sort((a, b) => this.#before(a, b) ? -1 : 1)
    this.#touched.clear()
  }

  requeueTouched(): void {
    for (const pair of this.#touched) {
      if (pair.count > 0) this.#push({ pair, count: pair.count })
      else this.#pairs.delete(pairKey(pair.left, pair.right))
    }
    this.#touched.clear()
  }

  /** The most frequent pair, ties to the smallest ids. Its words are a snapshot in ascending order. */
  takeMax(): { left: number, right: number, count: number, words: number[] } | undefined {
    for (;;) {
      const top = this.#pop()
      if (!top) return undefined
      const { pair, count } = top
      if (pair.count === count && this.#pairs.get(pairKey(pair.left, pair.right)) === pair) {
        return { left: pair.left, right: pair.right, count, words: [...pair.words].sort((a, b) => a - b) }
      }
    }
  }

  #before(a: { pair: Pair, count: number }, b: { pair: Pair, count: number }): boolean {
    return a.count !== b.count ? a.count > b.count : a.pair.left !== b.pair.left ? a.pair.left < b.pair.left : a.pair.right < b.pair.right
  }

  #push(entry: { pair: Pair, count: number }): void {
    const heap = this.#heap
    let i = heap.push(entry) - 1
    while (i > 0 && this.#before(entry, heap[(i - 1) >> 1]!)) { heap[i] = heap[(i - 1) >> 1]!; i = (i - 1) >> 1 }
    heap[i] = entry
  }

  #pop(): { pair: Pair, count: number } | undefined {
    const heap = this.#heap, top = heap[0], last = heap.pop()
    if (heap.length === 0 || !last) return top
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && this.#before(heap[child + 1]!, heap[child]!)) child++
      if (!this.#before(heap[child]!, last)) break
      heap[i] = heap[child]!
      i = child
    }
    heap[i] = last
    return top
  }
}

/** Encodes and decodes with learnt merges. Remembers the words it has met. */
export class BytePairEncoder {
  readonly #ranks = new Map<number, number>()
  readonly #bytes: Uint8Array[] = []
  readonly #words = new Map<string, readonly number[]>()
  readonly #pattern = new RegExp(WORD_PATTERN, 'gu')
  readonly #utf8 = new TextEncoder()

  constructor({ merges }: BytePairs) {
    for (let b = 0; b < 256; b++) this.#bytes.push(Uint8Array.of(b))
    merges.forEach(([left, right], i) => {
      this.#ranks.set(pairKey(left, right), i)
      this.#bytes.push(Uint8Array.of(...this.#bytes[left]!, ...this.#bytes[right]!))
    })
  }

  encode(text: string): number[] {
    const out: number[] = []
    for (const [word] of text.matchAll(this.#pattern)) {
      let ids = this.#words.get(word)
      if (!ids) this.#words.set(word, ids = this.#merge([...this.#utf8.encode(word)]))
      for (const id of ids) out.push(id)
    }
    return out
  }

  #merge(ids: number[]): number[] {
    for (;;) {
      let rank = Infinity
      for (let i = 1; i < ids.length; i++) rank = Math.min(rank, this.#ranks.get(pairKey(ids[i - 1]!, ids[i]!)) ?? Infinity)
      if (rank === Infinity) return ids
      const merged: number[] = []
      for (let i = 0; i < ids.length; i++) {
        if (i + 1 < ids.length && this.#ranks.get(pairKey(ids[i]!, ids[i + 1]!)) === rank) { merged.push(256 + rank); i++ }
        else merged.push(ids[i]!)
      }
      ids = merged
    }
  }

  /** The bytes of one id; empty for END. */
  bytes(id: number): Uint8Array { return this.#bytes[id] ?? new Uint8Array(0) }
}
