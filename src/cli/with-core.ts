// The executor of commands that compute: opened by their options; of the numeric ones also closed when they are done.
import { Core } from '../core/core.ts'
import type { Executor } from '../runtime/executor.ts'
import { open } from '../runtime/open.ts'
import { wideAllowed } from '../runtime/wide.ts'
import { threadCount } from './arguments.ts'

export const coreOptions = { threads: { type: 'string' }, narrow: { type: 'boolean' }, json: { type: 'boolean' } } as const

export const coreHelp = `  --threads N       number of threads, or auto (default); never changes a result
  --narrow          do not try the engine's 256-bit mode
  --json            the summary as one line of JSON`

/** An executor of the given threads, in the 256-bit mode unless --narrow or the environment forbids it. */
export const openExecutor = (values: { threads?: string, narrow?: boolean }): Promise<Executor> => open({ threads: threadCount(values.threads), wide: !values.narrow && wideAllowed() })

/** Run `body` on a Core of the given threads. */
export async function withCore<T>(values: { threads?: string, narrow?: boolean }, body: (core: Core) => Promise<T>): Promise<T> {
  const executor = await openExecutor(values)
  try { return await body(new Core(executor)) } finally { await executor.close() }
}
