// The two kinds of error a user can meet. Both messages are one line: argument, value, rule.

/** Bad input: a wrong argument, config key, file or name. Exit code 2 on the command line. */
export class UsageError extends Error {
  override name = 'UsageError'
}

/** Work that could not be completed although the input was right: a dead worker, a full disk, a NaN loss. Exit code 1. */
export class RunError extends Error {
  override name = 'RunError'
}

/** Look `name` up in a table of named things. Throws UsageError that lists the valid names. `what` says what is looked up ("format"). */
export function lookup<T>(table: Readonly<Record<string, T>>, name: string, what: string): T {
  if (Object.hasOwn(table, name)) return table[name]!
  throw new UsageError(`unknown ${what} ${JSON.stringify(name)}: use one of ${Object.keys(table).join(', ')}`)
}
