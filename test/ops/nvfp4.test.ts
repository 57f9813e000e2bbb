// NVFP4 kernels against the oracle on hard inputs, every recipe, rows, columns and tiles; and properties that do not depend on our own formulas.
import { describe, expect, it } from 'vitest'
import { nvfp4Profiles, nvfp4Recipes, type Nvfp4ProfileName, type Nvfp4Quantizer } from '../../src/numerics/nvfp4.ts'
import { codesTensor } from '../../src/ops/codes.ts'
import { dequantizeNvfp4, nvfp4ScaleShape, nvfp4TensorScale, quantizeNvfp4, rescaleNvfp4 } from '../../src/ops/nvfp4.ts'
import { decodingScale, quantizeNvfp4 as oracle, rescale, tensorScale } from '../../src/oracle/nvfp4.ts'
import { Program } from '../../src/runtime/program.ts'
import { difference, generator, hardWords, kinds } from '../kernels/hard-data.ts'
import { ex, execute, pick, randomBits, seed, stepPtr, stream } from './quantize-data.ts'

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)
const bytes = (c: { ptr: number, shape: readonly number[] }) => ex.arena.u8(c.ptr, size(c.shape)).slice()

describe.each(Object.keys(nvfp4Profiles) as Nvfp4ProfileName[])('%s', name => {
  it('values, codes, scales and the tensor scale equal the oracle', () => {
    const random = generator(300 + nvfp4Recipes.indexOf(nvfp4Profiles[name].recipe))
    for (let round = 0; round < 150; round++) {
      const q: Nvfp4Quantizer = { ...nvfp4Profiles[name], rounding: pick(random, 'nearest-even', 'nearest-even', 'stochastic'), randomBits: pick(random, 8, 16) }
      const [shape, axis] = pick<[number[], number | [number, number]]>(random, [[5, 192], 1], [[11, 192], 1], [[3, 70], -1], [[70, 9], 0], [[64, 40], 0], [[2, 36, 4], 1], [[100], 0], [[1, 1], 0], [[35, 50], [0, 1]], [[2, 32, 48], [-2, -1]])
      const kind = pick(random, ...kinds), x = new Float32Array(hardWords(size(shape), kind, random).buffer), given = random() % 3 === 0
      const label = `round ${round}, ${kind} data [${shape}] axis ${axis}, ${JSON.stringify(q)}`
      const mark = ex.arena.mark(), p = new Program(ex.arena)
      const src = ex.arena.tensor(...shape), values = random() % 3 ? ex.arena.tensor(...shape) : src, back = ex.arena.tensor(...shape), codes = codesTensor(ex.arena, shape), scales = codesTensor(ex.arena, nvfp4ScaleShape(shape, axis)), scale = ex.arena.tensor(1)
      ex.arena.u32(src).set(new Uint32Array(x.buffer))
      if (given) ex.arena.f32(scale)[0] = Math.fround(2 ** (random() % 40 - 20) * (1 + random() / 2 ** 32))
      else nvfp4TensorScale(p, src, scale, q.recipe)
      const s = given ? ex.arena.f32(scale)[0]! : undefined
      quantizeNvfp4(p, src, { values, codes, scales }, axis, q, scale, { seed, stream, stepPtr })
      if (typeof axis === 'number') dequantizeNvfp4(p, codes, scales, scale, back, q.recipe, axis)
      execute(p, 1)
      const want = oracle(x, shape, axis, q, s, q.rounding === 'stochastic' ? randomBits(q.randomBits) : undefined)
      expect(ex.arena.f32(scale)[0], label).toBe(want.tensorScale)
      expect(bytes(scales), label).toEqual(want.scales)
      const got = bytes(codes), wrong = got.findIndex((c, i) => c !== want.codes[i])
      if (wrong >= 0) expect.fail(`${label}: code [${wrong}] is ${got[wrong]}, want ${want.codes[wrong]}, from ${x[wrong]}`)
      const off = difference(ex.arena.f32(values), want.values, x)
      if (off) expect.fail(`${label}: ${off}`)
      const wrongBack = typeof axis === 'number' && difference(ex.arena.f32(back), want.values, x)
      if (wrongBack) expect.fail(`${label}: dequantized, ${wrongBack}`)
      ex.arena.release(mark)
    }
  })
  it('any cut into items gives the same bits', () => {
    const random = generator(17), shape = [4, 160], x = new Float32Array(hardWords(640, 'wide', random).buffer)
    for (const axis of [0, 1, [0, 1] as [number, number]]) {
      const results = [1, 2, 3].map(cut => {
        const src = ex.arena.from(x, ...shape), values = ex.arena.tensor(...shape), scale = ex.arena.tensor(1), p = new Program(ex.arena)
        nvfp4TensorScale(p, src, scale, nvfp4Profiles[name].recipe)
        quantizeNvfp4(p, src, { values }, axis, nvfp4Profiles[name], scale)
        execute(p, cut)
        return ex.arena.f32(values).slice()
      })
      expect(results[1]).toEqual(results[0])
      expect(results[2]).toEqual(results[0])
    }
  })
  it('the largest element comes back within the scale\'s rounding, and codes decode to the values', () => {
    const random = generator(23), x = Float32Array.from({ length: 256 }, () => random() / 2 ** 32 - 0.5), q = nvfp4Profiles[name]
    const src = ex.arena.from(x, 4, 64), values = ex.arena.tensor(4, 64), back = ex.arena.tensor(4, 64), codes = codesTensor(ex.arena, [4, 64]), scales = codesTensor(ex.arena, [4, 4]), scale = ex.arena.tensor(1), p = new Program(ex.arena)
    nvfp4TensorScale(p, src, scale, q.recipe)
    quantizeNvfp4(p, src, { values, codes, scales }, 1, q, scale)
    dequantizeNvfp4(p, codes, scales, scale, back, q.recipe)
    execute(p, 2)
    expect(difference(ex.arena.f32(back), ex.arena.f32(values))).toBe(null)
    for (let b = 0; b < 16; b++) {
      const block = x.subarray(16 * b, 16 * b + 16), at = block.reduce((m, v, i) => Math.abs(v) > Math.abs(block[m]!) ? i : m, 0)
      expect(Math.abs(ex.arena.f32(values)[16 * b + at]! / block[at]! - 1)).toBeLessThan(1 / 15)
    }
  })
})

