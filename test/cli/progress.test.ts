import { expect, test } from 'vitest'
import { formatBar, formatProgress, formatTime, ProgressDisplay, progressStyle } from '../../src/cli/progress.ts'

const progress = { step: 250, steps: 1000, loss: { baseline: 0.0123456, studied: 0.0134 }, gflops: 12.34, eta: 95 }
const labels = { baseline: 'fp32', studied: 'e4m3/e4m3' }

test('time', () => {
  expect([0, 59.6, 61, 3599, 12_000, Infinity, NaN].map(formatTime)).toEqual(['0:00', '1:00', '1:01', '59:59', '3:20:00', '-:--', '-:--'])
})

test('a line has step, losses, speed and time left', () => {
  expect(formatProgress(progress, labels)).toBe('step  250/1000  fp32  1.235e-2  e4m3/e4m3  1.340e-2  12.3 GFLOP/s  ETA 1:35')
  expect(formatProgress({ ...progress, loss: { studied: null } }, { studied: 'bf16' })).toMatch(/bf16 +-  /)
})

test('the bar never exceeds the terminal', () => {
  for (let columns = 1; columns < 160; columns++) expect(formatBar(progress, labels, columns).length).toBeLessThanOrEqual(Math.max(1, columns - 1))
  expect(formatBar(progress, labels, 140)).toMatch(/^━{6}╌{18}  step/)
  expect(formatBar({ ...progress, step: 1000 }, labels, 140)).toMatch(/^━{24}  step/)
})

test('style: as asked, else by the stream', () => {
  expect(progressStyle({ quiet: true, json: true }, { isTTY: true })).toBe('quiet')
  expect(progressStyle({ json: true }, { isTTY: true })).toBe('json')
  expect(progressStyle({}, { isTTY: false })).toBe('lines')
})

test('updates are spaced; the last step is always shown', () => {
  const shown = (style: 'bar' | 'lines' | 'json' | 'quiet') => {
    const out: string[] = []
    const display = new ProgressDisplay(style, labels, text => out.push(text), () => 100)
    for (let step = 1; step <= 100; step++) display.update({ ...progress, step, steps: 100 }, step)
    display.end()
    return out
  }
  expect(shown('lines')).toHaveLength(21) // 1, 6, ... 96, and 100
  expect(shown('lines').at(-1)).toMatch(/^step 100\/100/)
  expect(shown('json')).toHaveLength(100)
  expect(JSON.parse(shown('json')[0]!)).toMatchObject({ kind: 'progress', step: 1, gflops: 12.34 })
  expect(shown('bar').at(-1)).toBe('\n')
  expect(shown('quiet')).toEqual([])
})
