import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { reproductions } from '../../src/experiments/reproductions/index.ts'

const data = existsSync('../shared/data/paper-runs.csv') ? '../shared/data' : null

// Results are functions of configuration and seed, on any machine: the page's tables must come out again, to the last digit.
// The data-dependent ones are left out where the paper's data is absent: without it they test other text, or nothing.
describe(`docs/reproduction comes out again${data ? '' : ' (without what needs the paper\'s data, which is absent)'}`, () => {
  const needData = ['r12-language-model', 'r13-block-size', 'r14-language-model-drift', 'r15-scaling-law', 'r16-spike-onset']
  const documented = reproductions.filter(r => existsSync(`docs/reproduction/${r.name}.json`) && (data !== null || !needData.includes(r.name)))

  it('has entries', () => expect(documented.length).toBeGreaterThan(10))

  it.each(documented.map(r => r.name))('%s', async name => {
    const { verdict, findings, seed, scale } = JSON.parse(readFileSync(`docs/reproduction/${name}.json`, 'utf8'))
    const outcome = await reproductions.find(r => r.name === name)!.run({ scale, seed, data, log() {} })
    expect(outcome.findings).toEqual(findings)
    expect(outcome.verdict).toBe(verdict)
  })
})
