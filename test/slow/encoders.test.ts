// All 2^32 float32 inputs through each element encoder.
import { describe, expect, it } from 'vitest'
import { castPolicies, type CastPolicyName } from '../../src/numerics/cast.ts'
import { formats, type FormatName } from '../../src/numerics/formats.ts'
import { codesTensor, codeWidth, encodeElements } from '../../src/ops/codes.ts'
import { InlineExecutor } from '../../src/runtime/executor.ts'
import { Program } from '../../src/runtime/program.ts'
import { runs } from '../encoder-runs.ts'

/** Words of one sign. */
const END = 2 ** 31

describe.each(Object.keys(castPolicies) as CastPolicyName[])('%s', policy => {
  it.each((Object.keys(formats) as FormatName[]).filter(n => formats[n].bits <= 16))('%s: all 2^32 inputs', name => {
    const CHUNK = 1 << 22, executor = new InlineExecutor()
    const width = codeWidth(formats[name]), src = executor.arena.tensor(CHUNK), dst = codesTensor(executor.arena, [CHUNK], width), p = new Program(executor.arena)
    encodeElements(p, src, dst, name, castPolicies[policy])
    let checked = 0
    for (const negative of [false, true]) {
      const list = runs(name, castPolicies[policy], negative)
      let r = 0
      for (let first = 0; first < END; first += CHUNK) {
        const input = executor.arena.u32(src), base = negative ? first + END : first
        for (let i = 0; i < CHUNK; i++) input[i] = base + i
        executor.runSync(p)
        const codes = width === 1 ? executor.arena.u8(dst.ptr, CHUNK) : new Uint16Array(executor.arena.memory.buffer, dst.ptr, CHUNK)
        for (let i = 0; i < CHUNK;) {
          while (r + 1 < list.length && list[r + 1]![0] <= first + i) r++
          const stop = Math.min(CHUNK, (list[r + 1]?.[0] ?? END) - first), want = list[r]![1]
          for (; i < stop; i++) if (codes[i] !== want) expect.fail(`code of ${(base + i).toString(16)} is ${codes[i]!.toString(16)}, want ${want.toString(16)}`)
        }
        checked += CHUNK
      }
    }
    expect(checked).toBe(2 ** 32)
  })
})
