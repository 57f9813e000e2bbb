// Which self-tests were passed here: an empty file in the user's cache folder for each machine, engine, core and choice of tiles, so that a test delays only the
// first start. Needs a file system.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { cpus, homedir } from 'node:os'
import { join } from 'node:path'
import { hashes } from '../../build/hashes.js'
import type { CoreModules } from './instance.ts'

/** blockscale/ in the user's cache folder. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  const base = process.platform === 'win32' ? env.LOCALAPPDATA : process.platform === 'darwin' ? join(homedir(), 'Library', 'Caches') : env.XDG_CACHE_HOME
  return join(base ?? join(homedir(), '.cache'), 'blockscale')
}

export interface TestRecord {
  readonly passed: boolean
  /** Note that the test was passed. Failing to write is no error: the next start tests again. */
  note(): void
}

/** The record of `test` on this core under these settings (engine flags and the like). */
export function testRecord(test: string, { shared, tiles }: CoreModules, settings: readonly string[], folder: string = cacheFolder()): TestRecord {
  const facts = [process.versions, process.arch, process.platform, cpus()[0]?.model, process.execArgv, settings, hashes, shared, tiles]
  const file = join(folder, `${test}-${createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 32)}`)
  return {
    passed: existsSync(file),
    note() {
      try {
        mkdirSync(folder, { recursive: true })
        writeFileSync(file, '')
      } catch { /* a read-only home */ }
    },
  }
}
