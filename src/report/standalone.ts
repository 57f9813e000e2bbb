// A chart as an SVG file of its own, for documents outside a page: with the page's colours for light and dark, a legend, and its words as text.
import type * as Plot from '@observablehq/plot'
import { draw } from './chart.ts'
import { escape } from './html.ts'
import { stylesheet } from './style.ts'

const LEGEND_LINE = 22, CHARACTER_WIDTH = 7

/** The rules of the page's sheet that define colours. */
const colors = [...stylesheet.matchAll(/^:root \{[\s\S]*?^\}|^@media \(prefers-color-scheme: dark\) \{[\s\S]*?^\}/gm)].map(m => m[0]).join('\n')

/**
 * Draw `options` as a complete SVG file. `color.legend: true` with a list of names as `color.domain` and of colours as `color.range` puts a legend above
 * the chart (Plot's own would be HTML).
 */
export function standaloneSvg({ color: { legend, ...color } = {}, width = 720, height = 300, ...options }: Plot.PlotOptions, title: string): string {
  const names = legend ? [...color.domain ?? []] as string[] : [], ranges = [...(color.range as Iterable<string> | undefined) ?? []]
  let x = 8, y = 0
  const swatches = names.map((name, i) => {
    const space = 36 + CHARACTER_WIDTH * name.length
    if (x + space > width && x > 8) { x = 8; y += LEGEND_LINE }
    const at = x
    x += space
    return `<rect x="${at}" y="${y + 7}" width="14" height="10" rx="2" fill="${escape(ranges[i % ranges.length] ?? 'currentColor')}"/><text x="${at + 20}" y="${y + 16}" fill="currentColor">${escape(name)}</text>`
  })
  const top = names.length ? y + LEGEND_LINE + 4 : 0
  const chart = draw({ marginTop: 28, ...options, width, height, ...Object.keys(color).length ? { color } : {} }).text
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 ${width} ${height + top}" width="${width}" role="img" font-family="system-ui, sans-serif" font-size="12" style="color: var(--ink); background: var(--page)">
<title>${escape(title)}</title>
<style>${colors}</style>
${swatches.join('')}
${chart.replace('<svg ', `<svg y="${top}" `)}
</svg>
`
}
