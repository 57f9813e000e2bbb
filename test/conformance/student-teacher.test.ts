import { expect, it } from 'vitest'
import { run } from '../../src/conformance/sets/student_teacher.ts'

it.each(['student_teacher', 'student_teacher_mx'])('%s: PyTorch runs are repeated within the rules of the set', async set => {
  const { cases, passed, failures } = await run(new URL(`../vectors/${set}`, import.meta.url).pathname)
  expect(failures).toEqual([])
  expect(passed).toBe(cases)
  expect(cases).toBeGreaterThan(5)
})
