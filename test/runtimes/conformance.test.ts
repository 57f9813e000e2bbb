// The program that every runtime must agree on, here; `npm run test:runtimes` runs it in the others.
import { describe, expect, it } from 'vitest'
import { open } from '../../src/runtime/open.ts'
// @ts-expect-error: plain JavaScript, as the runtimes take it
import { EXPECTED, conformance } from './conformance.mjs'

describe('conformance', () => {
  it.each([1, 2, 3, 8])('%i threads give the pinned bits', async threads => {
    const executor = await open({ threads })
    try {
      const hashes = await conformance(executor)
      expect(hashes.all, JSON.stringify(hashes, null, 1)).toBe(EXPECTED)
    } finally { await executor.close() }
  })
})
