// preparedGemm against the definition: round, quantize, multiply, round, add the bias, round, each by its oracle.
import { describe, expect, it } from 'vitest'
import { bfloat, blockQuantizer, fp } from '../../src/numerics/profiles.ts'
import type { ElementRounding } from '../../src/numerics/quantizer.ts'
import { canPrepare, preparedGemm, type PreparedOperand } from '../../src/ops/packed-gemm.ts'
import { gemm } from '../../src/oracle/gemm.ts'
import { quantize, roundElements } from '../../src/oracle/quantize.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { loadModules } from '../../src/runtime/module.ts'
import { Program } from '../../src/runtime/program.ts'
import { tileName } from '../../src/runtime/tiles.ts'
import { bf16, canonical, inShares, nearBottom, nearTop, randomBits, spread, type Fill } from './gemm-data.ts'

const core = loadModules()
const engines = [0, 1, 2].map(tile => ({ ex: new InlineExecutor({ ...core, tiles: { strict: tile, fused: tile } }), name: tileName(core.relaxed ?? core.kernels, tile, false) }))

type Settings = Pick<PreparedOperand, 'quantizer' | 'round'>
interface Case { a: Settings & { along: boolean }, b: Settings & { along: boolean }, round: ElementRounding | null, biased: boolean, fill?: Fill, batch?: number, threads?: number, turns?: number }

const rounded = (x: Float32Array, r: ElementRounding | null): Float32Array => r ? roundElements(x, r) : x

function check(ex: InlineExecutor, M: number, N: number, K: number, { a, b, round, biased, fill = spread, batch = 1, threads = 1, turns }: Case): void {
  const { arena } = ex, mark = arena.mark(), p = new Program(arena)
  const values: Float32Array[] = []
  const operand = ({ along, quantizer, round }: Case['a'], lanes: number, seed: number): PreparedOperand => {
    const shape = along ? [lanes, K] : batch > 1 ? [batch, K / batch, lanes] : [K, lanes], axis = along ? 1 : shape.length - 2
    const x = fill(lanes * K, seed), r = rounded(x, round)
    values.push(quantizer ? quantize(r, shape, axis, quantizer).values : r)
    return { src: arena.from(x, ...shape), axis, quantizer, round }
  }
  const [x, y] = [operand(a, M, 1), operand(b, N, 2)], bias = fill(N, 3), c = arena.from(new Float32Array(M * N), M, N)
  preparedGemm(p, { a: x, b: y, c, bias: biased ? arena.from(bias) : null, round, ...turns !== undefined && { turns } })
  inShares(ex, p, threads)
  const sums = new Float32Array(M * N)
  gemm(
    { data: values[0]!, rowStride: a.along ? K : 1, colStride: a.along ? 1 : M }, { data: values[1]!, rowStride: b.along ? 1 : N, colStride: b.along ? K : 1 },
    { data: sums, rowStride: N, colStride: 1 }, M, N, K,
  )
  let want = rounded(sums, round)
  if (biased) want = rounded(want.map((v, i) => v + rounded(bias, round)[i % N]!), round)
  expect(canonical(arena.f32(c).slice()), `${M}x${N}x${K}, A along ${a.along}, B along ${b.along}`).toEqual(canonical(want))
  arena.release(mark)
}

const e4m3 = blockQuantizer('ocp', 'e4m3'), plain = { quantizer: null, round: null }
const both = [false, true]
const bf16Even = bfloat(16, { rounding: 'nearest-even' }), bf16Away = bfloat(16, { rounding: 'nearest-away' })

