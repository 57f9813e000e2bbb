// Layer norm and RMS norm kernels against the oracle, bit for bit, in every mode and with ragged rows.
import { describe, it } from 'vitest'
import { bfloat } from '../../src/numerics/profiles.ts'
import { layerNormBackward as oracleLayerBackward, normForward, normWeightGradients, rmsNormBackward as oracleRmsBackward } from '../../src/oracle/norm.ts'
import { roundElements } from '../../src/oracle/quantize.ts'
import { keep, type Round } from '../../src/oracle/vector.ts'
import { layerNormBackward, layerNormForward, rmsNormBackward, rmsNormForward, type NormMode } from '../../src/ops/norm.ts'
import { Program } from '../../src/runtime/program.ts'
import { Bench, expectSameBits, gaussian, hard } from './inputs.ts'

const bench = new Bench()
const Q = { 'nearest-away': (x => roundElements(x, bfloat(16))) as Round, 'nearest-even': (x => roundElements(x, bfloat(16, { rounding: 'nearest-even' }))) as Round }

const eps = 1e-5
const modes: NormMode[] = [{ kind: 'fp32', eps }, ...(['nearest-away', 'nearest-even'] as const).flatMap((rounding): NormMode[] => [
  { kind: 'bf16', eps, rounding, backward: 'bf16' }, { kind: 'bf16', eps, rounding, backward: 'fp32' }, { kind: 'bf16-half', eps, rounding },
])]

function roundings(mode: NormMode) {
  if (mode.kind === 'fp32') return { first: keep, second: keep, back: keep }
  const q = Q[mode.rounding]
  return mode.kind === 'bf16' ? { first: q, second: q, back: mode.backward === 'bf16' ? q : keep } : { first: keep, second: q, back: keep }
}

const run = (emit: (p: Program) => void) => {
  const p = new Program(bench.ex.arena)
  emit(p)
  for (const { kernel, args, items } of p.calls) bench.call(kernel, args as never, items)
}

const sizes = [[1, 1], [3, 5], [7, 16], [5, 31], [6, 64], [4, 147]] as const

describe.each(modes)('$kind $rounding $backward', mode => {
  for (const kind of ['layer', 'rms'] as const) {
    if (kind === 'rms' && mode.kind === 'bf16-half') continue
    it.each(sizes)(`${kind} norm of %i x %i`, (rows, D) => {
      for (const [data, withBeta] of [['gaussian', true], ['gaussian', false], ['hard', true], ['hard x', true], ['hard dy', true]] as const) {
        const make = (hardly: string) => data === 'hard' || data === hardly ? hard : gaussian
        const x = make('hard x')(rows * D, D), dy = make('hard dy')(rows * D, D + 1), gamma = gaussian(D, D + 2), beta = withBeta ? gaussian(D, D + 3) : null
        const io = { x: shape(bench.tensor(x), rows, D), gamma: bench.tensor(gamma), beta: beta && bench.tensor(beta), y: shape(bench.empty(rows * D), rows, D), stats: bench.empty(2 * rows) }
        run(p => (kind === 'layer' ? layerNormForward : rmsNormForward)(p, io, mode))
        const r = roundings(mode)
        const want = normForward(x, gamma, beta, eps, r, kind === 'layer')
        expectSameBits(bench.read(io.y), want.y, `${data} y`)

        const back = { ...io, dy: shape(bench.tensor(dy), rows, D), dx: shape(bench.empty(rows * D), rows, D), dgamma: bench.empty(D), dbeta: withBeta ? bench.empty(D) : null }
        run(p => (kind === 'layer' ? layerNormBackward : rmsNormBackward)(p, back, mode))
        expectSameBits(bench.read(back.dx), (kind === 'layer' ? oracleLayerBackward : oracleRmsBackward)(dy, gamma, want, r), `${data} dx`)
        const weights = normWeightGradients(dy, D, want, r)
        expectSameBits(bench.read(back.dgamma), weights.dgamma, `${data} dgamma`)
        if (back.dbeta) expectSameBits(bench.read(back.dbeta), weights.dbeta, `${data} dbeta`)
      }
    })
  }
})

function shape(t: { ptr: number }, ...dims: number[]) { return { ptr: t.ptr, shape: dims } }
