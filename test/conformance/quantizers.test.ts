// The vector sets `casts` and `microxcaling`, and proof that their comparison can fail.
import { expect, it } from 'vitest'
import { run as casts } from '../../src/conformance/sets/casts.ts'
import { run as microxcaling, runMicroxcaling } from '../../src/conformance/sets/microxcaling.ts'
import { quantize, roundElements } from '../../src/oracle/quantize.ts'

it('casts: every case', async () => expect(await casts('test/vectors/casts')).toEqual({ cases: 14, passed: 14, failures: [] }))

it('microxcaling: every case', async () => expect(await microxcaling('test/vectors/microxcaling')).toEqual({ cases: 426, passed: 426, failures: [] }))

it.each([
  ['true exponents', { exponent: 'bits' }], ['signed zeros', { zeroSign: 'preserve' }],
] as const)('microxcaling: %s instead of torch arithmetic fails', async (_, changes) => {
  const mutant = { block: (...[x, shape, axes, q]: Parameters<typeof quantize>) => quantize(x, shape, axes, { ...q, ...changes }).values, elements: (x: Float32Array, r: Parameters<typeof roundElements>[1]) => roundElements(x, { ...r, ...changes }) }
  const { cases, passed } = await runMicroxcaling('test/vectors/microxcaling', { mutant })
  expect(passed).toBeLessThan(cases)
})
