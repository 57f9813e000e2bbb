// quantize, dequantize and matmul as commands: files in, files out, and what they refuse.
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { dispatch, explain } from '../../src/cli/commands.ts'
import { makeVectors } from '../../src/conformance/vectors.ts'
import { raw, typed, type RawTensor } from '../../src/io/safetensors.ts'
import { readSafetensors, readTensor, writeSafetensors, writeTensor } from '../../src/io/tensor-file.ts'
import { unpackGguf, unswizzleScales } from '../../src/io/layouts.ts'
import { mmaConfig } from '../../src/numerics/mma.ts'
import { namedQuantizer, profileNotes, type ProfileName } from '../../src/numerics/named-quantizers.ts'
import { exactDotWord } from '../../src/oracle/exact.ts'
import { wordOf } from '../../src/oracle/float.ts'
import { quantizeNvfp4 } from '../../src/oracle/nvfp4.ts'
import { quantize } from '../../src/oracle/quantize.ts'

const folder = mkdtempSync(join(tmpdir(), 'numeric-'))
const at = (name: string) => join(folder, name)

/** Run a command on one thread; what it printed, and its exit code. */
async function blockscale(...args: string[]): Promise<{ out: string, err: string, code: number }> {
  let out = '', err = ''
  const write = vi.spyOn(process.stdout, 'write').mockImplementation(text => { out += text; return true })
  const error = vi.spyOn(process.stderr, 'write').mockImplementation(text => { err += text; return true })
  try { return { code: await dispatch(args), out, err } } catch (e) {
    const { text, code } = explain(e as Error)
    return { code, out, err: err + text }
  } finally { write.mockRestore(); error.mockRestore() }
}
const one = ['--threads', '1', '--narrow']
const values = (shape: number[], f: (i: number) => number) => raw(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => f(i)), shape)
const x = values([6, 96], i => Math.fround(Math.sin(i) * 2 ** (i * 7 % 13 - 6)))
writeTensor(at('x.npy'), x)
writeTensor(at('w.npy'), values([4, 96], i => Math.fround(Math.cos(i) * 2 ** (i * 5 % 9 - 6))))
const numbers = typed(x, Float32Array)

