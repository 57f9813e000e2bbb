// Set `casts`: value of every code, and code of hard float32 inputs, as ml_dtypes gives them. Rule: bits equal (any NaN equals any NaN), codes equal.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseSafetensors, typed, type SafeTensors } from '../../io/safetensors.ts'
import { castPolicies } from '../../numerics/cast.ts'
import { formats, type FormatName } from '../../numerics/formats.ts'
import { decode, decodeScale, encode, encodeE8M0 } from '../../oracle/codec.ts'
import { wordOf } from '../../oracle/float.ts'
import type { SetResult } from '../types.ts'

/** ml_dtypes' names of our formats. */
const names: Record<string, FormatName> = {
  float8_e4m3fn: 'e4m3', float8_e5m2: 'e5m2', float6_e3m2fn: 'e3m2', float6_e2m3fn: 'e2m3', float4_e2m1fn: 'e2m1', bfloat16: 'bf16',
  float8_e4m3fnuz: 'e4m3fnuz', float8_e5m2fnuz: 'e5m2fnuz', float16: 'fp16',
}

interface Case { op: string, format: string, codes?: number, in?: string[], out: string[] }

function expected(c: Case, file: SafeTensors): { got: (i: number) => number, want: ArrayLike<number>, isNaN: (word: number) => boolean } {
  const tensor = (name: string) => {
    const t = file.tensors.get(name)
    if (!t) throw new Error(`tensor ${name} is missing`)
    return typed<Uint8Array | Uint16Array | Uint32Array>(t, ({ U8: Uint8Array, U16: Uint16Array, U32: Uint32Array } as const)[t.dtype as 'U8']!)
  }
  const want = tensor(c.out[0]!)
  const e8m0 = c.format === 'float8_e8m0fnu'
  const format = e8m0 ? null : formats[names[c.format]!]
  if (format === undefined) throw new Error(`format ${c.format} is not supported`)
  if (c.op === 'decode') return { want, got: i => wordOf(format ? decode(format, i) : decodeScale('e8m0', i)), isNaN: w => w % 2 ** 31 > 0x7f800000 }
  if (c.op !== 'encode') throw new Error(`op ${c.op} is not supported`)
  const x = tensor(c.in![0]!)
  return { want, got: i => format ? encode(format, x[i]!, castPolicies.ml_dtypes) : encodeE8M0(x[i]!, 'nearest'), isNaN: () => false }
}

export async function run(dir: string): Promise<SetResult> {
  const file = parseSafetensors(await readFile(join(dir, 'casts.safetensors')))
  const cases: Case[] = JSON.parse(file.metadata['cases']!)
  const failures: string[] = []
  for (const c of cases) {
    const label = `${c.op} ${c.format}`
    try {
      const { got, want, isNaN } = expected(c, file)
      const wrong = Array.from(want).findIndex((w, i) => { const g = got(i); return g !== w && !(isNaN(g) && isNaN(w)) })
      if (want.length === 0) failures.push(`${label}: no values`)
      else if (wrong >= 0) failures.push(`${label} [${wrong}]: want ${want[wrong]!.toString(16)}, got ${got(wrong).toString(16)}`)
    } catch (error) { failures.push(`${label}: ${(error as Error).message}`) }
  }
  return { cases: cases.length, passed: cases.length - failures.length, failures }
}
