// blockscale tokenize: train a byte-level BPE, encode text into a token file, decode a token file.
import { UsageError } from '../errors.ts'
import { trainBytePairs } from '../data/bpe.ts'
import { corpusDefaults } from '../data/corpus-options.ts'
import { corpusFiles, loadCorpus } from '../data/corpus.ts'
import { readDocuments } from '../data/documents.ts'
import { readTokenFile } from '../data/token-files.ts'
import { bytePairJson, loadTokenizer } from '../data/tokenizer.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import { formatNpy } from '../io/npy.ts'
import { parse, wholeNumber } from './arguments.ts'

export const help = `usage: blockscale tokenize train FILES... --vocabulary N --out tokenizer.json
       blockscale tokenize encode FILES... --out tokens.npy [--tokenizer bytes|tokenizer.json]
       blockscale tokenize decode tokens.npy [--tokenizer bytes|tokenizer.json]

train    learns a byte-level BPE of N ids (256 bytes, merges, one document separator) and writes it as a Hugging Face tokenizer.json
encode   writes the ids of all documents, each followed by the separator, as a uint16 (or uint32) array that OLMo-style loaders read
decode   prints the text of a token file

FILES are files, folders or patterns of text, .jsonl, .parquet or token files; "default" stands for the text that every installation has.

  --vocabulary N     ids to learn (train)
  --out FILE         what is written (train, encode)
  --tokenizer NAME   bytes (default) or the path of a tokenizer.json (encode, decode)
  --text-field NAME  key of the text in .jsonl and .parquet files (default: text)

examples:
  blockscale tokenize train default --vocabulary 4096 --out tokenizer.json
  blockscale tokenize encode 'books/**/*.txt' --tokenizer tokenizer.json --out books.npy
  blockscale tokenize decode books.npy --tokenizer tokenizer.json | head
`

export async function run(args: string[]): Promise<void> {
  const { values, positionals: [action, ...files] } = parse('tokenize', args,
    { vocabulary: { type: 'string' }, out: { type: 'string' }, tokenizer: { type: 'string' }, 'text-field': { type: 'string' } }, [2, Infinity])
  const options = { ...corpusDefaults, ...values['text-field'] !== undefined && { textField: values['text-field'] } }
  const needed = <T>(option: string, value: T | undefined): T => { if (value === undefined) throw new UsageError(`tokenize ${action}: --${option} is needed`); return value }
  if (action === 'train') {
    const out = needed('out', values.out), vocabulary = wholeNumber('--vocabulary', needed('vocabulary', values.vocabulary), 257)
    const texts: string[] = []
    for (const file of corpusFiles(files)) for await (const text of readDocuments(file, options)) texts.push(text)
    const pairs = trainBytePairs(texts, vocabulary)
    writeFileAtomic(out, bytePairJson(pairs))
    const wanted = vocabulary - 257
    process.stdout.write(`${out}: ${pairs.merges.length + 257} ids${pairs.merges.length < wanted ? ` (${vocabulary} asked for, but no further pair occurs twice)` : ''}\n`)
  } else if (action === 'encode') {
    const out = needed('out', values.out), tokenizer = loadTokenizer(values.tokenizer ?? 'bytes'), { tokens, starts } = await loadCorpus(files, tokenizer, options)
    const bytes = new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength)
    writeFileAtomic(out, /\.npy$/i.test(out) ? formatNpy({ dtype: tokens instanceof Uint16Array ? 'U16' : 'U32', shape: [tokens.length], bytes }) : bytes)
    process.stdout.write(`${out}: ${tokens.length} tokens of ${tokens instanceof Uint16Array ? 'uint16' : 'uint32'} in ${starts.length - 1} documents\n`)
  } else if (action === 'decode') {
    const tokenizer = loadTokenizer(values.tokenizer ?? 'bytes')
    for (const file of corpusFiles(files)) {
      const ids = readTokenFile(file, tokenizer.vocabulary <= 65536 ? 'uint16' : 'uint32', tokenizer.vocabulary)
      for (let start = 0; start < ids.length;) {
        const at = ids.indexOf(tokenizer.end, start), stop = at < 0 ? ids.length : at
        process.stdout.write(`${tokenizer.decode(ids.subarray(start, stop))}\n`)
        start = stop + 1
      }
    }
  } else throw new UsageError(`tokenize ${JSON.stringify(action)}: use train, encode or decode`)
}
