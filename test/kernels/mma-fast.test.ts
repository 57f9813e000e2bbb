// The edges of the quick kernels: operands at the limits from which their arithmetic follows.
import { describe, expect, it } from 'vitest'
import { runTile } from '../../src/conformance/mma-core.ts'
import { castPolicies } from '../../src/numerics/cast.ts'
import { formats, type FloatFormat, type FormatName } from '../../src/numerics/formats.ts'
import { mmaConfig } from '../../src/numerics/mma.ts'
import { encode } from '../../src/oracle/codec.ts'
import { mmaElement } from '../../src/oracle/mma.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'

const ex = new InlineExecutor()
const hex = (x: number) => x.toString(16)

/** A 4 x 16 tile whose rows are all the same, on the quick kernel; every lane must equal the oracle. */
function check(config: ReturnType<typeof mmaConfig>, a: number[], b: number[], c: number, scaleA: number[], scaleB: number[]): void {
  const want = mmaElement(config, a, b, c, scaleA, scaleB)
  const repeat = <T>(x: T, n: number) => Array.from({ length: n }, () => x)
  const got = runTile(ex, config, { a: repeat(a, 4), b: repeat(b, 16), c: repeat(repeat(c, 16), 4), scaleA: repeat(scaleA, 4), scaleB: repeat(scaleB, 16) })
  expect([...new Set(got)].map(hex)).toEqual([hex(want)])
}
const fill = <T>(n: number, f: (i: number) => T) => Array.from({ length: n }, (_, i) => f(i))

