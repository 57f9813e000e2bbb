// The program that every runtime must agree on, here; `npm run test:runtimes` runs it in the others. When results change on purpose, or a part is added:
// npx vitest run test/runtimes --update
import { describe, expect, it } from 'vitest'
import { Core } from '../../src/core/core.ts'
import { open } from '../../src/runtime/open.ts'
// @ts-expect-error: plain JavaScript, as the runtimes take it
import { conformance } from './conformance.mjs'

describe('conformance', () => {
  it.each([1, 2, 3, 8])('%i threads give the pinned bits', async threads => {
    const executor = await open({ threads })
    try {
      await expect(`${JSON.stringify(await conformance(executor, Core), null, 1)}\n`).toMatchFileSnapshot('expected.json')
    } finally { await executor.close() }
  })
})
