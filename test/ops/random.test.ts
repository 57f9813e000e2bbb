import { expect, it } from 'vitest'
import { philoxUniform } from '../../src/oracle/random.ts'
import { normal, uniform } from '../../src/ops/random.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { Program } from '../../src/runtime/program.ts'

const seed = 0x1234567890abcdefn, stream = 7
const executor = new InlineExecutor(), { arena } = executor
const stepPtr = arena.allocBytes(8)
const setStep = (step: bigint) => new DataView(arena.memory.buffer).setBigUint64(stepPtr, step, true)

it('uniform numbers are the upper 24 bits of the Philox words', () => {
  const t = arena.tensor(100), step = 0x500000003n
  setStep(step)
  const p = new Program(arena)
  uniform(p, t, { seed, stream, stepPtr })
  executor.runSync(p)
  expect([...arena.f32(t)]).toEqual([...philoxUniform(100, { seed, stream, step })])
})

it('normal numbers: any range alone gives the same, moments are right, step and stream matter', () => {
  const n = 1 << 18, whole = arena.tensor(n), part = arena.tensor(n)
  setStep(0n)
  const args = [whole.ptr, n, 2, 1, 0x90abcdef, 0x12345678, stream, stepPtr] as const
  executor.call('philox_normal_f32', [...args], n / 16)
  for (const [begin, end] of [[100, 7000], [7000, n / 16], [0, 100]] as const) executor.kernels.philox_normal_f32(part.ptr, n, 2, 1, 0x90abcdef, 0x12345678, stream, stepPtr, begin, end)
  expect(Buffer.compare(Buffer.from(arena.f32(whole).slice().buffer), Buffer.from(arena.f32(part).slice().buffer))).toBe(0)
  let sum = 0, squares = 0, fourth = 0
  for (const x of arena.f32(whole)) { const z = (x - 1) / 2; sum += z; squares += z * z; fourth += z ** 4 }
  // Five standard errors of each sample moment.
  expect(Math.abs(sum / n)).toBeLessThan(5 / Math.sqrt(n))
  expect(Math.abs(squares / n - 1)).toBeLessThan(5 * Math.sqrt(2 / n))
  expect(Math.abs(fourth / n - 3)).toBeLessThan(5 * Math.sqrt(96 / n))
  const p = new Program(arena)
  setStep(1n)
  normal(p, part, { seed, stream, stepPtr, std: 2, mean: 1 })
  executor.runSync(p)
  expect(arena.f32(part)[0]).not.toBe(arena.f32(whole)[0])
})