describe('FP4', () => {
  const largest = fill(64, () => 7), codes = (seed: number) => fill(64, k => Math.imul(k * 2654435761 + seed, 40503) >>> 13 & 15)
  it('largest elements and every spread of a row\'s scales', () => {
    for (let spread = 0; spread < 15; spread++) {
      for (const both of [true, false]) {
        const up = fill(4, g => g === 0 ? 0x7f - 1 - 8 * spread : 0x7e).map(x => Math.max(x, 0x07)) // UE4M3: significand 15 or 14
        check(mmaConfig('blackwell-mxf4nvf4'), largest, largest, 0, up, both ? up : fill(4, () => 0x77))
        check(mmaConfig('blackwell-mxf4'), largest, largest, 0, [127 + spread, 127], both ? [127 + spread, 127] : [127, 127])
        check(mmaConfig('blackwell-mxf4'), largest.map(x => x + 8), largest, 0, [127 - spread, 127], [127, 127 - spread])
      }
    }
  })
  it('groups at every distance below the alignment, once the top one is cancelled', () => {
    for (let distance = 0; distance < 48; distance++) {
      for (let seed = 0; seed < 8; seed++) {
        const a = codes(seed), b = codes(seed + 100)
        const top = (x: number[]) => x.map((v, k) => k < 32 ? v : 0)
        const config = mmaConfig('blackwell-mxf4')
        const half = Math.floor(distance / 2), scaleA = [127, 127 - half], scaleB = [127, 127 - distance + half]
        const c = mmaElement(config, top(a), b, 0, scaleA, scaleB)
        check(config, a, b, (c ^ 0x80000000) >>> 0, scaleA, scaleB)
        const nv = mmaConfig('blackwell-mxf4nvf4')
        const low = Math.min(half, 14), ueA = [0x7d, 0x7d, Math.max(0x7d - 8 * low, 3), 0], ueB = [0x7b, 0x7b, Math.max(0x7b - 8 * Math.min(distance - low, 14), 5), 0]
        const cNv = mmaElement(nv, top(a), b, 0, ueA, ueB)
        check(nv, a, b, (cNv ^ 0x80000000) >>> 0, ueA, ueB)
      }
    }
  })
  it('groups at every distance below a group that cancels itself, accumulators below and above it', () => {
    for (let distance = 0; distance < 44; distance++) {
      const half = distance >> 1, apart = (top: number, n: number) => Math.max(top - 8 * Math.min(n, 14), 1)
      for (let seed = 0; seed < 6; seed++) {
        const a = fill(64, k => k < 16 ? 7 : codes(seed)[k]!), b = fill(64, k => k < 16 ? 7 ^ (k & 1) * 8 : codes(seed + 50)[k]!)
        for (const c of [0, 0x3f800001, 0xbfffffff, (127 + 16 - 12) * 2 ** 23 + 1, (127 + 15 - 12) * 2 ** 23 + 1, (127 + 16) * 2 ** 23 + 1, (127 + 17) * 2 ** 23 + 0x80000000 + 1]) {
          check(mmaConfig('blackwell-mxf4nvf4'), a, b, c, [0x7e, apart(0x7e, half), apart(0x7d, half), apart(0x7d, half)], [0x7d, apart(0x7d, distance - half), apart(0x7b, distance - half), apart(0x79, distance - half)])
          check(mmaConfig('blackwell-mxf4nvf4', { scale: { format: 'e8m0', block: 16 } }), a, b, c, [135, ...fill(3, () => 135 - half)], [135, ...fill(3, () => 135 - distance + half)])
        }
      }
    }
  })
  it('sums that outgrow a last small group, which pulls them back below a number, within one turn of steps and beyond', () => {
    const lone = fill(64, k => k === 40 ? 9 : 0), ones = fill(64, k => k === 40 ? 1 : 0) // -0.5 times 0.5
    for (const steps of [1, 2, 4, 7, 9, 16]) {
      const a = [...fill(64 * steps, () => 7), ...lone], b = [...fill(64 * steps, () => 7), ...ones]
      for (let low = 8; low < 48; low++) {
        const half = low >> 1
        check(mmaConfig('blackwell-mxf4'), a, b, 0, [...fill(2 * steps + 1, () => 127), 127 - half], [...fill(2 * steps + 1, () => 127), 127 - low + half])
        const far = (n: number) => [...fill(4 * steps + 2, () => 0x77), Math.max(0x77 - 8 * n, 1), 0x77] // 15/8 2^7
        check(mmaConfig('blackwell-mxf4nvf4'), a, b, 0, far(Math.min(half, 14)), far(Math.min(low - half, 14)))
      }
    }
  })
  it('steps of far different scales in one turn', () => {
    const lone = fill(64, k => k === 40 ? 9 : 0), ones = fill(64, k => k === 40 ? 1 : 0)
    for (let distance = 0; distance < 48; distance++) {
      for (const first of [0, 1, 2]) { // the step of the large scales
        const scales = (n: number) => fill(6, i => i >> 1 === first ? 127 : 127 - n), a = fill(3, i => i === first ? codes(distance) : lone).flat(), b = fill(3, i => i === first ? codes(first + 60) : ones).flat()
        for (const c of [0, 0x3f800001, 0xbf7fffff, (127 - distance) * 2 ** 23 + 1, (110 - distance) * 2 ** 23 + 0x7fffff]) check(mmaConfig('blackwell-mxf4'), a, b, c, scales(distance >> 1), scales(distance + 1 >> 1))
      }
    }
  })
  it('sums beyond the largest number stay infinite', () => {
    for (let sum = 340; sum < 372; sum++) {
      for (const steps of [2, 8, 9]) {
        const a = fill(64 * steps, k => k < 32 * steps ? 7 : 15), b = fill(64 * steps, () => 7), scales = [sum >> 1, sum + 1 >> 1].map(x => fill(2 * steps, () => x))
        for (const c of [0, 0x7f000000, 0x7f7fffff, 0xff7fffff]) check(mmaConfig('blackwell-mxf4'), a, b, c, scales[0]!, scales[1]!)
      }
    }
  })
  it('E8M0 scales down to the subnormals of FP32 and up to its overflow', () => {
    for (let sum = 60; sum < 400; sum += sum > 130 && sum < 350 ? 16 : 1) {
      const scaleA = [sum >> 1, sum >> 1], scaleB = [sum + 1 >> 1, sum + 1 >> 1]
      for (const c of [0, 0x80000000, 1, 0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x7f000001, 0x7e800000, 0xfe000000]) {
        for (const [a, b] of [[largest, largest], [codes(sum), codes(sum + 7)], [fill(64, k => k % 31 ? 0 : 1), fill(64, () => 1)]] as const) check(mmaConfig('blackwell-mxf4'), a, b, c, scaleA, scaleB)
      }
    }
  })
  it('accumulators at every distance from the products of E8M0, their low bits set, steps one after the other', () => {
    for (let exp = 90; exp < 160; exp++) {
      for (const steps of [1, 3, 9]) {
        for (const fraction of [0, 1, 0x7fffff]) {
          const a = fill(64 * steps, k => codes(exp + (k >> 6))[k & 63]!), b = fill(64 * steps, k => codes(fraction + (k >> 6))[k & 63]!)
          for (const sign of [0, 0x80000000]) check(mmaConfig('blackwell-mxf4'), a, b, exp * 2 ** 23 + fraction + sign, fill(2 * steps, i => 127 - i % 3), fill(2 * steps, i => 125 + i % 2))
        }
      }
    }
  })
  it('accumulators at every distance from the products', () => {
    for (let exp = 60; exp < 200; exp++) {
      for (const fraction of [0, 1, 0x400001, 0x7fffff]) {
        const c = exp * 2 ** 23 + fraction
        for (const sign of [0, 0x80000000]) check(mmaConfig('blackwell-mxf4nvf4'), codes(exp), codes(fraction), c + sign, [0x38, 0x3c, 0x41, 0x2f], [0x40, 0x33, 0x38, 0x39])
      }
    }
  })
})

