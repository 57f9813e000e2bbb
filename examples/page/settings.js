/** What the page trains: see docs/runs.md for the keys. */
export const settings = {
  model: { depth: 2, width: 64 }, batch: 128, steps: 300, optimizer: { lr: 2e-3 }, precision: 'e4m3/e4m3', baseline: 'fp32', validation: { every: 0 },
  metrics: { gradient: 0, overflow: 0, activations: 0, gamma: 0 },
}
