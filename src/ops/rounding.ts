// How the kernels that round after every step name their rounding (assembly/bf16.ts), and which elementwise roundings they cover.
import type { ElementRounding } from '../numerics/quantizer.ts'

/** The roundings to bf16 that fused chains offer. */
export type ChainRounding = 'nearest-away' | 'nearest-even'

/** AWAY, EVEN, NONE in assembly/bf16.ts. */
export const chainCode = { 'nearest-away': 0, 'nearest-even': 1, none: 2 } as const

/** The code of the fused Q that equals `round` bit for bit: microxcaling's bf16 with a nearest rounding, or nothing at all. Null if there is none. */
export function fusedCode(round: ElementRounding | null): number | null {
  if (!round) return chainCode.none
  const { expBits, manBits, rounding, subnormals, exponent, half, zeroSign, nan } = round
  const fits = expBits === 8 && manBits === 7 && subnormals === 'keep' && exponent === 'torch-log2' && half === 'add-half' && zeroSign === 'torch' && nan === 'propagate'
  return fits && (rounding === 'nearest-away' || rounding === 'nearest-even') ? chainCode[rounding] : null
}
