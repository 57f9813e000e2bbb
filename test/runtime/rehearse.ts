// Walks a program on one thread as `threads` threads would, in a random order of their parts that only the barriers restrain. A program whose nowait()
// promises more than is true, or a kernel whose result depends on how its items are cut, gives other bits for some order.
import type { Kernels } from '../../src/runtime/instance.ts'
import type { Program } from '../../src/runtime/program.ts'
import { plan } from '../../src/runtime/walk.ts'

/** `random`: an integer in [0, n). */
export function rehearse(program: Program, kernels: Kernels, threads: number, random: (n: number) => number): void {
  const queues = Array.from({ length: threads }, (_, t) => plan(program.calls, kernels, t, threads))
  for (;;) {
    const ready = queues.filter(queue => queue[0]?.kernel)
    if (ready.length) {
      const { kernel, args } = ready[random(ready.length)]!.shift()!
      kernel!(...args)
    } else if (queues.some(queue => queue.length)) {
      for (const [t, queue] of queues.entries()) if (queue.shift() === undefined && queues[0]!.length) throw new Error(`thread ${t} misses a barrier`)
    } else return
  }
}
