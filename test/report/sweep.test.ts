import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { JSDOM } from 'jsdom'
import { chromium } from 'playwright-core'
import { describe, expect, it } from 'vitest'
import { predict } from '../../src/experiments/fit.ts'
import { fitTable } from '../../src/experiments/fit-table.ts'
import { gapTable } from '../../src/experiments/gaps.ts'
import { manifest, SweepFolder, type ManifestEntry } from '../../src/experiments/manifest.ts'
import { sweepResults } from '../../src/experiments/sweep-results.ts'
import { parseSweep } from '../../src/experiments/sweep.ts'
import { formatCsv, numberColumn, parseCsv, textColumn } from '../../src/io/csv.ts'
import { fitPage } from '../../src/report/fit-page.ts'
import { phaseCells, phaseLayout } from '../../src/report/phase-diagram.ts'
import { writeSweepReport } from '../../src/report/write.ts'
import type { RunConfig } from '../../src/train/config.ts'
import type { MetricsRow } from '../../src/train/types.ts'
import { downloaded, expectSoundPage } from './pages.ts'
import { writeSyntheticRun } from './synthetic.ts'

const folder = mkdtempSync(join(tmpdir(), 'sweep-page-'))
const parse = (html: string) => new JSDOM(html).window.document

function makeSweep(name: string, text: string): SweepFolder {
  return SweepFolder.create(join(folder, name), text, manifest(parseSweep(text, name)))
}
function markDone(sweep: SweepFolder, entry: ManifestEntry): void {
  mkdirSync(sweep.stateFolder(entry), { recursive: true })
  writeFileSync(sweep.doneFile(entry), JSON.stringify({ finished: '2026-01-01T00:00:00Z', attempt: 0, seconds: 1 }))
}

const phase = makeSweep('phase', `
extends: tiny
probes: { every: 0 }
metrics: { gamma: 0, overflow: 0, activations: 0 }
entries: { e4m3: { precision: e4m3/e4m3 }, e5m2: { precision: e5m2/e5m2 } }
grid: { optimizer.lr: [1e-3, 1e-2], model: { depth: [1, 2], width: [16, 32] } }
seeds: [1, 2]
`)
// The highest learning rate diverges with E5M2; one run has begun and is not finished, one has not begun.
for (const entry of phase.entries.slice(0, -1)) {
  const config = entry.config as unknown as RunConfig
  const hot = config.optimizer.lr === 1e-2 && config.precision.forward.weight === 'e5m2'
  writeSyntheticRun(phase.runFolder(entry), { base: config, seed: config.seed, diverge: hot ? 5 : Infinity })
  if (entry.index < phase.entries.length - 2) markDone(phase, entry)
}

describe('results of a sweep', () => {
  const results = sweepResults(phase)
  it('finds the axes, the precisions and the reference; a shared baseline counts once', () => {
    expect(results.axes.map(a => [a.key, a.values])).toEqual([['model.depth', [1, 2]], ['model.width', [16, 32]], ['optimizer.lr', [1e-3, 1e-2]]])
    expect(results.reference).toBe('fp32')
    const count = (precision: string) => results.results.filter(r => r.precision === precision).length
    expect([count('fp32'), count('e4m3/e4m3'), count('e5m2/e5m2')]).toEqual([16, 16, 14])
    expect(results.of(phase.entry(16), 'baseline')).toBe(results.of(phase.entry(0), 'baseline'))
    expect(results.of(phase.entry(31), 'studied')).toBeUndefined()
    expect(results.shared).toMatchObject({ 'batch': 64, 'baseline': 'fp32', 'model.activation': 'gelu' })
    expect(Object.keys(results.varying.get(phase.entry(0).hash)!).sort()).toEqual(['model.depth', 'model.width', 'optimizer.lr', 'precision', 'seed'])
  })
  it('puts learning rate, depth and width in their places, and seeds into one cell', () => {
    const layout = phaseLayout(results.axes)!
    expect([layout.x.key, layout.y!.key, layout.column!.key]).toEqual(['optimizer.lr', 'model.depth', 'model.width'])
    const cells = phaseCells(results, layout)
    expect(cells).toHaveLength(3 * 8 - 1) // the last one has not been trained
    expect(cells.every(c => c.runs === 2)).toBe(true)
    expect(cells.filter(c => c.unstable > 0).every(c => c.row === 'e5m2/e5m2' && c.x === 1e-2)).toBe(true)
    expect(phaseLayout([])).toBeNull()
  })
})

