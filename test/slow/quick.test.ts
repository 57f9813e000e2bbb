// The run that `npm start` makes has the weights that the README states. About two minutes.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadConfig } from '../../src/train/config-file.ts'
import { train } from '../../src/train/trainer.ts'

test('the final weights of the preset quick hash to what the README says', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'blockscale-quick-'))
  const { weightsHash } = await train(loadConfig('quick'), { directory: join(folder, 'run'), threads: 'auto' })
  rmSync(folder, { recursive: true })
  expect(weightsHash.slice(0, 12)).toBe(/final weights hash to `([0-9a-f]{12})…`/.exec(readFileSync('README.md', 'utf8'))![1])
})
