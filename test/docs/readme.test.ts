import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { testDocument } from './blocks.ts'

testDocument('README.md')

test('npm start builds and trains the preset that the README speaks of', () => {
  expect(JSON.parse(readFileSync('package.json', 'utf8')).scripts.start).toBe('npm run --silent build && node dist/cli/main.js train quick')
})
