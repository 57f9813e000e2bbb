// Following a JSON Lines file that another process appends to: each read returns the lines completed since the one before. The file may not exist yet,
// and may be replaced by a shorter one (a resumed run drops what came after its checkpoint); then reading starts over and says so. Only ever reads.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { parseLines } from './jsonl.ts'

export class JsonLinesTail<T> {
  readonly path: string
  #inode = 0
  #offset = 0
  /** The bytes of a line that has no end yet. */
  #rest: Uint8Array = new Uint8Array(0)

  constructor(path: string) { this.path = path }

  /** New rows, at most about `limit` bytes of them at a time; `restarted`: the rows before are void. Throws UsageError on a complete line that is not JSON. */
  read(limit = 16 << 20): { rows: T[], restarted: boolean } {
    let handle
    try { handle = openSync(this.path, 'r') } catch { return { rows: [], restarted: false } }
    try {
      const { ino, size } = fstatSync(handle)
      const restarted = this.#offset > 0 && (ino !== this.#inode || size < this.#offset)
      if (restarted) { this.#offset = 0; this.#rest = new Uint8Array(0) }
      this.#inode = ino
      const fresh = Buffer.alloc(Math.min(size - this.#offset, limit))
      const length = readSync(handle, fresh, 0, fresh.length, this.#offset)
      this.#offset += length
      const bytes = Buffer.concat([this.#rest, fresh.subarray(0, length)])
      const end = bytes.lastIndexOf(10) + 1
      this.#rest = bytes.subarray(end)
      return { rows: parseLines<T>(bytes.subarray(0, end).toString('utf8'), this.path), restarted }
    } finally {
      closeSync(handle)
    }
  }
}
