// What a user sees while a run goes on: a bar on a terminal, plain lines every few seconds elsewhere (logs), JSON lines for programs, or nothing.
import type { Arm } from '../train/config.ts'
import type { Progress } from '../train/types.ts'

export type ProgressStyle = 'bar' | 'lines' | 'json' | 'quiet'

/** Seconds as 0:42, 12:05 or 3:20:00. */
export function formatTime(seconds: number): string {
  if (!Number.isFinite(seconds)) return '-:--'
  const s = Math.max(0, Math.round(seconds))
  const two = (n: number) => String(n).padStart(2, '0')
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`
}

/** A loss to four digits, in a width that does not change from step to step. */
export const formatLoss = (loss: number | null | undefined): string =>
  (loss === null || loss === undefined ? '-' : Number.isNaN(loss) ? 'NaN' : loss.toExponential(3)).padStart(9)

/** Step, losses, speed, time left. `labels` names the arms. */
export function formatProgress({ step, steps, loss, gflops, eta }: Progress, labels: Partial<Record<Arm, string>>): string {
  const losses = (['baseline', 'studied'] as const).filter(arm => labels[arm] !== undefined).map(arm => `${labels[arm]} ${formatLoss(loss[arm])}`)
  return [`step ${String(step).padStart(String(steps).length)}/${steps}`, ...losses, `${gflops.toFixed(1)} GFLOP/s`, `ETA ${formatTime(eta)}`].join('  ')
}

/** The bar and as much of the text as `columns` allow. */
export function formatBar(progress: Progress, labels: Partial<Record<Arm, string>>, columns: number): string {
  const text = formatProgress(progress, labels)
  const width = Math.max(0, Math.min(24, columns - text.length - 3))
  const full = Math.round(progress.step / progress.steps * width)
  return (width < 4 ? text : `${'━'.repeat(full)}${'╌'.repeat(width - full)}  ${text}`).slice(0, Math.max(1, columns - 1))
}

/** How to show progress: as asked, else by what the error stream is. */
export const progressStyle = (options: { quiet?: boolean, json?: boolean }, stream: { isTTY?: boolean } = process.stderr): ProgressStyle =>
  options.quiet ? 'quiet' : options.json ? 'json' : stream.isTTY && process.env.TERM !== 'dumb' ? 'bar' : 'lines'

/** Least seconds between two updates. */
const PAUSE: Record<ProgressStyle, number> = { bar: 0.1, lines: 5, json: 0, quiet: Infinity }

export class ProgressDisplay {
  readonly #style: ProgressStyle
  readonly #labels: Partial<Record<Arm, string>>
  readonly #write: (text: string) => void
  readonly #columns: () => number
  #shown = -Infinity
  #last: Progress | null = null
  #drawn = false

  /** Bars and lines go to the error stream, JSON to the output. */
  constructor(style: ProgressStyle, labels: Partial<Record<Arm, string>>, write?: (text: string) => void, columns = () => process.stderr.columns ?? 80) {
    this.#style = style
    this.#labels = labels
    this.#write = write ?? (text => { (style === 'json' ? process.stdout : process.stderr).write(text) })
    this.#columns = columns
  }

  /** Call after every step; most calls cost a comparison. */
  update(progress: Progress, now = performance.now() / 1000): void {
    this.#last = progress
    if (now - this.#shown < PAUSE[this.#style]) return
    this.#shown = now
    this.#show(progress)
  }

  #show(progress: Progress): void {
    this.#last = null
    if (this.#style === 'bar') { this.#write(`\r\x1b[2K${formatBar(progress, this.#labels, this.#columns())}`); this.#drawn = true }
    else if (this.#style === 'lines') this.#write(`${formatProgress(progress, this.#labels)}\n`)
    else if (this.#style === 'json') this.#write(`${JSON.stringify({ kind: 'progress', ...progress })}\n`)
  }

  /** Show the last step, if it was not, and leave the line. */
  end(): void {
    if (this.#last && this.#style !== 'quiet') this.#show(this.#last)
    if (this.#drawn) this.#write('\n')
    this.#drawn = false
  }
}
