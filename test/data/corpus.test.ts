import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { describe, expect, it } from 'vitest'
import { loadCorpus, type Corpus } from '../../src/data/corpus.ts'
import { cutText, readDocuments } from '../../src/data/documents.ts'
import { expand } from '../../src/data/glob.ts'
import { Samples, splitDocuments } from '../../src/data/samples.ts'
import { byteTokenizer } from '../../src/data/tokenizer.ts'

const folder = mkdtempSync(join(tmpdir(), 'corpus-'))
const file = (name: string, content: string | Uint8Array) => { const path = join(folder, name); mkdirSync(join(path, '..'), { recursive: true }); writeFileSync(path, content); return path }
const bytes = byteTokenizer()
const text = (corpus: Corpus, d: number) => bytes.decode(corpus.tokens.subarray(corpus.starts[d], corpus.starts[d + 1]))
const texts = (corpus: Corpus) => Array.from({ length: corpus.starts.length - 1 }, (_, d) => text(corpus, d))

describe('file patterns', () => {
  it('expand in a fixed order', () => {
    for (const name of ['g/b.txt', 'g/a.txt', 'g/x/a.txt', 'g/x/y/c.txt', 'g/a.md']) file(name, 'x')
    const names = (pattern: string) => expand(join(folder, pattern)).map(f => f.slice(folder.length + 1))
    expect(names('g/*.txt')).toEqual(['g/a.txt', 'g/b.txt'])
    expect(names('g/**/*.txt')).toEqual(['g/a.txt', 'g/b.txt', 'g/x/a.txt', 'g/x/y/c.txt'])
    expect(names('g/x/**')).toEqual(['g/x/a.txt', 'g/x/y/c.txt'])
    expect(names('g/x')).toEqual(['g/x/a.txt', 'g/x/y/c.txt'])
    expect(names('g/?.md')).toEqual(['g/a.md'])
    expect(() => names('g/*.csv')).toThrow(/no file matches/)
    expect(() => names('none/*.csv')).toThrow(/no file matches/)
  })
})

