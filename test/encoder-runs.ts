// Which float32 words have which code. Codes are monotonic in magnitude and between neighbours the midpoint decides, so the words of one sign fall into
// runs that follow from the decoded values alone: no rounding code is involved. For nearest-even casts.
import { maxCode, nanCode, overflowCode, type CastPolicy } from '../src/numerics/cast.ts'
import { formats, hasNegativeZero, type FormatName } from '../src/numerics/formats.ts'
import { decode } from '../src/oracle/codec.ts'

const INFINITY = 0x7f800000
const words = new Uint32Array(1), value = new Float32Array(words.buffer)

/** The first word from 0 to Inf whose value is at least x (`strict`: above x). */
function firstWord(x: number, strict: boolean): number {
  let low = 0, high = INFINITY
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    words[0] = middle
    if (strict ? value[0]! > x : value[0]! >= x) high = middle
    else low = middle + 1
  }
  return low
}

/** [first word, code] of every run of non-negative words, in order; NaNs last. `negative`: codes for the other sign. */
export function runs(name: FormatName, policy: CastPolicy, negative: boolean): [number, number][] {
  const f = formats[name], sign = 2 ** (f.bits - 1), top = maxCode(f)
  const signed = (magnitude: number) => {
    if (!negative) return magnitude
    if (f.kind === 'int') return (2 ** f.bits - magnitude) % 2 ** f.bits
    return magnitude === 0 && !hasNegativeZero(f) ? 0 : magnitude | sign
  }
  const out: [number, number][] = [[0, signed(0)]]
  for (let code = 1; code <= top; code++) out.push([firstWord((decode(f, code - 1) + decode(f, code)) / 2, code % 2 === 1), signed(code)]) // halves go to the even code
  // Half a step above the largest value rounds back to it if its code is even; a format without Inf or NaN keeps it forever.
  const over = overflowCode(f, policy)
  const step = f.max - decode(f, top - 1), tie = f.max + step / 2
  if (over !== top) out.push([tie < 2 ** 128 ? firstWord(tie, top % 2 === 0) : INFINITY, signed(over)])
  out.push([INFINITY + 1, nanCode(f, policy.nan, negative)])
  return out
}
