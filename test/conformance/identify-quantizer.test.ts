// identify finds the quantizer behind a dump. The expected answers come from the oracle: a profile explains a dump if and only if the oracle's output for it is the dump.
import { describe, expect, it } from 'vitest'
import { identifyQuantizer, type QuantizerDump, type QuantizerFindings } from '../../src/conformance/identify-quantizer.ts'
import { formats, type FormatName } from '../../src/numerics/formats.ts'
import { namedQuantizer, profileNotes, type ProfileName } from '../../src/numerics/named-quantizers.ts'
import type { BlockQuantizer } from '../../src/numerics/quantizer.ts'
import { swizzleScales } from '../../src/io/layouts.ts'
import { hadamard } from '../../src/oracle/hadamard.ts'
import { quantizeNvfp4 } from '../../src/oracle/nvfp4.ts'
import { bf16Even } from '../../src/numerics/profiles.ts'
import { TE_SIGNS } from '../../src/ops/hadamard.ts'
import { quantize, roundElements } from '../../src/oracle/quantize.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { generator, hardWords, kinds } from '../kernels/hard-data.ts'

const executor = new InlineExecutor()

/** Numbers of every kind: most rows finite and of some magnitude, some hard. NaN in one row only, so that not every block of a column is NaN. */
function numbers(rows: number, cols: number, seed: number, finite = false): Float32Array {
  const random = generator(seed), x = new Float32Array(rows * cols)
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * cols, (r + 1) * cols)
    if (r % 8 === 7) {
      row.set(new Float32Array(hardWords(cols, kinds[r % kinds.length]!, random).buffer))
      row.forEach((v, i) => { if (!Number.isFinite(v) && (finite || r !== 15) || Math.abs(v) > 1e3) row[i] = i / 7 })
    } else for (let i = 0; i < cols; i++) row[i] = Math.fround((random() / 2 ** 31 - 1) * (random() / 2 ** 32) * 2 ** (r % 5))
  }
  // Just below powers of two, where float32 logarithms misread, as block maxima; halves between codes; a NaN.
  for (let r = 0; r < rows; r += 9) for (let c = 0; c < cols; c += 32) {
    const row = x.subarray(r * cols + c, r * cols + Math.min(c + 32, cols)), top = 2 ** (r % 7 + 1)
    row.forEach((_, i) => { row[i] = Math.fround([top * (1 - 2 ** -24), 0.25, -0.25, 0.75, 1.25, -1.75, 2.5, 1e-3, -1e-9, 3.5, 5, -0, 0][i % 13]!) })
  }
  if (!finite) x[5] = NaN
  return x
}

const oracle = (profile: ProfileName, format: FormatName | undefined, x: Float32Array, shape: number[], axis: number | [number, number], block?: number, changes: Partial<BlockQuantizer> = {}) => {
  const q = namedQuantizer(profile, { ...format && { format }, ...block && { block } })
  return q.kind === 'nvfp4' ? quantizeNvfp4(x, shape, axis, q) : quantize(x, shape, axis, { ...q, ...changes })
}
const dumpOf = (want: { codes: ArrayLike<number>, scales: Uint8Array, blockShape: readonly number[] }, shape: number[], x: Float32Array, format: FormatName): QuantizerDump =>
  ({ shape, x, output: { kind: 'codes', codes: Uint8Array.from(want.codes), formats: [format], scales: { bytes: want.scales, shape: want.blockShape } } })
const names = (f: QuantizerFindings) => [...new Set(f.explanations.filter(e => !e.candidate.changed).map(e => `${e.candidate.profile} ${e.candidate.format} ${e.candidate.block} ${e.candidate.axis}`))].sort()

const all = Object.keys(profileNotes) as ProfileName[]

describe.each(all)('codes and scales of %s', profile => {
  const some = (profileNotes[profile].formats ?? ['e4m3', 'int8']).filter(f => formats[f].bits <= 8).slice(-2)
  it.each(some)('%s', async format => {
    for (const [axis, at] of [[1, 2], [0, 1], ...namedQuantizer(profile).kind === 'nvfp4' ? [[[0, 1], '1,2'] as const] : []] as const) {
      const shape = [48, 64], x = numbers(48, 64, 5), want = oracle(profile, format, x, shape, axis as number)
      const same = all.filter(p => {
        if (profileNotes[p].formats && !profileNotes[p].formats!.includes(format) || namedQuantizer(p).kind !== namedQuantizer(profile).kind) return false
        const other = oracle(p, format, x, shape, axis as number)
        return String(other.codes) === String(want.codes) && String(other.scales) === String(want.scales)
      })
      const found = await identifyQuantizer(executor, dumpOf(want, shape, x, format))
      expect(names(found)).toEqual(same.map(p => `${p} ${format} ${namedQuantizer(p).kind === 'nvfp4' ? 16 : 32} ${at}`).sort())
      expect(found.explanations[0]!.explained).toBe(48 * 64)
    }
  })
})

