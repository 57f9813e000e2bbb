// A case of the set `mxops` (mxops.ts), and what computes one: the oracle or the kernels.
import type { MxSettings } from '../../oracle/mxops.ts'
import type { OracleTensor } from '../../oracle/tensor.ts'
import type { MxSpecs } from '../mx-specs.ts'

export interface MxopsCase {
  id: number, op: string, specs: MxSpecs, kind: string, in: string[], out: Record<string, string>
  eps?: number, dim?: number | number[], mode_config?: string, no_grad?: string[], slope?: number, spread?: unknown
}

/** Computes a case from its inputs by name (x, w, b, a, gy): results by name (y, d_x, ...), or some of them. Null: it has no such operator or option. */
export type Implementation = (c: MxopsCase, s: MxSettings, inputs: Readonly<Record<string, OracleTensor>>) => Readonly<Record<string, Float32Array | undefined>> | null
