// Which values of a tensor a block format would clamp: those above the largest code under their block's scale (OCP MX v1.0 section 6.3, scale rounded down).
// A value v of a block with largest magnitude in [2^e, 2^(e+1)) is in the last bucket if |v| > max 2^(e - emax): above 1.75 2^e for E4M3.
import { formats, type Format } from '../numerics/formats.ts'
import type { RunData } from './data.ts'

export interface Bucketed { readonly value: number, readonly clamped: boolean, /** e of the value's block. */ readonly exponent: number }

export function lastBucket(values: readonly number[], format: Format, blockSize: number): Bucketed[] {
  const out: Bucketed[] = []
  for (let begin = 0; begin < values.length; begin += blockSize) {
    const block = values.slice(begin, begin + blockSize)
    const amax = Math.max(...block.map(Math.abs))
    let exponent = Math.floor(Math.log2(amax))
    if (2 ** exponent > amax) exponent-- // a logarithm rounded up to the next power
    const limit = format.max * 2 ** (exponent - format.emax)
    for (const value of block) out.push({ value, exponent, clamped: Math.abs(value) > limit })
  }
  return out
}

/** The format that gamma has, or would have in mx mode: the studied scheme's weight format; E4M3 where that is not a block format. */
export function gammaFormat(run: RunData): Format {
  const name = run.config.precision.forward.weight
  return formats[name === null || name === 'bf16' ? 'e4m3' : name]
}
