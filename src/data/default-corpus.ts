// The text that every installation has: documentation and type declarations of the packages this project depends on. English with code, about 2 MB;
// enough for a small model to learn from, with nothing to download. It changes when those packages change, so a run records the corpus hash.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { RunError } from '../errors.ts'
import { expand } from './glob.ts'

/** Packages with prose or documented declarations, all dependencies at run time, direct or not. */
const packages = [
  '@huggingface/tokenizers', '@observablehq/plot', 'css-tree', 'hyparquet', 'hyparquet-writer', 'jsdom', 'lru-cache', 'parse5', 'piscina',
  'tough-cookie', 'uplot', 'undici', 'undici-types', 'yaml', 'zod',
]

/** Its files: *.md and *.d.ts of each package that is installed. Throws RunError when none is found. */
export function defaultCorpusFiles(): string[] {
  const files = packages.flatMap(name => {
    for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
      const found = join(folder, 'node_modules', name)
      if (existsSync(found)) return expand(found).filter(f => /\.(md|d\.ts)$/i.test(f) && !f.slice(found.length).includes('node_modules'))
      if (folder === dirname(folder)) return []
    }
  })
  if (files.length === 0) throw new RunError('default corpus: no package documentation found beside this installation; name text files instead')
  return files
}
