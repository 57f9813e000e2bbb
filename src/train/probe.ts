// Gradient error at the same weights: the gradient under a scheme against the f32 gradient, on the same batch and the same weights. This is the number
// that says what a precision does to training; comparing the gradients of two arms that have drifted apart (trajectory rows) mixes in where they are.
import type { StudentTeacherData } from '../data/student-teacher.ts'
import { ParameterVector } from '../model/parameters.ts'
import { resolvePrecision } from '../model/precision.ts'
import { schemes, type PrecisionScheme } from '../numerics/scheme.ts'
import type { Executor } from '../runtime/executor.ts'
import type { Tensor } from '../runtime/memory.ts'
import type { Overlay } from '../runtime/overlay.ts'
import type { Program } from '../runtime/program.ts'
import { emitGradient, ROUNDING_STREAMS, studentShape, type Arm } from './arm.ts'
import type { RunConfig } from './config.ts'
import { GradientComparison } from './measure.ts'
import type { StepValues } from './step-values.ts'
import type { ProbeRow } from './types.ts'

export class Probes {
  readonly #arm: Arm
  readonly #reference: ParameterVector
  readonly #probed: ParameterVector
  readonly #loss: Tensor
  readonly #comparison: GradientComparison
  #programs: { name: string, program: Program }[] = []
  #referenceProgram: Program | null = null

  /** Reserves the memory of two gradients; build() makes the programs. */
  constructor(executor: Executor, arm: Arm) {
    const { arena } = executor
    this.#arm = arm
    this.#reference = new ParameterVector(arena, arm.params.layout)
    this.#probed = new ParameterVector(arena, arm.params.layout)
    this.#loss = arena.tensor(2)
    this.#comparison = new GradientComparison(executor, this.#probed, this.#reference)
  }

  build(overlay: Overlay, config: RunConfig, data: StudentTeacherData, values: StepValues): void {
    const shape = studentShape(config)
    const gradient = (scheme: PrecisionScheme, into: ParameterVector) => overlay.build(p => {
      const random = values.random(config.seed, ROUNDING_STREAMS.studied)
      // Every probe sees the f32 teacher's labels: only the student's precision differs.
      const target = data.emitTarget(p, this.#arm.name, schemes.fp32!)
      emitGradient(p, shape, this.#arm.params, into, { x: data.x, target }, this.#loss, resolvePrecision(scheme, { random }))
    })
    this.#referenceProgram = gradient(schemes.fp32!, this.#reference)
    this.#programs = Object.entries(config.probes.schemes).map(([name, scheme]) => ({ name, program: gradient(scheme, this.#probed) }))
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
