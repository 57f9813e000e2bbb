// The vector set `init`, and proof that its comparison can fail.
import { expect, it, vi } from 'vitest'
import { run } from '../../src/conformance/sets/init.ts'
import { TorchGenerator } from '../../src/data/torch-random.ts'

const dir = 'test/vectors/init'

it('every case', async () => {
  const { cases, passed, failures } = await run(dir)
  expect(failures).toEqual([])
  expect([cases, passed]).toEqual([48, 48])
})

it('one more word drawn after seeding fails every case', async () => {
  const words = TorchGenerator.prototype.words, normal = TorchGenerator.prototype.normal
  const fresh = new WeakSet<TorchGenerator>()
  const skipOnce = (g: TorchGenerator) => { if (!fresh.has(g)) { fresh.add(g); words.call(g, 1) } }
  vi.spyOn(TorchGenerator.prototype, 'words').mockImplementation(function (this: TorchGenerator, n) { skipOnce(this); return words.call(this, n) })
  vi.spyOn(TorchGenerator.prototype, 'normal').mockImplementation(function (this: TorchGenerator, ...args) { skipOnce(this); return normal.apply(this, args) })
  const { passed } = await run(dir)
  vi.restoreAllMocks()
  expect(passed).toBe(0)
})
