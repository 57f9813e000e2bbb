// What the tests of all pages ask of a page.
import { expect } from 'vitest'

/** Everything a page could ask the network for. */
export function references(document: Document): string[] {
  const attributes = [...document.querySelectorAll('*')].flatMap(e => [...e.attributes].filter(a => ['src', 'href', 'xlink:href', 'data', 'action', 'srcset'].includes(a.name)).map(a => a.value))
  const styles = [...document.querySelectorAll('style')].flatMap(s => s.textContent!.match(/url\([^)]*\)|@import[^;]*/g) ?? [])
  return [...attributes, ...styles].filter(r => !r.startsWith('data:') && !r.startsWith('#'))
}

/** The rows behind a download link, as text cells. */
export function downloaded(link: Element): { header: string[], rows: string[][] } {
  const [header, ...rows] = decodeURIComponent(link.getAttribute('href')!.slice('data:text/csv;charset=utf-8,'.length)).trimEnd().split('\n').map(line => line.split(','))
  return { header: header!, rows }
}

/** Self-contained, without scripts; colours from the sheet; drawings without NaN; every figure with a caption and its data. */
export function expectSoundPage(document: Document): void {
  expect(references(document)).toEqual([])
  expect(document.querySelectorAll('script, iframe, object, link').length).toBe(0)
  expect(document.querySelector('meta[http-equiv="Content-Security-Policy"]')!.getAttribute('content')).toMatch(/^default-src 'none'/)
  for (const figure of document.querySelectorAll('figure')) {
    expect(figure.querySelectorAll('.plot svg').length, figure.id).toBeGreaterThan(0)
    expect(figure.querySelector('figcaption')!.textContent!.length, figure.id).toBeGreaterThan(60)
    expect(figure.querySelector('a.data')!.getAttribute('download')).toBe(`${figure.id}.csv`)
    expect(downloaded(figure.querySelector('a.data')!).rows.length, figure.id).toBeGreaterThan(1)
  }
  for (const svg of document.querySelectorAll('.plot svg')) {
    expect(svg.outerHTML).not.toMatch(/NaN|undefined|Infinity/)
    expect(svg.outerHTML).not.toMatch(/(fill|stroke)="(#|black|white|rgb)/)
  }
}
