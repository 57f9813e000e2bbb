import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { JSDOM } from 'jsdom'
import { describe, expect, test } from 'vitest'
import { formats } from '../../src/numerics/formats.ts'
import { csv } from '../../src/report/chart.ts'
import { loadRun, smooth, thin } from '../../src/report/data.ts'
import { html } from '../../src/report/html.ts'
import { lastBucket } from '../../src/report/last-bucket.ts'
import { percent, relation, significant } from '../../src/report/page.ts'
import { writeComparison, writeRunReport } from '../../src/report/write.ts'
import { references } from './pages.ts'
import { writeSyntheticRun } from './synthetic.ts'

const folder = mkdtempSync(join(tmpdir(), 'blockscale-report-'))
const parse = (file: string) => new JSDOM(readFileSync(file, 'utf8')).window.document

describe('the page of a run', () => {
  const directory = join(folder, 'quick')
  const config = writeSyntheticRun(directory)
  const document = parse(writeRunReport(directory))

  test('is self-contained: no reference leaves it, no script runs', () => {
    expect(references(document)).toEqual([])
    expect(document.querySelectorAll('script, iframe, object, link').length).toBe(0)
    expect(document.querySelector('meta[http-equiv="Content-Security-Policy"]')!.getAttribute('content')).toMatch(/^default-src 'none'/)
  })

  test('has every chart, each with a caption and its data', () => {
    const figures = [...document.querySelectorAll('figure')]
    expect(figures.map(f => f.id)).toEqual(['loss', 'probes', 'trajectory', 'gradient-norm', 'gamma-overflow', 'gamma-histogram', 'overflow'])
    for (const figure of figures) {
      expect(figure.querySelectorAll('.plot svg').length).toBeGreaterThan(0)
      expect(figure.querySelector('figcaption')!.textContent!.length).toBeGreaterThan(60)
      const link = figure.querySelector<HTMLAnchorElement>('a.data')!
      const text = decodeURIComponent(link.getAttribute('href')!.slice('data:text/csv;charset=utf-8,'.length))
      const [head, ...rows] = text.trimEnd().split('\n')
      expect(rows.length).toBeGreaterThan(10)
      expect(new Set([head!, ...rows].map(line => line.split(',').length)).size).toBe(1)
      expect(link.getAttribute('download')).toBe(`${figure.id}.csv`)
    }
  })

  test('lines carry the data: one path per arm, no NaN in the drawing', () => {
    const paths = [...document.querySelectorAll('#loss .plot path')].map(p => p.getAttribute('d')!)
    expect(paths.length).toBeGreaterThanOrEqual(4)
    for (const svg of document.querySelectorAll('.plot svg')) expect(svg.outerHTML).not.toMatch(/NaN|undefined|Infinity/)
  })

  test('the data of the loss chart are the logged losses', () => {
    const text = decodeURIComponent(document.querySelector('#loss a.data')!.getAttribute('href')!)
    const run = loadRun(directory)
    for (const row of run.rows.filter(r => r.kind === 'step').slice(0, 50)) expect(text).toContain(`${row.arm},${row.arm === 'studied' ? 'e4m3/e4m3' : 'fp32'},train,${row.step},${row.loss},`)
  })

  test('states the whole configuration, the hash and the engine', () => {
    const text = document.body.textContent!
    for (const word of [loadRun(directory).file.hash, 'node 20.0.0', 'labelNoiseStream', 'gradientRounding', 'nearest-away', String(config.seed), 'a'.repeat(64)]) expect(text).toContain(word)
  })

  test('colours come from the style sheet, so that light and dark both work', () => {
    for (const svg of document.querySelectorAll('.plot svg')) expect(svg.outerHTML).not.toMatch(/(fill|stroke)="(#|black|white|rgb)/)
    expect(document.querySelector('style')!.textContent).toContain('prefers-color-scheme: dark')
  })

  test('says what the numbers say', () => {
    const findings = [...document.querySelectorAll('.findings li')].map(li => li.textContent)
    expect(findings.join(' ')).toMatch(/gamma moved into the last bucket in the fp32 run: 0 % of it at step 10, \d\d % at step 1000\. Nothing is quantized/)
    expect(findings.join(' ')).toMatch(/in the median 0\.\d+ \(cosine 0\.\d+\) with layer norm fp32, .* and 0\.\d+ \(cosine 0\.\d+\) with layer norm mx/)
  })
})

test('a run without layer norm, baseline or probes has the charts it can have', () => {
  const directory = join(folder, 'bare')
  writeSyntheticRun(directory, { preset: 'tiny', overrides: ['model.layerNorm=false', 'baseline=null', 'probes.every=0', 'probes.schemes={}', 'metrics.gradient=0'] })
  expect([...parse(writeRunReport(directory)).querySelectorAll('figure')].map(f => f.id)).toEqual(['loss'])
})

test('a run that diverged, and one that has only begun', () => {
  const directory = join(folder, 'diverged')
  writeSyntheticRun(directory, { preset: 'tiny', diverge: 10 })
  expect(parse(writeRunReport(directory)).body.textContent).toMatch(/diverged: it ends at [\d.]+ times the loss|no longer finite/)
  const begun = join(folder, 'begun')
  writeSyntheticRun(begun, { preset: 'tiny', from: 60 })
  expect(parse(writeRunReport(begun)).querySelectorAll('figure').length).toBeGreaterThan(0)
})

test('names from outside are text, never markup', () => {
  const directory = join(folder, 'a <b>&"x')
  writeSyntheticRun(directory, { preset: 'tiny' })
  const document = parse(writeRunReport(directory))
  expect(document.querySelector('h1')!.textContent).toBe('a <b>&"x')
  expect(html`<p title="${'"<'}">${['<i>', html`<b></b>`]}${null}${0}</p>`.text).toBe('<p title="&#34;&#60;">&#60;i&#62;<b></b>0</p>')
})

describe('the comparison page', () => {
  const parent = join(folder, 'parent')
  const base = writeSyntheticRun(parent, { preset: 'tiny', diverge: 40 })
  const fork = (name: string, precision: object | string, diverge = Infinity) => {
    const directory = join(folder, name)
    writeSyntheticRun(directory, { base, overrides: [`precisionSchedule=[{step: 20, precision: ${JSON.stringify(precision)}}]`, 'baseline=null', 'probes.every=0'], from: 21, diverge, parent: { directory: 'parent', step: 20 } })
    return directory
  }
  const directories = [parent, fork('control', base.precision, 40), fork('rescue', 'bf16')]
  const document = parse(writeComparison(directories, join(folder, 'comparison.html')))

  test('takes the null control as reference and lists every run', () => {
    expect(document.querySelector('.lead')!.textContent).toMatch(/against step 20: no change \(control\)/)
    const rows = [...document.querySelectorAll('main > .scroll tbody')][0]!.querySelectorAll('tr')
    expect([...rows].map(r => r.querySelector('td')!.textContent)).toEqual(['parent', 'control', 'rescue'])
    expect(rows[1]!.textContent).toContain('reference')
  })

  test('says whether the control goes its parent’s way', () => {
    expect(document.body.textContent).toMatch(/The control and its parent part at step 21|The control’s loss is its parent’s in all \d+ steps/)
  })

  test('a fork\'s own page names the precision that it computes in', () => {
    const own = parse(writeRunReport(join(folder, 'rescue')))
    expect(own.body.textContent).toContain('Precision: bf16. It is a fork of parent at step 20.')
    expect(own.querySelector('#loss .legend')!.textContent).toContain('bf16')
  })

  test('overlays the curves, and shows what differs', () => {
    expect([...document.querySelectorAll('figure')].map(f => f.id)).toEqual(['loss', 'difference', 'gradient-norm', 'gamma-overflow'])
    expect(document.body.textContent).toMatch(/precisionSchedule.*20: bf16/s)
    expect(references(document)).toEqual([])
    for (const svg of document.querySelectorAll('.plot svg')) expect(svg.outerHTML).not.toMatch(/NaN|undefined/)
  })
})

test('runs of one precision are told apart by what differs, else by name', () => {
  const make = (name: string, ...overrides: string[]) => { const directory = join(folder, name); writeSyntheticRun(directory, { preset: 'tiny', overrides }); return directory }
  const labels = (...directories: string[]) => [...parse(writeComparison(directories, join(folder, 'labels.html'))).querySelectorAll('main > .scroll tbody')][0]!.querySelectorAll('tr')
  const slow = make('slow', 'optimizer.lr=1e-3'), fast = make('fast', 'optimizer.lr=1e-2'), other = make('other', 'precision=e5m2/e5m2'), twin = make('twin', 'optimizer.lr=1e-2')
  expect([...labels(slow, fast, other)].map(r => r.querySelectorAll('td')[1]!.textContent)).toEqual(['e4m3/e4m3, optimizer.lr 0.001', 'e4m3/e4m3, optimizer.lr 0.01', 'e5m2/e5m2'])
  expect([...labels(fast, twin)].map(r => r.querySelectorAll('td')[1]!.textContent)).toEqual(['e4m3/e4m3 (fast)', 'e4m3/e4m3 (twin)'])
})

test('last bucket: E4M3 clamps above 1.75 times the power of two below the largest value', () => {
  // amax 0.96 in [0.5, 1): limit 448 * 2^(-1 - 8) = 0.875
  expect(lastBucket([0.96, 0.876, 0.875, -0.9, 0.1], formats.e4m3, 32).map(b => b.clamped)).toEqual([true, true, false, true, false])
  expect(lastBucket([1, 0.96, 0.99, 0.9], formats.e4m3, 32).map(b => b.clamped)).toEqual([false, false, false, false])
  expect(lastBucket([1, 0.96, 0.99, 0.9], formats.e4m3, 2).map(b => b.clamped)).toEqual([false, false, true, true])
  expect(lastBucket([0.94, 0.93], formats.e2m3, 32).map(b => b.clamped)).toEqual([true, false]) // 7.5 * 2^(-1 - 2) = 0.9375
  expect(lastBucket([0, 0], formats.e4m3, 32).map(b => b.clamped)).toEqual([false, false])
})

test('numbers for people', () => {
  expect([0.0085312, 12345, 0, 1.2e-7, NaN, null].map(v => significant(v))).toEqual(['0.00853', '12\u2009345', '0', '1.20e-7', '–', '–'])
  expect([percent(0.123456), percent(1), percent(null)]).toEqual(['12 %', '100 %', '–'])
  expect([relation(1.0112), relation(0.95), relation(1), relation(150.4), relation(null)]).toEqual(['+1.1 %', '−5 %', '0 %', '150 times', '–'])
  expect(csv([{ a: 1, b: 'x,"y"' }, { a: null, c: true }])).toBe('a,b,c\n1,"x,""y""",\n,,true\n')
})

test('smoothing is a geometric mean; thinning keeps spikes', () => {
  const flat = Array.from({ length: 1000 }, (_, step) => ({ step, value: 2 }))
  expect(smooth(flat, 25).every(p => Math.abs(p.value - 2) < 1e-12)).toBe(true)
  expect(smooth([{ step: 0, value: 1 }, { step: 1, value: 4 }], 3).map(p => p.value)).toEqual([2, 2])
  const spiked = flat.map(p => p.step === 617 ? { ...p, value: 99 } : p)
  const thinned = thin(spiked, 100)
  expect(thinned.length).toBeLessThanOrEqual(110)
  expect(thinned).toContainEqual({ step: 617, value: 99 })
})
