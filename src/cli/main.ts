#!/usr/bin/env node
// The entry of the command line: dispatches, prints errors, sets the exit code. 0 done, 1 the work failed, 2 the arguments or files were wrong, 130 interrupted.
import { dispatch, explain } from './commands.ts'

// A reader that closes early (`blockscale formats bf16 | head`) ends the program, without complaint.
process.stdout.on('error', (error: NodeJS.ErrnoException) => { process.exit(error.code === 'EPIPE' ? 0 : 1) })

try {
  process.exitCode = await dispatch(process.argv.slice(2))
} catch (error) {
  const { text, code } = explain(error as Error)
  process.stderr.write(text)
  process.exitCode = code
}
