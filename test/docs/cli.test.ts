import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { dispatch } from '../../src/cli/commands.ts'
import { testDocument } from './blocks.ts'

testDocument('docs/cli.md')

test('the page lists every command, and no other', async () => {
  const listed = [...readFileSync('docs/cli.md', 'utf8').matchAll(/^\| `(\w+)` \|/gm)].map(m => m[1]!)
  const unknown = await dispatch(['no-such-command']).catch((error: Error) => error.message)
  expect(listed.sort()).toEqual(/use one of (.*)$/.exec(String(unknown))![1]!.split(', ').sort())
})
