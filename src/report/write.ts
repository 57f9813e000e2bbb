// Pages as files: report.html in a run directory or a sweep's folder, and a comparison page where asked for.
import { join } from 'node:path'
import { SweepFolder } from '../experiments/manifest.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import { comparisonPage } from './comparison-page.ts'
import { loadRun } from './data.ts'
import { runPage } from './run-page.ts'
import { sweepPage } from './sweep-page.ts'

/** Write DIRECTORY/report.html; returns its path. Throws UsageError if there is no run, RunError if it cannot be written. */
export function writeRunReport(directory: string, file = join(directory, 'report.html')): string {
  writeFileAtomic(file, runPage(loadRun(directory)))
  return file
}

/** Write the page that compares the runs in `directories`, two or more. */
export function writeComparison(directories: readonly string[], file: string): string {
  writeFileAtomic(file, comparisonPage(directories.map(loadRun)))
  return file
}

/** Write FOLDER/report.html of a sweep; returns its path. */
export function writeSweepReport(folder: string, file = join(folder, 'report.html')): string {
  writeFileAtomic(file, sweepPage(SweepFolder.open(folder)))
  return file
}
