import { describe, expect, test } from 'vitest'
import { formatNpy, parseNpy } from '../../src/io/npy.ts'
import { concat, raw, typed } from '../../src/io/safetensors.ts'

function npy(dict: string, data: Uint8Array, version = 1, claimed = dict.length): Uint8Array {
  const head = new Uint8Array(version === 1 ? 10 : 12)
  head.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0])
  const view = new DataView(head.buffer)
  if (version === 1) view.setUint16(8, claimed, true)
  else view.setUint32(8, claimed, true)
  return concat([head, new TextEncoder().encode(dict), data])
}
const dict = (descr: string, shape: string, order = 'False') => `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }\n`

test('reads what numpy 2.4.6 wrote', () => {
  // np.save of np.arange(6, dtype='<f4').reshape(2, 3)
  const hex = '934e554d5059010076007b276465736372273a20273c6634272c2027666f727472616e5f6f72646572273a2046616c73652c20277368617065273a2028322c2033292c207d' + '20'.repeat(58) + '0a'
    + '000000000000803f0000004000004040000080400000a040'
  const t = parseNpy(Uint8Array.from(Buffer.from(hex, 'hex')))
  expect(t).toMatchObject({ dtype: 'F32', shape: [2, 3] })
  expect([...typed(t, Float32Array)]).toEqual([0, 1, 2, 3, 4, 5])
  expect(Buffer.from(formatNpy(t)).toString('hex')).toBe(hex)
})

test('round trip: scalars, vectors, matrices, codes', () => {
  for (const t of [raw(Float32Array.of(7), []), raw(Float64Array.of(1, 2, 3)), raw(Uint16Array.of(1, 2, 3, 4), [2, 2]), raw(new Uint8Array(0), [0, 5])]) {
    const back = parseNpy(formatNpy(t))
    expect(back.shape).toEqual(t.shape)
    expect([...back.bytes]).toEqual([...t.bytes])
    expect(back.bytes.byteOffset % 64).toBe(0)
  }
  expect(parseNpy(formatNpy({ dtype: 'F8_E4M3', shape: [2], bytes: Uint8Array.of(1, 2) })).dtype).toBe('U8')
  expect(() => formatNpy({ dtype: 'F4', shape: [2], bytes: new Uint8Array(1) })).toThrow(/F4 is packed/)
})

test('column-major becomes row-major; versions 2 and 3; opaque ml_dtypes', () => {
  // Column-major 2 x 3: element (i, j) at i + 2 j.
  const t = parseNpy(npy(dict('<u2', '(2, 3)', 'True'), new Uint8Array(Uint16Array.of(0, 10, 1, 11, 2, 12).buffer), 2))
  expect([...typed(t, Uint16Array)]).toEqual([0, 1, 2, 10, 11, 12])
  const cube = parseNpy(npy(dict('|u1', '(2, 2, 3)', 'True'), Uint8Array.from({ length: 12 }, (_, i) => (i % 2) * 100 + (Math.floor(i / 2) % 2) * 10 + Math.floor(i / 4)), 3))
  expect([...cube.bytes]).toEqual([0, 1, 2, 10, 11, 12, 100, 101, 102, 110, 111, 112])
  expect(parseNpy(npy(dict('<V2', '(1,)'), new Uint8Array(2))).dtype).toBe('U16')
})

describe('hostile files are refused with one line', () => {
  const data = new Uint8Array(4)
  const cases: [string, Uint8Array, RegExp][] = [
    ['empty', new Uint8Array(0), /does not start with/],
    ['other magic', new Uint8Array(20), /does not start with/],
    ['version 9', npy(dict('<f4', '(1,)'), data, 9), /version 9 is not/],
    ['header past the end', npy(dict('<f4', '(1,)'), data, 1, 60000), /header length 60000 exceeds/],
    ['header of 4 GB', npy(dict('<f4', '(1,)'), data, 2, 0xffffffff), /header length 4294967295 exceeds/],
    ['ends in the length', npy('', new Uint8Array(0), 2).subarray(0, 11), /ends within its header/],
    ['code in the header', npy("{'descr': __import__('os'), 'fortran_order': False, 'shape': (1,), }", data), /not the dict/],
    ['structured', npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", data), /not the dict/],
    ['pickled objects', npy(dict('|O', '(1,)'), data), /type "\|O" is not supported/],
    ['big-endian', npy(dict('>f4', '(1,)'), data), /type ">f4" is not supported: use little-endian/],
    ['prototype name', npy(dict('<toString', '(1,)'), data), /is not supported/],
    ['negative size', npy(dict('<f4', '(-1,)'), data), /not the dict/],
    ['huge size', npy(dict('<f4', '(99999999999999999999,)'), data), /must hold whole numbers/],
    ['huge product', npy(dict('<f4', '(4294967296, 4294967296)'), data), /takes .* bytes, the file holds 4/],
    ['too short', npy(dict('<f4', '(2,)'), data), /takes 8 bytes, the file holds 4/],
    ['too long', npy(dict('<f4', '()'), new Uint8Array(5)), /takes 4 bytes, the file holds 5/],
  ]
  test.each(cases)('%s', (_, bytes, message) => {
    expect(() => parseNpy(bytes)).toThrow(message)
    try { parseNpy(bytes) } catch (error) {
      expect((error as Error).name).toBe('UsageError')
      expect((error as Error).message).not.toContain('\n')
    }
  })
})
