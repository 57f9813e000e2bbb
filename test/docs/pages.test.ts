// Every other page: its code runs, and its links and the files it names exist.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { testDocument } from './blocks.ts'

const pages = readdirSync('docs').filter(name => name.endsWith('.md')).map(name => join('docs', name))
for (const page of pages) if (page !== join('docs', 'cli.md')) testDocument(page)

describe.each(['README.md', ...pages, 'examples/README.md', 'bench/README.md'])('%s', page => {
  const text = readFileSync(page, 'utf8')

  test('links lead somewhere', () => {
    for (const [, target] of text.matchAll(/\]\(([^)#]+)[^)]*\)/g)) if (!/^https?:/.test(target!)) expect(existsSync(join(dirname(page), target!)), target).toBe(true)
  })

  test('the files it names exist', () => {
    for (const [path] of text.matchAll(/\b(?:src|assembly|test|scripts|bench|configs)\/[\w./-]*\w\.(?:ts|mjs|yaml)\b/g)) expect(existsSync(path), path).toBe(true)
  })
})
