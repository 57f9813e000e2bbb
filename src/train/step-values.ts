// The few numbers that change from step to step, in core memory, where kernels read them through pointers: the step (random counters), the validation
// batch, and the optimizer's scalars.
import type { RandomBits } from '../model/precision.ts'
import { signVector } from '../ops/hadamard.ts'
import { adamStep, sgdStep } from '../ops/optimizer.ts'
import type { Arena, Tensor } from '../runtime/memory.ts'
import type { StudentTeacherConfig } from './config.ts'

/** Learning rate of the step that follows `done` completed steps. Constant, or cosine from lr to lrMin over all steps, as torch's CosineAnnealingLR in closed form. */
export function learningRate({ optimizer, schedule, steps }: StudentTeacherConfig, done: number): number {
  if (schedule.kind === 'constant') return optimizer.lr
  return schedule.lrMin! + (optimizer.lr - schedule.lrMin!) * (1 + cosPi(done / steps)) / 2
}

/** cos(pi x) for 0 <= x <= 1 from exactly specified operations alone (Taylor series about the nearest of 0, 1/2, 1), so that every engine agrees. Error below 1e-15. */
export function cosPi(x: number): number {
  if (x > 0.5) return -cosPi(1 - x)
  const quarter = x > 0.25, t = (quarter ? 0.5 - x : x) * Math.PI
  // cos(pi x) for x <= 1/4, else sin(pi (1/2 - x)).
  let term = quarter ? t : 1, sum = term
  for (let k = quarter ? 3 : 2; k <= 25; k += 2) {
    term *= -t * t / (k * (k - 1))
    sum += term
  }
  return sum
}

/** Longest block of a Hadamard transform. */
const MAX_HADAMARD = 1024

export class StepValues {
  /** u64 counter of the training step. */
  readonly stepPtr: number
  /** u64 counter of the validation batch. */
  readonly validationPtr: number
  /** Random signs for Hadamard transforms, the same for the whole run. */
  readonly signs: Tensor
  /** The optimizer's step block (ops/optimizer.ts). */
  readonly optimizer: Tensor
  /** Learning rate of the prepared step. */
  learningRate = 0
  readonly #arena: Arena

  /** `draw`: 32-bit random words of the run's seed, for the signs. */
  constructor(arena: Arena, draw: (n: number) => Uint32Array) {
    this.#arena = arena
    this.signs = signVector(arena, [...draw(MAX_HADAMARD)].map(word => word & 1 ? 1 : -1))
    this.stepPtr = arena.allocBytes(8)
    this.validationPtr = arena.allocBytes(8)
    this.optimizer = arena.tensor(4)
  }

  #setCounter(ptr: number, value: number): void { new DataView(this.#arena.memory.buffer).setBigUint64(ptr, BigInt(value), true) }

  /** Prepare the step that follows `done` completed steps. */
  setStep(config: StudentTeacherConfig, done: number): void {
    const { optimizer } = config, lr = learningRate(config, done)
    this.#setCounter(this.stepPtr, done)
    this.#arena.f32(this.optimizer).set(optimizer.name === 'adam' ? adamStep(lr, done + 1, { beta1: optimizer.betas[0], beta2: optimizer.betas[1] }) : sgdStep(lr))
    this.learningRate = lr
  }

  /** The source of a program's random precision, its first stream being `stream`. */
  random(seed: number, stream: number): RandomBits { return { seed: BigInt(seed), stepPtr: this.stepPtr, stream, signs: this.signs } }

  setValidationBatch(index: number): void { this.#setCounter(this.validationPtr, index) }
}
