// What identify says of products that nothing explains: a factor, scales or operands read otherwise. The products here are computed from such operands.
import { describe, expect, it } from 'vitest'
import { identifyProduct, type ProductDump, type ProductOperand } from '../../src/conformance/identify-product.ts'
import { distanceOf } from '../../src/conformance/product-hints.ts'
import type { ScaledMatrix } from '../../src/core/core.ts'
import { swizzleScales, unswizzleScales } from '../../src/io/layouts.ts'
import { core, numbers } from './product-dumps.ts'

const M = 128, N = 256, K = 128, all = (n: number) => Array.from({ length: n }, (_, i) => i)
const quantized = async (rows: number, seed: number): Promise<ScaledMatrix> => { const { shape, format, codes, scales, scale } = await core.quantize(numbers(rows, K, seed), 'ocp', { format: 'e4m3' }); return { shape, format, codes, scales, scale } }
const product = async (a: ProductOperand, b: ProductOperand) => (await core.matmul(await values(a), await values(b), { transB: true })).data
const values = async (x: ProductOperand) => 'scales' in x ? core.dequantize(x) : 'codes' in x ? core.decode(x) : x
const hints = async (a: ProductOperand, b: ProductOperand, out: Float32Array, more: Partial<ProductDump> = {}) => (await distanceOf(core, { a, b, out, ...more }, all(a.shape[0]!).filter(i => i % 7 === 0), all(b.shape[0]!).filter(i => i % 9 === 0))).findings

describe('a factor on all outputs', () => {
  it('is named, whatever rounding is in the outputs', async () => {
    const a = numbers(20, 64, 1), b = numbers(30, 64, 2), out = await product(a, b)
    expect((await hints(a, b, out.map(x => x * 0.5)))[0]).toMatch(/factor of about 0\.5:/)
    expect((await hints(a, b, out.map((x, i) => x * -3 * (1 + (i % 5 - 2) * 1e-4))))[0]).toMatch(/factor of about -(3|2\.999\d*|3\.000\d*):/)
    expect(await hints(a, b, out)).toEqual([])
    expect(await hints(a, b, out.map((x, i) => x * (1 + (i % 5 - 2) * 1e-2)))).toEqual([])
  })
  it('is not that of alpha and C where these are known', async () => {
    const a = numbers(20, 64, 1), b = numbers(30, 64, 2), out = await product(a, b), c = { shape: [20, 30], data: Float32Array.from({ length: 600 }, (_, i) => Math.sin(i)) }
    expect(await hints(a, b, out.map((x, i) => Math.fround(2 * x + 3 * c.data[i]!)), { alpha: 2, beta: 3, c })).toEqual([])
  })
})

describe('scales and operands read otherwise', () => {
  it('each reading is named, for either operand and for both', async () => {
    const a = await quantized(M, 3), b = await quantized(N, 4), blocks = K / 32
    const turned = (x: ScaledMatrix, back = false): ScaledMatrix => { const rows = x.shape[0]!, to = x.scales.slice(); for (let r = 0; r < rows; r++) for (let g = 0; g < blocks; g++) { if (back) to[r * blocks + g] = x.scales[g * rows + r]!; else to[g * rows + r] = x.scales[r * blocks + g]! } return { ...x, scales: to } }
    const tiles = (x: ScaledMatrix): ScaledMatrix => ({ ...x, scales: swizzleScales(x.scales, x.shape[0]!, blocks) }), untiled = (x: ScaledMatrix): ScaledMatrix => ({ ...x, scales: unswizzleScales(x.scales, x.shape[0]!, blocks) })
    for (const [read, words] of [[(x: ScaledMatrix) => turned(x), 'stored as transposed'], [(x: ScaledMatrix) => turned(x, true), 'read as transposed'], [tiles, 'which lie in 128x4 tiles, read as plain'], [untiled, 'plain scales read as 128x4 tiles']] as const) {
      expect((await hints(a, b, await product(read(a), b)))[0]).toContain(`a's ${words.startsWith('plain') ? words : `scales${words.startsWith('which') ? ', ' : ' '}${words}`}`)
      expect((await hints(a, b, await product(a, read(b))))[0]).toContain('b\'s')
      expect((await hints(a, b, await product(read(a), read(b))))[0]).toContain('both operands\' ')
    }
    expect((await hints(a, b, await product({ shape: a.shape, format: a.format, codes: a.codes }, b)))[0]).toContain('without a\'s scales')
    expect(await hints(a, b, await product(a, b))).toEqual([])
  })
  it('a square operand or output that is transposed', async () => {
    const a = numbers(64, 64, 5), b = numbers(64, 64, 6), turn = (x: Float32Array) => x.map((_, i) => x[i % 64 * 64 + Math.floor(i / 64)]!)
    expect((await hints(a, b, await product(a, { ...b, data: turn(b.data) })))[0]).toContain('with b transposed')
    expect((await hints(a, b, turn(await product(a, b))))[0]).toContain('the product transposed')
  })
  it('nothing of all this: nothing is said', async () => {
    const a = await quantized(M, 3), b = await quantized(N, 4)
    expect(await hints(a, b, numbers(M, N, 7).data)).toEqual([])
  })
  it('comes with the findings, if nothing explains the product', async () => {
    const a = numbers(20, 64, 1), b = numbers(30, 64, 2), out = await product(a, b), codes = (x: Float32Array) => new Uint32Array(x.slice().buffer)
    expect((await identifyProduct(core, { a, b, out: { format: 'f32', codes: codes(out) } })).distance).toBeUndefined()
    expect((await identifyProduct(core, { a, b, out: { format: 'f32', codes: codes(out.map(x => x * 1.5)) } })).distance!.findings[0]).toMatch(/factor of about 1\.5/)
  })
})
