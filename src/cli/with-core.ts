// The numeric commands' executor: opened by their options, closed when they are done.
import { Core } from '../core/core.ts'
import { open } from '../runtime/open.ts'
import { wideAllowed } from '../runtime/wide.ts'
import { threadCount } from './arguments.ts'

export const coreOptions = { threads: { type: 'string' }, narrow: { type: 'boolean' }, json: { type: 'boolean' } } as const

export const coreHelp = `  --threads N       number of threads, or auto (default); never changes a result
  --narrow          do not try the engine's 256-bit mode
  --json            the summary as one line of JSON`

/** Run `body` on a Core of the given threads. */
export async function withCore<T>(values: { threads?: string, narrow?: boolean }, body: (core: Core) => Promise<T>): Promise<T> {
  const executor = await open({ threads: threadCount(values.threads), wide: !values.narrow && wideAllowed() })
  try { return await body(new Core(executor)) } finally { await executor.close() }
}
