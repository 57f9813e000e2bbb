// identify as a command: what quantize and matmul wrote is found again, in every form in which files hold it.
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { dispatch, explain } from '../../src/cli/commands.ts'
import { raw, typed } from '../../src/io/safetensors.ts'
import { readTensor, writeTensor } from '../../src/io/tensor-file.ts'
import { generator } from '../kernels/hard-data.ts'

const folder = mkdtempSync(join(tmpdir(), 'identify-'))
const at = (name: string) => join(folder, name)
async function blockscale(...args: string[]): Promise<{ out: string, code: number }> {
  let out = ''
  const spies = [vi.spyOn(process.stdout, 'write').mockImplementation(text => { out += text; return true }), vi.spyOn(process.stderr, 'write').mockReturnValue(true)]
  try { return { code: await dispatch(args), out } } catch (error) {
    const { text, code } = explain(error as Error)
    return { code, out: text }
  } finally { for (const spy of spies) spy.mockRestore() }
}
const one = ['--threads', '1', '--narrow']
const run = (...args: string[]) => blockscale(...args, ...one)

const random = generator(3), unit = () => random() / 2 ** 32
const numbers = (rows: number, K: number) => raw(Float32Array.from({ length: rows * K }, () => Math.fround((unit() + unit() - 1) * 2 ** (random() % 12 - 6))), [rows, K])
writeTensor(at('x.npy'), numbers(160, 256))
writeTensor(at('a.npy'), numbers(6, 256))
writeTensor(at('b.npy'), numbers(9, 256))

describe('a quantized tensor', () => {
  it.each([
    ['torchao-nvfp4', []], ['te-nvfp4', ['--axis=-2,-1', '--packed']], ['torchao-ceil', ['--format', 'e3m2', '--packed']], ['torchao-ceil', ['--format', 'e2m1', '--scale-layout', '128x4', '--packed']], ['microxcaling', ['--format', 'int8', '--axis', '0']],
    ['torchao-rceil', ['--format', 'e5m2', '--values']],
  ])('by %s %o', async (profile, options) => {
    expect((await run('quantize', at('x.npy'), at('q.safetensors'), '--profile', profile, ...options)).code).toBe(0)
    const { out, code } = await run('identify', at('x.npy'), at('q.safetensors'))
    expect([code, out]).toEqual([0, expect.stringContaining(`explained, every bit, by:\n`)])
    expect(out).toMatch(new RegExp(`^  ${profile}, .*\n    profile ${profile}, (verified against|from the text of)`, 'm'))
  })
  it('in .npy and GGUF, and with a wrong bit: exit code 1 and the place', async () => {
    await run('quantize', at('x.npy'), at('q.npy'), '--profile', 'ocp', '--format', 'e4m3')
    expect((await run('identify', at('x.npy'), at('q.npy'), '--scales', at('q.scales.npy'))).out).toMatch(/^ {2}ocp, e4m3, blocks of 32 along the last axis$/m)
    await run('quantize', at('x.npy'), at('g.npy'), '--profile', 'ggml-mxfp4', '--gguf')
    expect((await run('identify', at('x.npy'), at('g.npy'), '--gguf')).out).toMatch(/^ {2}ggml-mxfp4, e2m1/m)
    const q = readTensor(at('q.npy')), bytes = q.bytes.slice()
    bytes[7 * 256 + 9]! ^= 2
    writeTensor(at('q.npy'), { ...q, bytes })
    const { out, code } = await run('identify', at('x.npy'), at('q.npy'), '--scales', at('q.scales.npy'))
    expect(code).toBe(1)
    expect(out).toMatch(/no candidate explains every bit\nnearest of the others:\n {2}ocp, .*: 1 of 40960 elements differ \(99.9975 % explained\)\n {4}at \[7,9\]: input \S+, largest magnitude of its block \S+: expected \S+ \(code 0x\w\w, scale 0x\w\w\), actual/)
    const json = JSON.parse((await run('identify', at('x.npy'), at('q.npy'), '--scales', at('q.scales.npy'), '--json', '--profile', 'ocp', '--format', 'e4m3')).out)
    expect(json).toMatchObject({ elements: 40960, explanations: [], near: [{ explained: 40959, candidate: { profile: 'ocp' } }] })
  })
})

