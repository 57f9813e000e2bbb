// docs/numerics.md says of every profile what src/numerics says, and names every choice.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { nvfp4ProfileNotes } from '../../src/numerics/nvfp4.ts'
import { blockProfileNotes } from '../../src/numerics/profiles.ts'
import { activationPrecisions, bumps, hadamards, layerNormPrecisions, roundings, scaleRules, schemes } from '../../src/numerics/scheme.ts'

const text = readFileSync('docs/numerics.md', 'utf8')

test('the tables of profiles are those of the source', () => {
  for (const [name, { source, verified, remark }] of [...Object.entries(blockProfileNotes), ...Object.entries(nvfp4ProfileNotes)]) {
    expect(text).toContain(`| \`${name}\` | ${source}${remark ? `; ${remark}` : ''} | ${verified} |`)
  }
})

test('every choice that a scheme can make is named', () => {
  for (const value of [...roundings, ...scaleRules, ...bumps, ...layerNormPrecisions, ...activationPrecisions, ...hadamards.filter(h => h !== 'none')]) expect(text, value).toMatch(new RegExp(`[\`|:( ]${value}[\`,: |)]`))
  const unnamed = Object.keys(schemes).filter(name => !/^e\d|^int8/.test(name) && !name.startsWith('paper-code/') && !text.includes(`\`${name}\``))
  expect(unnamed).toEqual([])
})
