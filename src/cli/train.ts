// blockscale train: a preset, a YAML file, or (with --resume) a run directory.
import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { UsageError } from '../errors.ts'
import { describeScheme } from '../numerics/scheme.ts'
import { configHash, loadConfig, presets } from '../train/config-file.ts'
import type { Arm, RunConfig } from '../train/config.ts'
import { scheduledPrecision } from '../train/config-parts.ts'
import { holdsRun, readMetrics, readRunFile, readSummary } from '../train/run-directory.ts'
import { wideAllowed } from '../runtime/wide.ts'
import type { Progress, RunSummary, Train, TrainOptions } from '../train/types.ts'
import { commandLine, interruptible, parse, threadCount } from './arguments.ts'
import { formatLoss, ProgressDisplay, progressStyle } from './progress.ts'

export const help = `usage: blockscale train PRESET|FILE.yaml|RUN [options]

Trains the model that the configuration describes, in up to two arms from the same start: the studied precision and a baseline.
Writes a run directory named by the configuration's hash: config.json, metrics.jsonl, checkpoints, report.html.

  --set KEY=VALUE    override a configuration value, as often as needed: steps=200, optimizer.lr=1e-3, precision=e5m2/e5m2, precision.layerNorm=mx
  --out DIR          where run directories are made (default: runs)
  --resume           continue from the last checkpoint, bit for bit
  --threads N        number of threads, or auto (default); never changes a result
  --narrow           do not try the engine's 256-bit mode
  --profile          note where the time goes: profile.txt and profile-trace.json (chrome://tracing) in the run directory
  --tensorboard DIR  keep an event file up to date in a folder of its own below DIR, for tensorboard --logdir DIR
  --no-report        do not write report.html
  --quiet            no progress
  --json             progress and summary as JSON lines on the standard output

presets:
${Object.entries(presets()).map(([name, line]) => `  ${name.padEnd(16)}${line}`).join('\n')}

examples:
  blockscale train quick
  blockscale train quick --set steps=200 --threads 2 --out runs
  blockscale train paper --set seed=1338 --set precision=mxfp8-rceil
  blockscale train my-run.yaml --resume
  blockscale train runs/quick-0a1b2c3d4e5f --resume
`

/** Options that train and intervene share. */
export const runOptions = {
  out: { type: 'string' }, threads: { type: 'string' }, narrow: { type: 'boolean' }, profile: { type: 'boolean' }, tensorboard: { type: 'string' }, 'no-report': { type: 'boolean' }, quiet: { type: 'boolean' }, json: { type: 'boolean' },
} as const
export interface RunValues { out?: string, threads?: string, narrow?: boolean, profile?: boolean, tensorboard?: string, 'no-report'?: boolean, quiet?: boolean, json?: boolean }

/** Name of a run's directory: where the configuration came from, and its hash. */
export const runName = (label: string, config: RunConfig): string => `${label.replace(/[^\w.-]+/g, '-')}-${configHash(config).slice(0, 12)}`

export async function run(args: string[]): Promise<number> {
  const { values, positionals: [source] } = parse('train', args, { ...runOptions, set: { type: 'string', multiple: true }, resume: { type: 'boolean' } }, [1, 1])
  const threads = threadCount(values.threads)
  const { config, directory } = locate(source!, values.set ?? [], values.out ?? 'runs', values.resume ?? false)
  const finished = holdsRun(directory) && readRunFile(directory).hash === configHash(config) ? readSummary(directory) : null
  if (finished) {
    process.stderr.write(`${directory} is finished already: ${finished.steps} steps\n`)
    return await conclude(finished, values)
  }
  return await carryOut(config, { directory, threads, resume: values.resume }, values)
}

/** Configuration and directory of what was asked for. */
function locate(source: string, overrides: string[], out: string, resume: boolean): { config: RunConfig, directory: string } {
  if (existsSync(source) && holdsRun(source)) {
    if (!resume) throw new UsageError(`${source} is a run directory: add --resume to continue it, or name a preset or YAML file`)
    if (overrides.length) throw new UsageError(`--set ${overrides[0]}: a run directory is continued as it is; use intervene to change its precision`)
    return { config: readRunFile(source).config, directory: source }
  }
  const config = loadConfig(source, overrides)
  return { config, directory: join(out, runName(basename(source).replace(/\.(ya?ml|json)$/, ''), config)) }
}

/** Train with progress on the terminal, write the report, print where it is. Returns the exit code. */
export async function carryOut(config: RunConfig, options: TrainOptions, values: RunValues, train?: Train): Promise<number> {
  const parent = options.parent ?? (holdsRun(options.directory) ? readRunFile(options.directory).parent : undefined)
  const labels: Partial<Record<Arm, string>> = { ...config.baseline ? { baseline: describeScheme(config.baseline) } : {}, studied: describeScheme(scheduledPrecision(config, parent?.step ?? 0)) }
  const style = progressStyle(values), display = new ProgressDisplay(style, labels)
  const onStart = style === 'bar' || style === 'lines' ? (line: string) => { process.stderr.write(`${line}\n`) } : undefined
  const { signal, done } = interruptible()
  train ??= (await import('../train/trainer.ts')).train
  const { TensorBoardExport } = values.tensorboard === undefined ? { TensorBoardExport: null } : await import('../experiments/export.ts')
  let summary: RunSummary, events: InstanceType<NonNullable<typeof TensorBoardExport>> | undefined
  const onProgress = (progress: Progress) => {
    display.update(progress)
    if (TensorBoardExport) (events ??= new TensorBoardExport(options.directory, join(values.tensorboard!, basename(options.directory)))).updateEvery(5)
  }
  try {
    summary = await train(config, { ...options, wide: !values.narrow && wideAllowed(), profile: values.profile, signal, onStart, onProgress })
  } catch (error) {
    display.end()
    // A run that diverged or broke off has a report, too: it shows how far it came.
    if ((error as Error).name === 'RunError' && !values['no-report'] && holdsRun(options.directory) && readMetrics(options.directory).length) {
      try { process.stderr.write(`report: ${await writeReport(options.directory)}\n`) } catch { /* the first error is the one to tell */ }
    }
    throw error
  } finally {
    while (events && events.update() > 0);
    done()
  }
  display.end()
  if (!summary.finished) process.stderr.write(`stopped after ${summary.steps} of ${config.steps} steps; continue with: ${commandLine()} train ${options.directory} --resume\n`)
  await conclude(summary, values)
  return summary.finished ? 0 : 130
}

async function conclude(summary: RunSummary, values: RunValues): Promise<number> {
  const report = values['no-report'] ? null : await writeReport(summary.directory)
  if (values.json) process.stdout.write(`${JSON.stringify({ kind: 'summary', ...summary, report })}\n`)
  else {
    const losses = (['baseline', 'studied'] as const).flatMap(arm => summary.loss[arm] === undefined ? [] : [`${arm} ${formatLoss(summary.loss[arm]).trim()}`])
    process.stdout.write(`loss: ${losses.join(', ')}\nweights: ${summary.weightsHash}\n${report ? `report: ${report}\n` : `run: ${summary.directory}\n`}`)
  }
  return 0
}

async function writeReport(directory: string): Promise<string> {
  return (await import('../report/write.ts')).writeRunReport(directory)
}
