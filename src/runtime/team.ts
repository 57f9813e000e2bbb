// Threads that walk programs together over one shared memory. Nothing here knows how a thread was started: node's workers (pool.ts) and web workers use
// the same code.
//
// Thread 0, the leader, writes a command and comes to the barrier where the others wait between programs; all walk their plans, meeting at the same
// barriers; at the last one the leader knows that the others are done. A program is written out in memory once ("mail", just above the arena's
// tensors), every thread makes its plan of it and keeps the plan in a numbered slot; after that a command is one number.
//
// A thread that fails halts the team: the barrier tells all the others, for good.
import { instantiate, type CoreModules, type Kernels } from './instance.ts'
import { PAGE, type Arena } from './memory.ts'
import type { Program } from './program.ts'
import { Walker, plan, spans, type Part, type Span, type Work } from './walk.ts'

/** The team's control block lies below the modules' constants: the barrier's words first (assembly/barrier.ts), then the command. */
const CONTROL = 256
const COMMAND = CONTROL + 256

/** Programs whose plans the threads keep. The one used least recently makes room for the next. */
const SLOTS = 64

/**
 * Looks at the barrier before a thread goes to sleep, some 0.1 ms (sleeping and waking costs 0.05 ms). With more threads than cores the one that is
 * waited for may need this core, so none.
 */
export const SPINS = 400_000

/** What the threads are to do next. */
export interface Command {
  /** Size of the memory, in pages of 64 KiB. */
  pages: number
  slot: number
  /** Where the program is written out, and how many f64 long; 0 if the slot holds it already. */
  mail: number
  length: number
  /** 0, or where thread t is to note, at ticks + t * stride, its clock's origin, when it set out, and when each part of its plan was done. */
  ticks: number
  stride: number
}

/** Thrown at the barrier after the team was halted. */
export class Halted extends Error {}

/** What the threads of a team share. */
export interface Crew {
  core: CoreModules
  memory: WebAssembly.Memory
  threads: number
  spins: number
}

/** A thread's place in the team: its number, its scratch area, and how many milliseconds it sleeps at a barrier at a time (negative: no limit). */
export interface Post {
  thread: number
  scratch: number
  patience: number
}

/** A thread that gave up: the call it was at (-1: none) and the message of what was thrown. */
export interface Failure {
  thread: number
  call: number
  message: string
}

/** One thread of a team. */
export class Member {
  readonly kernels: Kernels
  readonly #thread: number
  readonly #threads: number
  readonly #memory: WebAssembly.Memory
  readonly #names: string[]
  readonly #plans: Part[][] = []
  readonly #walker: Walker
  readonly #meet: () => boolean