describe('quantize and dequantize', () => {
  it.each(Object.keys(profileNotes) as ProfileName[])('%s: the file holds the oracle\'s codes and scales, and is read back without options', async profile => {
    const { code, out } = await blockscale('quantize', at('x.npy'), at('q.safetensors'), '--profile', profile, ...one)
    expect(code).toBe(0)
    expect(out).toContain(profileNotes[profile].source)
    expect(out).toContain(profileNotes[profile].verified === 'output' ? 'verified against the output' : 'from the text of its source alone')
    const q = namedQuantizer(profile), want = q.kind === 'nvfp4' ? quantizeNvfp4(numbers, [6, 96], 1, q) : quantize(numbers, [6, 96], 1, q)
    const { tensors, metadata } = readSafetensors(at('q.safetensors'))
    expect([...tensors.get('codes')!.bytes]).toEqual([...want.codes])
    expect([...tensors.get('scales')!.bytes]).toEqual([...want.scales])
    expect(metadata).toMatchObject({ profile, verified: profileNotes[profile].verified, axis: '1', format: q.kind === 'nvfp4' ? 'e2m1' : q.format })
    const back = await blockscale('dequantize', at('q.safetensors'), at('v.npy'), ...one)
    expect(back.out).toContain(`profile ${profile}`)
    expect([...typed(readTensor(at('v.npy')), Float32Array)]).toEqual([...want.values])
    await blockscale('quantize', at('x.npy'), at('v2.npy'), '--profile', profile, '--values', ...one)
    expect(readTensor(at('v2.npy'))).toEqual(readTensor(at('v.npy')))
  })
  it('packed codes, swizzled scales, GGUF blocks and .npy hold the same', async () => {
    const plain = async (...more: string[]) => { await blockscale('quantize', at('x.npy'), at('p.safetensors:w'), '--profile', 'ocp', ...more, ...one); return readSafetensors(at('p.safetensors')).tensors }
    for (const format of ['e2m1', 'e3m2', 'e2m3']) {
      const bytes = (await plain('--format', format)).get('w.codes')!.bytes
      const packed = (await plain('--format', format, '--packed')).get('w.codes')!
      expect([packed.dtype, packed.bytes.length]).toEqual([{ e2m1: 'F4', e3m2: 'F6_E3M2', e2m3: 'F6_E2M3' }[format], bytes.length * (format === 'e2m1' ? 1 / 2 : 3 / 4)])
      await blockscale('dequantize', at('p.safetensors:w'), at('from-packed.npy'), ...one)
      await plain('--format', format)
      await blockscale('dequantize', at('p.safetensors:w'), at('from-plain.npy'), ...one)
      expect(readTensor(at('from-packed.npy'))).toEqual(readTensor(at('from-plain.npy')))
      await blockscale('quantize', at('x.npy'), at('q.npy'), '--profile', 'ocp', '--format', format, '--packed', ...one)
      expect((await blockscale('dequantize', at('q.npy'), at('from-npy.npy'), '--scales', at('q.scales.npy'), '--format', format, '--packed', ...one)).code).toBe(0)
      expect(readTensor(at('from-npy.npy'))).toEqual(readTensor(at('from-plain.npy')))
    }
    const scales = (await plain('--format', 'e2m1')).get('w.scales')!.bytes, tiles = (await plain('--format', 'e2m1', '--scale-layout', '128x4')).get('w.scales')!
    expect([tiles.shape, [...unswizzleScales(tiles.bytes, 6, 3)]]).toEqual([[128, 4], [...scales]])
    await blockscale('dequantize', at('p.safetensors:w'), at('v.npy'), ...one)
    const codes = (await plain('--format', 'e2m1')).get('w.codes')!.bytes
    await blockscale('dequantize', at('p.safetensors:w'), at('v2.npy'), ...one)
    expect(readTensor(at('v.npy'))).toEqual(readTensor(at('v2.npy')))
    await blockscale('quantize', at('x.npy'), at('g.npy'), '--profile', 'ocp', '--format', 'e2m1', '--gguf', ...one)
    const blocks = readTensor(at('g.npy'))
    expect([blocks.shape, unpackGguf(blocks.bytes)]).toEqual([[6, 51], { codes: new Uint8Array(codes), scales: new Uint8Array(scales) }])
    await blockscale('dequantize', at('g.npy'), at('v.npy'), '--gguf', ...one)
    expect(readTensor(at('v.npy'))).toEqual(readTensor(at('v2.npy')))
  })
  it('bf16 and fp16 input, tiles, stochastic rounding and a transform', async () => {
    const bf16: RawTensor = { dtype: 'BF16', shape: [6, 96], bytes: new Uint8Array(Uint16Array.from(new Uint32Array(numbers.buffer), w => w >>> 16).buffer) }
    writeSafetensors(at('h.safetensors'), [['x', bf16], ['y', { ...bf16, dtype: 'F16' }]])
    const upper = Float32Array.from(numbers, v => new Float32Array(Uint32Array.of(wordOf(v) & 0xffff0000).buffer)[0]!)
    await blockscale('quantize', at('h.safetensors:x'), at('q.safetensors'), '--profile', 'te-nvfp4', '--axis=-2,-1', ...one)
    const want = quantizeNvfp4(upper, [6, 96], [0, 1], namedQuantizer('te-nvfp4') as never), got = readSafetensors(at('q.safetensors')).tensors
    expect([[...got.get('codes')!.bytes], [...got.get('scales')!.bytes], got.get('scales')!.shape]).toEqual([[...want.codes], [...want.scales], [1, 6]])
    await blockscale('dequantize', at('q.safetensors'), at('v.npy'), ...one)
    expect([...typed(readTensor(at('v.npy')), Float32Array)]).toEqual([...want.values])
    expect((await blockscale('quantize', at('h.safetensors:y'), at('q.safetensors'), '--profile', 'ocp', ...one)).code).toBe(0)
    const random = async (seed: string) => { await blockscale('quantize', at('x.npy'), at('r.safetensors'), '--profile', 'ocp', '--rounding', 'stochastic', '--seed', seed, '--hadamard', 'te', ...one); return [...readSafetensors(at('r.safetensors')).tensors.get('codes')!.bytes] }
    expect(await random('1')).toEqual(await random('1'))
    expect(await random('1')).not.toEqual(await random('2'))
  })
})

