// What every executor offers, and the inline one: a single thread, no node: imports, used by the edge entry and as the reference for the pool.
import { Arena } from './memory.ts'
import { instantiate, loadModules, type CoreModules, type KernelArgs, type KernelName, type Kernels } from './module.ts'
import { Program } from './program.ts'

export interface Executor {
  readonly arena: Arena
  readonly threads: number
  /** Walk the program once. Resolves when every call is done; rejects with RunError if a kernel or a worker failed. */
  run(program: Program): Promise<void>
  /** One kernel call, now, on the calling thread. For set-up, tests and small work. */
  call<K extends KernelName>(kernel: K, args: KernelArgs<K>, items: number): void
  /** Stop the threads and free what can be freed. */
  close(): Promise<void>
}

/** Kernel calls as bound functions: what a thread executes. */
type Fn = (...args: number[]) => void

export class InlineExecutor implements Executor {
  readonly threads = 1
  readonly arena: Arena
  readonly kernels: Kernels

  constructor(modules: CoreModules = loadModules(false)) {
    this.arena = new Arena(1, modules.shared)
    this.kernels = instantiate(modules, this.arena.memory, this.arena.scratch(0))
  }

  run(program: Program): Promise<void> {
    this.runSync(program)
    return Promise.resolve()
  }

  /** As run, without a promise. */
  runSync(program: Program): void {
    for (const { kernel, args, items } of program.calls) (this.kernels[kernel] as Fn)(...args, 0, items)
  }

  call<K extends KernelName>(kernel: K, args: KernelArgs<K>, items: number): void {
    (this.kernels[kernel] as Fn)(...(args as number[]), 0, items)
  }

  close(): Promise<void> { return Promise.resolve() }
}
