import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BytePairEncoder, trainBytePairs, vocabularySize } from '../../src/data/bpe.ts'
import { bytePairJson, bytePairTokenizer, byteTokenizer, loadTokenizer } from '../../src/data/tokenizer.ts'
import { UsageError } from '../../src/errors.ts'

const vectors = JSON.parse(readFileSync(new URL('./tokenizer/tokenizer.json', import.meta.url), 'utf8'))
const folder = mkdtempSync(join(tmpdir(), 'tokenizer-'))
const file = (name: string, text: string) => { const path = join(folder, name); writeFileSync(path, text); return path }

describe('byte-pair training', () => {
  it('learns the most frequent pair first, ties to the smallest ids', () => {
    const [a, b, c, d] = [...'abcd'].map(x => x.charCodeAt(0)) as [number, number, number, number]
    // words: "abab" once, "cd" twice: ab, cd occur twice each; then (ab)(ab) occurs once only, so learning stops early
    expect(trainBytePairs(['abab\ncd\ncd'], 300).merges).toEqual([[a, b], [c, d]])
    expect(trainBytePairs(['abababab'], 259).merges).toEqual([[a, b], [256, 256]])
  })

  it('agrees with a recount from scratch after every merge', () => {
    const text = vectors.texts.join('\n') as string
    const fast = trainBytePairs([text], 330).merges
    // the definition: segment all text with the merges so far, count every adjacent pair inside words, take the best
    const slow: [number, number][] = []
    while (slow.length < fast.length) {
      const encoder = new BytePairEncoder({ merges: slow }), counts = new Map<string, number>()
      for (const word of words(text)) {
        const ids = encoder.encode(word)
        for (let i = 1; i < ids.length; i++) { const k = `${ids[i - 1]},${ids[i]}`; counts.set(k, (counts.get(k) ?? 0) + 1) }
      }
      const best = [...counts].map(([k, n]) => [...k.split(',').map(Number), n] as [number, number, number]).sort((x, y) => y[2] - x[2] || x[0] - y[0] || x[1] - y[1])[0]!
      slow.push([best[0], best[1]])
    }
    expect(fast).toEqual(slow)
  })

  it('refuses a vocabulary that cannot hold the bytes', () => {
    expect(() => trainBytePairs(['x'], 256)).toThrow(UsageError)
  })
})

/** Words of a text: what an encoder without merges would treat one by one. */
function words(text: string): string[] {
  const pairs = JSON.parse(bytePairJson({ merges: [] }))
  return text.match(new RegExp(pairs.pre_tokenizer.pretokenizers[0].pattern.Regex, 'gu')) ?? []
}

describe('tokenizers', () => {
  it('give the ids of the reference library for an encoding trained here', () => {
    const pairs = trainBytePairs(vectors.texts, vectors.own.vocabulary)
    expect(vocabularySize(pairs)).toBe(vectors.own.vocabulary)
    const path = file('own.json', bytePairJson(pairs))
    const own = loadTokenizer(path), viaHuggingFace = loadTokenizer(path, '<|endoftext|>')
    expect(own.fingerprint).toBe(bytePairTokenizer(pairs, 'x').fingerprint)
    expect([own.end, own.vocabulary]).toEqual([viaHuggingFace.end, viaHuggingFace.vocabulary])
    vectors.texts.forEach((text: string, i: number) => {
      expect(Array.from(own.encode(text))).toEqual(vectors.own.ids[i])
      expect(Array.from(viaHuggingFace.encode(text))).toEqual(vectors.own.ids[i])
      expect(own.decode(own.encode(text))).toBe(text)
    })
  })

  it('round-trip any text', () => {
    const all = [byteTokenizer(), bytePairTokenizer(trainBytePairs(vectors.texts, 600), 'own')]
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 60 }), text => {
      for (const t of all) {
        const ids = Array.from(t.encode(text))
        expect(Math.max(-1, ...ids)).toBeLessThan(t.vocabulary)
        if (t.name !== 'bytes' || !text.includes('\0')) expect(t.decode([...ids, t.end])).toBe(text)
      }
    }), { numRuns: 300 })
  })

  it('refuse files that are no tokenizer', () => {
    expect(() => loadTokenizer(join(folder, 'none.json'))).toThrow(UsageError)
    expect(() => loadTokenizer(file('text.json', 'hello'))).toThrow(/not JSON/)
    expect(() => loadTokenizer(file('other.json', '{"model":1}'))).toThrow(/not a tokenizer.json/)
    expect(() => loadTokenizer(file('end.json', bytePairJson({ merges: [] })), '<none>')).toThrow(/no document separator/)
  })
})

const data = new URL('../../../shared/data/', import.meta.url), neoxFile = new URL('gpt-neox-20b-tokenizer.json', data)
describe('GPT-NeoX tokenizer', () => {
  if (!existsSync(neoxFile)) { it.skip('../shared/data/gpt-neox-20b-tokenizer.json is not on this machine', () => {}); return }
  const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

  it('gives the ids of the reference library and round-trips WikiText', () => {
    expect(sha256(readFileSync(neoxFile))).toBe(vectors.neox.tokenizerSha256)
    const neox = loadTokenizer(fileURLToPath(neoxFile))
    vectors.texts.forEach((text: string, i: number) => expect(Array.from(neox.encode(text))).toEqual(vectors.neox.ids[i]))
    for (const [name, expected] of Object.entries<{ count: number, sha256: string }>(vectors.neox.files)) {
      const text = readFileSync(new URL(name, data), 'utf8'), ids = Uint32Array.from(neox.encode(text))
      expect(ids.length).toBe(expected.count)
      expect(sha256(new Uint8Array(ids.buffer))).toBe(expected.sha256)
      expect(neox.decode(ids)).toBe(text)
    }
  })
})
