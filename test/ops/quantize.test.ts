// Every quantizer kernel against the oracle, bit for bit, on hard inputs: formats x choices x shapes drawn at random from a fixed seed.
import { describe, expect, it } from 'vitest'
import { formats, type FormatName } from '../../src/numerics/formats.ts'
import { bfloat, bitEmulation, blockProfiles, exact, fp, torchEmulation } from '../../src/numerics/profiles.ts'
import type { Arithmetic, BlockQuantizer, Rounding } from '../../src/numerics/quantizer.ts'
import { fakeQuantize, roundElements } from '../../src/ops/quantize.ts'
import { philox4x32 } from '../../src/oracle/philox.ts'
import { quantize, roundElements as roundElementsOracle } from '../../src/oracle/quantize.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { Program } from '../../src/runtime/program.ts'
import { difference, generator, hardWords, kinds } from '../kernels/hard-data.ts'

const ex = new InlineExecutor()
const stepPtr = ex.arena.allocBytes(8)

/** Run `emit` on a copy of x over planned memory, in up to three cuts of each call, and return dst. */
function run(x: Float32Array, shape: readonly number[], emit: (p: Program, src: ReturnType<typeof ex.arena.tensor>, dst: ReturnType<typeof ex.arena.tensor>) => void, cut = 1, inPlace = false): Float32Array {
  const mark = ex.arena.mark()
  const src = ex.arena.tensor(...shape), dst = inPlace ? src : ex.arena.tensor(...shape)
  ex.arena.u32(src).set(new Uint32Array(x.buffer, x.byteOffset, x.length))
  const p = new Program(ex.arena)
  emit(p, src, dst)
  for (const { kernel, args, items } of p.calls) {
    const cuts = Array.from({ length: cut + 1 }, (_, i) => Math.floor(items * i / cut))
    for (let i = cut - 1; i >= 0; i--) (ex.kernels[kernel] as (...a: number[]) => void)(...args, cuts[i]!, cuts[i + 1]!)
  }
  const out = ex.arena.f32(dst).slice()
  ex.arena.release(mark)
  return out
}

const pick = <T>(random: () => number, ...choices: readonly T[]): T => choices[random() % choices.length]!
const names = Object.keys(formats) as FormatName[]
const roundings: readonly Rounding[] = ['nearest-even', 'nearest-away', 'toward-zero', 'stochastic']
/** The three emulated arithmetics, and now and then any mixture of their parts. */
const arithmetic = (random: () => number): Arithmetic => random() % 4 ? pick(random, exact, torchEmulation, bitEmulation)
  : { exponent: pick(random, 'bits', 'torch-log2'), half: pick(random, 'exact', 'add-half'), zeroSign: pick(random, 'preserve', 'torch', 'positive'), nan: pick(random, 'propagate', 'as-number') }

function anyQuantizer(random: () => number, format: FormatName): BlockQuantizer {
  const scaleRule = pick(random, 'floor', 'floor', 'ceil', 'even', 'rceil')
  return {
    ...blockProfiles.ocp, ...arithmetic(random), format, scaleRule, rounding: pick(random, ...roundings), blockSize: pick(random, 32, 32, 16, 64, 8, 5, 1, 12, 33, 0),
    bump: scaleRule === 'floor' ? pick(random, 'none', 'none', 'intended', 'as-released') : 'none', scaleBits: pick(random, 8, 8, 8, 5, 4, 2), flushSubnormals: random() % 4 === 0,
    randomBits: pick(random, 8, 16),
  }
}

const seed = 0x0123456789abcdefn, stream = 5, step = [0xfedcba98, 7] as const
new Uint32Array(ex.arena.memory.buffer, stepPtr, 2).set(step)
/** The random bits that the kernels take: element i has bytes [i b, (i + 1) b) of the Philox stream, little-endian. */
function randomBits(bits: 8 | 16): (i: number) => number {
  const bytes = new Map<number, Uint8Array>()
  return i => {
    const at = i * bits / 8, block = at >>> 4
    if (!bytes.has(block)) bytes.set(block, new Uint8Array(Uint32Array.from(philox4x32([block, stream, ...step], [Number(seed & 0xffffffffn), Number(seed >> 32n)])).buffer))
    const b = bytes.get(block)!, k = at & 15
    return bits === 8 ? b[k]! : b[k]! + 256 * b[k + 1]!
  }
}

describe('fakeQuantize equals the oracle', () => {
  it.each(names)('%s', name => {
    const random = generator(names.indexOf(name) + 1)
    for (let round = 0; round < 160; round++) {
      const [shape, axis] = pick<[number[], number | [number, number]]>(random, [[7, 96], 1], [[3, 70], -1], [[70, 9], 0], [[64, 40], 0], [[2, 36, 4], 1], [[2, 33, 65], -2], [[5, 2, 33], 2], [[100], 0], [[1, 1], 0],
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
