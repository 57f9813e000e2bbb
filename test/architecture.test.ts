// Imports point down: the order of the layers in docs/architecture.md, held against every import of src/.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { expect, test } from 'vitest'

/** From the bottom up; what stands on one line does not import each other. Reproductions draw with report, which draws what experiments collect. */
const layers = [
  ['errors', 'version'], ['numerics', 'io'], ['oracle', 'runtime'], ['ops'], ['core'], ['api'], ['index', 'edge', 'web'],
  ['model'], ['data'], ['train'], ['training'], ['experiments', 'conformance'], ['report'], ['experiments/reproductions'], ['cli'],
]
const within = (path: string): string => {
  if (path.startsWith('src/experiments/reproductions/')) return 'experiments/reproductions'
  return /^src\/([\w-]+)/.exec(path)![1]!
}
const rank = (layer: string): number => layers.findIndex(names => names.includes(layer))

const sources = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts')).map(name => join('src', name))
const imports = sources.flatMap(file => [...readFileSync(file, 'utf8').matchAll(/(?:from|import\()\s*'(\.[^']+\.ts)'/g)].map(m => ({ file, target: normalize(join(dirname(file), m[1]!)) })).filter(({ target }) => target.startsWith('src')))

test('every folder and file of src/ has a layer', () => {
  expect(sources.filter(file => rank(within(file)) < 0)).toEqual([])
  expect(imports.length).toBeGreaterThan(sources.length)
})

test('imports point down', () => {
  const up = imports.filter(({ file, target }) => within(file) !== within(target) && rank(within(target)) >= rank(within(file)))
  expect(up.map(({ file, target }) => `${file} -> ${target}`)).toEqual([])
})

test('no file imports itself by way of others', () => {
  const targets = new Map(sources.map(file => [file, imports.filter(i => i.file === file).map(i => i.target)]))
  const reaches = (from: string): Set<string> => {
    const seen = new Set<string>(), open = [...targets.get(from)!]
    for (let file; (file = open.pop()) !== undefined;) if (!seen.has(file)) { seen.add(file); open.push(...targets.get(file)!) }
    return seen
  }
  expect(sources.filter(file => reaches(file).has(file))).toEqual([])
})

test('scripts import compiled files that have a source', () => {
  const scripts = ['bench', 'scripts', 'examples', 'test'].flatMap(folder => readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(name => /\.m?js$/.test(name) && !name.includes('node_modules')).map(name => join(folder, name)))
  const named = scripts.flatMap(file => [...readFileSync(file, 'utf8').matchAll(/\.\/dist\/([\w/-]+)\.js'/g)].map(m => ({ file, source: `src/${m[1]}.ts` })))
  expect(named.length).toBeGreaterThan(50)
  expect(named.filter(({ source }) => !sources.includes(source))).toEqual([])
})

test('the oracle knows numerics alone', () => {
  expect(imports.filter(({ file, target }) => within(file) === 'oracle' && !['oracle', 'numerics', 'errors'].includes(within(target)))).toEqual([])
})
