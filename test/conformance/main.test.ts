import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { expect, test } from 'vitest'
import { findSets, format, runSet } from '../../src/conformance/main.ts'
import { sets } from '../../src/conformance/sets.ts'
import type { SetResult } from '../../src/conformance/types.ts'

const table = (result: () => SetResult) => ({ casts: async () => ({ run: async () => result() }) })

test('a set passes only if every case does', async () => {
  const report = await runSet('/x/casts', table(() => ({ cases: 3, passed: 3, failures: [], worst: [{ what: 'loss', value: 1e-7, limit: 1e-4 }] })))
  expect(format(report)).toMatch(/^ok {3}casts +3 cases +3 passed +0 failed.*\n +worst loss: 1\.000e-7 \(limit 1\.000e-4\)$/)
  const failed = await runSet('/x/casts', table(() => ({ cases: 3, passed: 2, failures: ['case 1: bits differ'] })))
  expect(format(failed)).toMatch(/^FAIL casts.*1 failed.*\n +case 1: bits differ$/)
})

test('unknown set, throwing runner, empty set and unexplained cases are failures', async () => {
  for (const report of [
    await runSet('/x/newset', table(() => ({ cases: 1, passed: 1, failures: [] }))),
    await runSet('/x/casts', table(() => { throw new Error('boom') })),
    await runSet('/x/casts', table(() => ({ cases: 0, passed: 0, failures: [] }))),
    await runSet('/x/casts', table(() => ({ cases: 2, passed: 1, failures: [] }))),
    await runSet('/x/toString', {}),
  ]) {
    expect(report.failures.length).toBeGreaterThan(0)
    expect(report.passed).toBeLessThan(report.cases)
    expect(format(report)).toMatch(/^FAIL/)
  }
})

test('sets are the subfolders, or the folder itself', () => {
  const dir = mkdtempSync(join(tmpdir(), 'blockscale-sets-'))
  mkdirSync(join(dir, 'casts'))
  mkdirSync(join(dir, '.git'))
  writeFileSync(join(dir, 'README.md'), '')
  writeFileSync(join(dir, 'casts', 'a.json'), '{}')
  expect(findSets(dir)).toEqual([join(dir, 'casts')])
  expect(findSets(join(dir, 'casts'))).toEqual([join(dir, 'casts')])
})

test('every set of the repository has a runner', () => {
  expect(findSets('test/vectors').map(folder => basename(folder)).filter(name => !Object.hasOwn(sets, name))).toEqual([])
})