describe.each(engines)('preparedGemm equals its definition, bit for bit, for the tile $name', ({ ex }) => {
  it('for shapes and orientations', () => {
    for (const [M, N, K] of [[1, 1, 1], [2, 19, 33], [37, 51, 43], [9, 50, 96]] as const) for (const along of both) for (const other of both) for (const biased of both) {
      check(ex, M, N, K, { a: { along, quantizer: e4m3, round: bf16Even }, b: { along: other, quantizer: e4m3, round: null }, round: bf16Away, biased })
    }
  })

  it('in turns', () => {
    for (const [M, N, K] of [[1, 1, 1], [2, 19, 33], [37, 51, 43], [100, 20, 96]] as const) for (const along of both) for (const turns of [1, 2, 3]) {
      check(ex, M, N, K, { a: { along, quantizer: e4m3, round: bf16Even }, b: { along: !along, quantizer: e4m3, round: null }, round: bf16Away, biased: true, turns })
      check(ex, M, N, K, { a: { along, ...plain }, b: { along, quantizer: e4m3, round: null }, round: null, biased: false, turns })
    }
  })

  it('for formats, profiles and roundings', () => {
    const settings: Settings[] = [
      { quantizer: blockQuantizer('microxcaling', 'e4m3'), round: bf16Away }, { quantizer: blockQuantizer('ocp', 'e2m1', { blockSize: 16 }), round: null }, { quantizer: blockQuantizer('ocp', 'e5m2', { scaleRule: 'rceil', blockSize: 64 }), round: bf16Even },
      { quantizer: null, round: bf16Even }, plain,
    ]
    for (const a of settings) for (const b of settings) check(ex, 21, 35, 133, { a: { ...a, along: true }, b: { ...b, along: false }, round: a.round, biased: true })
  })

  it('across the blocks of the driver, for any number of threads', () => {
    const operand = { quantizer: e4m3, round: bf16Even }
    for (const threads of [1, 5]) {
      check(ex, 250, 20, 40, { a: { ...operand, along: true }, b: { ...operand, along: true }, round: bf16Even, biased: true, threads })
      check(ex, 9, 33, 530, { a: { ...operand, along: false }, b: { ...operand, along: false }, round: bf16Even, biased: true, threads })
      check(ex, 130, 270, 16, { a: { ...operand, along: false }, b: { ...operand, along: true }, round: null, biased: true, threads })
    }
  })

  it('for a batch of sequences', () => {
    for (const along of both) check(ex, 19, 23, 96, { a: { along: false, quantizer: e4m3, round: bf16Even }, b: { along, quantizer: e4m3, round: null }, round: bf16Even, biased: false, batch: 3 })
  })

  it('with NaN, infinities and subnormals, with products that underflow or overflow', () => {
    for (const fill of [randomBits, nearBottom, nearTop, bf16]) for (const a of [plain, { quantizer: null, round: bf16Away }, { quantizer: e4m3, round: bf16Away }]) {
      check(ex, 23, 21, 70, { a: { ...a, along: false }, b: { ...a, along: true }, round: a.round, biased: true, fill })
      check(ex, 23, 21, 70, { a: { ...a, along: true }, b: { ...a, along: false }, round: a.round, biased: false, fill })
    }
  })
})

it('says what it cannot do', () => {
  const { arena } = engines[0]!.ex, t = (...shape: number[]) => arena.tensor(...shape), operand = (o: Partial<PreparedOperand>): PreparedOperand => ({ src: t(4, 64), axis: 1, quantizer: e4m3, round: null, ...o })
  const good = operand({})
  expect(canPrepare(good, good, null)).toBe(true)
  for (const bad of [
    operand({ round: fp(16) }), operand({ quantizer: { ...e4m3, rounding: 'stochastic' } }), operand({ quantizer: { ...e4m3, bump: 'as-released' } }), operand({ quantizer: { ...e4m3, blockSize: 0 } }),
    operand({ quantizer: { ...e4m3, blockSize: 24 } }), operand({ quantizer: { ...e4m3, blockSize: 512 } }), operand({ src: t(2, 33, 4), axis: 1 }), operand({ src: t(2, 3, 4), axis: 0 }), operand({ src: t(0, 64) }),
  ]) expect(canPrepare(good, bad, null), JSON.stringify(bad)).toBe(false)
  expect(canPrepare(good, good, fp(16))).toBe(false)
  const p = new Program(arena)
  expect(() => preparedGemm(p, { a: good, b: operand({ src: t(4, 32) }), c: t(4, 4), round: null })).toThrow('operands of 4 x 64 and 32 x 4 do not give c [4,4]')
  expect(() => preparedGemm(p, { a: good, b: good, c: t(4, 4), bias: t(3), round: null })).toThrow('bias has shape [3], must have 4 elements')
  expect(() => preparedGemm(p, { a: good, b: good, c: t(4, 4), round: fp(16) })).toThrow('cannot be prepared')
  expect(p.calls).toEqual([])
})
