import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { dispatch } from '../../src/cli/commands.ts'
import { UsageError } from '../../src/errors.ts'
import { readTensor, writeTensor } from '../../src/io/tensor-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'vectors-'))
const at = (name: string) => join(folder, name)

/** Run a command; what it printed, and its exit code. */
async function blockscale(...args: string[]): Promise<{ out: string, code: number }> {
  let out = ''
  const write = vi.spyOn(process.stdout, 'write').mockImplementation(text => { out += text; return true })
  const quiet = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  try { return { code: await dispatch(args), out } } finally { write.mockRestore(); quiet.mockRestore() }
}

describe('blockscale vectors', () => {
  it('writes the same vectors as JSON and as tensors, which compare checks', async () => {
    const model = ['vectors', '--model', 'blackwell-mxf8f6f4', '--a', 'e4m3', '--b', 'e5m2', '--count', '70', '--seed', '9']
    const json = JSON.parse((await blockscale(...model)).out)
    await blockscale(...model, '--out', at('v.json'))
    expect(JSON.parse(readFileSync(at('v.json'), 'utf8'))).toEqual(json)
    await blockscale(...model, '--out', at('v.safetensors'))
    const d = readTensor(at('v.safetensors:d'))
    expect(json.cases.map((c: { d: string }) => parseInt(c.d, 16))).toEqual([...new Uint32Array(d.bytes.slice().buffer)])
    expect([json.a_format, json.b_format, json.confidence]).toEqual(['e4m3', 'e5m2', 'simulator'])

    const mine = { ...d, bytes: d.bytes.slice() }
    writeTensor(at('mine.safetensors:d'), mine)
    expect((await blockscale('compare', at('v.safetensors:d'), at('mine.safetensors:d'))).code).toBe(0)
    mine.bytes[0]! ^= 1
    writeTensor(at('mine.safetensors:d'), mine)
    expect((await blockscale('compare', at('v.safetensors:d'), at('mine.safetensors:d'))).code).toBe(1)
  })
  it('lists every model with its confidence, and what is refused with the reason', async () => {
    const { out } = await blockscale('vectors', '--list')
    expect(out).toMatch(/blackwell-mxf4nvf4\s+simulator\s+e2m1/)
    expect(out).toMatch(/cdna4: .*unpublished/)
  })
  it('refuses bad options in one line', async () => {
    writeFileSync(at('x'), '')
    const bad: [string[], RegExp][] = [
      [[], /--model is needed/], [['--model', 'cdna4'], /unpublished/], [['--model', 'volta-f16', '--a', 'bf16'], /does not take bf16/], [['--model', 'volta-f16', '--count', '0'], /--count 0/],
      [['--model', 'blackwell-mxf4', '--scale', 'e8m0/7'], /blackwell-mxf4 does not take scales e8m0\/7: use one of e8m0\/32/], [['--model', 'blackwell-mxf4', '--scale', 'e8m0'], /--scale e8m0: must be a type and a block/], [['--model', 'volta-f16', '--start', 'one'], /--start one/], [['--model', 'volta-f16', '--out', 'x.txt'], /must end in/],
      [['--model', 'volta-f16', '--count', '99999999'], /1\.\.1000000/], [['--nope'], /options are/],
    ]
    for (const [args, rule] of bad) {
      const error = await blockscale('vectors', ...args).then(() => null, e => e)
      expect(error).toBeInstanceOf(UsageError)
      expect(error.message).toMatch(rule)
      expect(error.message).not.toContain('\n')
    }
  })
})