describe('matmul', () => {
  it('of vectors gives the results of their model, on its diagonal', async () => {
    for (const [model, scaled] of [['blackwell-mxf8f6f4', true], ['blackwell-mxf4nvf4', true], ['hopper-bf16', false], ['hopper-fp8', false]] as const) {
      await blockscale('vectors', '--model', model, '--count', '12', '--start', 'zero', '--out', at('v.safetensors'))
      const v = (name: string) => at(`v.safetensors:${name}`)
      const { out, code } = await blockscale('matmul', v('a'), v('b'), at('d.npy'), '--accumulate', model, ...scaled ? ['--a-scales', v('scale_a'), '--b-scales', v('scale_b')] : ['--trans-b'], '--json', ...one)
      expect(code).toBe(0)
      expect(JSON.parse(out)).toMatchObject({ shape: [12, 12], model: { name: model, confidence: mmaConfig(model).confidence }, alpha: 1 })
      const d = new Uint32Array(typed(readTensor(at('d.npy')), Uint32Array))
      expect(Array.from({ length: 12 }, (_, i) => d[i * 13])).toEqual(makeVectors(mmaConfig(model), { count: 12, seed: 0, start: 'zero' }).map(c => c.d))
    }
  })
  it('f32 and exact, alpha, beta, C and output types', async () => {
    writeTensor(at('c.npy'), values([6, 4], i => i - 3))
    const a = numbers, b = typed(readTensor(at('w.npy')), Float32Array), row = (m: Float32Array, i: number) => m.subarray(i * 96, i * 96 + 96)
    const text = await blockscale('matmul', at('x.npy'), at('w.npy'), at('d.npy'), '--trans-b', '--accumulate', 'exact', ...one)
    expect(text.out).toMatch(/summed as exact: the exact sum, rounded once/)
    expect([...typed(readTensor(at('d.npy')), Uint32Array)]).toEqual(Array.from({ length: 24 }, (_, i) => exactDotWord(row(a, i >> 2), row(b, i & 3))))
    await blockscale('matmul', at('x.npy'), at('w.npy'), at('d.safetensors:d'), '--trans-b', '--alpha', '0.5', '--beta', '2', '--c', at('c.npy'), '--output', 'bf16', ...one)
    const want = Array.from({ length: 24 }, (_, i) => {
      let s = 0
      for (let k = 0; k < 96; k++) s = Math.fround(s + Math.fround(row(a, i >> 2)[k]! * row(b, i & 3)[k]!))
      const w = wordOf(Math.fround(Math.fround(0.5 * s) + 2 * (i - 3)))
      return w + 0x7fff + (w >>> 16 & 1) >>> 16
    })
    const d = readTensor(at('d.safetensors:d'))
    expect([d.dtype, [...typed(d, Uint16Array)]]).toEqual(['BF16', want])
  })
  it('quantized operands: tensor scales in alpha, tiles by rows, swizzled scales', async () => {
    await blockscale('quantize', at('x.npy'), at('a.safetensors'), '--profile', 'te-nvfp4', '--axis=-2,-1', '--packed', ...one)
    await blockscale('quantize', at('w.npy'), at('b.safetensors'), '--profile', 'torchao-nvfp4', '--packed', '--scale-layout', '128x4', ...one)
    const { out } = await blockscale('matmul', at('a.safetensors'), at('b.safetensors'), at('d.npy'), '--accumulate', 'exact', ...one)
    expect(out).toMatch(/profile te-nvfp4, from the text of its source alone.*profile torchao-nvfp4, verified against the output/)
    // The exact sum of the values without the tensor scales, times their product.
    for (const name of ['a', 'b']) await blockscale('dequantize', at(`${name}.safetensors`), at(`${name}.npy`), '--tensor-scale', '1', ...one)
    const alpha = Math.fround(['a', 'b'].map(n => typed(readTensor(at(`${n}.safetensors:tensor_scale`)), Float32Array)[0]!).reduce((p, q) => p * q))
    await blockscale('matmul', at('a.npy'), at('b.npy'), at('e.npy'), '--trans-b', '--accumulate', 'exact', '--alpha', String(alpha), ...one)
    expect(readTensor(at('d.npy'))).toEqual(readTensor(at('e.npy')))
  })
})

