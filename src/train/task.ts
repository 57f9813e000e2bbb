// What the trainer needs of an experiment, and nothing more: the student-teacher pair (student-teacher.ts) is one, a language model another.
// A task owns the memory and the programs of its arms; the trainer (trainer.ts) owns the walk over steps, the run directory and the checkpoints.
import { UsageError } from '../errors.ts'
import { ParameterVector } from '../model/parameters.ts'
import type { Executor } from '../runtime/executor.ts'
import type { Arena } from '../runtime/memory.ts'
import type { Checkpoint, CheckpointTensor } from './checkpoint.ts'
import type { Arm as ArmName } from './config.ts'
import type { MetricsRow } from './types.ts'

/**
 * An experiment that steps when it is told to: build(done) once and after each change, then for each step prepare(done), gradients(), losses(), measure(done + 1)
 * if wanted, update().
 */
export interface Task {
  readonly executor: Executor
  /** Names of the arms, in the order in which they step. */
  readonly arms: readonly ArmName[]
  /** Floating-point operations of one step, all arms. */
  readonly flops: number
  /** Compile the programs for what holds after `done` completed steps. Returns what changes there, in words, or null. */
  build(done: number): string | null
  /** Make ready for the step that follows `done` completed steps: counters, learning rate, batch. */
  prepare(done: number): Promise<void>
  /** Learning rate of the prepared step. */
  readonly learningRate: number
  /** Loss and gradients of every arm at the present weights. */
  gradients(): Promise<void>
  /** Loss of each arm's last gradient. */
  losses(): Partial<Record<ArmName, number>>
  /** What is due at the prepared step, between gradients and update. `step`: completed steps once it is over. */
  measure(step: number): Promise<MetricsRow[]>
  /** Update every arm's weights. */
  update(): Promise<void>
  /** Validation loss of each arm at the present weights. */
  validate(): Promise<Partial<Record<ArmName, number>>>
  /** Everything that the next steps depend on, except what the configuration says. */
  save(): Checkpoint['tensors']
  /** The opposite of save. `what` names the checkpoint in errors. Throws UsageError if something is missing or has another shape. */
  restore(tensors: Checkpoint['tensors'], what: string): void
  /** SHA-256 over all arms' weights. */
  weightsHash(): Promise<string>
  /** What the log begins with. */
  readonly introduction?: readonly MetricsRow[]
  /** After a loss that is not finite: where the first such value stands. */
  diagnose?(arm: ArmName): Promise<string>
}

/** Is something with interval `every` (0 = never) due after `step` completed steps? */
export const due = (step: number, every: number): boolean => every > 0 && step % every === 0

/** An arm's state as a checkpoint holds it: weights and moments. */
interface Saved { readonly name: ArmName, readonly params: ParameterVector, readonly moments: readonly [ParameterVector, ParameterVector] }

const vectors = ({ params, moments: [moment1, moment2] }: Saved): [string, ParameterVector][] => [['weight', params], ['moment1', moment1], ['moment2', moment2]]

/** Weights and moments of `arms` as `<arm>.<weight | moment1 | moment2>.<parameter>`. */
export function saveArms(arena: Arena, arms: readonly Saved[]): Record<string, CheckpointTensor> {
  const tensors: Record<string, CheckpointTensor> = {}
  for (const arm of arms) for (const [kind, vector] of vectors(arm)) {
    for (const [name, { shape, values }] of vector.export(arena)) tensors[`${arm.name}.${kind}.${name}`] = { data: values, shape }
  }
  return tensors
}

/** The opposite of saveArms. Throws UsageError, naming `what`, if an arm's state is missing or has another shape. */
export function restoreArms(arena: Arena, arms: readonly Saved[], tensors: Checkpoint['tensors'], what: string): void {
  for (const arm of arms) for (const [kind, vector] of vectors(arm)) {
    const prefix = `${arm.name}.${kind}.`
    const named = new Map(Object.entries(tensors).filter(([name]) => name.startsWith(prefix)).map(([name, t]) => [name.slice(prefix.length), { shape: t.shape, values: t.data }]))
    try { vector.import(arena, named) } catch (error) { throw new UsageError(`checkpoint ${what}: ${arm.name} ${kind}: ${(error as Error).message}`) }
  }
}

/** SHA-256 over arms' names and weights in order, NaN made canonical: equal for equal training, whatever ran it. */
export async function hashWeights(arena: Arena, arms: readonly { name: ArmName, params: ParameterVector }[]): Promise<string> {
  const parts = arms.flatMap(({ name: arm, params }) => [...params.export(arena)].flatMap(([name, { values }]) => {
    const bits = new Uint32Array(values.buffer)
    for (let i = 0; i < bits.length; i++) if (Number.isNaN(values[i])) bits[i] = 0x7fc00000
    return [new TextEncoder().encode(`${arm}.${name}`), new Uint8Array(bits.buffer)]
  }))
  const digest = await crypto.subtle.digest('SHA-256', await new Blob(parts as BlobPart[]).arrayBuffer())
  return Array.from(new Uint8Array(digest), byte => byte.toString(16).padStart(2, '0')).join('')
}
