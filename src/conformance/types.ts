// What a vector set reports: one runner per set of test/vectors, all run by `npm run test:vectors -- DIR`.

/** A comparison that a rule allows to deviate: the worst value seen beside its limit. */
export interface Deviation { readonly what: string, readonly value: number, readonly limit: number }

export interface SetResult {
  cases: number
  passed: number
  /** One line per failed case: which case, what differed. A case whose option is not supported is a failure that says so. */
  failures: string[]
  /** Worst deviations, where the set's rule allows any. */
  worst?: Deviation[]
}

/** Runs all cases found in `dir`, a folder with the layout that the set's README describes. */
export type SetRunner = (dir: string) => Promise<SetResult>
