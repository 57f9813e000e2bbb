// docs/numerics.md and docs/matrix-units.md say what src/numerics says, and name every choice.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { castPolicies } from '../../src/numerics/cast.ts'
import { formats, grid, type Format } from '../../src/numerics/formats.ts'
import { mmaModels, refusedMmaModels } from '../../src/numerics/mma.ts'
import { nvfp4ProfileNotes } from '../../src/numerics/nvfp4.ts'
import { blockProfileNotes } from '../../src/numerics/profiles.ts'
import { activationPrecisions, bumps, hadamards, scalings, weightBlockings, layerNormPrecisions, roundings, scaleRules, schemes } from '../../src/numerics/scheme.ts'

const text = readFileSync('docs/numerics.md', 'utf8'), units = readFileSync('docs/matrix-units.md', 'utf8')

test('the tables of profiles are those of the source', () => {
  for (const [name, { source, verified, remark }] of [...Object.entries(blockProfileNotes), ...Object.entries(nvfp4ProfileNotes)]) {
    expect(text).toContain(`| \`${name}\` | ${source}${remark ? `; ${remark}` : ''} | ${verified} |`)
  }
})

test('the table of formats is that of the source', () => {
  const nan = { 'ieee': 'yes', 'nan-only': 'S.1111.111', 'none': '', 'fnuz': 'code of -0' }
  for (const [name, f] of Object.entries<Format>(formats)) {
    const { emin, man } = grid(f)
    const cells = f.kind === 'int' ? [`integer · 2^${2 - f.bits}`.replace('^-0', '^0'), '', f.max, '', '', '']
      : [`${f.expBits}, ${f.manBits}`, f.bias, f.max, `2^${emin}, 2^${emin - man}`, f.specials === 'ieee' ? 'yes' : '', nan[f.specials]]
    expect(text).toContain(`| \`${name}\` | ${cells.join(' | ')} |`.replaceAll('|  ', '| '))
  }
  for (const name of Object.keys(castPolicies)) expect(text).toContain(`| \`${name}\` |`)
})

test('the tables of matrix units are those of the source', () => {
  for (const { name, instruction, formats: operands, algorithm, length, fraction, floor, rounding, confidence, source } of Object.values(mmaModels)) {
    expect(units).toContain(`| \`${name}\` | ${instruction} | ${operands.join(' ')} | ${algorithm} | ${length} | ${fraction} | ${floor} | ${rounding} | ${confidence} | ${source} |`)
    expect(units).toContain(`**${algorithm}**`)
  }
  for (const [name, reason] of Object.entries(refusedMmaModels)) expect(units).toContain(`| \`${name}\` | ${reason} |`)
})

test('every choice that a scheme can make is named', () => {
  for (const key of Object.keys(schemes.fp32!)) expect(text, key).toMatch(new RegExp(`\`${key}[\`:.]`))
  for (const value of [...roundings, ...scaleRules, ...bumps, ...layerNormPrecisions, ...activationPrecisions, ...hadamards.filter(h => h !== 'none'), ...scalings.filter(s => s !== 'mx'), ...weightBlockings.filter(b => b !== 'rows')]) expect(text, value).toMatch(new RegExp(`[\`|:( ]${value}[\`,: |)]`))
  const unnamed = Object.keys(schemes).filter(name => !/^e\d|^int8/.test(name) && !name.startsWith('paper-code/') && !text.includes(`\`${name}\``))
  expect(unnamed).toEqual([])
})
