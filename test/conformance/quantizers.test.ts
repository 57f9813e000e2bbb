// The vector sets `casts`, `microxcaling` and `torchao`, and proof that their comparison can fail.
import { expect, it } from 'vitest'
import { run as casts } from '../../src/conformance/sets/casts.ts'
import { run as microxcaling, runMicroxcaling } from '../../src/conformance/sets/microxcaling.ts'
import { oracle, run as torchao, runTorchao, type Implementation } from '../../src/conformance/sets/torchao.ts'
import { quantizeNvfp4 } from '../../src/oracle/nvfp4.ts'
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

it('torchao: every case', async () => expect(await torchao('test/vectors/torchao')).toEqual({ cases: 22, passed: 22, failures: [] }))

it('torchao: another scale rule, a division, or a flipped code fails', async () => {
  const mutants: Implementation[] = [
    { ...oracle, mx: (x, cols, q) => quantize(x, [x.length / cols, cols], 1, { ...q, scaleRule: q.scaleRule === 'floor' ? 'rceil' : 'floor' }) },
    { ...oracle, mx: (x, cols, q) => { const y = quantize(x, [x.length / cols, cols], 1, q); return { ...y, codes: y.codes.map((c, i) => i === 777 ? c ^ 1 : c) } } },
    { ...oracle, nvfp4: (x, cols, q, t) => quantizeNvfp4(x, [x.length / cols, cols], 1, { ...q, recipe: 'modelopt' }, t ?? 1) },
  ]
  for (const mutant of mutants) {
    const { cases, passed } = await runTorchao('test/vectors/torchao', { mutant })
    expect(passed).toBeLessThan(cases)
  }
})
