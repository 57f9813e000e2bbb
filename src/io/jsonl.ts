// JSON Lines: one JSON value per line. A last line without its newline is what a crash leaves behind; it is dropped, all else must parse.
import { UsageError } from '../errors.ts'

/** One line. Numbers that JSON cannot express (NaN, infinities) become null. */
export const formatLine = (value: unknown): string => `${JSON.stringify(value)}\n`

/** All complete lines of `text`. Throws UsageError naming `source` and the line of the first one that is not JSON. */
export function parseLines<T = unknown>(text: string, source: string): T[] {
  const lines = text.split('\n')
  lines.pop()
  return lines.flatMap((line, i) => {
    if (line.trim() === '') return []
    try { return [JSON.parse(line) as T] } catch (error) {
      throw new UsageError(`${source} line ${i + 1}: ${(error as Error).message.split('\n')[0]}`)
    }
  })
}