describe('documents', () => {
  it('come from text, JSONL and Parquet alike', async () => {
    const all = ['first', 'zweites – ü', 'third\nwith two lines']
    const parquet = new Uint8Array(parquetWriteBuffer({ columnData: [{ name: 'id', data: [1, 2, 3], type: 'INT32' }, { name: 'text', data: all, type: 'STRING' }] }))
    const corpora = await Promise.all([
      loadCorpus(all.map((t, i) => file(`d/${i}.txt`, t)), bytes),
      loadCorpus([file('d.jsonl', all.map(t => JSON.stringify({ text: t })).join('\n\n'))], bytes),
      loadCorpus([file('e.jsonl', all.map(t => JSON.stringify({ body: t })).join('\n'))], bytes, { textField: 'body' }),
      loadCorpus([file('d.parquet', parquet)], bytes),
    ])
    for (const c of corpora) expect(texts(c)).toEqual(all)
    expect(new Set(corpora.map(c => c.hash)).size).toBe(1)
    expect(Array.from(corpora[0]!.tokens.subarray(0, 6))).toEqual([...'first'].map(c => c.charCodeAt(0)).concat(0))
  })

  it('occur once', async () => {
    expect(texts(await loadCorpus([file('a1.txt', 'same'), file('a2.txt', 'same'), file('a3.txt', 'other')], bytes))).toEqual(['same', 'other'])
  })

  it('cut long text at blank lines, losing nothing', () => {
    fc.assert(fc.property(fc.array(fc.constantFrom('a', 'ü', '😀', '\n', '\n\n', 'word '), { maxLength: 400 }), fc.integer({ min: 5, max: 40 }), (parts, documentBytes) => {
      const whole = Buffer.from(parts.join(''))
      const pieces = [...cutText(whole, documentBytes)]
      expect(Buffer.concat(pieces).equals(whole)).toBe(true)
      for (const [i, p] of pieces.entries()) {
        expect(new TextDecoder('utf-8', { fatal: true }).decode(p).length).toBeGreaterThan(0)
        expect(p.length).toBeLessThanOrEqual(2 * documentBytes)
        if (i < pieces.length - 1) expect(p.length).toBeGreaterThanOrEqual(documentBytes)
      }
    }))
    expect([...cutText(Buffer.from('aaaaaaa\nbb\n\ncccccccccccc'), 6)].map(String)).toEqual(['aaaaaaa\nbb\n\n', 'cccccccccccc'])
  })

  it('name the file and the place of damage', async () => {
    const read = async (path: string) => { for await (const _ of readDocuments(path, { textField: 'text', documentBytes: 100 })); }
    await expect(read(file('bad.jsonl', '{"text":"a"}\n{"text":'))).rejects.toThrow(/bad.jsonl line 2: not JSON/)
    await expect(read(file('key.jsonl', '{"body":"a"}'))).rejects.toThrow(/key.jsonl line 1: no text under the key "text"/)
    await expect(read(file('bad.parquet', 'no parquet at all, no parquet at all'))).rejects.toThrow(/bad.parquet: not a readable Parquet file/)
    const noText = new Uint8Array(parquetWriteBuffer({ columnData: [{ name: 'id', data: [1, 2, 3], type: 'INT32' }] }))
    await expect(read(file('column.parquet', noText))).rejects.toThrow(/no column "text"; it has id/)
    const whole = new Uint8Array(parquetWriteBuffer({ columnData: [{ name: 'text', data: Array.from({ length: 999 }, (_, i) => `row ${i}`), type: 'STRING' }] }))
    whole.fill(0xff, 4, 1000)
    await expect(read(file('hole.parquet', whole))).rejects.toThrow(/hole.parquet: not a readable Parquet file/)
    await expect(loadCorpus([file('empty.txt', '')], bytes)).rejects.toThrow(/corpus is empty: no text in ".*empty.txt"/)
    await expect(read(file('latin1.txt', Buffer.from([0x63, 0x61, 0x66, 0xe9, 0x0a])))).rejects.toThrow(/latin1.txt: not UTF-8 text/)
    await expect(read(file('latin1.jsonl', Buffer.from('{"text":"caf\xe9"}', 'latin1')))).rejects.toThrow(/latin1.jsonl: not UTF-8 text/)
  })
})

