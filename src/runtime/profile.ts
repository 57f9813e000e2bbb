// Where the time of a step goes. A Profiler is an executor that passes everything on to another one and notes, for every call of every program it runs,
// how long each thread computed and how long it then waited at the barrier. Noting costs some 0.1 us a call.
//
// Times are averages over the threads, so that they add up: computing + waiting + the time between programs = wall time. Rates are honest about uneven
// shares: the work of a call over the time of its slowest thread.
import type { Executor } from './executor.ts'
import type { KernelArgs, KernelName } from './instance.ts'
import type { Program } from './program.ts'
import type { Span } from './walk.ts'

/** One line of a profile: all calls of one name, over all steps. Times in seconds. */
export interface ProfileRow {
  name: string
  calls: number
  /** Average over the threads of the time spent computing. */
  compute: number
  /** Average over the threads of the time spent waiting for the others right after. */
  wait: number
  /** Time of the slowest thread, summed over the calls. */
  slowest: number
  /** Floating-point operations and bytes of memory traffic, as stated at emission; 0 if not. */
  flops: number
  bytes: number
}

/** The whole, in seconds. */
export interface ProfileTotal {
  programs: number
  /** From the Profiler's beginning to the end of the last program. */
  wall: number
  /** Inside programs. */
  walked: number
  compute: number
  wait: number
}

/** How calls are put together in lines: by kernel, by label, or by a name made of both. */
export type ProfileKey = 'kernel' | 'label' | ((kernel: string, label: string) => string)

/** Spans kept for the Chrome trace, the first ones: some 20 MB of JSON. */
const TRACED = 200_000

/** An executor over another one, which it times: `new Profiler(executor)`, run programs on it, then ask for rows, table or trace. */
export class Profiler implements Executor {
  readonly inner: Executor
  /** One line for each kernel and label. */
  readonly #lines = new Map<string, { kernel: string, label: string, row: ProfileRow }>()
  readonly #traced: { program: Program, span: Span, start: number }[] = []
  readonly #began = performance.now()
  readonly #total: ProfileTotal = { programs: 0, wall: 0, walked: 0, compute: 0, wait: 0 }

  constructor(inner: Executor) { this.inner = inner }

  get arena() { return this.inner.arena }
  get threads() { return this.inner.threads }
  get core() { return this.inner.core }
  call<K extends KernelName>(kernel: K, args: KernelArgs<K>, items: number): void { this.inner.call(kernel, args, items) }
  close(): Promise<void> { return this.inner.close() }
  async run(program: Program): Promise<void> { await this.trace(program) }

  async trace(program: Program): Promise<Span[]> {
    const start = performance.now() - this.#began
    const spans = await this.inner.trace(program)
    this.#total.programs++
    this.#total.wall = (performance.now() - this.#began) / 1000
    this.#total.walked += Math.max(0, ...spans.map(span => span.end)) / 1000
    this.#note(program, spans)
    if (this.#traced.length < TRACED) for (const span of spans) this.#traced.push({ program, span, start })
    return spans
  }

  #note(program: Program, spans: readonly Span[]): void {
    const rows = program.calls.map(({ kernel, label }) => this.#row(kernel, label))
    const slowest = new Float64Array(rows.length)
    // Thread 0 has a share of every call: its last call before a barrier is what the others wait for there.
    const awaited: number[] = []
    let meetings = 0
    spans.forEach((span, i) => {
      const seconds = (span.end - span.begin) / 1000
      if (span.thread !== spans[i - 1]?.thread) meetings = 0
      if (span.call < 0) {
        if (span.thread === 0) awaited.push(spans[i - 1]!.call)
        rows[awaited[meetings++]!]!.wait += seconds / this.threads
        this.#total.wait += seconds / this.threads
      } else {
        rows[span.call]!.compute += seconds / this.threads
        this.#total.compute += seconds / this.threads
        slowest[span.call] = Math.max(slowest[span.call]!, seconds)
      }
    })
    program.calls.forEach(({ flops, bytes }, i) => {
      const row = rows[i]!
      row.calls++
      row.slowest += slowest[i]!
      row.flops += flops
      row.bytes += bytes
    })
  }

  #row(kernel: string, label: string): ProfileRow {
    const key = `${kernel} ${label}`
    let line = this.#lines.get(key)
    if (!line) this.#lines.set(key, line = { kernel, label, row: empty(key) })
    return line.row
  }

  /** Times of everything run so far. */
  get total(): Readonly<ProfileTotal> { return this.#total }

  /** The profile so far, the most expensive line first. */
  rows(key: ProfileKey = (kernel, label) => `${label} ${kernel}`): ProfileRow[] {
    const rows = new Map<string, ProfileRow>()
    for (const { kernel, label, row } of this.#lines.values()) {
      const name = key === 'kernel' ? kernel : key === 'label' ? label : key(kernel, label)
      const sum = rows.get(name) ?? empty(name)
      for (const field of ['calls', 'compute', 'wait', 'slowest', 'flops', 'bytes'] as const) sum[field] += row[field]
      rows.set(name, sum)
    }
    return [...rows.values()].sort((a, b) => b.compute + b.wait - a.compute - a.wait)
  }

  /** rows() as lines of text under a heading. Milliseconds and calls are per `steps`. */
  table(key?: ProfileKey, steps = 1): string {
    const rows = this.rows(key)
    const { wall, walked, compute, wait } = this.total
    const ms = (seconds: number) => (seconds * 1000 / steps).toFixed(3)
    const rate = (work: number, seconds: number) => work > 0 && seconds > 0 ? (work / seconds / 1e9).toFixed(1) : ''
    const lines = rows.map(r => [r.name, String(+(r.calls / steps).toFixed(2)), ms(r.compute), ms(r.wait), ((r.compute + r.wait) / wall * 100).toFixed(1), rate(r.flops, r.slowest), rate(r.bytes, r.slowest)])
    const head = ['', 'calls', 'ms', 'wait ms', '%', 'GFLOP/s', 'GB/s']
    const all = ['all programs', '', ms(compute), ms(wait), ((compute + wait) / wall * 100).toFixed(1), rate(rows.reduce((n, r) => n + r.flops, 0), walked), '']
    const between = ['between programs', '', ms(wall - compute - wait), '', ((wall - compute - wait) / wall * 100).toFixed(1), '', '']
    const table = [head, ...lines, all, between]
    const widths = head.map((_, i) => Math.max(...table.map(line => line[i]!.length)))
    return table.map(line => line.map((cell, i) => i ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)).join('  ').trimEnd()).join('\n')
  }

  /** The first programs as a Chrome trace (chrome://tracing, ui.perfetto.dev): an object to be written as JSON. */
  chromeTrace(): { traceEvents: object[], displayTimeUnit: 'ms' } {
    const names = Array.from({ length: this.threads }, (_, tid) => ({ name: 'thread_name', ph: 'M', pid: 1, tid, args: { name: tid ? `thread ${tid}` : 'thread 0 (caller)' } }))
    return {
      displayTimeUnit: 'ms',
      traceEvents: [...names, ...this.#traced.map(({ program, span: { thread, call, begin, end }, start }) => {
        const { kernel, label, items } = program.calls[call] ?? { kernel: 'barrier', label: '', items: 0 }
        return { name: kernel, cat: call < 0 ? 'wait' : 'kernel', ph: 'X', ts: (start + begin) * 1000, dur: (end - begin) * 1000, pid: 1, tid: thread, args: { label, items } }
      })],
    }
  }
}

const empty = (name: string): ProfileRow => ({ name, calls: 0, compute: 0, wait: 0, slowest: 0, flops: 0, bytes: 0 })
