// Reading command-line arguments: node:util parseArgs, with its complaints turned into one-line usage errors.
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { UsageError } from '../errors.ts'

type Options = NonNullable<ParseArgsConfig['options']>
type Config<T extends Options> = { options: T, allowPositionals: true, strict: true }
export interface Parsed<T extends Options> { values: ReturnType<typeof parseArgs<Config<T>>>['values'], positionals: string[] }

/**
 * Parse `args` of `command`. `positionals`: fewest and most. Throws UsageError that lists the valid options.
 * A number that looks like an option's value (`--at -5`) is taken as such only as `--at=-5`.
 */
export function parse<const T extends Options>(command: string, args: string[], options: T, positionals: readonly [number, number] = [0, 0]): Parsed<T> {
  let parsed: Parsed<T>
  try { parsed = parseArgs<Config<T> & { args: string[] }>({ args, options, allowPositionals: true, strict: true }) as Parsed<T> } catch (error) {
    const reason = (error as Error).message.split(/\. |\n/)[0]!.replace(/^./, c => c.toLowerCase())
    throw new UsageError(`${command}: ${reason}; options are ${Object.keys(options).map(name => `--${name}`).join(', ')}, --help`)
  }
  const [fewest, most] = positionals, got = parsed.positionals
  if (got.length < fewest) throw new UsageError(`${command}: ${got.length ? 'more' : 'an'} argument${got.length ? 's' : ''} needed, see blockscale ${command} --help`)
  if (got.length > most) throw new UsageError(`${command}: unexpected argument ${JSON.stringify(got[most])}, see blockscale ${command} --help`)
  return parsed
}

/** A whole number of at least `least`. Throws UsageError naming the option, the value and the rule. */
export function wholeNumber(option: string, value: string, least: number): number {
  const n = Number(value)
  if (!/^[+-]?\d+$/.test(value) || !Number.isSafeInteger(n) || n < least) throw new UsageError(`${option} ${value}: must be a whole number of at least ${least}`)
  return n
}

/** `--threads N`: a whole number of at least 1, or `auto` (the default) for all that this process may use. */
export const threadCount = (value: string | undefined): number | 'auto' => value === undefined || value === 'auto' ? 'auto' : wholeNumber('--threads', value, 1)

/** Ctrl-C (or TERM) aborts the signal, so that the work can end with a checkpoint; a second one ends the process at once. */
export function interruptible(): { signal: AbortSignal, done: () => void } {
  const controller = new AbortController()
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(130)
    process.stderr.write('\nending after this step; press Ctrl-C again to end at once\n')
    controller.abort()
  }
  const names = ['SIGINT', 'SIGTERM'] as const
  for (const name of names) process.on(name, onSignal)
  return { signal: controller.signal, done: () => { for (const name of names) process.off(name, onSignal) } }
}

/** Options of the commands that use a trained language model. */
export const modelOptions = { arm: { type: 'string' }, step: { type: 'string' }, precision: { type: 'string' }, threads: { type: 'string' }, narrow: { type: 'boolean' } } as const

/** Which model `source` and its options mean. Throws UsageError. */
export function modelSource(source: string, values: { arm?: string, step?: string, precision?: string }): { source: string, arm?: 'baseline' | 'studied', step?: number, precision?: string } {
  const { arm, step, precision } = values
  if (arm !== undefined && arm !== 'baseline' && arm !== 'studied') throw new UsageError(`--arm ${arm}: use baseline or studied`)
  return { source, ...arm !== undefined && { arm }, ...step !== undefined && { step: wholeNumber('--step', step, 1) }, ...precision !== undefined && { precision } }
}

/** How this command line was called, so that what it says to type works: in a clone it is npm's to find. */
export const commandLine = (env: NodeJS.ProcessEnv = process.env): string => env.npm_command ? 'npx blockscale' : 'blockscale'
