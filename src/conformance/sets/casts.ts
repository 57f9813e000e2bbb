// Set `casts`: value of every code, and code of hard float32 inputs, as ml_dtypes gives them. Rule: bits equal (any NaN equals any NaN), codes equal.
// Oracle and kernels must both agree with the file.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseSafetensors, typed, type SafeTensors } from '../../io/safetensors.ts'
import { castPolicies } from '../../numerics/cast.ts'
import { formats, type FormatName } from '../../numerics/formats.ts'
import { codesTensor, codeWidth, decodeElements, dequantize, encodeElements, encodeScales } from '../../ops/codes.ts'
import { decode, decodeScale, encode, encodeE8M0 } from '../../oracle/codec.ts'
import { wordOf } from '../../oracle/float.ts'
import { InlineExecutor } from '../../runtime/executor.ts'
import { Program } from '../../runtime/program.ts'
import type { SetResult } from '../types.ts'

/** ml_dtypes' names of our formats; null is E8M0. */
const names: Record<string, FormatName | null> = {
  float8_e4m3fn: 'e4m3', float8_e5m2: 'e5m2', float6_e3m2fn: 'e3m2', float6_e2m3fn: 'e2m3', float4_e2m1fn: 'e2m1', bfloat16: 'bf16',
  float8_e4m3fnuz: 'e4m3fnuz', float8_e5m2fnuz: 'e5m2fnuz', float16: 'fp16', float8_e8m0fnu: null,
}

interface Case { op: string, format: string, in?: string[], out: string[] }

/** Words of `count` codes, and codes of float32 words. */
interface Implementation {
  decode(format: FormatName | null, count: number): ArrayLike<number>
  encode(format: FormatName | null, words: Uint32Array): ArrayLike<number>
}

const oracle: Implementation = {
  decode: (format, count) => Array.from({ length: count }, (_, code) => wordOf(format ? decode(formats[format], code) : decodeScale('e8m0', code))),
  encode: (format, words) => Array.from(words, word => format ? encode(formats[format], word, castPolicies.ml_dtypes) : encodeE8M0(word, 'nearest')),
}

function kernels(): Implementation {
  const executor = new InlineExecutor(), { arena } = executor
  return {
    decode: (format, count) => {
      const p = new Program(arena), dst = arena.tensor(count)
      if (format) {
        const width = codeWidth(formats[format]), codes = codesTensor(arena, [count], width)
        for (let i = 0; i < count; i++) arena.u8(codes.ptr + i * width, 1)[0] = i
        if (width === 2) for (let i = 0; i < count; i++) arena.u8(codes.ptr + 2 * i + 1, 1)[0] = i >> 8
        decodeElements(p, codes, dst, format)
      } else { // a scale's value is that of the element 1 under it
        const codes = codesTensor(arena, [count, 1]), scales = codesTensor(arena, [count, 1])
        arena.u8(codes.ptr, count).fill(0x38)
        arena.u8(scales.ptr, count).set(Uint8Array.from({ length: count }, (_, i) => i))
        dequantize(p, codes, scales, { ptr: dst.ptr, shape: [count, 1] }, 1, 'e4m3', 1)
      }
      executor.runSync(p)
      return arena.u32(dst).slice()
    },
    encode: (format, words) => {
      const p = new Program(arena), src = arena.tensor(words.length), codes = codesTensor(arena, [words.length], format ? codeWidth(formats[format]) : 1)
      arena.u32(src).set(words)
      if (format) encodeElements(p, src, codes, format, castPolicies.ml_dtypes)
      else encodeScales(p, src, codes, 'nearest')
      executor.runSync(p)
      const bytes = arena.u8(codes.ptr, words.length * codes.width).slice()
      return codes.width === 1 ? bytes : new Uint16Array(bytes.buffer)
    },
  }
}

function check(c: Case, file: SafeTensors, implementations: Record<string, Implementation>): void {
  const tensor = (name: string) => {
    const t = file.tensors.get(name)
    if (!t) throw new Error(`tensor ${name} is missing`)
    return typed<Uint8Array | Uint16Array | Uint32Array>(t, ({ U8: Uint8Array, U16: Uint16Array, U32: Uint32Array } as const)[t.dtype as 'U8']!)
  }
  if (c.op !== 'decode' && c.op !== 'encode') throw new Error(`op ${c.op} is not supported`)
  if (!Object.hasOwn(names, c.format)) throw new Error(`format ${c.format} is not supported`)
  const want = tensor(c.out[0]!), format = names[c.format]!
  if (want.length === 0) throw new Error('no values')
  for (const [who, implementation] of Object.entries(implementations)) {
    const got = c.op === 'decode' ? implementation.decode(format, want.length) : implementation.encode(format, tensor(c.in![0]!) as Uint32Array)
    const isNaN = (word: number) => c.op === 'decode' && word % 2 ** 31 > 0x7f800000
    const wrong = Array.from(want).findIndex((w, i) => got[i] !== w && !(isNaN(got[i]!) && isNaN(w)))
    if (wrong >= 0) throw new Error(`[${wrong}]: want ${want[wrong]!.toString(16)}, ${who} gives ${got[wrong]?.toString(16)}`)
  }
}

export async function run(dir: string): Promise<SetResult> {
  const file = parseSafetensors(await readFile(join(dir, 'casts.safetensors')))
  const cases: Case[] = JSON.parse(file.metadata['cases']!), implementations = { oracle, kernels: kernels() }
  const failures: string[] = []
  for (const c of cases) {
    try { check(c, file, implementations) } catch (error) { failures.push(`${c.op} ${c.format}: ${(error as Error).message}`) }
  }
  return { cases: cases.length, passed: cases.length - failures.length, failures }
}
