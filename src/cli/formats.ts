// blockscale formats: the table of element and scale formats, or every code of one with its value.
import { lookup } from '../errors.ts'
import { castPolicies, nanCode, overflowCode } from '../numerics/cast.ts'
import { formats, grid, scaleFormats, type Format } from '../numerics/formats.ts'
import { decode, decodeScale } from '../oracle/codec.ts'
import { parse } from './arguments.ts'

export const help = `usage: blockscale formats [NAME] [--json]

Without NAME: the table of formats, and the policies of casts. With NAME: every code, its bits, and its value.

examples:
  blockscale formats
  blockscale formats e4m3
  blockscale formats e8m0
`

/** One code of a format. */
interface Code { code: number, bits: string, value: number }

/** All codes in order. Scale formats have no sign; UE4M3 ignores its top bit, so its codes stop at 127. */
function codes(name: string): Code[] {
  if ((scaleFormats as readonly string[]).includes(name)) {
    const scale = name as typeof scaleFormats[number]
    return Array.from({ length: scale === 'e8m0' ? 256 : 128 }, (_, code) => {
      const bits = code.toString(2).padStart(8, '0')
      return { code, bits: scale === 'e8m0' ? bits : `${bits[0]} ${bits.slice(1, 5)} ${bits.slice(5)}`, value: decodeScale(scale, code) }
    })
  }
  const format: Format = formats[name as keyof typeof formats]
  return Array.from({ length: 2 ** format.bits }, (_, code) => {
    const bits = code.toString(2).padStart(format.bits, '0')
    return { code, bits: format.kind === 'int' ? bits : `${bits[0]} ${bits.slice(1, 1 + format.expBits)} ${bits.slice(1 + format.expBits)}`, value: decode(format, code) }
  })
}

/** A value in full: short decimals as they are, long ones as mantissa times a power of two. */
export function exact(value: number): string {
  if (!Number.isFinite(value) || value === 0) return Object.is(value, -0) ? '-0' : String(value).replace('Infinity', 'inf')
  const text = String(value)
  if (text.length <= 12 && !text.includes('e')) return text
  const exponent = Math.floor(Math.log2(Math.abs(value)))
  const scaled = value / 2 ** exponent
  return scaled === 1 ? `2^${exponent}` : scaled === -1 ? `-2^${exponent}` : `${scaled} * 2^${exponent}`
}

const specials = (format: Format): string => format.kind === 'int' ? '' : { 'ieee': 'Inf, NaN', 'nan-only': 'NaN', 'none': '', 'fnuz': 'NaN, no -0' }[format.specials]

function row(name: string, format: Format): Record<string, string | number> {
  const { man, emin } = grid(format)
  return {
    name, bits: format.bits,
    layout: format.kind === 'int' ? `1 sign, ${format.bits - 1} integer` : `1 sign, ${format.expBits} exponent, ${format.manBits} fraction`,
    bias: format.kind === 'int' ? '' : format.bias, emax: format.emax, max: exact(format.max),
    'smallest normal': format.kind === 'int' ? '' : exact(2 ** emin), 'smallest': exact(2 ** (emin - man)), specials: specials(format),
  }
}

/** Rows as aligned columns. */
function table(rows: readonly Readonly<Record<string, string | number>>[]): string {
  const columns = Object.keys(rows[0]!)
  const widths = columns.map(c => Math.max(c.length, ...rows.map(r => String(r[c]).length)))
  const line = (cells: readonly (string | number)[]) => cells.map((cell, i) => typeof cell === 'number' ? String(cell).padStart(widths[i]!) : String(cell).padEnd(widths[i]!)).join('  ').trimEnd()
  return [line(columns), ...rows.map(r => line(columns.map(c => r[c]!)))].join('\n')
}

/** The named ways to convert a number: what becomes of values beyond the largest and of NaN, with E4M3 and E2M1 as examples. */
function policies(): string {
  const overflow = { saturate: 'the largest value', overflow: 'Inf, or NaN without Inf, or the largest value without both' }
  const nan = { quiet: 'NaN with its sign; without NaN zero of the other sign', max: 'NaN without sign; without NaN the largest value', rebiased: 'NaN without sign; without NaN the bits that are left of it' }
  const hex = (code: number) => `0x${code.toString(16).padStart(2, '0')}`
  return table(Object.entries(castPolicies).map(([policy, p]) => ({
    'cast policy': policy, rounding: p.rounding, overflow: `${p.overflow}: ${overflow[p.overflow]}`, NaN: `${p.nan}: ${nan[p.nan]}`,
    'e4m3 of 1e9, NaN': `${hex(overflowCode(formats.e4m3, p))}, ${hex(nanCode(formats.e4m3, p.nan))}`, 'e2m1': `${hex(overflowCode(formats.e2m1, p))}, ${hex(nanCode(formats.e2m1, p.nan))}`,
  })))
}

export async function run(args: string[]): Promise<void> {
  const { values, positionals: [name] } = parse('formats', args, { json: { type: 'boolean' } }, [0, 1])
  const print = (rows: readonly Readonly<Record<string, string | number>>[], data: unknown) => { process.stdout.write(values.json ? `${JSON.stringify(data)}\n` : `${table(rows)}\n`) }
  if (name === undefined) {
    const rows = Object.entries(formats).map(([n, f]) => row(n, f))
    const scales = [{ name: 'e8m0', bits: 8, layout: '8 exponent', bias: 127, emax: 127, max: exact(2 ** 127), 'smallest normal': exact(2 ** -127), 'smallest': exact(2 ** -127), specials: 'NaN, no 0' },
      { name: 'ue4m3', bits: 8, layout: '4 exponent, 3 fraction', bias: 7, emax: 8, max: '448', 'smallest normal': exact(2 ** -6), 'smallest': exact(2 ** -9), specials: 'NaN' }]
    print([...rows, ...scales], { formats, scaleFormats, castPolicies })
    if (!values.json) process.stdout.write(`\n${policies()}\n`)
    return
  }
  lookup({ ...formats, ...Object.fromEntries(scaleFormats.map(s => [s, s])) }, name, 'format')
  const all = codes(name), digits = Math.ceil(all.at(-1)!.code.toString(16).length)
  print(all.map(({ code, bits, value }) => ({ code: `0x${code.toString(16).padStart(digits, '0')}`, bits, value: exact(value) })), all.map(c => ({ ...c, value: Number.isFinite(c.value) ? c.value : exact(c.value) })))
}
