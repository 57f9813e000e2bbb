// identify names sums that no matrix unit forms: chains with and without FMA, f64, split-K, SIMD lanes and binary trees, each written out here.
import { describe, expect, it } from 'vitest'
import { doubleDot, fusedDot, fusedMultiplyAdd } from '../../src/oracle/gemm.ts'
import { wordOf } from '../../src/oracle/float.ts'
import { identify, M, N, numbers, ordered, outputs, row, told } from './product-dumps.ts'

const { fround } = Math

describe('sums as CPUs and GPUs form them, written out here', () => {
  const K = 128, a = numbers(M, K, 15), b = numbers(N, K, 16), of = (f: (x: Float32Array, y: Float32Array) => number) => outputs((i, j) => wordOf(fround(f(row(a.data, i, K), row(b.data, j, K)))))
  const products = (x: Float32Array, y: Float32Array) => Array.from(x, (v, k) => fround(v * y[k]!)), form = 'f32 numbers | -'
  const lanes = (x: Float32Array, y: Float32Array, n: number, step: (p: number, q: number, s: number) => number) => Array.from({ length: n }, (_, l) => { let s = 0; for (let k = l; k < K; k += n) s = step(x[k]!, y[k]!, s); return s })
  const plain = (p: number, q: number, s: number) => fround(s + fround(p * q))
  /** Neighbours are added until one is left; `strided`: the upper half onto the lower. */
  const reduced = (list: number[], strided = false): number => list.length === 1 ? list[0]! : reduced(Array.from({ length: list.length / 2 }, (_, i) => strided ? fround(list[i]! + list[i + list.length / 2]!) : fround(list[2 * i]! + list[2 * i + 1]!)), strided)
  const cases: [string, (x: Float32Array, y: Float32Array) => number, string][] = [
    ['FMA chain', fusedDot, `f32-fma | ${form} | ${ordered} | f32`],
    ['products, then sums', (x, y) => x.reduce((s, p, k) => plain(p, y[k]!, s), 0), `f32 | ${form} | ${ordered} | f32`],
    ['float64', doubleDot, `f64 | ${form} | ${ordered} | f32`],
    ['FMA, split-K in 4', (x, y) => [0, 32, 64, 96].map(k => fusedDot(x.subarray(k, k + 32), y.subarray(k, k + 32))).reduce((s, p) => fround(s + p)), `f32-fma | ${form} | in 4 parts of 32 k (split-K, or promotion after every 32) | f32`],
    ['FMA, split-K in 8, tree', (x, y) => reduced(Array.from({ length: 8 }, (_, i) => fusedDot(x.subarray(16 * i, 16 * i + 16), y.subarray(16 * i, 16 * i + 16)))), `f32-fma | ${form} | in 8 parts of 16 k (split-K), added as a binary tree of neighbours | f32`],
    ['8 lanes of FMA, halves folded', (x, y) => reduced(lanes(x, y, 8, fusedMultiplyAdd), true), `f32-fma | ${form} | by 8 accumulators in turn (k mod 8), added as a binary tree of halves folded | f32`],
    ['4 lanes, neighbours', (x, y) => reduced(lanes(x, y, 4, plain)), `f32 | ${form} | by 4 accumulators in turn (k mod 4), added as a binary tree of neighbours | f32`],
    ['16 lanes of FMA, in order', (x, y) => lanes(x, y, 16, fusedMultiplyAdd).reduce((s, p) => fround(s + p)), `f32-fma | ${form} | by 16 accumulators in turn (k mod 16), added in order | f32`],
    ['32 lanes, one of each four k: a warp', (x, y) => reduced(lanes(x, y, 32, fusedMultiplyAdd), true), `f32-fma | ${form} | by 32 accumulators in turn (k mod 32), added as a binary tree of halves folded | f32`],
    ['torch\'s sum of products: 4 registers of 8 lanes', (x, y) => { const l = lanes(x, y, 32, plain), register = (i: number) => fround(fround(fround(l[i]! + l[8 + i]!) + l[16 + i]!) + l[24 + i]!); return Array.from({ length: 8 }, (_, i) => register(i)).reduce((s, p) => fround(s + p)) }, `f32 | ${form} | by 32 accumulators in turn (k mod 32), added as 4 registers of 8 lanes, registers in order, then lanes in order | f32`],
    ['4 registers of 16 lanes of FMA, in pairs, lanes folded', (x, y) => { const l = lanes(x, y, 64, fusedMultiplyAdd); return reduced(Array.from({ length: 16 }, (_, i) => fround(fround(l[i]! + l[16 + i]!) + fround(l[32 + i]! + l[48 + i]!))), true) }, `f32-fma | ${form} | by 64 accumulators in turn (k mod 64), added as 4 registers of 16 lanes, registers as a binary tree of neighbours, then lanes as a binary tree of halves folded | f32`],
    ['pairwise', (x, y) => reduced(products(x, y)), `f32 | ${form} | pairwise: products added as a binary tree of neighbours | f32`],
    ['pairwise, strided', (x, y) => reduced(products(x, y), true), `f32 | ${form} | pairwise: products added as a binary tree of halves folded | f32`],
  ]
  it.each(cases)('%s', async (_, f, name) => {
    const words = of(f), found = await identify(a, b, words)
    expect(told(found)[0] === name || found.explanations[0]!.candidate.accumulate === 'exact' && told(found).includes(name)).toBe(true)
    expect(found.explanations.every(e => e.candidate.confidence === 'by definition')).toBe(true)
    // One output wrong in its last bit: no explanation, and the counterexample is it.
    const wrong = words.slice()
    wrong[3 * N + 2]! ^= 1
    const miss = await identify(a, b, wrong)
    expect(miss.explanations).toEqual([])
    expect(miss.near[0]).toMatchObject({ candidate: found.explanations[0]!.candidate, explained: M * N - 1, counterexample: { row: 3, column: 2, expectedCode: words[3 * N + 2], actualCode: wrong[3 * N + 2] } })
  })
  it('a chain is one explanation, even where K is so small that its parts could be single products', async () => {
    for (const K of [8, 64]) {
      const a = numbers(M, K, 23), b = numbers(N, K, 24), chain = outputs((i, j) => wordOf(row(a.data, i, K).reduce((s, p, k) => plain(p, b.data[j * K + k]!, s), 0)))
      expect(told(await identify(a, b, chain))).toEqual([`f32 | ${form} | ${ordered} | f32`])
    }
  })
  it('pairwise over a number that is no power of two, in halves and in neighbours', async () => {
    const K = 75, a = numbers(M, K, 17), b = numbers(N, K, 18)
    const halves = (list: number[]): number => list.length === 1 ? list[0]! : fround(halves(list.slice(0, list.length >> 1)) + halves(list.slice(list.length >> 1)))
    const neighbours = (list: number[]): number => list.length === 1 ? list[0]! : neighbours(Array.from({ length: Math.ceil(list.length / 2) }, (_, i) => 2 * i + 1 < list.length ? fround(list[2 * i]! + list[2 * i + 1]!) : list[2 * i]!))
    for (const [f, name] of [[halves, 'halves'], [neighbours, 'neighbours']] as const) {
      const words = outputs((i, j) => wordOf(f(Array.from({ length: K }, (_, k) => fround(a.data[i * K + k]! * b.data[j * K + k]!)))))
      expect(told(await identify(a, b, words))).toEqual([`f32 | f32 numbers | - | pairwise: products added as a binary tree of ${name} | f32`])
    }
  })
  it('numpy\'s pairwise sum: (a * b).sum(-1)', async () => {
    const sum = (x: readonly number[]) => x.reduce((s, p) => fround(s + p))
    const pairwise = (x: readonly number[]): number => {
      if (x.length > 128) { const half = Math.floor(x.length / 16) * 8; return fround(pairwise(x.slice(0, half)) + pairwise(x.slice(half))) }
      const eights = Math.floor(x.length / 8) * 8, r = Array.from({ length: 8 }, (_, l) => sum(x.slice(0, eights).filter((_, k) => k % 8 === l)))
      return sum([fround(fround(fround(r[0]! + r[1]!) + fround(r[2]! + r[3]!)) + fround(fround(r[4]! + r[5]!) + fround(r[6]! + r[7]!))), ...x.slice(eights)])
    }
    for (const K of [100, 300, 517]) {
      const a = numbers(M, K, 19), b = numbers(N, K, 20), words = outputs((i, j) => wordOf(pairwise(products(row(a.data, i, K), row(b.data, j, K)))))
      expect(told(await identify(a, b, words))).toEqual(['f32 | f32 numbers | - | pairwise: products added as numpy does (eight accumulators per 128, then a binary tree) | f32'])
    }
    // numpy 2.4.6: x = np.float32(1) / np.arange(1, 1001, dtype=np.float32); (x * x).sum().view(np.uint32) (in order, in binary trees and exactly the sum ends in 75, 73, 73)
    const x = { shape: [1, 1000], data: Float32Array.from({ length: 1000 }, (_, k) => 1 / (k + 1)) }
    const one = told(await identify(x, x, Uint32Array.of(0x3fd26c74)))
    expect(one.join()).toContain('as numpy does')
    for (const other of [`f32 | f32 numbers | - | ${ordered} | f32`, 'exact | f32 numbers | - | any order | f32']) expect(one).not.toContain(other)
  })
  it('C at the start of an FMA chain, or after it', async () => {
    const c = { shape: [M, N], data: Float32Array.from({ length: M * N }, (_, i) => fround(Math.sqrt(i + 2))) }
    const started = outputs((i, j) => wordOf(fusedDot(row(a.data, i, K), row(b.data, j, K), c.data[i * N + j])))
    expect((await identify(a, b, started, { c })).explanations.map(e => `${e.candidate.accumulate}: ${e.candidate.c}`)).toEqual(['f32-fma: where the sums start'])
    const added = outputs((i, j) => wordOf(fround(fround(fround(0.3) * reduced(lanes(row(a.data, i, K), row(b.data, j, K), 4, fusedMultiplyAdd))) + fround(2 * c.data[i * N + j]!))))
    expect((await identify(a, b, added, { c, alpha: fround(0.3), beta: 2 })).explanations.map(e => `${e.candidate.accumulate}: ${e.candidate.order}`)).toEqual(['f32-fma: by 4 accumulators in turn (k mod 4), added as a binary tree of neighbours'])
  })
  it('every sixteenth step fused: no candidate, and the chain of products and sums is the nearest', async () => {
    const words = of((x, y) => x.reduce((s, p, k) => k % 16 === 0 ? fusedMultiplyAdd(p, y[k]!, s) : plain(p, y[k]!, s), 0)), found = await identify(a, b, words)
    expect(found.explanations).toEqual([])
    expect(found.near[0]!.candidate).toMatchObject({ accumulate: 'f32', order: ordered })
    expect(found.near[0]!.explained).toBeGreaterThan(0)
    expect(found.near[0]!.counterexample).toBeDefined()
  })
})
