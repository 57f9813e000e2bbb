// What a run of a suite writes to the temporary folder goes to one folder of its own, which is removed when the run ends.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'blockscale-test-'))
  process.env['TMPDIR'] = folder // inherited by the workers and what they start; os.tmpdir() reads it
  return () => rmSync(folder, { recursive: true, force: true })
}
