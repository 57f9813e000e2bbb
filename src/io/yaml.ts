// YAML with errors that name file, line and column.
import { LineCounter, parseDocument, type Document } from 'yaml'
import { UsageError } from '../errors.ts'

export interface YamlFile {
  /** The content as plain objects, arrays, strings, numbers, booleans and null. */
  readonly value: unknown
  /** " (run.yaml line 3, column 5)" for a place in the document, '' when there is none; to be appended to a message. */
  where(path: readonly PropertyKey[]): string
}

/** Parse one YAML 1.2 document. Throws UsageError on malformed YAML and on repeated keys. */
export function parseYaml(text: string, source: string): YamlFile {
  const lines = new LineCounter()
  const doc: Document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const error = doc.errors[0]
  if (error) {
    const { line, col } = lines.linePos(error.pos[0])
    throw new UsageError(`${source} line ${line}, column ${col}: ${error.message.split('\n')[0]}`)
  }
  return {
    value: doc.toJS() ?? null,
    where(path) {
      const range = (doc.getIn(path as unknown[], true) as { range?: [number, number, number] } | undefined)?.range
      if (!range) return ''
      const { line, col } = lines.linePos(range[0])
      return ` (${source} line ${line}, column ${col})`
    },
  }
}
