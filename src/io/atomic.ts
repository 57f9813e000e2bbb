// Files that are either the old one or the whole new one: written aside in the same folder, synced, renamed over the target, the folder synced.
// Whatever fails, the previous file is intact and nothing half-written stays behind. Needs a file system.
import { closeSync, fsyncSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { RunError } from '../errors.ts'

/** Marks a file that is being written; one found later belongs to a process that died. */
export const PARTIAL = '.partial'
let serial = 0

/** Write `parts`, one after another, to `path`. Throws RunError (with the amount, on a full disk) and leaves what was at `path` as it was. */
export function writeFileAtomic(path: string, parts: string | Uint8Array | readonly Uint8Array[]): void {
  const pieces = typeof parts === 'string' ? [Buffer.from(parts)] : parts instanceof Uint8Array ? [parts] : parts
  const aside = join(dirname(path), `.${basename(path)}.${process.pid}-${serial++}${PARTIAL}`)
  let fd: number | undefined
  try {
    fd = openSync(aside, 'wx')
    for (const piece of pieces) writeAll(fd, piece)
    fsyncSync(fd)
    closeSync(fd)
    fd = undefined
    renameSync(aside, path)
  } catch (cause) {
    if (fd !== undefined) closeQuietly(fd)
    try { unlinkSync(aside) } catch { /* it was not created, or is already in place */ }
    throw writeError(path, pieces.reduce((n, p) => n + p.length, 0), cause as NodeJS.ErrnoException)
  }
  syncFolder(dirname(path))
}

/** Write every byte: a single write may stop short. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, bytes.length - at)
}

/** What to tell a user about a failed write of `bytes` bytes. */
export function writeError(path: string, bytes: number, cause: NodeJS.ErrnoException): RunError {
  const size = bytes < 2 ** 20 ? `${bytes} bytes` : `${(bytes / 2 ** 20).toFixed(1)} MiB`
  const reason = cause.code === 'ENOSPC' || cause.code === 'EDQUOT' ? `disk full, ${size} needed` : cause.message
  return new RunError(`cannot write ${path}: ${reason}`, { cause })
}

function closeQuietly(fd: number): void {
  try { closeSync(fd) } catch { /* the first error is the one to report */ }
}

/** So that the rename survives a power cut. Some systems refuse to open or sync a folder; the data itself is synced already. */
function syncFolder(folder: string): void {
  try {
    const fd = openSync(folder, 'r')
    try { fsyncSync(fd) } finally { closeQuietly(fd) }
  } catch { /* see above */ }
}
