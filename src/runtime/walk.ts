// How one thread walks a program: the same code for the only thread of the inline executor, the caller of a pool, its workers, and web workers.
// A program becomes a plan for thread `t` of `threads`: kernel functions with all their arguments, and between them the barriers.
import { RunError } from '../errors.ts'
import type { Kernels } from './instance.ts'
import { share, type Call } from './program.ts'

/** What a thread needs to know of a call; the rest (label, costs) stays with the caller. */
export type Work = Pick<Call, 'kernel' | 'args' | 'items' | 'grain' | 'nowait'>

type Kernel = (...args: number[]) => void

/** One entry of a plan: a share of call number `call`, or, where `kernel` is null, a barrier. */
export interface Part {
  readonly kernel: Kernel | null
  readonly args: readonly number[]
  readonly call: number
}

const BARRIER: Part = { kernel: null, args: [], call: -1 }

/** Does the first thread do all of this call? */
const alone = (call: Work, threads: number): boolean => threads === 1 || call.items <= call.grain

/**
 * The plan of thread `t`. Every thread's plan has the same barriers in the same places. There is one before a call, unless all calls since the barrier
 * before are of its own nowait() group, or all of them and this one are done by the first thread alone; and one after the last call that is shared, at
 * which the other threads are done. A program with no shared call has no barrier and gives the other threads an empty plan.
 */
export function plan(calls: readonly Work[], kernels: Kernels, t: number, threads: number): Part[] {
  const parts: Part[] = []
  const last = calls.findLastIndex(call => !alone(call, threads))
  let phase = 0 // first call since the last barrier
  let phaseAlone = true
  let group = 0 // first call of the present nowait() group
  calls.forEach((call, i) => {
    if (!call.nowait) group = i
    const free = group <= phase || (phaseAlone && alone(call, threads))
    if (!free && i <= last) {
      parts.push(BARRIER)
      phase = i
      phaseAlone = true
    }
    phaseAlone &&= alone(call, threads)
    const [begin, end] = share(call, t, threads)
    if (end > begin) parts.push({ kernel: kernels[call.kernel] as Kernel, args: [...call.args, begin, end], call: i })
    if (i === last) parts.push(BARRIER)
  })
  return parts
}

/** Walks one plan at a time. It can stop at a barrier when patience runs out and go on later, so that the caller's event loop is never starved. */
export class Walker {
  readonly #meet: () => boolean
  #parts: readonly Part[] = []
  #at = 0

  /** `meet`: wait at the barrier; true once all have met, false if patience ran out (and then to be called again). */
  constructor(meet: () => boolean = () => true) { this.#meet = meet }

  begin(parts: readonly Part[]): void {
    this.#parts = parts
    this.#at = 0
  }

  /** Walk on. True when the plan is done; false when patience ran out at a barrier. `ticks[i]` gets the time at which part i was done. */
  advance(ticks?: Float64Array): boolean {
    const parts = this.#parts
    for (let i = this.#at; i < parts.length; i++) {
      this.#at = i
      const { kernel, args } = parts[i]!
      if (kernel) kernel(...args)
      else if (!this.#meet()) return false
      if (ticks) ticks[i] = performance.now()
    }
    return true
  }

  /** Index of the call that was under way; -1 at a barrier. */
  get call(): number { return this.#parts[this.#at]?.call ?? -1 }
}

/** The RunError for a kernel that failed: which one, where in the model, on which thread. */
export function failure(calls: readonly Call[], call: number, t: number, message: string): RunError {
  const { kernel, label } = calls[call] ?? { kernel: 'barrier', label: '' }
  return new RunError(`kernel ${kernel}${label && ` at ${label}`} failed on thread ${t}: ${message}`)
}

/** What a thread did from `begin` to `end`, in milliseconds since the first thread set out: a share of call number `call`, or (-1) waiting at a barrier. */
export interface Span {
  thread: number
  call: number
  begin: number
  end: number
}

/** The spans of thread `t`'s plan. `ticks`, on this thread's clock: when it set out, then when each part was done. `start`: time zero, on that clock. */
export function spans(parts: readonly Part[], ticks: Float64Array, t: number, start: number): Span[] {
  return parts.map(({ call }, i) => ({ thread: t, call, begin: ticks[i]! - start, end: ticks[i + 1]! - start }))
}

/** Let the event loop turn once: signals, timers and exits of workers are seen. */
export const breathe = (): Promise<void> => new Promise(resolve => {
  if (typeof setImmediate === 'function') { setImmediate(resolve); return } // node
  if (typeof MessageChannel === 'undefined') { setTimeout(resolve, 0); return } // workerd
  const { port1, port2 } = new MessageChannel() // browsers, where setTimeout would wait 4 ms
  port1.onmessage = () => { port1.close(); resolve() }
  port2.postMessage(null)
})

/** Milliseconds an executor may go from program to program before it lets the event loop turn. */
export const BREATH = 50