describe('token files', () => {
  const ids = [5, 6, 0, 7, 8, 9, 0, 10]
  const npy = (descr: string, shape: string, data: Uint8Array) => {
    const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`.padEnd(117) + '\n'
    return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), Buffer.from([118, 0]), Buffer.from(header), data])
  }
  const u16 = new Uint8Array(Uint16Array.from(ids).buffer), u32 = new Uint8Array(Uint32Array.from(ids).buffer)

  it('are read raw or as .npy, and cut after each end token', async () => {
    const corpora = await Promise.all([
      loadCorpus([file('t.bin', u16)], bytes), loadCorpus([file('t.u32', u32)], bytes), loadCorpus([file('raw.npy', u32)], bytes, { tokenType: 'uint32' }),
      loadCorpus([file('t2.npy', npy('<u2', '(8,)', u16))], bytes), loadCorpus([file('t4.npy', npy('<u4', '(8,)', u32))], bytes),
    ])
    for (const c of corpora) {
      expect(Array.from(c.tokens)).toEqual(ids)
      expect(Array.from(c.starts)).toEqual([0, 3, 7, 8])
    }
  })

  it('are refused when damaged', async () => {
    const load = (name: string, content: Uint8Array) => loadCorpus([file(name, content)], bytes)
    await expect(load('odd.bin', u16.subarray(0, 7))).rejects.toThrow(/not a whole number of uint16/)
    await expect(load('big.bin', u32.subarray(0, 3 * 4).map((b, i) => i === 5 ? 1 : b))).rejects.toThrow(/token 262 at position 2 is outside the vocabulary of 256/)
    await expect(load('short.npy', npy('<u2', '(9,)', u16))).rejects.toThrow(/short.npy: npy: .*takes 18 bytes, the file holds 16/)
    await expect(load('float.npy', npy('<f4', '(8,)', u32))).rejects.toThrow(/holds F32, tokens are U16 or U32/)
    await expect(load('cut.npy', npy('<u2', '(8,)', u16).subarray(0, 50))).rejects.toThrow(/cut.npy: npy: header length/)
  })
})

describe('samples', () => {
  /** Documents whose tokens say which document and position they are. */
  const synthetic = (lengths: number[]): Corpus => {
    const starts = [0]
    for (const n of lengths) starts.push(starts.at(-1)! + n)
    return { tokens: Uint32Array.from(lengths.flatMap((n, d) => Array.from({ length: n }, (_, i) => d * 1000 + i))), starts: Float64Array.from(starts), vocabulary: 1e6, hash: '' }
  }

  it('cover an epoch once, documents whole and in a new order each time', () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 2, maxLength: 20 }), fc.integer({ min: 1, max: 9 }), fc.nat(), (lengths, context, seed) => {
      const corpus = synthetic(lengths), all = Uint32Array.from(lengths.keys())
      if (corpus.tokens.length < context) return
      const samples = new Samples(corpus, all, { context, seed, what: 'text' })
      const epoch = (e: number) => { const out = new Uint32Array(samples.count * context); for (let i = 0; i < samples.count; i++) samples.read(e * samples.count + i, out, i * context); return out }
      for (const e of [0, 3]) {
        const seen = epoch(e)
        expect(new Set(seen).size).toBe(seen.length)
        for (let i = 1; i < seen.length; i++) if (seen[i]! % 1000 > 0) expect(seen[i]).toBe(seen[i - 1]! + 1)
      }
      const late = new Uint32Array(context)
      samples.read(2 * samples.count, late)
      expect(epoch(2).subarray(0, context)).toEqual(late)
    }))
  })

  it('differ by seed and epoch', () => {
    const corpus = synthetic(Array(50).fill(4)), all = Uint32Array.from(Array(50).keys())
    const first = (seed: number, index: number) => { const out = new Uint32Array(4); new Samples(corpus, all, { context: 4, seed, what: '' }).read(index, out); return out[0]! / 1000 }
    expect(new Set([...Array(20).keys()].map(seed => first(seed, 0))).size).toBeGreaterThan(10)
    expect(new Set([...Array(20).keys()].map(e => first(1, e * 50))).size).toBeGreaterThan(10)
  })

  it('hold out documents by index', () => {
    const corpus = synthetic(Array(100).fill(10))
    const { train, validation } = splitDocuments(corpus, 0.1)
    expect(validation.length).toBe(10)
    expect([...train, ...validation].sort((a, b) => a - b)).toEqual([...Array(100).keys()])
    expect(splitDocuments(corpus, 0.1, 1).validation).not.toEqual(validation)
    expect(splitDocuments(synthetic([5, 5]), 0.9).train.length).toBe(1)
    expect(() => splitDocuments(synthetic([5]), 0.1)).toThrow(/at least 2/)
    expect(() => new Samples(corpus, validation, { context: 101, seed: null, what: 'validation text' })).toThrow(/validation text holds 100 tokens, fewer than one context of 101/)
  })
})

describe('default corpus', () => {
  it('is there, with English and code', async () => {
    const corpus = await loadCorpus(['default'], bytes)
    expect(corpus.tokens.length).toBeGreaterThan(1e6)
    expect(corpus.starts.length).toBeGreaterThan(300)
    const all = texts(corpus).join('\n')
    expect(all).toContain('export declare')
    expect(all).toContain(' the ')
  })
})
