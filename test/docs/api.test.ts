// docs/api.md is what the comments of src/ say now, and they leave nothing out.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
// @ts-expect-error a script without types
import { apiPage } from '../../scripts/api-page.mjs'
import * as api from '../../src/index.ts'

const { text, gaps } = apiPage() as { text: string, gaps: string[] }

test('everything public has a docstring, and every type that it names is public', () => expect(gaps).toEqual([]))

test('docs/api.md is fresh (npm run docs)', () => expect(readFileSync('docs/api.md', 'utf8')).toBe(text))

test('the page has what the entry exports', () => {
  for (const name of Object.keys(api)) expect(text).toContain(`### ${name}\n`)
})
