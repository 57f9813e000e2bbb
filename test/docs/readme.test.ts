import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { mmaModels } from '../../src/numerics/mma.ts'
import { nvfp4Profiles } from '../../src/numerics/nvfp4.ts'
import { blockProfiles } from '../../src/numerics/profiles.ts'
import { testDocument } from './blocks.ts'

testDocument('README.md')

test('npm start builds and trains the preset that the README speaks of', () => {
  expect(JSON.parse(readFileSync('package.json', 'utf8')).scripts.start).toBe('npm run --silent build && node dist/cli/main.js train quick')
})

test('the table counts right', () => {
  const text = readFileSync('README.md', 'utf8'), count = (table: object) => Object.keys(table).length
  expect(text).toContain(`| 6 rules, ${count(blockProfiles)} profiles |`)
  expect(text).toContain(`| ${count(nvfp4Profiles)} recipes |`)
  expect(text).toContain(`| ${count(mmaModels)} units |`)
})

test('every page of docs/ is linked', () => {
  const text = readFileSync('README.md', 'utf8')
  expect(readdirSync('docs').filter(name => name.endsWith('.md') && !text.includes(`(docs/${name})`))).toEqual([])
})