  constructor({ core, memory, threads, spins }: Crew, { thread, scratch, patience }: Post) {
    const kernels = this.kernels = instantiate(core, memory, scratch)
    this.#thread = thread
    this.#threads = threads
    this.#memory = memory
    this.#names = kernelNames(kernels)
    let waiting = false
    this.#meet = () => {
      const outcome = waiting ? kernels.barrier_resume(CONTROL, 0, patience) : kernels.barrier(CONTROL, threads, spins, patience)
      if (outcome === 1) throw new Halted()
      waiting = outcome === 2
      return !waiting
    }
    this.#walker = new Walker(this.#meet)
  }

  /** The leader's part: walk a program with the team. `pause` is awaited whenever patience runs out. Throws Halted, or what a kernel threw. */
  async lead(command: Command, pause: () => Promise<void>): Promise<void> {
    const parts = this.#plan(command)
    if (parts.some(part => part.kernel === null)) {
      const { pages, slot, mail, length, ticks, stride } = command
      new Uint32Array(this.#memory.buffer, COMMAND, 6).set([pages, slot, mail, length, ticks, stride])
      this.#walker.begin([])
      while (!this.#meet()) await pause()
    }
    this.#walker.begin(parts)
    const ticks = this.#ticks(command, parts)
    while (!this.#walker.advance(ticks)) await pause()
  }

  /** The part of every other thread, for as long as the team lives: returns when it is halted. Throws what a kernel threw. */
  follow(): void {
    try {
      for (;;) {
        this.#walker.begin([])
        while (!this.#meet());
        const words = new Uint32Array(this.#memory.buffer, COMMAND, 6) as unknown as [number, number, number, number, number, number]
        const [pages, slot, mail, length, ticks, stride] = words
        const command = { pages, slot, mail, length, ticks, stride }
        const parts = this.#plan(command)
        this.#walker.begin(parts)
        const noted = this.#ticks(command, parts)
        while (!this.#walker.advance(noted));
      }
    } catch (error) {
      if (!(error instanceof Halted)) throw error
    }
  }

  /** Halt the team because of `error`, thrown by what this thread was doing. */
  fail(error: unknown): Failure {
    halt(this.kernels)
    return { thread: this.#thread, call: this.#walker.call, message: error instanceof Error ? error.message : String(error) }
  }

  /** This thread's plan of the program in the command's slot, made anew if there is mail. */
  #plan({ pages, slot, mail, length }: Command): Part[] {
    // A thread may be late to learn that another one has grown the memory; asking for no more brings it up to date.
    if (this.#memory.buffer.byteLength < pages * PAGE) this.#memory.grow(0)
    if (length) this.#plans[slot] = plan(decode(new Float64Array(this.#memory.buffer, mail, length), this.#names), this.kernels, this.#thread, this.#threads)
    return this.#plans[slot]!
  }

  /** Where this thread notes the time after each part, having noted its clock's origin and the present. */
  #ticks({ ticks, stride }: Command, parts: Part[]): Float64Array | undefined {
    if (!ticks) return undefined
    const noted = new Float64Array(this.#memory.buffer, ticks + this.#thread * stride, parts.length + 2)
    noted[0] = performance.timeOrigin
    noted[1] = performance.now()
    // The last barrier lets the caller go, who may give this memory to other uses at once: only the caller itself may note its end.
    return noted.subarray(2, this.#thread ? parts.length + 1 : undefined)
  }
}

/** End the team: every thread, when it next comes to the barrier, is halted. */
export const halt = (kernels: Kernels): void => kernels.barrier_halt(CONTROL)

/** What the threads noted while they walked `program`, on one clock. */
export function readTrace(program: Program, kernels: Kernels, { ticks, stride }: Command, threads: number): Span[] {
  const { buffer } = program.arena.memory
  let origin = 0
  let start = 0
  let end = 0
  return Array.from({ length: threads }, (_, t) => {
    const parts = plan(program.calls, kernels, t, threads)
    const noted = new Float64Array(buffer, ticks + t * stride, parts.length + 2)
    if (t === 0) [origin, start] = noted as unknown as [number, number]
    const own = spans(parts, noted.subarray(1), t, origin + start - noted[0]!)
    // Only the first thread notes the end of the last barrier: take its word for it.
    if (t === 0) end = own.findLast(span => span.call < 0)?.end ?? 0
    else if (own.length) own.at(-1)!.end = Math.max(own.at(-1)!.begin, end)
    return own
  }).flat()
}

/** The arena's side: numbers programs, writes them out, and takes the memory back when all have read it. */
export class Mailbox {
  readonly #arena: Arena
  readonly #names: string[]
  /** Slot of each program and the number of calls it had when sent, the least recently used first. */
  readonly #slots = new Map<Program, { slot: number, calls: number }>()
  #mark = 0
  #top = 0

  constructor(arena: Arena, kernels: Kernels) {
    this.#arena = arena
    this.#names = kernelNames(kernels)
  }

  /** The command to walk `program`, with mail if the threads do not have it yet and room for ticks if `traced`. To be followed by done(). */
  post(program: Program, traced: boolean): Command {
    const arena = this.#arena
    this.#mark = this.#top = arena.mark()
    const known = this.#slots.get(program)
    const evicted = known || this.#slots.size < SLOTS ? undefined : this.#slots.keys().next().value!
    const slot = known?.slot ?? (evicted ? this.#slots.get(evicted)!.slot : this.#slots.size)
    const command: Command = { pages: 0, slot, mail: 0, length: 0, ticks: 0, stride: 0 }
    if (known?.calls !== program.calls.length) {
      const mail = encode(program.calls, this.#names)
      command.mail = arena.allocBytes(mail.byteLength)
      command.length = mail.length
      new Float64Array(arena.memory.buffer, command.mail, mail.length).set(mail)
    }
    if (traced) {
      command.stride = (2 * program.calls.length + 3) * 8
      command.ticks = arena.allocBytes(arena.threads * command.stride)
    }
    command.pages = arena.memory.buffer.byteLength / PAGE
    this.#slots.delete(evicted ?? program)
    this.#slots.set(program, { slot, calls: program.calls.length })
    this.#top = arena.mark()
    return command
  }

  /** The program was walked: the mail and the ticks are not needed any more. */
  done(): void {
    if (this.#arena.mark() === this.#top) this.#arena.release(this.#mark)
  }
}

/** Every thread gives the kernels the same numbers: their places in this list. */
const kernelNames = (kernels: Kernels): string[] => Object.keys(kernels).sort()

/** Calls as numbers: for each, its kernel's number, items, grain, nowait, and its arguments after their count. */
function encode(calls: readonly Work[], names: readonly string[]): Float64Array {
  const numbers = new Map(names.map((name, i) => [name, i]))
  return Float64Array.from(calls.flatMap(call => [numbers.get(call.kernel)!, call.items, call.grain, Number(call.nowait), call.args.length, ...call.args]))
}

function decode(mail: Float64Array, names: readonly string[]): Work[] {
  const calls: Work[] = []
  for (let i = 0; i < mail.length;) {
    const [kernel, items, grain, nowait, count] = mail.subarray(i, i += 5) as unknown as [number, number, number, number, number]
    calls.push({ kernel: names[kernel] as Work['kernel'], items, grain, nowait: nowait === 1, args: [...mail.subarray(i, i += count)] })
  }
  return calls
}
