import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { writeFileAtomic } from '../../src/io/atomic.ts'
import { formatLine, parseLines } from '../../src/io/jsonl.ts'
import { raw, typed } from '../../src/io/safetensors.ts'
import { parseAddress, readSafetensors, readTensor, writeSafetensors, writeTensor } from '../../src/io/tensor-file.ts'

vi.mock('node:fs', async original => ({ ...await original<typeof fs>() }))
afterEach(() => { vi.restoreAllMocks() })

const folder = () => fs.mkdtempSync(join(tmpdir(), 'blockscale-io-'))

describe('atomic write', () => {
  test('replaces a file whole and leaves nothing else', () => {
    const dir = folder(), path = join(dir, 'a')
    writeFileAtomic(path, 'one')
    writeFileAtomic(path, [Uint8Array.of(0x74), Uint8Array.of(0x77, 0x6f)])
    expect(fs.readFileSync(path, 'utf8')).toBe('two')
    expect(fs.readdirSync(dir)).toEqual(['a'])
  })

  test.each(['openSync', 'writeSync', 'fsyncSync', 'renameSync'] as const)('a failing %s leaves the previous file and nothing half-written', name => {
    const dir = folder(), path = join(dir, 'a')
    writeFileAtomic(path, 'one')
    vi.spyOn(fs, name).mockImplementation(() => { throw Object.assign(new Error(`${name} failed`), { code: 'ENOSPC' }) })
    expect(() => writeFileAtomic(path, 'x'.repeat(3 << 20))).toThrow(/^cannot write .*a: disk full, 3\.0 MiB needed$/)
    vi.restoreAllMocks()
    expect(fs.readFileSync(path, 'utf8')).toBe('one')
    expect(fs.readdirSync(dir)).toEqual(['a'])
  })

  test('a disk that fills up half way: RunError, previous file intact', () => {
    const dir = folder(), path = join(dir, 'a')
    writeFileAtomic(path, 'one')
    const write = fs.writeSync as unknown as (fd: number, b: Uint8Array, at: number, n: number) => number
    let room = 1000
    vi.spyOn(fs, 'writeSync').mockImplementation(((fd: number, bytes: Uint8Array, at: number, n: number) => {
      if (room === 0) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
      const part = Math.min(n, room, 300) // short writes, too
      room -= part
      return write(fd, bytes, at, part)
    }) as never)
    expect(() => writeFileAtomic(path, new Uint8Array(5000))).toThrow(expect.objectContaining({ name: 'RunError', message: expect.stringMatching(/disk full, 5000 bytes needed/) }))
    vi.restoreAllMocks()
    expect(fs.readFileSync(path, 'utf8')).toBe('one')
    expect(fs.readdirSync(dir)).toEqual(['a'])
  })

  test('short writes are continued', () => {
    const path = join(folder(), 'a')
    const write = fs.writeSync as unknown as (fd: number, b: Uint8Array, at: number, n: number) => number
    vi.spyOn(fs, 'writeSync').mockImplementation(((fd: number, bytes: Uint8Array, at: number, n: number) => write(fd, bytes, at, Math.min(n, 7))) as never)
    const bytes = Uint8Array.from({ length: 100 }, (_, i) => i)
    writeFileAtomic(path, bytes)
    expect(new Uint8Array(fs.readFileSync(path))).toEqual(bytes)
  })

  const small = (() => {
    const dir = folder()
    try { execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', dir], { stdio: 'ignore' }); return dir } catch { return null }
  })()
  if (!small) console.log('skipped: full disk for real (mounting a small tmpfs needs rights this user lacks)')
  test.runIf(small)('a disk that is really full', () => {
    try {
      const path = join(small!, 'a')
      writeFileAtomic(path, 'one')
      expect(() => writeFileAtomic(path, new Uint8Array(1 << 20))).toThrow(/disk full, 1\.0 MiB needed/)
      expect(fs.readFileSync(path, 'utf8')).toBe('one')
      expect(fs.readdirSync(small!)).toEqual(['a'])
    } finally { execFileSync('umount', [small!]) }
  })

  test('a missing folder is named', () => {
    expect(() => writeFileAtomic(join(folder(), 'no', 'a'), 'x')).toThrow(/cannot write .*no\/a: ENOENT/)
  })
})

describe('tensor files', () => {
  test('addresses', () => {
    expect(parseAddress('a/b.safetensors:x:y')).toEqual({ file: 'a/b.safetensors', kind: 'safetensors', name: 'x:y' })
    expect(parseAddress('b.safetensors')).toEqual({ file: 'b.safetensors', kind: 'safetensors' })
    expect(parseAddress('b.npy')).toEqual({ file: 'b.npy', kind: 'npy' })
    for (const bad of ['b.bin', 'b', '', 'b.npy:x']) expect(() => parseAddress(bad)).toThrow(/must be FILE\.npy, FILE\.safetensors:NAME/)
  })

  test('one tensor of many, the only one, and an array', () => {
    const dir = folder(), many = join(dir, 'm.safetensors'), one = join(dir, 'o.safetensors'), array = join(dir, 'a.npy')
    writeSafetensors(many, [['x', raw(Float32Array.of(1, 2), [2, 1])], ['y:z', raw(Uint8Array.of(9))]], { k: 'v' })
    expect([...typed(readTensor(`${many}:x`), Float32Array)]).toEqual([1, 2])
    expect(readTensor(`${many}:y:z`).bytes).toEqual(Uint8Array.of(9))
    expect(() => readTensor(many)).toThrow(/holds 2 tensors: address one as .*with NAME one of x, y:z/)
    expect(() => readTensor(`${many}:q`)).toThrow(/holds no tensor "q": use one of x, y:z/)
    writeTensor(one, raw(Float32Array.of(5)))
    expect([...typed(readTensor(one), Float32Array)]).toEqual([5])
    writeTensor(array, raw(Float64Array.of(3), []))
    expect(readTensor(array)).toMatchObject({ dtype: 'F64', shape: [] })
    expect(readSafetensors(many).metadata).toEqual({ k: 'v' })
  })

  test('a missing, foreign or unreadable file is named', () => {
    const dir = folder(), bad = join(dir, 'bad.safetensors')
    fs.writeFileSync(bad, 'hello world, not a tensor')
    expect(() => readTensor(bad)).toThrow(/bad\.safetensors: safetensors: header length \d+ exceeds the file/)
    expect(() => readTensor(join(dir, 'no.npy'))).toThrow(/cannot read .*no\.npy: ENOENT/)
    fs.mkdirSync(join(dir, 'd.npy'))
    expect(() => readTensor(join(dir, 'd.npy'))).toThrow(/not a regular file|EISDIR/)
  })
})

test('JSON lines: a torn last line is dropped, a broken one is located', () => {
  expect(parseLines('{"a":1}\n\n{"a":2}\n{"a":', 'm.jsonl')).toEqual([{ a: 1 }, { a: 2 }])
  expect(() => parseLines('{"a":1}\nnope\n', 'm.jsonl')).toThrow(/^m\.jsonl line 2: /)
  expect(formatLine({ loss: NaN, x: Infinity, y: 1 })).toBe('{"loss":null,"x":null,"y":1}\n')
})
