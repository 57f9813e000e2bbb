// A checkpoint: one safetensors file with everything a run needs to go on bit for bit (weights, optimizer moments, step, configuration, random state).
// SHA-256 over names, dtypes, shapes, metadata and every byte of data stands in the metadata, so a file that is truncated, foreign or touched is refused.
// Also here: which steps get a checkpoint, and which old ones may go.
import { createHash } from 'node:crypto'
import { UsageError } from '../errors.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import { raw, safetensorsParts, typed, type RawTensor } from '../io/safetensors.ts'
import { readSafetensors } from '../io/tensor-file.ts'
import { canonicalJson } from './config-file.ts'
import type { RunConfig } from './config.ts'

const FORMAT = 'blockscale checkpoint 1'

export interface CheckpointTensor { readonly data: Float32Array | Uint32Array, readonly shape: readonly number[] }

export interface Checkpoint {
  /** Completed steps. */
  readonly step: number
  /** Weights and moments as Float32Array, random state as Uint32Array, by name. */
  readonly tensors: Readonly<Record<string, CheckpointTensor>>
  /** Anything that JSON holds: the configuration, its hash, counters. */
  readonly meta: Readonly<Record<string, unknown>>
}

/** The checksum: over the canonical JSON of metadata and tensor descriptions, then each tensor's bytes in order of name. */
function checksum(metadata: Readonly<Record<string, string>>, tensors: readonly (readonly [string, RawTensor])[]): string {
  const hash = createHash('sha256').update(canonicalJson({ metadata, tensors: tensors.map(([name, { dtype, shape }]) => [name, dtype, shape]) }))
  for (const [, { bytes }] of tensors) hash.update(bytes)
  return hash.digest('hex')
}

/** Write `checkpoint` to `file`, whole or not at all. Throws RunError (disk full...), with the file that was there before intact. */
export function writeCheckpoint(file: string, { step, tensors, meta }: Checkpoint): void {
  const list = Object.keys(tensors).sort().map(name => [name, raw(tensors[name]!.data, tensors[name]!.shape)] as const)
  const metadata = { format: FORMAT, step: String(step), meta: canonicalJson(meta) }
  writeFileAtomic(file, safetensorsParts(list, { ...metadata, sha256: checksum(metadata, list) }))
}

/** Read a checkpoint back. Throws UsageError, one line, if it is truncated, foreign, altered, or holds NaN. */
export function readCheckpoint(file: string): Checkpoint {
  const { metadata: { sha256, ...metadata }, tensors } = readSafetensors(file)
  if (metadata.format !== FORMAT) {
    throw new UsageError(`${file}: ${metadata.format?.startsWith('blockscale checkpoint') ? `is a ${metadata.format}, this version reads ${FORMAT}` : 'is not a blockscale checkpoint'}`)
  }
  const list = [...tensors].sort(([a], [b]) => a < b ? -1 : 1)
  if (checksum(metadata as Record<string, string>, list) !== sha256) throw new UsageError(`${file}: checksum does not match, the file is damaged or was changed`)
  const out: Record<string, CheckpointTensor> = {}
  for (const [name, tensor] of list) {
    const data = tensor.dtype === 'U32' ? typed(tensor, Uint32Array) : typed(tensor, Float32Array)
    if (data instanceof Float32Array) {
      const nan = data.findIndex(Number.isNaN)
      if (nan >= 0) throw new UsageError(`${file}: ${name} holds NaN (first at element ${nan}), a run cannot start from it`)
    }
    out[name] = { data, shape: tensor.shape }
  }
  return { step: Number(metadata.step), tensors: out, meta: JSON.parse(metadata.meta!) }
}

type Schedule = Pick<RunConfig, 'steps' | 'checkpoints'>

/** Is a checkpoint due after `step` completed steps? The last step always has one. */
export const checkpointDue = (step: number, config: Schedule): boolean =>
  step === config.steps || isPeriodic(step, config) || isWindowed(step, config)

const isPeriodic = (step: number, { checkpoints: { every } }: Schedule): boolean => every > 0 && step % every === 0

const isWindowed = (step: number, { checkpoints: { window } }: Schedule): boolean =>
  window !== null && Math.abs(step - window.center) <= window.size && step % window.every === 0

/** Of the checkpoints at `steps`, those that may be deleted: all but the newest `keep` outside the window, and never the last one or the newest. */
export function expired(steps: readonly number[], config: Schedule): number[] {
  const { keep } = config.checkpoints
  if (keep === 0) return []
  return steps.filter(s => s !== config.steps && !isWindowed(s, config)).sort((a, b) => b - a).slice(keep)
}