it.each(nvfp4Recipes)('%s: a product gets both tensors\' scales back', recipe => {
  const random = generator(31), sums = Float32Array.from({ length: 99 }, () => (random() / 2 ** 32 - 0.5) * 2 ** (random() % 40))
  const x = ex.arena.from(sums, 99), out = ex.arena.tensor(99), a = ex.arena.from([tensorScale(recipe, 0.37)], 1), b = ex.arena.from([tensorScale(recipe, 91)], 1), p = new Program(ex.arena)
  rescaleNvfp4(p, x, out, a, b, recipe)
  execute(p, 2)
  expect(difference(ex.arena.f32(out), sums.map(s => rescale(recipe, s, tensorScale(recipe, 0.37), tensorScale(recipe, 91))))).toBe(null)
})

it('one level keeps no tensor scale; two levels decode with it', () => {
  expect([tensorScale('torchao-one-level', 5), tensorScale('te', 0), tensorScale('te', Infinity), tensorScale('torchao', 2688)]).toEqual([1, 1, 1, 1])
  expect([decodingScale('te', 4), decodingScale('torchao', 4)]).toEqual([0.25, 4])
})

it('bad input is refused in one line', () => {
  const p = new Program(ex.arena), t = ex.arena.tensor(4, 64), scale = ex.arena.tensor(1), q = nvfp4Profiles['te-nvfp4']
  expect(() => quantizeNvfp4(p, t, {}, 1, q, scale)).toThrow('nothing to write: give values, codes or scales')
  expect(() => quantizeNvfp4(p, t, { values: ex.arena.tensor(4, 4) }, 1, q, scale)).toThrow('values has shape [4,4], must have [4,64]')
  expect(() => quantizeNvfp4(p, t, { values: t }, [1, 0], q, scale)).toThrow('tiles must lie over the last two axes, got [1,0] for shape [4,64]')
  expect(() => quantizeNvfp4(p, t, { values: t }, 1, { ...q, rounding: 'stochastic' }, scale)).toThrow('rounding stochastic needs a random source')
  expect(p.calls).toEqual([])
})