describe('FP4, whole products against the plain kernel', () => {
  const word = (i: number, seed: number) => Math.imul(Math.imul(i + 1, 2654435761) ^ seed, 2246822519) >>> 5
  const configs = ([['blackwell-mxf4', 'e8m0', 32], ['blackwell-mxf4nvf4', 'ue4m3', 16], ['blackwell-mxf4nvf4', 'e8m0', 16]] as const).map(([name, format, block]) => ({ name, format, block, config: mmaConfig(name, { scale: { format, block } }) }))
  /** Rows of codes and of scales around `centre`, `spread` apart; every fifth row has a zero group, every seventh is zero. */
  const operand = (rows: number, K: number, format: string, block: number, seed: number, spread: number, centre = format === 'e8m0' ? 127 : 0x38) => ({
    codes: fill(rows, i => fill(K, k => i % 7 === 6 || i % 5 === 4 && k >> 4 === 1 ? 0 : word(i * K + k, seed) & 15)),
    scales: fill(rows, i => fill(Math.ceil(K / block), g => Math.min(Math.max(centre + word(i * 64 + g, seed + 1) % (2 * spread + 1) - spread, 0), format === 'e8m0' ? 254 : 0x7e))),
  })
  it.each(configs)('$name $format $block: chains longer than a turn, row blocks beyond the cache, ragged ends, every packing', ({ config, format, block }) => {
    for (const [M, N, K, spread, packed] of [[300, 37, 1000, 3, false], [70, 40, 720, 12, true], [5, 18, 40, 6, true], [3, 1, 1000, 2, false]] as const) {
      const a = operand(M, K, format, block, M, spread), b = operand(N, K, format, block, N + 99, spread)
      const c = fill(M, i => fill(N, j => i % 3 ? word(i * N + j, 5) % 0x8000000 + 0x3c000000 + (i % 2) * 0x80000000 : 0))
      const tile = { a: a.codes, b: b.codes, c, scaleA: a.scales, scaleB: b.scales }
      const want = runTile(ex, config, tile, true)
      expect(runTile(ex, config, tile)).toEqual(want)
      if (packed) for (const nibbles of [['a'], ['b'], ['a', 'b']] as const) expect(runTile(ex, config, tile, false, nibbles)).toEqual(want)
    }
  })
  it.each(configs)('$name $format $block: scales ever further apart', ({ config, format, block }) => {
    const [M, N, K] = [10, 18, 320]
    for (let spread = 0; spread < (format === 'e8m0' ? 100 : 60); spread += 1 + (spread >> 3)) {
      const a = operand(M, K, format, block, spread, spread), b = operand(N, K, format, block, spread + 200, spread)
      const c = fill(M, i => fill(N, j => i % 3 ? word(i * N + j, spread) % 0x10000000 + 0x38000000 + (j % 2) * 0x80000000 : 0))
      const tile = { a: a.codes, b: b.codes, c, scaleA: a.scales, scaleB: b.scales }
      expect(runTile(ex, config, tile)).toEqual(runTile(ex, config, tile, true))
    }
  })
  it.each(configs)('$name $format $block: NaN scales and zeros of every kind', ({ config, format, block }) => {
    const [M, N, K] = [70, 20, 600], a = operand(M, K, format, block, 1, 4), b = operand(N, K, format, block, 2, 4)
    const nan = format === 'e8m0' ? 255 : 0x7f, per = K / block
    a.scales[66]![Math.floor(per * 0.7)] = nan // one step of one row
    b.scales[17]![0] = nan
    for (const row of [a.scales[3]!, b.scales[6]!]) row.fill(0) // E8M0: 2^-127; UE4M3: zero
    a.scales[8]!.fill(0, 0, 4)
    a.codes[8]!.fill(0, 0, 64)
    const tile = { a: a.codes, b: b.codes, c: fill(M, i => fill(N, j => i % 4 ? 0x3f800000 + i * j : 0x80000000)), scaleA: a.scales, scaleB: b.scales }
    const got = runTile(ex, config, tile), want = runTile(ex, config, tile, true)
    expect(got).toEqual(want)
    expect([...want].filter(w => w === 0x7fffffff).length).toBe(M + N - 1)
  })
  it.each(configs)('$name $format $block: every scale NaN beside scales as small, or negative', ({ config, format, block }) => {
    const [M, N, K] = [4, 16, 128], a = operand(M, K, format, block, 3, 0), b = operand(N, K, format, block, 4, 1, format === 'e8m0' ? 27 : 0x10), c = fill(M, () => fill(N, () => 0))
    const all = (scale: number) => a.scales.map(row => row.map(() => scale))
    for (const [scaleA, scaleB] of [[all(format === 'e8m0' ? 255 : 0x7f), b.scales], ...format === 'ue4m3' ? [[all(0xff), b.scales], [all(0xb8), b.scales.map(row => row.map(x => x + 128))]] as const : []] as const) {
      const tile = { a: a.codes, b: b.codes, c, scaleA, scaleB }
      expect(runTile(ex, config, tile)).toEqual(runTile(ex, config, tile, true))
    }
  })
  it.each(configs)('$name $format $block: special accumulators, and one small accumulator in any lane', ({ config, format, block }) => {
    const [M, N, K] = [4, 16, 192], a = operand(M, K, format, block, 5, 1), b = operand(N, K, format, block, 6, 1)
    const same = (c: number[][]) => { const tile = { a: a.codes, b: b.codes, c, scaleA: a.scales, scaleB: b.scales }; expect(runTile(ex, config, tile)).toEqual(runTile(ex, config, tile, true)) }
    for (const special of [0x7fc00001, 0xffc00000, 0x7f800001, 0x7f800000, 0xff800000]) same(fill(M, i => fill(N, j => (i + j) % 3 ? 0x40490fdb : special)))
    for (let lane = 0; lane < 64; lane++) for (const small of [0x28ffffff, 0xa8ffffff]) same(fill(M, i => fill(N, j => i * N + j === lane ? small : 0x45490fdb))) // 2^-45 or so, cut to nothing
  })
  it.each(configs.filter(c => c.format === 'e8m0'))('$name $format $block: lanes outside the matrix keep out, whatever was there before', ({ config, block }) => {
    const per = 64 / block, scales = (rows: number) => fill(rows, () => fill(2 * per, () => 127)), sevens = (rows: number) => fill(rows, () => fill(128, () => 7))
    runTile(ex, config, { a: sevens(4), b: sevens(16), c: fill(4, () => fill(16, () => 0x7fffffff)), scaleA: scales(4), scaleB: scales(16) })
    for (let low = 0; low < 48; low++) {
      // The first step's scales are too far apart for the quick way, the second is a small group that pulls the sum back.
      const far = fill(per, g => g ? 107 : 127), a = fill(3, () => fill(128, k => k < 64 ? 7 : k === 104 ? 9 : 0)), b = fill(16, () => fill(128, k => k < 64 ? 7 : k === 104 ? 1 : 0))
      const tile = { a, b, c: fill(3, () => fill(16, () => 0)), scaleA: fill(3, () => [...far, ...fill(per, () => 127 - (low >> 1))]), scaleB: fill(16, () => [...far, ...fill(per, () => 127 - (low + 1 >> 1))]) }
      expect(runTile(ex, config, tile)).toEqual(runTile(ex, config, tile, true))
    }
  })
  it.each(configs)('$name $format $block: no k at all', ({ config }) => {
    const tile = { a: [[], []], b: [[], [], []], c: [[1, 2, 0x80000000], [4, 0x7f800000, 6]], scaleA: [[], []], scaleB: [[], [], []] }
    expect([...runTile(ex, config, tile)]).toEqual(tile.c.flat())
  })
})

