// CSV (RFC 4180): comma-separated, fields quoted with " where needed, "" inside quotes for a quote, a header line first. Errors name line and column.
import { UsageError } from '../errors.ts'

export interface CsvTable {
  readonly header: readonly string[]
  /** Data records; `line` is the 1-based line the record starts on. */
  readonly records: readonly { readonly line: number, readonly fields: readonly string[] }[]
  /** What the table was read from, for error messages. */
  readonly source: string
}

/** Parse CSV text. Throws UsageError on an unclosed or misplaced quote, a record of another width than the header, or a repeated column name. */
export function parseCsv(text: string, source = 'csv'): CsvTable {
  const records: { line: number, fields: string[] }[] = []
  let at = text.startsWith('\uFEFF') ? 1 : 0, line = 1, lineStart = at
  const fail = (message: string, position = at): never => { throw new UsageError(`${source}:${line}:${position - lineStart + 1}: ${message}`) }
  while (at < text.length) {
    const fields: string[] = []
    const firstLine = line
    for (;;) {
      let field = ''
      if (text[at] === '"') {
        const open = { at, line, lineStart }
        for (at++; text[at] !== '"' || text[at + 1] === '"'; at++) {
          if (at >= text.length) {
            ({ line, lineStart } = open)
            fail('quote is never closed', open.at)
          }
          if (text[at] === '"') at++
          field += text[at]
          if (text[at] === '\n') { line++; lineStart = at + 1 }
        }
        at++
        if (at < text.length && !',\r\n'.includes(text[at]!)) fail('a closing quote must be followed by a comma or the end of the line')
      } else {
        const start = at
        while (at < text.length && !',\r\n"'.includes(text[at]!)) at++
        if (text[at] === '"') fail('a quote inside an unquoted field')
        field = text.slice(start, at)
      }
      fields.push(field)
      if (text[at] !== ',') break
      at++
    }
    if (text[at] === '\r' && text[at + 1] === '\n') at++
    if (fields.length > 1 || fields[0] !== '') {
      if (records.length && fields.length !== records[0]!.fields.length) {
        throw new UsageError(`${source}:${firstLine}:${firstLine === line ? at - lineStart + 1 : 1}: the record ends after ${fields.length} field${fields.length === 1 ? '' : 's'}, the header has ${records[0]!.fields.length}`)
      }
      records.push({ line: firstLine, fields })
    }
    at++
    line++
    lineStart = at
  }
  const [head, ...rest] = records
  if (!head) throw new UsageError(`${source}: empty, needs a header line`)
  const repeated = head.fields.find((name, i) => head.fields.indexOf(name) < i)
  if (repeated !== undefined) throw new UsageError(`${source}:1: column ${JSON.stringify(repeated)} occurs twice`)
  return { header: head.fields, records: rest, source }
}

/** Index of a column. Throws UsageError that lists the columns there are. */
export function columnIndex(table: CsvTable, name: string): number {
  const index = table.header.indexOf(name)
  if (index < 0) throw new UsageError(`${table.source}: no column ${JSON.stringify(name)}; it has ${table.header.join(', ')}`)
  return index
}

/** The strings of a column. */
export function textColumn(table: CsvTable, name: string): string[] {
  const index = columnIndex(table, name)
  return table.records.map(r => r.fields[index]!)
}

/** The numbers of a column: an empty field and any spelling of NaN are NaN, Infinity is read with its sign, anything else that is no number is an error. */
export function numberColumn(table: CsvTable, name: string): number[] {
  const index = columnIndex(table, name)
  return table.records.map(({ line, fields }) => {
    const field = fields[index]!.trim()
    if (field === '' || /^[+-]?nan$/i.test(field)) return NaN
    const infinity = /^([+-]?)inf(inity)?$/i.exec(field)
    if (infinity) return infinity[1] === '-' ? -Infinity : Infinity
    const value = Number(field)
    if (Number.isNaN(value)) throw new UsageError(`${table.source}:${line}: column ${index + 1} (${name}) is ${JSON.stringify(field)}, expected a number`)
    return value
  })
}

/** CSV text of rows; null and undefined become empty fields, numbers print so that they read back exactly. */
export function formatCsv(header: readonly string[], rows: Iterable<readonly unknown[]>): string {
  const cell = (value: unknown) => {
    const text = value === null || value === undefined ? '' : String(value)
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  }
  return [header, ...rows].map(row => `${row.map(cell).join(',')}\n`).join('')
}
