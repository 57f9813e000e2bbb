// The entry for pages that are cross-origin isolated: the same programs and the same bits on web workers.
import { WebExecutor, type WebOptions } from './runtime/web.ts'

export * from './api.ts'
export type { WebExecutor, WebOptions } from './runtime/web.ts'

/** Open an executor on web workers; close() ends them. Throws RunError where memory cannot be shared, UsageError for a bad number of threads. */
export const open = async (options: WebOptions = {}): Promise<WebExecutor> => new WebExecutor(options)
