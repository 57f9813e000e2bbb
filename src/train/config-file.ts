// Where configurations come from: YAML files, the presets in configs/, `--set key=value` overrides; and the hash that names a run.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LineCounter, parse, parseDocument, type Document } from 'yaml'
import { UsageError } from '../errors.ts'
import { isObject, merge, parseConfig, type RunConfig } from './config.ts'

const presetFolder = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'configs')

/** Presets by name, each with the first comment line of its file. */
export function presets(): Record<string, string> {
  const files = readdirSync(presetFolder).filter(f => f.endsWith('.yaml')).sort()
  return Object.fromEntries(files.map(f => [basename(f, '.yaml'), /^# ?(.*)/.exec(readFileSync(join(presetFolder, f), 'utf8'))?.[1] ?? '']))
}

/** A preset's name, or the path of a YAML file (recognised by its ending or a slash), as an absolute path. Throws UsageError that lists the presets. */
function locateConfig(nameOrFile: string, beside = ''): string {
  const isPath = /[/\\]|\.ya?ml$|\.json$/.test(nameOrFile)
  const file = isPath ? resolve(beside, nameOrFile) : join(presetFolder, `${nameOrFile}.yaml`)
  if (!existsSync(file)) {
    throw new UsageError(isPath ? `config file ${nameOrFile} does not exist` : `unknown preset ${JSON.stringify(nameOrFile)}: use one of ${Object.keys(presets()).join(', ')}, or the path of a YAML file`)
  }
  return file
}

interface Source { file: string, doc: Document, lines: LineCounter }

/** Read a file and what it `extends`, base first. Throws UsageError with line and column on malformed YAML. */
function readSources(file: string, seen: string[] = []): { raw: unknown, sources: Source[] } {
  if (seen.includes(file)) throw new UsageError(`config file ${basename(file)}: extends itself (${[...seen, file].map(f => basename(f)).join(' > ')})`)
  const lines = new LineCounter()
  const doc = parseDocument(readFileSync(file, 'utf8'), { lineCounter: lines, prettyErrors: false })
  const error = doc.errors[0]
  if (error) {
    const { line, col } = lines.linePos(error.pos[0])
    throw new UsageError(`${basename(file)} line ${line}, column ${col}: ${error.message.split('\n')[0]}`)
  }
  const content = doc.toJS()
  if (content === null) throw new UsageError(`${basename(file)} is empty: a configuration is a mapping of keys to values, such as extends: quick`)
  if (!isObject(content)) throw new UsageError(`${basename(file)}: a configuration is a mapping of keys to values, got ${JSON.stringify(content)}`)
  const { extends: base, ...own } = content
  const source = { file, doc, lines }
  if (base === undefined) return { raw: own, sources: [source] }
  if (typeof base !== 'string') throw new UsageError(`${basename(file)}: extends = ${JSON.stringify(base)}: must be the name of a preset or the path of a YAML file`)
  const below = readSources(locateConfig(base, dirname(file)), [...seen, file])
  return { raw: merge(below.raw, own), sources: [...below.sources, source] }
}

/** Apply one `a.b=value` to a raw configuration; the value is read as YAML. Throws UsageError naming the override. */
function applyOverride(raw: unknown, override: string): unknown {
  const at = override.indexOf('=')
  const path = override.slice(0, Math.max(at, 0)).split('.')
  if (at < 1 || !path.every(key => /^[A-Za-z0-9][\w -]*$/.test(key))) throw new UsageError(`--set ${override}: must have the form key=value with a dotted key, as in optimizer.lr=1e-3`)
  let value: unknown
  try { value = parse(override.slice(at + 1)) } catch (cause) {
    throw new UsageError(`--set ${override}: ${(cause as Error).message.split('\n')[0]}`)
  }
  const place = (node: unknown, [key, ...rest]: string[]): unknown => {
    if (key === undefined) return value
    // Descending into a scheme's name: the named scheme with a change.
    const object = typeof node === 'string' && path[0] !== 'task' ? { scheme: node } : isObject(node) ? node : {}
    return { ...object, [key]: place(Object.hasOwn(object, key) ? object[key] : undefined, rest) }
  }
  return place(raw, path)
}

/**
 * The resolved configuration of a preset or YAML file (null: the defaults) with patches laid over it as a file lies over what it extends, then
 * overrides (`['steps=200', 'precision.layerNorm=mx']`), later ones winning.
 * Throws UsageError, one line, naming key, value and rule, and the place in the file.
 */
export function loadConfig(nameOrFile: string | null, overrides: readonly string[] = [], patches: readonly unknown[] = []): RunConfig {
  const { raw, sources } = nameOrFile === null ? { raw: {}, sources: [] } : readSources(locateConfig(nameOrFile))
  const overridden = overrides.map(o => o.slice(0, o.indexOf('=')))
  const patched = patches.reduce(merge, withPrecisionDefaults(raw))
  return parseConfig(overrides.reduce(applyOverride, patched), path => {
    const key = path.join('.')
    if (overridden.some(o => key === o || key.startsWith(`${o}.`) || o.startsWith(`${key}.`))) return ` (from --set)`
    for (const { file, doc, lines } of [...sources].reverse()) {
      const range = (doc.getIn(path, true) as { range?: [number, number, number] } | undefined)?.range
      if (range) { const { line, col } = lines.linePos(range[0]); return ` (${basename(file)} line ${line}, column ${col})` }
    }
    return ''
  })
}

/** `overrides` on top of a resolved configuration: what an intervention changes. Throws UsageError. */
export function overrideConfig(config: RunConfig, overrides: readonly string[]): RunConfig {
  return parseConfig(overrides.reduce<unknown>(applyOverride, config), () => ' (from --set)')
}

/** So that `--set precision.layerNorm=mx` has a scheme to change where the file leaves the default. */
function withPrecisionDefaults(raw: unknown): unknown {
  return { precision: 'e4m3/e4m3', baseline: 'fp32', ...raw as object }
}

/** JSON with sorted keys and no spaces: equal values give equal text. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (!isObject(value)) return JSON.stringify(value)
  return `{${Object.keys(value).sort().map(key => `${JSON.stringify(key)}:${canonicalJson(value[key])}`).join(',')}}`
}

/** SHA-256 of the canonical JSON of a resolved configuration, 64 hex digits. */
export function configHash(config: RunConfig): string {
  return createHash('sha256').update(canonicalJson(config)).digest('hex')
}
