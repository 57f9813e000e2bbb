// blockscale watch: the live page.
import { UsageError } from '../errors.ts'
import { parse, wholeNumber } from './arguments.ts'

export const help = `usage: blockscale watch RUN|SWEEP [--port N] [--host ADDRESS]

Serves a page that follows a run, or the runs of a sweep, while they go on, and prints its address. It only reads: the run does not notice. Run, page and
this command may stop and come back in any order; the folder may even appear later. Ctrl-C ends it.

  --port N         default 8321; 0 for any free one
  --host ADDRESS   default 127.0.0.1, this machine only; there is no password, so think before giving another

examples:
  blockscale watch runs/quick-0a1b2c3d4e5f
  blockscale watch runs/lr --port 0
`

export async function run(args: string[]): Promise<void> {
  const { values, positionals: [source] } = parse('watch', args, { port: { type: 'string', default: '8321' }, host: { type: 'string', default: '127.0.0.1' } }, [1, 1])
  const port = wholeNumber('--port', values.port, 0)
  if (port > 65535) throw new UsageError(`--port ${values.port}: must be at most 65535`)
  const { isWatchable, serveLive } = await import('../report/live.ts')
  if (!isWatchable(source!)) throw new UsageError(`${source} is a file, watch takes the folder of a run or a sweep`)
  const server = await serveLive(source!, { port, host: values.host })
  process.stdout.write(`${server.url}\n`)
  await new Promise<void>(stop => { for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop()) })
  await server.close()
}