describe('the page of a sweep', () => {
  const document = parse(readFileSync(writeSweepReport(phase.folder), 'utf8'))
  it('is sound and has curves, phase diagrams, gaps, stability and every run', () => {
    expectSoundPage(document)
    expect([...document.querySelectorAll('figure')].map(f => f.id)).toEqual(['curves', 'gradient-norms', 'phase-loss', 'phase-instability'])
    expect([...document.querySelectorAll('h2')].map(h => h.textContent)).toEqual(['Curves', 'Phase diagrams', 'Against fp32', 'Stability', 'Runs', 'What the runs share'])
    expect(document.querySelector('.tile')!.textContent).toMatch(/finished\s*30.*pending\s*2/s)
  })
  it('draws a cell per setting and precision, and offers the numbers', () => {
    expect(document.querySelectorAll('#phase-loss [aria-label=cell] rect').length).toBe(23)
    const { header, rows } = downloaded(document.querySelector('#phase-loss a.data')!)
    expect(header).toEqual(['precision', 'optimizer.lr', 'model.depth', 'model.width', 'loss', 'runs', 'unstable'])
    expect(rows).toHaveLength(23)
  })
  it('lists every run with what is its own, and the same losses as the collected table', () => {
    const { header, rows } = downloaded(document.querySelector('#runs + p a.data')!)
    expect(header).toEqual(['index', 'hash', 'state', 'model.depth', 'model.width', 'optimizer.lr', 'seed', 'precision', 'baseline.loss', 'baseline.lowest', 'baseline.outcome', 'studied.loss', 'studied.lowest', 'studied.outcome'])
    expect(rows.map(r => r[2])).toEqual([...Array(30).fill('finished'), 'pending', 'pending'])
    expect(Number(rows[3]![11])).toBe(sweepResults(phase).of(phase.entry(3), 'studied')!.loss)
    expect(document.querySelectorAll('#runs tbody tr').length).toBe(32)
  })
  it('says how often each precision diverged, with intervals', () => {
    const { rows } = downloaded(document.querySelector('#stability + p a.data')!)
    expect(rows.map(r => [r[0], r[1], r[2]])).toEqual([['fp32', '16', '0'], ['e4m3/e4m3', '16', '0'], ['e5m2/e5m2', '14', '6']])
  })
  it('a sweep that has not begun has a page too', () => {
    const fresh = makeSweep('fresh', 'extends: tiny\nseeds: 2\n')
    expect(parse(readFileSync(writeSweepReport(fresh.folder), 'utf8')).body.textContent).toContain('No run has finished yet')
  })
})

const law = { A: 400, B: 2000, E: 1.7, alpha: 0.35, beta: 0.37 }

it('language models: curves by tokens per parameter, gaps in nats by budget, a law per precision', () => {
  const sweep = makeSweep('lm', 'extends: lm-quick\nbaseline: null\nentries: { bf16: { precision: bf16 }, e5m2: { precision: e5m2/e5m2 } }\ngrid: { model.width: [64, 128, 256], steps: [100, 200, 400] }\n')
  for (const entry of sweep.entries) {
    const config = entry.config as unknown as Extract<RunConfig, { task: 'language-model' }>
    const parameters = config.model.width ** 2 * 24, tokensPerStep = 2048, tokens = tokensPerStep * config.steps
    const loss = predict('chinchilla', law, parameters, tokens) + (config.precision.forward.weight === 'e5m2' ? 0.027 : 0)
    const rows: MetricsRow[] = [
      { kind: 'language-model', step: 0, parameters, flopsPerToken: 6 * parameters, tokensPerStep, corpus: '', detail: '' },
      ...Array.from({ length: 20 }, (_, i): MetricsRow => ({ kind: 'step', arm: 'studied', step: (i + 1) * config.steps / 20, loss: loss + 3 / (i + 1), lr: 1e-3, seconds: 0.1 })),
      { kind: 'validation', arm: 'studied', step: config.steps, loss },
    ]
    mkdirSync(sweep.runFolder(entry), { recursive: true })
    writeFileSync(join(sweep.runFolder(entry), 'metrics.jsonl'), rows.map(r => `${JSON.stringify(r)}\n`).join(''))
    markDone(sweep, entry)
  }
  const document = parse(readFileSync(writeSweepReport(sweep.folder), 'utf8'))
  expectSoundPage(document)
  expect([...document.querySelectorAll('figure')].map(f => f.id)).toEqual(['curves', 'phase-loss', 'contours-bf16', 'residuals-bf16', 'contours-e5m2-e5m2', 'residuals-e5m2-e5m2'])
  expect(document.querySelector('#curves figcaption')!.textContent).toContain('tokens per parameter, D/N')
  const { header, rows } = downloaded(document.querySelector('#gaps + p a.data')!)
  expect(header).toEqual(['precision', 'reference', 'FLOPs', 'median_difference', 'pairs', 'not_finite'])
  for (const row of rows) expect(Number(row[3])).toBeCloseTo(0.027, 10)
  expect(document.querySelector('#scaling ~ .scroll')!.textContent).toMatch(/bf16\s*400\s*2\D?000\s*1\.7\s*0\.35\s*0\.37/)
  expect(document.querySelectorAll('[id^=contours] [aria-label=contour] path').length).toBeGreaterThan(8)
})

