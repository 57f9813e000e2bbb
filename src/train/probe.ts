// Gradient error at the same weights: the gradient under a scheme against the f32 gradient, on the same batch and the same weights. This is the number
// that says what a precision does to training; comparing the gradients of two arms that have drifted apart (trajectory rows) mixes in where they are.
import { ParameterVector } from '../model/parameters.ts'
import { schemes, type PrecisionScheme } from '../numerics/scheme.ts'
import type { Executor } from '../runtime/executor.ts'
import type { Overlay } from '../runtime/overlay.ts'
import type { Program } from '../runtime/program.ts'
import type { Arm as ArmName } from './config.ts'
import { GradientComparison } from './measure.ts'
import type { ProbeRow } from './types.ts'

/** Emits the gradient at an arm's weights under a scheme, on the present batch, into `into`. */
export type EmitGradient = (p: Program, scheme: PrecisionScheme, into: ParameterVector) => void

export class Probes {
  readonly #arm: { readonly name: ArmName, readonly params: ParameterVector }
  readonly #emit: EmitGradient
  readonly #reference: ParameterVector
  readonly #probed: ParameterVector
  readonly #comparison: GradientComparison
  #programs: { name: string, program: Program }[] = []
  #referenceProgram: Program | null = null

  /** Reserves the memory of two gradients; build() makes the programs. */
  constructor(executor: Executor, arm: { readonly name: ArmName, readonly params: ParameterVector }, emit: EmitGradient) {
    const { arena } = executor
    this.#arm = arm
    this.#emit = emit
    this.#reference = new ParameterVector(arena, arm.params.layout)
    this.#probed = new ParameterVector(arena, arm.params.layout)
    this.#comparison = new GradientComparison(executor, this.#probed, this.#reference)
  }

  build(overlay: Overlay, probed: Readonly<Record<string, PrecisionScheme>>): void {
    const gradient = (scheme: PrecisionScheme, into: ParameterVector) => overlay.build(p => this.#emit(p, scheme, into))
    this.#referenceProgram = gradient(schemes.fp32!, this.#reference)
    this.#programs = Object.entries(probed).map(([name, scheme]) => ({ name, program: gradient(scheme, this.#probed) }))
    this.#comparison.build(overlay)
  }

  /** Compare every probe's gradient with the f32 one, on the present batch. */
  async measure(executor: Executor, step: number): Promise<ProbeRow[]> {
    const rows: ProbeRow[] = []
    await executor.run(this.#referenceProgram!)
    for (const { name, program } of this.#programs) {
      await executor.run(program)
      const { upperBound: _, ...comparison } = await this.#comparison.measure(executor)
      rows.push({ kind: 'probe', arm: this.#arm.name, step, probe: name, ...comparison })
    }
    return rows
  }
}
