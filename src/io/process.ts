// Which process a process id means: whether it lives, and when it started, which tells it from a later one with the same id.
import { existsSync, readFileSync } from 'node:fs'

/**
 * When process `pid` started, in clock ticks since boot (field 22 of /proc/PID/stat). '' if there is none, or only what its parent has not yet been told of:
 * a container without an init process keeps those forever. null where the system does not say.
 */
export function processStart(pid: number): string | null {
  let stat
  try { stat = readFileSync(`/proc/${pid}/stat`, 'utf8') } catch { return existsSync('/proc/self/stat') ? '' : null }
  // The name, in parentheses, may hold anything; after it come state (field 3) and the rest.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? '' : fields[19] ?? ''
}

/** Does the process that had `pid` and started at `start` live? `start` '': unknown, any process of that id will do. */
export function processLives(pid: number, start: string): boolean {
  const now = processStart(pid)
  if (now !== null) return now !== '' && (start === '' || now === start)
  try { process.kill(pid, 0) } catch (error) { return (error as NodeJS.ErrnoException).code === 'EPERM' }
  return true
}
