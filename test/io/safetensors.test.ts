import fc from 'fast-check'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { dtypeBits, formatSafetensors, parseSafetensors, raw, tensorBytes, typed, type Dtype, type RawTensor } from '../../src/io/safetensors.ts'

/** A file from a header text (or value) and data. */
function file(header: unknown, data: Uint8Array | number = 0, claimedLength?: bigint): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header))
  const bytes = typeof data === 'number' ? new Uint8Array(data) : data
  const all = new Uint8Array(8 + json.length + bytes.length)
  new DataView(all.buffer).setBigUint64(0, claimedLength ?? BigInt(json.length), true)
  all.set(json, 8)
  all.set(bytes, 8 + json.length)
  return all
}
const entry = (dtype: string, shape: unknown, begin: unknown, end: unknown) => ({ dtype, shape, data_offsets: [begin, end] })

describe('hostile files are refused with one line', () => {
  const cases: [string, Uint8Array, RegExp][] = [
    ['empty file', new Uint8Array(0), /shorter than its 8-byte header length/],
    ['seven bytes', new Uint8Array(7), /shorter than/],
    ['header longer than the file', file('{}', 0, 3n), /header length 3 exceeds the file/],
    ['header of 2^64-1 bytes', file('{}', 0, 2n ** 64n - 1n), /header length 18446744073709551615 exceeds the file/],
    ['header just past 2^53', file('{}', 0, 2n ** 53n + 1n), /header length 9007199254740993 exceeds/],
    ['not JSON', file('{"a"'), /header is not JSON/],
    ['not UTF-8', (() => { const f = file('{"ab":1}'); f[10] = 0xff; return f })(), /not UTF-8/],
    ['an array', file('[]'), /not a JSON object/],
    ['null', file('null'), /not a JSON object/],
    ['nesting', file('['.repeat(100_000)), /nested deeper than three levels/],
    ['nesting within an entry', file('{"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}}', 4), /nested deeper/],
    ['unterminated string', file(`{"${'\\"'.repeat(200_000)}`), /not JSON/],
    ['duplicate tensor', file('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1), /duplicate name "a"/],
    ['duplicate by escape', file('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0061":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1), /duplicate name "a"/],
    ['duplicate key in an entry', file('{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}', 1), /duplicate name "dtype"/],
    ['duplicate metadata', file('{"__metadata__":{"x":"1","x":"2"}}'), /duplicate name "x"/],
    ['metadata with a number', file({ __metadata__: { a: 1 } }), /__metadata__ must map strings to strings/],
    ['entry not an object', file({ a: 5 }), /tensor "a": entry is not an object/],
    ['unknown key', file({ a: { ...entry('U8', [1], 0, 1), extra: 1 } }, 1), /unknown key "extra"/],
    ['unknown dtype', file({ a: entry('F7', [1], 0, 1) }, 1), /unknown dtype "F7": use one of F64/],
    ['dtype from the prototype', file({ a: entry('toString', [1], 0, 1) }, 1), /unknown dtype/],
    ['no shape', file({ a: { dtype: 'U8', data_offsets: [0, 1] } }, 1), /shape must be a list/],
    ['negative size', file({ a: entry('U8', [-1], 0, 1) }, 1), /shape must be a list of sizes/],
    ['fractional size', file({ a: entry('U8', [0.5], 0, 1) }, 1), /shape must be a list of sizes/],
    ['size beyond 2^53', file('{"a":{"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,1]}}', 1), /shape must be a list of sizes/],
    ['product overflows', file({ a: entry('U8', [2 ** 40, 2 ** 40], 0, 1) }, 1), /takes 1\.2\d*e\+24 bytes, data_offsets give 1/],
    ['product wraps to the right size modulo 2^64', file({ a: entry('U8', [2 ** 32, 2 ** 32, 1], 0, 0) }), /takes 18446744073709552000 bytes/],
    ['one offset', file({ a: { dtype: 'U8', shape: [1], data_offsets: [0] } }, 1), /data_offsets must be two/],
    ['offsets as text', file({ a: entry('U8', [1], '0', '1') }, 1), /data_offsets must be two/],
    ['falling offsets', file({ a: entry('U8', [1], 1, 0) }, 1), /must rise and stay within/],
    ['beyond the data', file({ a: entry('U8', [2], 0, 2) }, 1), /must rise and stay within the data \(1 bytes\)/],
    ['size does not match', file({ a: entry('F32', [1], 0, 3) }, 3), /F32 of shape \[1\] takes 4 bytes, data_offsets give 3/],
    ['sub-byte tensor that ends inside a byte', file({ a: entry('F4', [3], 0, 2) }, 2), /takes no whole number of bytes/],
    ['overlap', file({ a: entry('U8', [4], 0, 4), b: entry('U8', [4], 2, 6) }, 6), /"b" overlaps/],
    ['the same bytes twice', file({ a: entry('U8', [4], 0, 4), b: entry('U8', [4], 0, 4) }, 4), /overlaps/],
    ['hole', file({ a: entry('U8', [1], 0, 1), b: entry('U8', [1], 2, 3) }, 3), /bytes 1 to 2 belong to no tensor/],
    ['trailing bytes', file({ a: entry('U8', [1], 0, 1) }, 2), /data holds 2 bytes, the tensors cover 1/],
  ]
  test.each(cases)('%s', (_, bytes, message) => {
    expect(() => parseSafetensors(bytes)).toThrow(message)
    try { parseSafetensors(bytes) } catch (error) {
      expect((error as Error).name).toBe('UsageError')
      expect((error as Error).message).not.toContain('\n')
      expect((error as Error).message.length).toBeLessThan(400)
    }
  })

  test('random damage to a valid file is refused or harmless, never another kind of error', () => {
    const good = formatSafetensors([['w', raw(Float32Array.of(1, 2, 3, 4), [2, 2])], ['b', raw(Uint8Array.of(1, 2))]], { note: 'x' })
    fc.assert(fc.property(fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), fc.nat(good.length), (edits, length) => {
      const bad = good.slice(0, length)
      for (const [at, byte] of edits) if (at < length) bad[at] = byte
      try { parseSafetensors(bad) } catch (error) { expect((error as Error).name).toBe('UsageError') }
    }), { numRuns: 2000 })
  })
})

test('names like __proto__ and integers are ordinary', () => {
  const out = parseSafetensors(formatSafetensors([['__proto__', raw(Uint8Array.of(1))], ['10', raw(Uint8Array.of(2))], ['9', raw(Uint8Array.of(3))]]))
  expect([...out.tensors].map(([name, t]) => [name, t.bytes[0]])).toEqual(expect.arrayContaining([['__proto__', 1], ['10', 2], ['9', 3]]))
  expect(Object.getPrototypeOf(out.metadata)).toBe(Object.prototype)
})

test('what is written is read back, for every dtype, aligned and in a fixed order', () => {
  const tensors = (Object.keys(dtypeBits) as Dtype[]).map((dtype, i): [string, RawTensor] => {
    const bytes = new Uint8Array(tensorBytes(dtype, [2, 4, i])).map((_, j) => j * 7 + i)
    return [dtype, { dtype, shape: [2, 4, i], bytes }]
  })
  const file = formatSafetensors(tensors, { format: 'test' })
  expect(formatSafetensors([...tensors].reverse(), { format: 'test' })).toEqual(file)
  const back = parseSafetensors(file)
  expect(back.metadata).toEqual({ format: 'test' })
  for (const [name, tensor] of tensors) {
    const got = back.tensors.get(name)!
    expect({ ...got, bytes: [...got.bytes] }).toEqual({ ...tensor, bytes: [...tensor.bytes] })
    if (dtypeBits[tensor.dtype] >= 16) expect(got.bytes.byteOffset % (dtypeBits[tensor.dtype] / 8)).toBe(0)
  }
})

test('the writer refuses what it cannot express', () => {
  expect(() => formatSafetensors([['a', { dtype: 'F32', shape: [2], bytes: new Uint8Array(4) }]])).toThrow(/F32 of shape \[2\] does not take 4 bytes/)
  expect(() => formatSafetensors([['a', raw(Uint8Array.of(1))], ['a', raw(Uint8Array.of(1))]])).toThrow(/duplicate name "a"/)
  expect(() => formatSafetensors([['__metadata__', raw(Uint8Array.of(1))]])).toThrow(/reserved name/)
})

test('typed copies, and refuses a partial element', () => {
  expect([...typed(raw(Float32Array.of(1.5, -2)), Float32Array)]).toEqual([1.5, -2])
  expect(() => typed({ dtype: 'U8', shape: [3], bytes: new Uint8Array(3) }, Float32Array)).toThrow(/3 bytes are no whole number of 4-byte elements/)
})

test('files written by the reference library parse', () => {
  const files = readdirSync('test/vectors', { recursive: true, encoding: 'utf8' }).filter(f => f.endsWith('.safetensors'))
  expect(files.length).toBeGreaterThan(3)
  for (const f of files) expect(parseSafetensors(readFileSync(join('test/vectors', f))).tensors.size).toBeGreaterThan(0)
})
