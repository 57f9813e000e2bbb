// Gap tables: how much worse a precision is than the reference at the same everything else. Only matched pairs count, so that a precision whose hard runs
// are missing does not look better for it; a run without a finite loss has no difference and is counted apart.
import { median, paired } from './statistics.ts'

export interface GapInput {
  /** Row of the table: the precision. */
  readonly group: string
  /** Column of the table: compute budget, learning rate... */
  readonly column: string | number
  /** What a run and its reference have in common. */
  readonly pair: string
  /** null: not finite. */
  readonly loss: number | null
}

export interface GapCell {
  /** Median of the differences to the reference; null without a pair. */
  readonly median: number | null
  readonly pairs: number
  /** Runs with a reference whose own loss is not finite. */
  readonly notFinite: number
}

export interface GapRow {
  readonly group: string
  readonly cells: readonly GapCell[]
  readonly all: GapCell & { /** Mean difference, its standard error, pairs in which the group is lower and higher. */ readonly mean: number, readonly standardError: number, readonly lower: number, readonly higher: number }
  /** Runs without a reference to compare with. */
  readonly unmatched: number
}

export interface GapTable { readonly reference: string, readonly columns: readonly (string | number)[], readonly rows: readonly GapRow[] }

/**
 * Differences of every group to `reference`. `difference` of a loss and the reference's: by default loss - reference, nats for a language model.
 * Groups stay in the order of their first run; columns rise if they are numbers.
 */
export function gapTable(runs: readonly GapInput[], reference: string, difference = (loss: number, base: number): number => loss - base): GapTable {
  const base = new Map(runs.filter(r => r.group === reference && r.loss !== null && Number.isFinite(r.loss)).map(r => [r.pair, r.loss!]))
  const distinct = [...new Set(runs.filter(r => r.group !== reference && base.has(r.pair)).map(r => r.column))]
  const columns = distinct.every(c => typeof c === 'number') ? distinct.toSorted((a, b) => a - b) : distinct
  const cell = (own: readonly GapInput[]): GapCell => {
    const finite = own.filter(r => r.loss !== null && Number.isFinite(r.loss))
    return { median: finite.length ? median(finite.map(r => difference(r.loss!, base.get(r.pair)!))) : null, pairs: finite.length, notFinite: own.length - finite.length }
  }
  const groups = [...new Set(runs.map(r => r.group))].filter(g => g !== reference)
  return {
    reference, columns,
    rows: groups.map((group): GapRow => {
      const own = runs.filter(r => r.group === group), matched = own.filter(r => base.has(r.pair))
      const finite = matched.filter(r => r.loss !== null && Number.isFinite(r.loss))
      const { meanDifference, standardError, lower, higher } = paired(finite.map(() => 0), finite.map(r => difference(r.loss!, base.get(r.pair)!)))
      return { group, cells: columns.map(c => cell(matched.filter(r => r.column === c))), all: { ...cell(matched), mean: meanDifference, standardError, lower, higher }, unmatched: own.length - matched.length }
    }),
  }
}
