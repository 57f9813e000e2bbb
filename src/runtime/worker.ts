// A worker of the pool. Its one task lasts as long as the pool: follow the leader until the team is halted.
import { workerData } from 'node:worker_threads'
import { instantiate, type CoreModules } from './instance.ts'
import { Member } from './team.ts'

/** What all workers of a pool are given (as Piscina's workerData). */
export interface Crew {
  modules: CoreModules
  memory: WebAssembly.Memory
  threads: number
  spins: number
}

/** One worker's task: its thread number, and where its scratch area is. */
export interface Post {
  thread: number
  scratch: number
}

/** Why a worker gave up: the call it was at (-1: none) and the message of what was thrown. */
export interface Failure {
  call: number
  message: string
}

export default function ({ thread, scratch }: Post): Failure | undefined {
  const { modules, memory, threads, spins } = workerData as Crew
  const member = new Member(instantiate(modules, memory, scratch), memory, thread, threads, spins, -1)
  try {
    member.follow()
  } catch (error) {
    member.halt()
    return { call: member.call, message: (error as Error).message }
  }
}
