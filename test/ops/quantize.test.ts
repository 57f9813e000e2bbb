// Every quantizer kernel against the oracle, bit for bit, on hard inputs: formats x choices x shapes drawn at random from a fixed seed.
import { describe, expect, it } from 'vitest'
import { bfloat, blockProfiles, fp } from '../../src/numerics/profiles.ts'
import type { BlockQuantizer } from '../../src/numerics/quantizer.ts'
import { fakeQuantize, roundElements } from '../../src/ops/quantize.ts'
import { quantize, roundElements as roundElementsOracle } from '../../src/oracle/quantize.ts'
import { Program } from '../../src/runtime/program.ts'
import { difference, generator, hardWords, kinds } from '../kernels/hard-data.ts'
import { anyQuantizer, arithmetic, ex, names, pick, randomBits, run, seed, stepPtr, stream } from './quantize-data.ts'

describe('fakeQuantize equals the oracle', () => {
  it.each(names)('%s', name => {
    const random = generator(names.indexOf(name) + 1)
    for (let round = 0; round < 160; round++) {
      const [shape, axis] = pick<[number[], number | [number, number]]>(random, [[7, 96], 1], [[23, 192], 1], [[3, 70], -1], [[70, 9], 0], [[64, 40], 0], [[2, 36, 4], 1], [[2, 33, 65], -2], [[5, 2, 33], 2], [[100], 0], [[1, 1], 0],
        [[20, 37], [0, 1]], [[2, 33, 40], [-2, -1]], [[17, 3, 18], [0, 2]], [[9, 10, 3], [0, 1]])
      let q = anyQuantizer(random, name)
      if (q.rounding === 'stochastic' && q.bump === 'as-released') q = { ...q, bump: 'none' }
      const kind = pick(random, ...kinds)
      const n = shape.reduce((a, b) => a * b)
      const x = new Float32Array(hardWords(n, kind, random).buffer)
      const got = run(x, shape, (p, src, dst) => fakeQuantize(p, src, dst, axis, q, { seed, stream, stepPtr }), 1 + random() % 3, random() % 3 === 0)
      const wrong = difference(got, quantize(x, shape, axis, q, randomBits(q.randomBits)).values, x)
      if (wrong) expect.fail(`round ${round}, ${kind} data [${shape}] axis ${axis}, ${JSON.stringify(q)}: ${wrong}`)
    }
  })
})

describe('a tensor that no cache holds is quantized as its parts are', () => {
  // 16 MiB; parts of 1 MiB take the way of small tensors.
  const cols = 1024, rows = 4096, part = 256
  it.each([['rows', 1, 32], ['rows', 1, 16], ['rows', 1, 64], ['rows', 1, 1024], ['columns', 0, 32]] as const)('%s, axis %i, blocks of %i', (_, axis, blockSize) => {
    const random = generator(axis * 1024 + blockSize), x = new Float32Array(rows * cols), words = new Uint32Array(x.buffer)
    const hard = kinds.map(kind => hardWords(977, kind, random))
    for (let i = 0; i < x.length; i += 977) words.set(hard[random() % (random() % 2 ? 1 : hard.length)]!.subarray(0, x.length - i), i)
    const q: BlockQuantizer = { ...blockProfiles.ocp, format: 'e4m3', blockSize }
    const quantized = (y: Float32Array) => run(y, [y.length / cols, cols], (p, src, dst) => fakeQuantize(p, src, dst, axis, q), 1)
    const got = quantized(x)
    for (let i = 0; i < x.length; i += part * cols) {
      const piece = x.subarray(i, i + part * cols), wrong = difference(got.subarray(i, i + part * cols), quantized(piece), piece)
      if (wrong) expect.fail(`from element ${i}: ${wrong}`)
    }
  })
})

describe('roundElements equals the oracle', () => {
  const widths = [...[10, 12, 15, 16, 16, 20, 24, 30, 31, 32].map(bits => bfloat(bits)), ...[7, 8, 12, 16, 16, 20, 27, 28, 29].map(bits => fp(bits))]
  it.each(widths.map(r => [r.expBits === 8 ? `bfloat${r.manBits + 9}` : `fp${r.manBits + 6}`, r] as const))('%s', (_, width) => {
    const random = generator(width.manBits * 16 + width.expBits)
    for (let round = 0; round < 60; round++) {
      const r = { ...width, ...arithmetic(random), rounding: pick(random, 'nearest-even', 'nearest-away', 'toward-zero'), subnormals: pick(random, 'keep', 'keep', 'flush') } as const
      const kind = pick(random, ...kinds), n = 1 + random() % 500
      const x = new Float32Array(hardWords(n, kind, random).buffer)
      const got = run(x, [n], (p, src, dst) => roundElements(p, src, dst, r), 1 + random() % 3, random() % 2 === 0)
      const wrong = difference(got, roundElementsOracle(x, r), x)
      if (wrong) expect.fail(`round ${round}, ${kind} data, ${JSON.stringify(r)}: ${wrong}`)
    }
  })
})

it('bad input is refused in one line', () => {
  const p = new Program(ex.arena), t = ex.arena.tensor(4, 8)
  const q: BlockQuantizer = { ...blockProfiles.ocp, format: 'e4m3' }
  expect(() => fakeQuantize(p, t, ex.arena.tensor(8, 4), 0, q)).toThrow('dst has shape [8,4], must have src\'s [4,8]')
  expect(() => fakeQuantize(p, t, t, 2, q)).toThrow('axis is 2, must be in [-2, 1] for shape [4,8]')
  expect(() => fakeQuantize(p, t, t, 0, { ...q, blockSize: 1.5 })).toThrow('blockSize must be an integer >= 0 (0: the whole axis), got 1.5')
  expect(() => fakeQuantize(p, t, t, 0, { ...q, scaleBits: 9 })).toThrow('scaleBits must be an integer 2..8, got 9')
  expect(() => fakeQuantize(p, t, t, 0, { ...q, bump: 'intended', scaleRule: 'rceil' })).toThrow('bump intended goes with scaleRule floor, got rceil')
  expect(() => fakeQuantize(p, t, t, 0, { ...q, rounding: 'stochastic' })).toThrow('rounding stochastic needs a random source')
  expect(() => fakeQuantize(p, t, t, [1, 0], q)).toThrow('tile axes must be two different axes in order, got [1,0]')
  expect(p.calls).toEqual([])
})