describe('sums in f64', () => {
  /** f32 bits. */
  const bits = (x: number) => { const view = new DataView(new ArrayBuffer(4)); view.setFloat32(0, x); return view.getUint32(0) }
  /** A code of a format with exponent field `field` (clamped) and a fraction and sign drawn from `seed`. */
  const code = (name: FormatName, field: number, seed: number) => {
    const { expBits, manBits } = formats[name] as FloatFormat, word = Math.imul(seed + 1, 2654435761) >>> 7
    return Math.min(Math.max(field, 0), 2 ** expBits - 2) * 2 ** manBits + word % 2 ** manBits + (word >>> 20 & 1) * 2 ** (expBits + manBits)
  }
  const models: [string, FormatName][] = [['blackwell-mxf8f6f4', 'e4m3'], ['blackwell-mxf8f6f4', 'e5m2'], ['blackwell-mxf8f6f4', 'e2m3'], ['hopper-bf16', 'bf16'], ['hopper-f16', 'fp16'], ['ampere-f16', 'fp16'], ['volta-f16', 'fp16']]

  it.each(models)('%s %s: accumulators and products at every distance from the largest product', (name, format) => {
    const config = mmaConfig(name, { a: format }), L = config.model.length, { expBits } = formats[format] as FloatFormat
    const middle = 2 ** (expBits - 1), scales = config.scale ? [127] : []
    for (let distance = 0; distance < 60; distance++) {
      for (let seed = 0; seed < 6; seed++) {
        const top = Math.min(2 ** expBits - 2, middle + 12)
        const a = fill(L, k => code(format, k === 1 ? top : top - (distance >> 1) - k % 3, seed + 7 * k)), b = fill(L, k => code(format, k === 1 ? top : top - (distance + 1 >> 1) - k % 2, seed + 11 * k))
        const whole = mmaElement(config, a, b, 0, scales, scales)
        const largest = mmaElement(config, a.map((x, k) => k === 1 ? x : 0), b, 0, scales, scales)
        const exponent = Math.max(1, (largest >>> 23 & 255) - distance + 8)
        for (const c of [0, 0x80000000, whole, whole ^ 0x80000000, largest ^ 0x80000000, exponent * 2 ** 23 + 0x7fffff, exponent * 2 ** 23 + 1 + 0x80000000, Math.min(254, (largest >>> 23 & 255) + distance) * 2 ** 23 + 5]) {
          check(config, a, b, c >>> 0, scales, scales)
        }
      }
    }
  })

  it.each(models)('%s %s: the plain kernel on normal data, chained', (name, format) => {
    const config = mmaConfig(name, { a: format }), K = 40 * config.model.length - 3, [M, N] = [70, 21]
    const draw = (rows: number, seed: number) => Array.from({ length: rows }, (_, i) => Array.from({ length: K }, (_, k) => {
      let sum = 0
      for (let n = 0; n < 4; n++) sum += Math.imul((i * K + k) * 4 + n + seed, 2654435761) >>> 8 & 0xffff
      return sum / 65536 - 2
    }))
    const encoded = (rows: number[][]) => rows.map(row => row.map(x => encode(formats[format], bits(x), castPolicies['ptx-satfinite'])))
    const scales = (rows: number, seed: number) => Array.from({ length: rows }, (_, i) => config.scale ? Array.from({ length: Math.ceil(K / 32) }, (_, g) => 120 + (i * 7 + g * 5 + seed) % 9) : [])
    const tile = { a: encoded(draw(M, 1)), b: encoded(draw(N, 5)), c: Array.from({ length: M }, (_, i) => Array.from({ length: N }, (_, j) => i % 3 ? 0 : bits(j - 10.3))), scaleA: scales(M, 0), scaleB: scales(N, 3) }
    expect([...runTile(ex, config, tile)]).toEqual([...runTile(ex, config, tile, true)])
  })
})
