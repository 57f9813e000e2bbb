// Set `hw`: outputs measured on real GPUs, V100 to B200 (Khattak and Mikaitis, arXiv:2512.07004). Rule: bits equal.
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { codeBits, mmaConfig } from '../../numerics/mma.ts'
import { mmaElement } from '../../oracle/mma.ts'
import { coreElement } from '../mma-core.ts'
import type { SetResult } from '../types.ts'
import { codes, formatOf, sameBits, type Element } from './mma.ts'

const architectures: Record<string, string> = { V100: 'volta', A100: 'ampere', A2: 'ampere', Ada: 'ada', L40S: 'ada', H100: 'hopper', H200: 'hopper', B200: 'blackwell' }

/** Our model of a file: FP16-accumulating instructions of sm_90 and later, and FP8 through mma.sync, have arithmetic of their own there. */
function modelOf(gpu: string, input: string, acc: string, path: string): string {
  const arch = architectures[gpu]
  const legacy = path.startsWith('legacy') ? '-mma' : ''
  if (input === 'e4m3' || input === 'e5m2') return `${arch}-fp8${legacy}${acc === 'f16' ? '-f16acc' : ''}`
  return `${arch}-${input}${acc === 'f16' ? '-f16acc' + (arch === 'hopper' || arch === 'blackwell' ? '-mma' : '') : ''}`
}

/** Run the set in `dir` with every implementation of an element in `elements`. */
export async function runHw(dir: string, elements: Record<string, Element>): Promise<SetResult> {
  const result: SetResult = { cases: 0, passed: 0, failures: [] }
  for (const file of (await readdir(dir)).filter(f => f.endsWith('.json')).sort()) {
    const { gpu, input: rawInput, acc, path, cases } = JSON.parse(await readFile(join(dir, file), 'utf8'))
    const input = rawInput === 'f32' ? 'tf32' : rawInput
    const config = mmaConfig(modelOf(gpu, input, acc, path), { a: formatOf(input) })
    const startsFromZero = path.startsWith('wgmma') // the capture ran with the accumulator input disabled
    ;(cases as [string, string, string, string][]).forEach(([a, b, c, d], i) => {
      result.cases++
      const wrong = Object.entries(elements).map(([who, element]) => [who, element(config, codes(a, codeBits(config.a)), codes(b, codeBits(config.b)), startsFromZero ? 0 : parseInt(c, 16))] as const)
        .filter(([, got]) => !sameBits(got, parseInt(d, 16), acc === 'f16'))
      if (wrong.length === 0) result.passed++
      else result.failures.push(`${file} case ${i}: GPU ${d}, ${wrong.map(([who, got]) => `${who} ${got.toString(16)}`).join(', ')}`)
    })
  }
  return result
}

export const run = (dir: string): Promise<SetResult> => runHw(dir, { oracle: mmaElement, core: coreElement() })
