// Where the integers of assembly/mma-sums-pack.ts are largest, where their planes meet, and where results leave the range: operands from which a limit off by one shows.
import { describe, expect, it } from 'vitest'
import { runTile } from '../../src/conformance/mma-core.ts'
import { mmaConfig } from '../../src/numerics/mma.ts'
import { mmaElement } from '../../src/oracle/mma.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'

const ex = new InlineExecutor()
const hex = (x: number) => (x >>> 0).toString(16)
const fill = <T>(n: number, f: (i: number) => T) => Array.from({ length: n }, (_, i) => f(i))

/** Every row of `a` with every row of `b` on the kernel and on the oracle; the same scales for all rows. */
function check(config: ReturnType<typeof mmaConfig>, a: number[][], b: number[][], c: number, scaleA: number[] = [127], scaleB: number[] = [127]): void {
  const got = runTile(ex, config, { a, b, c: a.map(() => b.map(() => c)), scaleA: a.map(() => scaleA), scaleB: b.map(() => scaleB) })
  const want = a.flatMap(x => b.map(y => mmaElement(config, x, y, c, scaleA, scaleB)))
  expect([...got].map(hex)).toEqual(want.map(hex))
}

/** Code of the largest number, of the least one, and of the sign. */
const formats = { e4m3: { largest: 0x7e, least: 1 }, e5m2: { largest: 0x7b, least: 1 } } as const
const SIGN = 0x80

describe.each(['e4m3', 'e5m2'] as const)('integers of %s', name => {
  const config = mmaConfig('blackwell-mxf8f6f4', { a: name, b: name }), { largest } = formats[name]

  it('largest sums: any number of elements near the largest, one small', () => {
    for (let small = 1; small < largest; small += small < 40 ? 1 : 5) {
      const rows = fill(8, i => fill(32, k => k === 31 ? small : k < 4 * i + 4 ? largest - (small + i) % 4 : 0))
      check(config, rows, rows, 0)
    }
  })

  it('the same, elements of one size', () => {
    for (let count = 1; count < 32; count++) {
      const rows = fill(8, i => fill(32, k => k < count ? largest - i : k === 31 ? 1 + 2 * (count % 4) : 0))
      check(config, rows, rows, 0)
    }
  })

  it('largest sums of small elements: those of plane 1 with the largest of the other operand', () => {
    const b = fill(16, j => fill(32, k => k ? largest - j % 4 : 1)) // the small one makes the unit small
    for (let code = largest - 0x60; code < largest - 0x4c; code++) for (const large of [4, 8, 16]) check(config, fill(4, i => fill(32, k => k < large ? largest - i % 2 : code)), b, 0)
  })

  it('small elements of both operands at the same k, the large ones at others', () => {
    for (const places of [[2], [31], [2, 31], [5, 6], [2, 3, 4], [15, 16, 17], [30]]) {
      for (let value = 1; value < 24; value++) {
        const row = (big: number, offset: number) => fill(4, i => fill(32, k => k === big ? largest - i : places.includes(k) ? (value * (i + 1) + k) % 24 + offset + (k + i & 1) * SIGN : 0))
        const c = value % 3 === 0 ? 0 : (value + 70) * 2 ** 23 + value
        check(config, row(0, 1), row(1, 2), c)
        check(config, row(0, 1), [...row(0, 2), ...row(1, 1)], c)
      }
    }
  })

  it('small elements in some rows alone', () => {
    for (let at = 0; at < 16; at++) {
      const a = fill(4, i => fill(32, k => largest - (i + k) % 9 + (k * i & 1) * SIGN)), b = fill(16, j => fill(32, k => largest - (j * 3 + k) % 7 + (k + j & 1) * SIGN))
      b[at]![at * 2] = 1 + at
      a[at % 4]![(at * 5 + 1) % 32] = 3 + at
      check(config, a, b, at * 2 ** 23)
    }
  })
})

describe('NaN and Inf', () => {
  const config = mmaConfig('blackwell-mxf8f6f4', { a: 'e5m2', b: 'e5m2' }), ones = (rows: number) => fill(rows, i => fill(64, k => 0x3c + (i + k) % 3))

  it('in operands, in whole tiles, and in steps after them', () => {
    for (const special of [0x7c, 0xfc, 0x7e]) {
      for (const at of [0, 17, 40]) {
        const a = ones(5), b = ones(32)
        b[18]![at] = special
        check(config, ones(5), b, 0x3f800000, [127, 127], [127, 127])
        a[1]![at] = special
        a[2]![63 - at] = special + 0x80 & 0xff
        check(config, a, b, 0, [127, 120], [127, 127])
      }
    }
    check(config, ones(4), ones(16), 0, [127, 255], [127, 127])
  })

  it('in accumulators', () => {
    for (const c of [0x7f800000, 0xff800000, 0x7f800001, 0xffc00000]) for (const rows of [16, 5]) check(config, ones(4), ones(rows), c, [127, 130], [127, 127])
  })
})

describe('range', () => {
  const config = mmaConfig('blackwell-mxf8f6f4', { a: 'e4m3', b: 'e4m3' })

  it('what overflows in one step stays infinite in the next', () => {
    for (let scale = 100; scale < 115; scale++) {
      const half = scale >> 1, a = [fill(64, () => 0x7e)]
      for (const used of [32, 4, 1]) {
        const b = [fill(64, k => k % 32 < used ? 0x7e + (k < 32 ? 0 : SIGN) : 0)]
        for (const c of [0, 0x7f000000, 0x7f7fffff]) check(config, a, b, c, fill(2, () => 127 + half), fill(2, () => 127 + scale - half))
      }
    }
  })

  it('accumulators near the largest number, products near and far', () => {
    for (let scale = -40; scale < 112; scale += 3) {
      const half = scale >> 1, a = [fill(64, k => 0x40 + k % 13), fill(64, k => k % 5 ? 0 : 0x7e)], b = [fill(64, k => k < 32 ? 0x51 + k % 7 : 0xd1 + k % 3), fill(64, () => 0x38)]
      for (const c of [0x7f7fffff, 0xff7ffffe, 0x7e800001, 0x7effffff]) check(config, a, b, c, fill(2, () => 127 + half), fill(2, () => 127 + scale - half))
    }
  })

  it('results at the least numbers', () => {
    for (let scale = -165; scale < -120; scale++) {
      const half = scale >> 1, a = [fill(64, k => 1 + k % 30), fill(64, k => 0x38 + k % 3)], b = [fill(64, k => 0x30 + k % 9 + (k & 1) * SIGN), fill(64, k => k % 4 ? 0 : 0x81)]
      for (const c of [0, 1, 0x80000003, 0x7fffff, 0x800001]) check(config, a, b, c, fill(2, () => 127 + half), fill(2, () => 127 + scale - half))
    }
  })
})
