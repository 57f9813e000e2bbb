// npm run test:vectors -- [DIR...]
// Runs every vector set found in the given folders (default: test/vectors, then ../shared/vectors if present) and prints for each set: cases, passed,
// failed, and the worst deviation where a rule allows one. A set that is not known, or a runner that throws, counts as failed, never as passed over.
import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { sets } from './sets.ts'
import type { SetResult, SetRunner } from './types.ts'

/** A set's failures shown in full; the rest is counted. */
const SHOWN = 10

export interface Report extends SetResult { set: string, seconds: number }

/** The set folders in `dir`: its subfolders, or `dir` itself if it holds files of a set and no subfolders. */
export function findSets(dir: string): string[] {
  const folders = readdirSync(dir).filter(name => !name.startsWith('.') && statSync(join(dir, name)).isDirectory()).sort()
  if (folders.length > 0) return folders.map(name => join(dir, name))
  return readdirSync(dir).some(name => /\.(safetensors|json|npy)$/.test(name)) ? [dir] : []
}

/** Run the set in `folder` with the runner registered under the folder's name. Never rejects: what goes wrong is a failure of the set. */
export async function runSet(folder: string, table: Readonly<Record<string, () => Promise<{ run: SetRunner }>>> = sets): Promise<Report> {
  const set = basename(folder), start = performance.now()
  const result = await (async (): Promise<SetResult> => {
    if (!Object.hasOwn(table, set)) return { cases: 1, passed: 0, failures: [`unknown set: no runner called ${JSON.stringify(set)}`] }
    try {
      const result = await (await table[set]!()).run(folder)
      if (result.cases === 0) return { cases: 1, passed: 0, failures: ['the folder holds no cases'] }
      const unexplained = result.cases - result.passed - result.failures.length
      return unexplained > 0 ? { ...result, failures: [...result.failures, `${unexplained} cases neither passed nor explained`] } : result
    } catch (error) {
      return { cases: 1, passed: 0, failures: [`the runner stopped: ${(error as Error).message}`] }
    }
  })()
  return { set, seconds: (performance.now() - start) / 1000, ...result }
}

/** One line for the set, one more per failure shown and per deviation. */
export function format({ set, cases, passed, failures, worst = [], seconds }: Report): string {
  const failed = cases - passed
  const lines = [`${failed || failures.length ? 'FAIL' : 'ok  '} ${set.padEnd(20)} ${String(cases).padStart(6)} cases ${String(passed).padStart(6)} passed ${String(failed).padStart(6)} failed ${seconds.toFixed(1).padStart(7)} s`]
  for (const { what, value, limit } of worst) lines.push(`       worst ${what}: ${value.toExponential(3)} (limit ${limit.toExponential(3)})`)
  for (const failure of failures.slice(0, SHOWN)) lines.push(`       ${failure}`)
  if (failures.length > SHOWN) lines.push(`       and ${failures.length - SHOWN} more`)
  return lines.join('\n')
}

/** Exit code: 0 if every case of every set passed, 1 otherwise, 2 if a folder does not exist or holds no set. */
async function main(args: string[]): Promise<number> {
  const dirs = args.length ? args : ['test/vectors', '../shared/vectors'].filter(dir => existsSync(dir))
  const missing = dirs.find(dir => !existsSync(dir) || !statSync(dir).isDirectory())
  if (missing) { console.error(`test:vectors: ${missing} is not a folder`); return 2 }
  let failed = 0, total = 0
  for (const dir of dirs) {
    console.log(dir)
    for (const folder of findSets(dir)) {
      const report = await runSet(folder)
      console.log(format(report))
      total++
      if (report.passed < report.cases || report.failures.length) failed++
    }
  }
  if (total === 0) { console.error(`test:vectors: no vector sets in ${dirs.join(', ') || 'test/vectors, ../shared/vectors'}`); return 2 }
  console.log(failed ? `${failed} of ${total} sets failed` : `all ${total} sets passed`)
  return failed ? 1 : 0
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) process.exitCode = await main(process.argv.slice(2))