describe('gap table', () => {
  const run = (group: string, column: number, pair: string, loss: number | null) => ({ group, column, pair, loss })
  it('takes medians over matched pairs only; what is not finite is counted, not averaged', () => {
    const table = gapTable([run('base', 1, 'a', 1), run('base', 1, 'b', 2), run('base', 2, 'c', 3), run('x', 2, 'c', 3.5), run('x', 1, 'a', 1.1), run('x', 1, 'b', 2.3), run('x', 1, 'z', 9), run('y', 1, 'a', null)], 'base')
    expect(table.columns).toEqual([1, 2])
    const [x, y] = table.rows
    expect(x!.cells[0]!.median).toBeCloseTo(0.2, 12)
    expect(x!.cells.map(c => c.pairs)).toEqual([2, 1])
    expect(x).toMatchObject({ unmatched: 1, all: { pairs: 3, notFinite: 0, higher: 3, lower: 0 } })
    expect(y).toMatchObject({ cells: [{ median: null, pairs: 0, notFinite: 1 }, { pairs: 0, notFinite: 0 }] })
  })
  // Section 2.6's table of the paper's runs: median difference of the final validation loss to the matched baseline run, by budget.
  const file = '../shared/data/paper-runs.csv'
  it.skipIf(!existsSync(file))(`gives the medians of the paper's runs${existsSync(file) ? '' : ` (skipped: ${file} is absent)`}`, () => {
    const csv = parseCsv(readFileSync(file, 'utf8'), file)
    const [configs, params, flops, losses] = [textColumn(csv, 'config'), numberColumn(csv, 'params'), numberColumn(csv, 'total_flops'), numberColumn(csv, 'val_loss')]
    const table = gapTable(configs.map((group, i) => ({ group, column: Number(flops[i]!.toPrecision(2)), pair: `${params[i]} ${flops[i]!.toPrecision(2)}`, loss: losses[i]! })), 'bf16_bf16')
    expect(table.columns).toEqual([2e17, 4.4e17, 9.6e17, 2.1e18, 4.6e18, 1e19, 2.2e19])
    // To one unit of the last digit there. The budget 2.1e18 is left out: it is spelled in two ways in the data, which that table averaged.
    const printed = { fp8_e4m3_bfloat16: [0, 0.002, 0, null, 0, 0, 0], fp8_e4m3_fp8_e4m3: [0.009, 0.01, 0.009, null, 0.046, 0.1, 0.014], fp8_e5m2_fp8_e4m3: [0.02, 0.033, 0.041, null, 0.088, 0.226, 0.882] }
    expect(table.rows.map(r => r.group)).toEqual(Object.keys(printed))
    Object.values(printed).forEach((medians, i) => medians.forEach((m, k) => { if (m !== null) expect(Math.abs(table.rows[i]!.cells[k]!.median! - m)).toBeLessThanOrEqual(0.001) }))
  })
})

it('the page of fits: coefficients, gaps to the baseline, contours with the optimal line, profiles, residuals', () => {
  const sizes = [2e7, 6e7, 2e8], budgets = [1e18, 1e19]
  const rows = ['base', 'worse'].flatMap(config => budgets.flatMap(flops => sizes.map(n => [config, n, flops / 6 / n, predict('chinchilla', law, n, flops / 6 / n) + (config === 'worse' ? 0.05 : 0)])))
  const table = parseCsv(formatCsv(['config', 'params', 'tokens', 'loss'], [...rows, ['worse', 1e8, 1e9, 'NaN']]), 'runs.csv')
  const document = parse(fitPage('runs.csv', fitTable(table, { by: 'config', resamples: 3, frozen: { alpha: 0.35, beta: 0.37 } }), 'base'))
  expectSoundPage(document)
  expect([...document.querySelectorAll('figure')].map(f => f.id)).toEqual(['base', 'worse'].flatMap(n => [`contours-${n}`, `isoflop-${n}`, `residuals-${n}`]))
  expect(document.body.textContent).toMatch(/line 14 \(loss is NaN\)/)
  const { header, rows: coefficients } = downloaded(document.querySelector('#coefficients + p a.data')!)
  expect(Number(coefficients[0]![header.indexOf('E')])).toBeCloseTo(law.E, 3)
  expect(Number(coefficients[1]![header.indexOf('E')])).toBeCloseTo(law.E + 0.05, 3)
  expect(downloaded(document.querySelector('#gaps + p a.data')!).rows.map(r => Number(r[3]).toFixed(6))).toEqual(['0.050000', '0.050000'])
})

const executablePath = '/usr/bin/chromium', why = existsSync(executablePath) ? '' : ` (skipped: no Chromium at ${executablePath})`
it.skipIf(why !== '')(`in headless Chromium the page asks for nothing, says nothing on the console and fits a phone${why}`, async () => {
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] })
  try {
    const page = await browser.newPage({ viewport: { width: 390, height: 800 } })
    const said: string[] = [], asked: string[] = []
    page.on('console', m => said.push(m.text()))
    page.on('request', r => asked.push(r.url()))
    await page.goto(`file://${join(phase.folder, 'report.html')}`)
    expect(said).toEqual([])
    expect(asked).toHaveLength(1)
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390)
    const fills = await page.$$eval('#phase-loss [aria-label=cell] rect', cells => cells.map(c => getComputedStyle(c).fill))
    expect(new Set(fills).size).toBe(new Set(phaseCells(sweepResults(phase), phaseLayout(sweepResults(phase).axes)!).map(c => c.loss)).size)
  } finally { await browser.close() }
})
