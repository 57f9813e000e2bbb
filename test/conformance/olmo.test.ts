import { expect, it } from 'vitest'
import { run } from '../../src/conformance/sets/olmo.ts'

it('olmo: the OLMo class in PyTorch, its logits, loss, gradients, ten steps, injected MX operators', async () => {
  const { failures, cases, passed } = await run(new URL('../vectors/olmo', import.meta.url).pathname)
  expect(failures).toEqual([])
  expect([cases, passed]).toEqual([4, 4])
})