it('profiles whose arithmetic is theirs alone are named alone', async () => {
  const shape = [96, 64], x = numbers(96, 64, 5), alone: string[] = []
  for (const profile of all) for (const format of profileNotes[profile].formats ?? ['e2m1'] as const) {
    if (format !== 'e2m1') continue
    const found = await identifyQuantizer(executor, dumpOf(oracle(profile, format, x, shape, 1), shape, x, format))
    if (names(found).length === 1) alone.push(profile)
  }
  expect(alone).toEqual(['ocp', 'microxcaling', 'microxcaling-cuda', 'torchao-floor', 'torchao-ceil', 'torchao-even', 'torchao-rceil', 'ggml-mxfp4', 'te-nvfp4', 'torchao-nvfp4', 'torchao-nvfp4-one-level', 'modelopt-nvfp4', 'cublas-nvfp4'])
})

describe('values', () => {
  it('with format, block and axis unknown', async () => {
    const shape = [2, 64, 96], x = numbers(128, 96, 6, true)
    for (const [profile, format, axis, block] of [['torchao-ceil', 'e3m2', -1, 64], ['microxcaling', 'int8', -2, 32], ['ocp', 'e2m3', [-2, -1], 32]] as const) {
      const want = oracle(profile, format, x, shape, axis as number, block)
      const found = await identifyQuantizer(executor, { shape, x, output: { kind: 'values', values: want.values } })
      expect(names(found)).toContain(`${profile} ${format} ${block} ${axis === -1 ? 2 : axis === -2 ? 1 : '1,2'}`)
      expect(new Set(found.explanations.map(e => e.candidate.format))).toEqual(new Set([format]))
    }
  })
  it('rounded to bf16', async () => {
    const shape = [256, 96], x = numbers(256, 96, 7, true), want = roundElements(oracle('te-nvfp4', undefined, x, shape, 1).values, bf16Even)
    expect(names(await identifyQuantizer(executor, { shape, x, output: { kind: 'values', values: want, rounded: 'bf16' } }))).toContain('te-nvfp4 e2m1 16 2')
    expect(names(await identifyQuantizer(executor, { shape, x, output: { kind: 'values', values: want } }))).toEqual([])
  })
})

