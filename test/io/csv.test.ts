import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatCsv, numberColumn, parseCsv, textColumn } from '../../src/io/csv.ts'

describe('parseCsv', () => {
  it('reads what formatCsv writes, whatever the fields hold', () => {
    const field = fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r', ' ', 'é') })
    fc.assert(fc.property(fc.array(fc.tuple(field, field, field)), rows => {
      const table = parseCsv(formatCsv(['x', 'y', 'z'], rows))
      expect(table.records.map(r => r.fields)).toEqual(rows)
    }))
  })
  it('accepts CRLF, a byte order mark, blank lines and a missing final newline', () => {
    const table = parseCsv('\uFEFFa,b\r\n1,2\r\n\r\n3,"x\ny"', 't')
    expect(table.header).toEqual(['a', 'b'])
    expect(table.records).toEqual([{ line: 2, fields: ['1', '2'] }, { line: 4, fields: ['3', 'x\ny'] }])
  })
  it.each([
    ['a,b\n1,2\n3,"open', 't:3:3: quote is never closed'],
    ['a,b\n"1"x,2', 't:2:4: a closing quote must be followed'],
    ['a,b\n1,2"2', 't:2:4: a quote inside an unquoted field'],
    ['a,b\n"1\n2",2\n3', 't:4:2: the record ends after 1 field, the header has 2'],
    ['a,a\n', 't:1: column "a" occurs twice'],
    ['', 't: empty'],
  ])('%j: %s', (text, message) => expect(() => parseCsv(text, 't')).toThrow(message))
})

describe('columns', () => {
  const table = parseCsv('name,loss\nr1,0.5\nr2,\nr3,NaN\nr4,-inf\nr5,1e-3\n', 'runs.csv')
  it('reads numbers, empty as NaN', () => expect(numberColumn(table, 'loss')).toEqual([0.5, NaN, NaN, -Infinity, 1e-3]))
  it('reads text', () => expect(textColumn(table, 'name')).toEqual(['r1', 'r2', 'r3', 'r4', 'r5']))
  it('names line and column of what is no number', () => expect(() => numberColumn(parseCsv('a,b\n1,2\n3,x4', 'f'), 'b')).toThrow('f:3: column 2 (b) is "x4", expected a number'))
  it('lists the columns when one is missing', () => expect(() => numberColumn(table, 'los')).toThrow('no column "los"; it has name, loss'))
})
