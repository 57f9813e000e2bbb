// File patterns, expanded the same way on every system: `*` and `?` within a name, `**` for any folders. (fs.glob needs Node 22.)
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../errors.ts'

/** The files a pattern names, in the order of their code units, each once; a plain path names itself, a folder all files below it. Throws UsageError if there is none. */
export function expand(pattern: string): string[] {
  const files = existsSync(pattern) ? (statSync(pattern).isDirectory() ? walk(pattern) : [pattern]) : match(pattern)
  if (files.length === 0) throw new UsageError(`no file matches ${JSON.stringify(pattern)}`)
  return files
}

function match(pattern: string): string[] {
  const parts = pattern.replaceAll('\\', '/').split('/')
  const fixed = parts.findIndex(p => /[*?]/.test(p))
  if (fixed < 0) return []
  const base = parts.slice(0, fixed).join('/') || (pattern.startsWith('/') ? '/' : '.')
  if (!existsSync(base)) return []
  const literal = (text: string) => text.replace(/[.+^${}()|[\]\\]/g, '\\$&')
  const source = parts.slice(fixed).map(part => part === '**' ? '(?:[^/]+/)*' : `${literal(part).replaceAll('*', '[^/]*').replaceAll('?', '[^/]')}/`).join('')
  const rule = new RegExp(`^${source}$`)
  return walk(base).filter(file => rule.test(`${file.slice(base === '.' ? 0 : base.length).replaceAll('\\', '/').replace(/^\//, '')}/`))
}

/** All regular files below a folder, sorted. */
function walk(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).filter(e => e.isFile())
    .map(e => join(e.parentPath ?? e.path, e.name)).sort((a, b) => a < b ? -1 : a > b ? 1 : 0)
}
