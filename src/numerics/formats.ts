// The element and scale formats as data: everything a codec needs, so that encode, decode, tables and tests share one source.
// Values: OCP Microscaling Formats (MX) v1.0 for E4M3, E5M2, E3M2, E2M3, E2M1, INT8 and E8M0; IEEE 754 for fp16; AMD CDNA3 ISA for the fnuz pair.

/** A sign / exponent / mantissa floating-point format. */
export interface FloatFormat {
  readonly kind: 'float'
  readonly name: string
  readonly bits: number
  /** Exponent field width. */
  readonly expBits: number
  /** Fraction field width. */
  readonly manBits: number
  readonly bias: number
  /** Largest finite value. */
  readonly max: number
  /** floor(log2(max)): what an MX scale rule subtracts. */
  readonly emax: number
  /** Which codes are special. `ieee`: top exponent = Inf and NaNs. `nan-only`: S.1..1 alone is NaN. `none`: every code is finite. `fnuz`: the code of -0 is the one NaN. */
  readonly specials: 'ieee' | 'nan-only' | 'none' | 'fnuz'
}

/** Sign-magnitude fixed point as microxcaling uses it (and OCP INT8 without the code -128): value = integer * 2^-(bits - 2). */
export interface IntFormat {
  readonly kind: 'int'
  readonly name: string
  readonly bits: number
  readonly max: number
  readonly emax: 0
}

/** What one code of a format means is `kind` and the fields beside it. */
export type Format = FloatFormat | IntFormat

const float = (name: string, expBits: number, manBits: number, specials: FloatFormat['specials'], bias = 2 ** (expBits - 1) - 1): FloatFormat => {
  const top = 2 ** expBits - 1 - bias - (specials === 'ieee' ? 1 : 0)
  const max = 2 ** top * (2 - 2 ** -manBits * (specials === 'nan-only' ? 2 : 1))
  return { kind: 'float', name, bits: 1 + expBits + manBits, expBits, manBits, bias, max, emax: top, specials }
}
const int = (name: string, bits: number): IntFormat => ({ kind: 'int', name, bits, max: (2 ** (bits - 1) - 1) / 2 ** (bits - 2), emax: 0 })

/** Every format by its OCP (or usual) name, lower case. */
export const formats = {
  e4m3: float('e4m3', 4, 3, 'nan-only'),
  e5m2: float('e5m2', 5, 2, 'ieee'),
  e3m2: float('e3m2', 3, 2, 'none'),
  e2m3: float('e2m3', 2, 3, 'none'),
  e2m1: float('e2m1', 2, 1, 'none'),
  int8: int('int8', 8),
  int4: int('int4', 4),
  int2: int('int2', 2),
  bf16: float('bf16', 8, 7, 'ieee'),
  fp16: float('fp16', 5, 10, 'ieee'),
  tf32: float('tf32', 8, 10, 'ieee'),
  e4m3fnuz: float('e4m3fnuz', 4, 3, 'fnuz', 8),
  e5m2fnuz: float('e5m2fnuz', 5, 2, 'fnuz', 16),
} as const satisfies Record<string, Format>

/** The name of a format. */
export type FormatName = keyof typeof formats

/** Block-scale formats, one byte, no sign. E8M0: 2^(code - 127), 255 is NaN, no zero. UE4M3: E4M3 with its sign bit ignored. */
export const scaleFormats = ['e8m0', 'ue4m3'] as const
/** Name of a block-scale format. */
export type ScaleFormatName = typeof scaleFormats[number]

/** A format as a grid of numbers: multiples of 2^(e - man) for 2^e <= |x| < 2^(e+1), of 2^(emin - man) below 2^emin, up to max. Integers are the case emin = emax = 0. */
export interface Grid { readonly man: number, readonly emin: number, readonly emax: number, readonly max: number }
export const grid = (f: Format): Grid =>
  f.kind === 'int' ? { man: f.bits - 2, emin: 0, emax: 0, max: f.max } : { man: f.manBits, emin: 1 - f.bias, emax: f.emax, max: f.max }

/** Has the format a code for -0? Integers (two's complement) and the fnuz formats have not. */
export const hasNegativeZero = (f: Format): boolean => f.kind === 'float' && f.specials !== 'fnuz'
