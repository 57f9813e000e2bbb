import { describe, expect, it } from 'vitest'
import { compare } from '../../src/conformance/compare.ts'
import type { Dtype, RawTensor } from '../../src/io/safetensors.ts'

const tensor = (dtype: Dtype, shape: number[], words: ArrayLike<number>, Type: Uint8ArrayConstructor | Uint16ArrayConstructor | Uint32ArrayConstructor = Uint32Array): RawTensor =>
  ({ dtype, shape, bytes: new Uint8Array(Type.from(words as number[]).buffer) })
const floats = (values: number[], shape = [values.length]) => tensor('F32', shape, new Uint32Array(Float32Array.from(values).buffer))

describe('compare', () => {
  it('finds equal tensors equal, any NaN like any NaN, unless bits are asked for', () => {
    const a = tensor('F32', [2], [0x7fc00000, 0x3f800000]), b = tensor('F32', [2], [0xffc00001, 0x3f800000])
    expect(compare(a, b).mismatches).toBe(0)
    expect(compare(a, b, { nan: 'bits' })).toMatchObject({ mismatches: 1, kinds: { 'NaN payload': 1 } })
  })

  it('names kinds and distances', () => {
    const result = compare(tensor('F32', [6], [0, 0x3f800000, 0x3f800000, 5, 0x7f800000, 0xbf800000]), tensor('F32', [6], [0x80000000, 0x3f800001, 0x3f800100, 9, 0x7f7fffff, 0x3f800000]))
    expect(result).toMatchObject({ mismatches: 6, kinds: { 'zero sign': 1, 'one ulp': 1, 'subnormal': 1, 'NaN or infinity': 1, 'larger': 2 } })
    expect(result.first[2]).toMatchObject({ index: 2, ulps: 256, expectedCode: 0x3f800000, actualCode: 0x3f800100, expected: '1' })
    expect(result.histogram.find(h => h.upTo === 1)).toEqual({ upTo: 1, count: 1 })
  })

  it('gives coordinates in order of the axes', () => {
    const a = Array(24).fill(1), b = a.slice()
    b[17] = 2
    expect(compare(floats(a, [2, 3, 4]), floats(b, [2, 3, 4])).first[0]).toMatchObject({ coordinates: [1, 1, 1], expected: '1', actual: '2' })
  })

  it('tells a wrong scale from a wrong rounding', () => {
    const a = Array.from({ length: 64 * 128 }, (_, i) => 1 + i % 7), scaled = a.slice(), rounded = a.slice()
    for (let i = 0; i < 32; i++) scaled[5 * 128 + 64 + i]! *= 2
    expect(compare(floats(a, [64, 128]), floats(scaled, [64, 128])).findings.join()).toMatch(/1 block of 32 mismatch in every element/)
    for (let i = 0; i < a.length; i += 37) rounded[i] = rounded[i]! * (1 + 2 ** -23)
    expect(compare(floats(a, [64, 128]), floats(rounded, [64, 128])).findings.join()).not.toMatch(/scales/)
  })

  it('speaks of scales only where there are blocks, and not where everything or almost everything differs', () => {
    // 40 rows of 16 beside blocks of 32; three of them differ throughout, as a wrong row index makes it.
    const narrow = Array.from({ length: 40 * 16 }, (_, i) => 1 + i % 7), other = narrow.map((x, i) => [3, 9, 20].includes(i >> 4) ? x * 2 : x)
    const found = compare(floats(narrow, [40, 16]), floats(other, [40, 16]))
    expect(found.findings.join()).not.toMatch(/scale|block/)
    expect(found.findings.join()).toMatch(/3 of 40 rows/)
    expect(compare(floats(narrow, [40, 16]), floats(other, [40, 16]), { block: 16 }).findings.join()).toMatch(/3 blocks of 16 mismatch in every element: look at their scales/)
    expect(compare(floats(narrow, [40, 16]), floats(narrow.map((x, i) => i % 16 ? x : x * 2), [40, 16])).findings.join()).not.toMatch(/block/)
    const wide = Array.from({ length: 64 * 128 }, (_, i) => 1 + i % 7)
    expect(compare(floats(wide, [64, 128]), floats(wide.map(x => x * 3), [64, 128])).findings).toEqual(['every element mismatches: another tensor, order of elements or arithmetic'])
    expect(compare(floats(wide, [64, 128]), floats(wide.map((x, i) => i % 50 ? x * 3 : x), [64, 128])).findings.join()).not.toMatch(/scales/)
    // The last block of a row may be short: it counts as whole when all it has differs.
    const ragged = Array(64 * 40).fill(1) as number[]
    expect(compare(floats(ragged, [64, 40]), floats(ragged.map((x, i) => Math.floor(i / 40) === 5 && i % 40 < 32 ? 2 : x), [64, 40])).findings.join()).toMatch(/1 block of 32/)
  })

  it('finds a row, a column and block edges', () => {
    const a = Array(64 * 64).fill(1), row = a.slice(), column = a.slice(), edge = a.slice()
    for (let i = 0; i < 40; i++) { row[9 * 64 + i] = 3; column[i * 64 + 20] = 3; edge[i * 64] = 3 }
    expect(compare(floats(a, [64, 64]), floats(row, [64, 64])).findings.join()).toMatch(/row 9 has 40/)
    expect(compare(floats(a, [64, 64]), floats(column, [64, 64])).findings.join()).toMatch(/1 of 64 columns/)
    expect(compare(floats(a, [64, 64]), floats(edge, [64, 64])).findings.join()).toMatch(/first or last element of a block/)
  })

  it('reads packed FP4 and FP6 and narrow floats', () => {
    expect(compare(tensor('F4', [4], [0x21, 0x43], Uint8Array), tensor('F4', [4], [0x21, 0x53], Uint8Array)).first[0]).toMatchObject({ index: 3, expected: '2', actual: '3', ulps: 1 })
    expect(compare(tensor('F6_E2M3', [4], [0x41, 0x20, 0x0c], Uint8Array), tensor('F6_E2M3', [4], [0x41, 0x20, 0x10], Uint8Array)).first[0]).toMatchObject({ index: 3, expectedCode: 3, actualCode: 4 })
    expect(compare(tensor('BF16', [1], [0x3f80], Uint16Array), tensor('BF16', [1], [0x3f81], Uint16Array)).first[0]).toMatchObject({ expected: '1', actual: '1.0078125' })
    expect(compare(tensor('F8_E4M3', [1], [0x7e], Uint8Array), tensor('F8_E4M3', [1], [0x7f], Uint8Array)).first[0]).toMatchObject({ expected: '448', actual: 'NaN', kind: 'NaN or infinity' })
  })

  it('counts scales E8M0 in binades, and sees no blocks in them', () => {
    const a = Array.from({ length: 40 * 64 }, (_, i) => 100 + i % 20), b = a.map((x, i) => i >> 6 === 7 ? x + 3 : i === 0 ? x + 1 : x)
    const found = compare(tensor('F8_E8M0', [40, 64], a, Uint8Array), tensor('F8_E8M0', [40, 64], b, Uint8Array))
    expect(found).toMatchObject({ mismatches: 65, kinds: { 'one ulp': 1, 'larger': 64 }, histogram: [{ upTo: 1, count: 1 }, { upTo: 4, count: 64 }] })
    expect(found.findings.join()).toMatch(/2 of 40 rows; row 7 has 64/)
    expect(found.findings.join()).not.toMatch(/block/)
    expect(compare(tensor('F8_E8M0', [2], [255, 0], Uint8Array), tensor('F8_E8M0', [2], [254, 255], Uint8Array)).kinds).toMatchObject({ 'NaN or infinity': 2 })
  })

  it('takes codes stored as plain integers for what the other tensor holds', () => {
    const codes = tensor('U8', [2], [0x7e, 0x38], Uint8Array), fp8 = tensor('F8_E4M3', [2], [0x7d, 0x38], Uint8Array)
    for (const [a, b] of [[codes, fp8], [fp8, codes]] as const) expect(compare(a, b)).toMatchObject({ dtype: 'F8_E4M3', mismatches: 1, kinds: { 'one ulp': 1 } })
    expect(compare(tensor('U16', [1], [0x3f80], Uint16Array), tensor('BF16', [1], [0x3f81], Uint16Array)).first[0]).toMatchObject({ expected: '1', actual: '1.0078125' })
    expect(compare(codes, codes)).toMatchObject({ dtype: 'U8', mismatches: 0 })
  })

  it('refuses tensors that cannot be compared', () => {
    expect(() => compare(floats([1, 2]), floats([1, 2, 3]))).toThrow(/shapes differ/)
    expect(() => compare(tensor('F16', [1], [0], Uint16Array), tensor('BF16', [1], [0], Uint16Array))).toThrow('dtypes differ: expected F16, actual BF16')
    expect(() => compare(floats([1]), tensor('I32', [1], [0]))).toThrow('dtypes differ: expected F32, actual I32')
    expect(() => compare(floats([1]), tensor('BF16', [1], [0], Uint16Array))).toThrow(/dtypes differ/)
  })
})
