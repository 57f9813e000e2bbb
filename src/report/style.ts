// The style of every page: one sheet, light and dark by the reader's preference, no font or image from elsewhere.
// Series colours keep their order and their difference for the usual colour deficiencies in both schemes.

/** Colours of the two arms, of further series in order, and of layers from first to last. */
export const color = {
  baseline: 'var(--baseline)',
  studied: 'var(--studied)',
  series: (i: number): string => `var(--series-${i % 8})`,
  /** Layers are ordered, so they share a hue and differ in depth. */
  layer: (i: number, depth: number): string => color.ramp(depth < 2 ? 1 : i / (depth - 1)),
  /** A quantity from its lowest (0) to its highest (1). */
  ramp: (share: number): string => `color-mix(in oklab, var(--layer-last) ${Math.round(100 * share)}%, var(--layer-first))`,
}

export const stylesheet = `
:root {
  color-scheme: light dark;
  --page: #fbfaf7; --card: #ffffff; --ink: #1d2126; --soft: #5c6570; --line: #e3e1da; --grid: #eceae4; --band: #f0d9c9; --link: #1f5fbf;
  --baseline: #5f6b7a; --studied: #d2540d; --layer-first: #8fc1e8; --layer-last: #123f75;
  --series-0: #1f6fc4; --series-1: #8a4bc7; --series-2: #11876b; --series-3: #b08800; --series-4: #c23a78; --series-5: #0a8aa8; --series-6: #4a7a1e; --series-7: #6b4f3a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --card: #1b1f25; --ink: #e8eaed; --soft: #a2abb6; --line: #30363e; --grid: #2a3037; --band: #4a3024; --link: #8ab8ff;
    --baseline: #a9b4c2; --studied: #ff8b4a; --layer-first: #2f6ea8; --layer-last: #d3e9ff;
    --series-0: #6fb1ff; --series-1: #c49bff; --series-2: #3ecfa8; --series-3: #e3bf45; --series-4: #ff86b8; --series-5: #4fd0ea; --series-6: #9fd069; --series-7: #d0b09a;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; -webkit-text-size-adjust: 100%; }
main { max-width: 960px; margin: 0 auto; padding: 40px 20px 72px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 8px; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 48px 0 6px; letter-spacing: -0.005em; }
h3 { font-size: 1rem; margin: 24px 0 0; }
p { margin: 0 0 12px; max-width: 72ch; }
.lead { color: var(--soft); font-size: 1.05rem; }
a { color: var(--link); text-underline-offset: 2px; }
code, .mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 0.875em; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(270px, 1fr)); gap: 12px; margin: 24px 0 8px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px 10px; }
.tile .name { font-weight: 600; font-size: 0.9rem; line-height: 1.35; }
.tile table { margin: 6px 0 0; font-size: 0.9rem; }
.tile th, .tile td { border: 0; padding: 2px 0; font-weight: 400; vertical-align: baseline; }
.tile th { white-space: normal; padding-right: 12px; }
.tile td { text-align: right; font-size: 1.2rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
.findings { margin: 16px 0 0; padding: 0 0 0 1.2em; max-width: 76ch; }
.findings li { margin: 0 0 8px; }
figure { margin: 20px 0 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px 14px; }
figure h3 { margin: 0; }
figure .head { display: flex; flex-wrap: wrap; gap: 6px 24px; align-items: baseline; justify-content: space-between; margin-bottom: 8px; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 0; padding: 0; font-size: 0.85rem; color: var(--soft); }
.legend li { display: flex; align-items: center; gap: 6px; }
.legend svg { width: 22px; height: 10px; flex: none; }
.axis { margin: 10px 0 0; font-size: 0.8rem; color: var(--soft); max-width: none; }
.plot { overflow-x: auto; overflow-y: hidden; }
.plot svg { display: block; width: 100%; min-width: 560px; height: auto; }
.plot svg text { font-variant-numeric: tabular-nums; }
figcaption { color: var(--soft); font-size: 0.9rem; line-height: 1.5; margin-top: 8px; max-width: 92ch; }
.data { white-space: nowrap; margin-left: 0.4em; }
.scroll { overflow-x: auto; margin-bottom: 12px; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; margin: 8px 0 0; }
th, td { text-align: left; vertical-align: top; padding: 6px 16px 6px 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { font-weight: 600; color: var(--soft); white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.columns { columns: 2 380px; column-gap: 40px; }
.columns table { break-inside: avoid; margin: 0 0 20px; table-layout: fixed; }
.columns th { width: 45%; }
th[scope=row] { font-weight: 400; }
.matrix td { white-space: nowrap; }
.matrix thead th { white-space: normal; min-width: 6.5em; }
.plain thead th { white-space: nowrap; min-width: 0; }
td.differs { color: var(--studied); font-weight: 600; }
caption { text-align: left; font-weight: 600; padding: 0 0 2px; }
.chip { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 8px; }
footer { margin-top: 48px; color: var(--soft); font-size: 0.85rem; }
@media print { body { background: #fff; } figure, .tile { break-inside: avoid; } }
`
