import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { TorchGenerator } from '../../src/data/torch-random.ts'
import { parseSafetensors, typed } from '../../src/io/safetensors.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'

const file = parseSafetensors(readFileSync(new URL('../vectors/init/init.safetensors', import.meta.url)))
const executor = new InlineExecutor()
const bits = (x: Float32Array) => [...new Uint32Array(x.buffer)]
const expected = (name: string) => typed(file.tensors.get(name)!, Float32Array)

it.each([1337, 0])('seed %i: the student-teacher draws of torch, bit for bit', seed => {
  const draw = new TorchGenerator(executor, seed), name = (part: string) => `s${seed}.student_teacher_order.${part}`
  for (const i of [0, 1]) {
    expect(bits(draw.linearWeight(64, 16))).toEqual(bits(expected(name(`student.${i}.fc1.weight`))))
    expect(bits(draw.linearWeight(16, 64))).toEqual(bits(expected(name(`student.${i}.fc2.weight`))))
    expect(bits(draw.linearBias(16, 64))).toEqual(bits(expected(name(`student.${i}.fc2.bias`))))
  }
  for (const i of [0, 1]) for (const j of [0, 1]) expect(bits(draw.linearWeight(16, 16))).toEqual(bits(expected(name(`teacher.${i}.${j}.weight`))))
  expect(bits(draw.normals(64))).toEqual(bits(expected(name('x'))))
})

it.each([1337, 0])('seed %i: randn of every length in the file', seed => {
  const lengths = [...file.tensors.keys()].map(k => new RegExp(`^s${seed}\\.randn(\\d+)\\.f32$`).exec(k)).filter(m => m !== null)
  expect(lengths.length).toBeGreaterThan(5)
  for (const [name, n] of lengths) expect(bits(new TorchGenerator(executor, seed).normals(Number(n)))).toEqual(bits(expected(name)))
})

it('skips, clones and restores', () => {
  for (const n of [3, 16, 100, 4096]) {
    const a = new TorchGenerator(executor, 7), b = new TorchGenerator(executor, 7)
    a.normals(5)
    b.skipNormal(5)
    a.normals(n)
    b.skipNormal(n)
    const c = a.clone(), d = new TorchGenerator(executor, 0)
    d.restore(a.state())
    const next = bits(a.normals(33))
    for (const g of [b, c, d]) expect(bits(g.normals(33))).toEqual(next)
  }
})