describe('bad input: one line, exit code 2', () => {
  const header = (json: string, data = new Uint8Array(0), length = json.length) => { const b = Buffer.alloc(8 + json.length + data.length); b.writeBigUInt64LE(BigInt(length)); b.write(json, 8); b.set(data, 8 + json.length); return b }
  const npy = (dict: string, data = 0, length = dict.length) => { const b = Buffer.alloc(10 + dict.length + data); b.write('\x93NUMPY\x01\x00', 'latin1'); b.writeUInt16LE(length, 8); b.write(dict, 10); return b }
  const f32 = (shape: string, offsets: string) => `{"dtype":"F32","shape":${shape},"data_offsets":${offsets}}`
  const files: [string, Buffer, RegExp][] = [
    ['huge-header.safetensors', header('{}', undefined, 2 ** 52), /header length 4503599627370496 exceeds the file/],
    ['huge-shape.safetensors', header(`{"a":${f32('[9007199254740991,9007199254740991]', '[0,4]')}}`, Buffer.alloc(4)), /takes .* bytes, data_offsets give 4/],
    ['huge-offsets.safetensors', header(`{"a":${f32('[1]', '[0,9007199254740991]')}}`, Buffer.alloc(4)), /must rise and stay within the data/],
    ['overlap.safetensors', header(`{"a":${f32('[2]', '[0,8]')},"b":${f32('[2]', '[4,12]')}}`, Buffer.alloc(12)), /overlaps another one at byte 4/],
    ['duplicate.safetensors', header(`{"a":${f32('[1]', '[0,4]')},"a":${f32('[1]', '[0,4]')}}`, Buffer.alloc(4)), /duplicate name "a"/],
    ['truncated.safetensors', header(`{"a":${f32('[4]', '[0,16]')}}`, Buffer.alloc(7)), /stay within the data \(7 bytes\)/],
    ['short.safetensors', Buffer.alloc(5), /shorter than its 8-byte header length/],
    ['deep.safetensors', header(`{"a":${'['.repeat(10000)}`), /nested deeper/],
    ['truncated.npy', npy(`{'descr': '<f4', 'fortran_order': False, 'shape': (9,), }\n`, 8), /takes 36 bytes, the file holds 8/],
    ['huge.npy', npy(`{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }\n`, 8), /takes \d.* bytes, the file holds 8/],
    ['header.npy', npy(`{'descr': '<f4'}`, 0, 60000), /header length 60000 exceeds/],
    ['object.npy', npy(`{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n`, 8), /is not supported/],
    ['double.npy', npy(`{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n`, 8), /F64 numbers, F32, BF16 or F16 are needed \(convert them/],
    ['text.npy', Buffer.from('hello, world'), /does not start with/],
  ]
  it.each(files)('%s', async (name, content, rule) => {
    writeFileSync(at(name), content)
    for (const args of [['quantize', at(name), at('o.npy'), '--profile', 'ocp'], ['dequantize', at(name), at('o.npy'), '--scales', at('x.npy'), '--format', 'e4m3'], ['matmul', at('x.npy'), at(name), at('o.npy')], ['compare', at(name), at('x.npy')]] as const) {
      const { code, err } = await blockscale(...args)
      expect([code, err.split('\n').length], args[0] + err).toEqual([2, 2])
      if (args[0] === 'quantize') expect(err).toMatch(rule)
    }
  })
  it('arguments', async () => {
    await blockscale('quantize', at('x.npy'), at('ok.safetensors'), '--profile', 'ocp', ...one)
    writeTensor(at('few.npy'), raw(new Uint8Array(17)))
    writeTensor(at('codes.npy'), raw(new Uint8Array(6 * 96).fill(200), [6, 96]))
    const q = ['quantize', at('x.npy'), at('o.safetensors')], m = ['matmul', at('x.npy'), at('w.npy'), at('o.npy')], d = ['dequantize', at('codes.npy'), at('o.npy')]
    const bad: [string[], RegExp][] = [
      [q, /--profile is needed/], [[...q, '--profile', 'ocpp'], /unknown quantizer profile "ocpp": use one of ocp, microxcaling, .*cublas-nvfp4/],
      [[...q, '--profile', 'ocp', '--format', 'e5m3'], /unknown format "e5m3": use one of e4m3/], [[...q, '--profile', 'ocp', '--format', 'bf16'], /bf16 has 16 bits/],
      [[...q, '--profile', 'te-mxfp8', '--format', 'e2m1'], /quantizes to e4m3, e5m2, not to e2m1/], [[...q, '--profile', 'ocp', '--axis', '7'], /axis is 7, must be in/],
      [[...q, '--profile', 'ocp', '--axis', 'last'], /--axis last: must be an axis/], [[...q, '--profile', 'ocp', '--block', '0.5'], /--block 0.5/], [[...q, '--profile', 'ocp', '--rounding', 'up'], /unknown rounding "up"/],
      [[...q, '--profile', 'ocp', '--rounding', 'stochastic'], /needs --seed/], [[...q, '--profile', 'ocp', '--hadamard', 'tt'], /--hadamard tt/], [[...q, '--profile', 'ocp', '--packed'], /--packed goes with e2m1/],
      [[...q, '--profile', 'ocp', '--gguf'], /--gguf goes with e2m1/], [[...q, '--profile', 'ocp', '--scale-layout', '32x4'], /unknown scale layout "32x4": use one of plain, 128x4/],
      [[...q, '--profile', 'ocp', '--random-bits', '9'], /--random-bits 9/], [['quantize', at('nothing.npy'), at('o.npy'), '--profile', 'ocp'], /cannot read/], [['quantize', at('x.npy'), at('o.txt'), '--profile', 'ocp'], /must be FILE.npy/],
      [m, /a \[6,96\] times b \[4,96\]: the inner sizes 96 and 4 differ/], [[...m, '--trans-b', '--accumulate', 'blackwel'], /unknown accumulator "blackwel": use one of f32, f32-fma, .*volta-f16/],
      [[...m, '--trans-b', '--accumulate', 'cdna4'], /is not offered: the accumulation of MI350/], [[...m, '--trans-b', '--output', 'fp8'], /unknown output type "fp8": use one of f32, bf16, f16/],
      [[...m, '--trans-b', '--accumulate', 'hopper-bf16'], /is not a number of bf16/], [[...m, '--trans-b', '--split-k', '0'], /--split-k 0/], [[...m, '--trans-b', '--alpha', 'x'], /--alpha x: must be a number/],
      [['matmul', at('ok.safetensors'), at('w.npy'), at('o.npy')], /has scales and .*w.npy has none/], [['matmul', at('x.npy'), at('w.npy')], /more arguments needed/],
      [['matmul', at('ok.safetensors'), at('ok.safetensors'), at('o.npy'), '--accumulate', 'hopper'], /no modelled unit for e4m3 times e4m3 with scales e8m0\/32/],
      [d, /U8 says no element format/], [[...d, '--format', 'e4m3'], /without scales/], [[...d, '--format', 'e4m3', '--scales', at('few.npy')], /17 scales; shape \[6,96\] with blocks of 32 along axis 1 has 18/],
      [[...d, '--format', 'e2m1', '--scales', at('few.npy')], /code 200 at element 0 is out of range, e2m1 has 16 codes/], [[...d, '--format', 'e4m3', '--scales', at('few.npy'), '--scale', 'e8m0/0'], /scale e8m0\/0: must be/],
      [[...d, '--format', 'e4m3', '--scales', at('x.npy')], /F32 scales, F8_E8M0, F8_E4M3 or U8/], [[...d, '--gguf'], /17 bytes a block/], [[...d, '--format', 'bf16', '--scales', at('few.npy')], /does not hold codes of bf16/],
      [[...d, '--format', 'e4m3', '--scales', at('few.npy'), '--scale-layout', '128x4'], /17 bytes; scales \[6, 3\] in 128x4 tiles take 512/],
    ]
    for (const [args, rule] of bad) {
      const { code, err, out } = await blockscale(...args, ...args.includes('--threads') ? [] : one)
      expect(err, args.join(' ')).toMatch(rule)
      expect([code, out, err.split('\n').length]).toEqual([2, '', 2])
    }
  })
  it('help has examples', async () => {
    for (const command of ['quantize', 'dequantize', 'matmul']) expect((await blockscale(command, '--help')).out).toMatch(/\nexamples:\n {2}blockscale/)
    expect((await blockscale('quantize', '--list')).out).toMatch(/te-nvfp4\s+text\s+e2m1/)
  })
})