describe('a product', () => {
  it('of numbers, of codes, of quantized tensors', async () => {
    await run('matmul', at('a.npy'), at('b.npy'), at('d.npy'), '--trans-b', '--split-k', '4')
    expect((await run('identify', at('a.npy'), at('b.npy'), at('d.npy'), '--trans-b')).out).toMatch(/^ {2}f32; f32 numbers; in 4 parts of 64 k/m)
    for (const name of ['a', 'b']) await run('quantize', at(`${name}.npy`), at(`${name}.safetensors`), '--profile', 'ocp', '--format', 'e4m3')
    await run('matmul', at('a.safetensors'), at('b.safetensors'), at('d.safetensors:d'), '--accumulate', 'blackwell', '--output', 'bf16')
    const scaled = await run('identify', at('a.safetensors'), at('b.safetensors'), at('d.safetensors'))
    expect([scaled.code, scaled.out]).toEqual([0, expect.stringMatching(/^ {2}blackwell-mxf8f6f4; codes and scales; scales in the unit; in order of k; output bf16, nearest even\n {4}confidence of the model: simulator/m)])
    const codes = ['--trans-b', '--a-format', 'e4m3', '--b-format', 'e4m3'], [a, b] = [at('a.safetensors:codes'), at('b.safetensors:codes')]
    await run('matmul', a, b, at('e.safetensors'), ...codes, '--accumulate', 'hopper-fp8')
    expect((await run('identify', a, b, at('e.safetensors'), ...codes)).out).toMatch(/^ {2}hopper-fp8; codes as they are; in order of k; output f32$/m)
    const d = readTensor(at('e.safetensors')), words = typed(d, Uint32Array)
    words[5]! ^= 0x800
    writeTensor(at('e.npy'), { ...d, bytes: new Uint8Array(words.buffer) })
    const wrong = await run('identify', a, b, at('e.npy'), ...codes)
    expect([wrong.code, wrong.out]).toEqual([1, expect.stringMatching(/no candidate explains every bit\nnearest of the others:\n {2}hopper-fp8; .*: 1 of 54 outputs differ .*\n.*confidence of the model: hardware.*\n {4}at \[0, 5\]: expected/)])
  })
})

it('bad input: one line, exit code 2', async () => {
  await run('quantize', at('x.npy'), at('q.safetensors'), '--profile', 'ocp')
  const bad: [string[], RegExp][] = [
    [[at('x.npy')], /more arguments needed/], [[at('a.npy'), at('q.safetensors')], /shapes differ: input \[6,256\], output \[160,256\]/], [[at('x.npy'), at('q.safetensors'), '--profile', 'oc'], /unknown quantizer profile "oc"/],
    [[at('x.npy'), at('q.safetensors'), '--format', 'e1'], /unknown format "e1"/], [[at('x.npy'), at('q.safetensors'), '--alpha', '2'], /--alpha goes with identify A B OUTPUT/], [[at('x.npy'), at('q.safetensors'), '--near', 'x'], /--near x/],
    [[at('x.npy'), at('q.safetensors'), '--block', '48'], /no profile, format, block and axis fits/], [[at('x.npy'), at('q.safetensors:codes'), '--scales', at('x.npy')], /F32 scales/], [[at('x.npy'), at('x.npy'), '--axis', '9'], /last two axes/],
    [[at('a.npy'), at('b.npy'), at('x.npy')], /a \[6,256\]|is \[6, /], [[at('a.npy'), at('b.npy'), at('q.safetensors:codes'), '--trans-b'], /a product is F32, BF16 or F16/], [[at('a.npy'), at('b.npy'), at('x.npy'), '--trans-b', '--scales', at('x.npy')], /--scales goes with identify INPUT OUTPUT/],
    [[at('q.safetensors'), at('b.npy'), at('x.npy'), '--trans-b'], /is \[160, 9\]|neither/],
  ]
  for (const [args, rule] of bad) {
    const { out, code } = await run('identify', ...args)
    expect(out, args.join(' ')).toMatch(rule)
    expect([code, out.split('\n').length]).toEqual([2, 2])
  }
  expect((await blockscale('identify', '--help')).out).toMatch(/\nexamples:\n/)
})