describe('what is nearly a profile', () => {
  const shape = [64, 64], x = numbers(64, 64, 8, true)
  it('one choice changed is named', async () => {
    for (const [changes, words] of [[{ rounding: 'toward-zero' }, 'rounding toward-zero'], [{ zeroSign: 'positive' }, 'zero signs positive']] as [Partial<BlockQuantizer>, string][]) {
      const found = await identifyQuantizer(executor, dumpOf(oracle('ocp', 'e4m3', x, shape, 1, 32, changes), shape, x, 'e4m3'))
      expect(names(found)).toEqual([])
      expect(found.explanations.map(e => `${e.candidate.profile}: ${e.candidate.changed}`)).toContain(`ocp: ${words}`)
    }
  })
  it('a Hadamard transform before, swapped nibbles, swizzled scales', async () => {
    const x = numbers(256, 64, 10, true), shape = [256, 64], turned = new Float32Array(x.length)
    for (let i = 0; i < x.length; i += 16) turned.set(hadamard(x.subarray(i, i + 16), TE_SIGNS), i)
    const want = oracle('te-nvfp4', undefined, roundElements(turned, bf16Even), shape, 1), dump = dumpOf(want, shape, x, 'e2m1')
    expect((await identifyQuantizer(executor, dump)).explanations.map(e => `${e.candidate.profile} ${e.candidate.changed}`)).toEqual(['te-nvfp4 TransformerEngine\'s Hadamard transform before'])
    const plain = dumpOf(oracle('torchao-nvfp4', undefined, x, shape, 1), shape, x, 'e2m1'), output = plain.output as Extract<QuantizerDump['output'], { kind: 'codes' }>
    const swapped = await identifyQuantizer(executor, { ...plain, output: { ...output, codes: output.codes.map((_, i) => output.codes[i ^ 1]!) } })
    expect(swapped.explanations.map(e => `${e.candidate.profile} ${e.candidate.changed}`)).toEqual(['torchao-nvfp4 FP4 codes with their nibbles swapped'])
    const tiles = swizzleScales(output.scales!.bytes, 256, 4)
    const swizzled = await identifyQuantizer(executor, { ...plain, output: { ...output, scales: { bytes: tiles, shape: [tiles.length] } } })
    expect(swizzled.explanations.map(e => `${e.candidate.profile} ${e.candidate.layout}`)).toEqual(['torchao-nvfp4 128x4'])
  })
  it('scales stored transposed, along either axis, of a whole tensor and of a sample', async () => {
    for (const [rows, columns] of [[96, 160], [320, 512]] as const) for (const axis of [0, 1] as const) {
      const x = numbers(rows, columns, 12, true), dump = dumpOf(oracle('torchao-rceil', 'e4m3', x, [rows, columns], axis), [rows, columns], x, 'e4m3'), output = dump.output as Extract<QuantizerDump['output'], { kind: 'codes' }>
      const [down, across] = axis ? [rows, columns / 32] : [rows / 32, columns], { bytes } = output.scales!
      expect(bytes.length).toBe(down * across)
      const turned = Uint8Array.from(bytes, (_, i) => bytes[i % down * across + Math.floor(i / down)]!)
      const found = await identifyQuantizer(executor, { ...dump, output: { ...output, scales: { bytes: turned, shape: [across, down] } } })
      expect(found.explanations.map(e => `${e.candidate.profile} ${e.candidate.axis} ${e.candidate.layout}`)).toContain(`torchao-rceil ${axis + 1} transposed`)
      expect(found.explanations.every(e => e.candidate.layout === 'transposed')).toBe(true)
    }
  })
  it('mutants are not explained; the counterexample is where they were changed', async () => {
    const big = numbers(320, 512, 9, true), want = oracle('torchao-rceil', 'e4m3', big, [320, 512], 1)
    for (const [what, index] of [['code', 100 * 512 + 77], ['scale', 200 * 16 + 3]] as const) {
      const dump = dumpOf(want, [320, 512], big, 'e4m3'), output = dump.output as Extract<QuantizerDump['output'], { kind: 'codes' }>
      const codes = output.codes.slice(), scales = output.scales!.bytes.slice()
      if (what === 'code') codes[index]! ^= 1
      else scales[index]!++
      const found = await identifyQuantizer(executor, { ...dump, output: { ...output, codes, scales: { ...output.scales!, bytes: scales } } })
      expect(found.explanations).toEqual([])
      const [best] = found.near, at = what === 'code' ? [100, 77] : [200, 96], x = big[at[0]! * 512 + at[1]!]!
      expect([best!.candidate.profile, best!.checked - best!.explained]).toEqual(['torchao-rceil', what === 'code' ? 1 : 32])
      const { counterexample: c } = best!, block = big.subarray(at[0]! * 512 + at[1]! - at[1]! % 32).subarray(0, 32)
      expect(c).toMatchObject({ coordinates: at, input: x, blockAmax: Math.max(...block.map(Math.abs)) })
      expect(c!.expected.code! ^ c!.actual.code!).toBe(what === 'code' ? 1 : 0)
      expect(c!.actual.scale! - c!.expected.scale!).toBe(what === 'code' ? 0 : 1)
      expect(c!.expected.value).toBe(want.values[at[0]! * 512 + at[1]!])
    }
  })
})

it('only what is asked for is tried; sizes that do not fit are refused', async () => {
  const shape = [64, 64], x = numbers(64, 64, 8, true), want = oracle('ocp', 'e4m3', x, shape, 1), dump = dumpOf(want, shape, x, 'e4m3')
  const found = await identifyQuantizer(executor, dump, { profiles: ['te-mxfp8'], blocks: [32], axes: [-1] })
  expect(found.shares.map(s => s.candidate.profile)).toEqual(['te-mxfp8'])
  await expect(identifyQuantizer(executor, { ...dump, shape: [64, 65] })).rejects.toThrow(/needs 4160 numbers, 4096 are given/)
  await expect(identifyQuantizer(executor, { ...dump, output: { kind: 'values', values: new Float32Array(3) } })).rejects.toThrow(/4096 elements, the output 3/)
  await expect(identifyQuantizer(executor, { ...dump, output: { kind: 'codes', codes: Uint8Array.from(want.codes), formats: ['e4m3'], scales: { bytes: want.scales.subarray(1), shape: [127] } } })).rejects.toThrow(/fits shape \[64,64\] with 127 scales/)
  await expect(identifyQuantizer(executor, dump, { axes: [0, 5] })).rejects.toThrow(/last two axes/)
})
