// blockscale export: a run's metrics for other tools.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../errors.ts'
import { tableCsv, tableParquet } from '../experiments/collect.ts'
import { metricsTable, TensorBoardExport } from '../experiments/export.ts'
import { SweepFolder } from '../experiments/manifest.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import { holdsRun, readMetrics, readRunFile } from '../train/run-directory.ts'
import { parse } from './arguments.ts'

export const help = `usage: blockscale export RUN [--tensorboard FOLDER] [--csv FILE] [--parquet FILE]

Writes a run's metrics for other tools.

  --tensorboard FOLDER   event file for tensorboard --logdir; scalars, and layer-norm gamma as histograms
  --csv FILE             one row per step
  --parquet FILE         the same

Columns have the names that the paper's code logs to wandb (train/loss_mx, stab/zeta_norm, clipW/ln0_gamma_clipped_frac...) where it has the quantity.

examples:
  blockscale export runs/quick-0a1b2c3d4e5f --tensorboard logs --parquet metrics.parquet
`

export async function run(args: string[]): Promise<void> {
  const { values, positionals: [directory] } = parse('export', args, { tensorboard: { type: 'string' }, csv: { type: 'string' }, parquet: { type: 'string' } }, [1, 1])
  if (!values.tensorboard && !values.csv && !values.parquet) throw new UsageError('export: nothing to write, give --tensorboard, --csv or --parquet')
  if (existsSync(join(directory!, 'sweep.json'))) {
    if (!values.tensorboard || values.csv || values.parquet) throw new UsageError(`${directory} is a sweep: --tensorboard exports its runs, blockscale sweep collect makes one table of them`)
    exportSweep(SweepFolder.open(directory!), values.tensorboard)
    return
  }
  readRunFile(directory!) // refuses what is no run, or one of another version
  const written: string[] = []
  if (values.csv || values.parquet) {
    const table = metricsTable(readMetrics(directory!))
    if (!table.rows.length) throw new UsageError(`${join(directory!, 'metrics.jsonl')} holds no metrics yet`)
    if (values.csv) { writeFileAtomic(values.csv, tableCsv(table)); written.push(values.csv) }
    if (values.parquet) { writeFileAtomic(values.parquet, tableParquet(table)); written.push(values.parquet) }
  }
  if (values.tensorboard) {
    written.push(exportEvents(directory!, values.tensorboard))
  }
  process.stdout.write(`${written.join('\n')}\n`)
}

/** A run's metrics as an event file in `folder`; returns its path. */
function exportEvents(directory: string, folder: string): string {
  const events = new TensorBoardExport(directory, folder)
  while (events.update() > 0);
  return events.file
}

function exportSweep(sweep: SweepFolder, folder: string): void {
  const begun = sweep.entries.filter(entry => holdsRun(sweep.runFolder(entry)))
  if (!begun.length) throw new UsageError(`${sweep.folder}: no run has begun yet`)
  for (const entry of begun) process.stdout.write(`${exportEvents(sweep.runFolder(entry), join(folder, `${entry.name.replace(/[^\w.=-]+/g, '_') || 'run'}-${entry.hash}`))}\n`)
}
