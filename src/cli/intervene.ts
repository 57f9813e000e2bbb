// blockscale intervene: forks a run at a checkpoint, with another precision or (the control) with none.
import { basename, dirname, join } from 'node:path'
import { UsageError } from '../errors.ts'
import { overrideConfig } from '../train/config-file.ts'
import type { RunConfig } from '../train/config.ts'
import { scheduledPrecision } from '../train/config-parts.ts'
import { checkpointFile, holdsRun, listCheckpoints, readRunFile, readSummary } from '../train/run-directory.ts'
import { parse, threadCount, wholeNumber } from './arguments.ts'
import { carryOut, runName, runOptions } from './train.ts'

export const help = `usage: blockscale intervene RUN --at STEP [--set precision...] [options]

Continues the studied arm of RUN from its checkpoint at STEP, with the same data and labels, under a changed precision. Without --set it is the null
control: the same precision, forked. The fork is a run of its own beside RUN; compare several with blockscale report.

  --at STEP          a step that has a checkpoint
  --set KEY=VALUE    precision=NAME or precision.KEY=VALUE; also metrics, probes, checkpoints and validation, which do not touch the training itself
  --baseline         train the baseline along, from the same checkpoint
  --out DIR          where the fork's directory is made (default: beside RUN)
  --resume, --threads N, --narrow, --profile, --no-report, --quiet, --json     as for train

examples:
  blockscale intervene runs/quick-0a1b2c3d4e5f --at 600
  blockscale intervene runs/quick-0a1b2c3d4e5f --at 600 --set precision.layerNorm=fp32
  blockscale intervene runs/quick-0a1b2c3d4e5f --at 600 --set precision=e4m3/e4m3/forward-only
  blockscale intervene runs/quick-0a1b2c3d4e5f --at 600 --set precision.forward.activation=bf16 --set precision.wgrad.activation=bf16
`

/** What an intervention may change: the precision, and what is looked at. Everything else decides data, labels or updates, and is the parent's. */
const CHANGEABLE = ['precision', 'metrics', 'probes', 'checkpoints', 'validation']

/** The configuration of a fork of `config` after `step` completed steps. Throws UsageError. */
export function forkConfig(config: RunConfig, step: number, overrides: readonly string[], keepBaseline: boolean): RunConfig {
  for (const override of overrides) {
    const key = override.split(/[.=]/)[0]!
    if (!CHANGEABLE.includes(key)) throw new UsageError(`--set ${override}: an intervention can change ${CHANGEABLE.join(', ')}; the rest is the parent's`)
  }
  if (step < 1 || step >= config.steps) throw new UsageError(`--at ${step}: must lie between 1 and ${config.steps - 1}, the run has ${config.steps} steps`)
  const before = config.precisionSchedule.filter(s => s.step < step)
  // Probes of the baseline's weights need the baseline.
  const probes = keepBaseline || config.probes.weights === 'studied' ? [] : ['probes.weights=studied']
  const changed = overrideConfig({ ...config, precision: scheduledPrecision(config, step), precisionSchedule: [], baseline: keepBaseline ? config.baseline : null }, [...probes, ...overrides])
  return { ...changed, precision: config.precision, precisionSchedule: [...before, { step, precision: changed.precision }] }
}

export async function run(args: string[]): Promise<number> {
  const { values, positionals: [parent] } = parse('intervene', args, { ...runOptions, at: { type: 'string' }, set: { type: 'string', multiple: true }, baseline: { type: 'boolean' }, resume: { type: 'boolean' } }, [1, 1])
  if (values.at === undefined) throw new UsageError('intervene: --at STEP is needed, a step with a checkpoint')
  const step = wholeNumber('--at', values.at, 1), threads = threadCount(values.threads)
  const { config } = readRunFile(parent!)
  const fork = forkConfig(config, step, values.set ?? [], values.baseline ?? false)
  const steps = listCheckpoints(parent!)
  if (!steps.includes(step)) throw new UsageError(`--at ${step}: ${parent} has no checkpoint there${steps.length ? `, it has ${steps.join(', ')}` : ' nor anywhere else'}`)
  const directory = join(values.out ?? dirname(parent!), runName(`${basename(parent!)}-at-${step}`, fork))
  if (holdsRun(directory) && readSummary(directory)) {
    process.stdout.write(`${directory} is finished already\n`)
    return 0
  }
  return await carryOut(fork, { directory, threads, resume: values.resume, from: checkpointFile(parent!, step), parent: { directory: parent!, step } }, values)
}
