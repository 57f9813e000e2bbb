// Timing by tinybench. Figures of a family are sampled in turn, round after round, and the best sample counts: the machine may be shared, and what
// another process takes from one figure in one round says nothing about the figure.
import { Bench } from 'tinybench'

/** Something to time: `sample` spends about `ms` milliseconds (0: one run) and returns the least and the median seconds of one run. */
export function local(fn) {
  let warm = false
  const once = async () => {
    if (!warm) await fn()
    warm = true
    const start = performance.now()
    await fn()
    const seconds = (performance.now() - start) / 1000
    return { least: seconds, median: seconds }
  }
  return {
    async sample(ms) {
      if (ms === 0) return once()
      const bench = new Bench({ time: ms, iterations: 2, warmup: !warm, warmupTime: 50, warmupIterations: 2, retainSamples: true, throws: true })
      bench.add('run', fn)
      await bench.run()
      warm = true
      const { latency } = bench.tasks[0].result
      return { least: latency.min / 1000, median: latency.p50 / 1000 }
    },
    close() {},
  }
}

/** Sample every subject in turn for `rounds` rounds. Adds `least` and `median` seconds to each. */
export async function interleave(subjects, { rounds, ms }) {
  for (const s of subjects) s.samples = []
  for (let round = 0; round < rounds; round++) {
    for (const s of subjects) s.samples.push(await s.timer.sample(ms))
  }
  for (const s of subjects) {
    s.least = Math.min(...s.samples.map(x => x.least))
    s.median = s.samples.map(x => x.median).sort((x, y) => x - y)[rounds >> 1]
  }
}

/** A timer of what takes seconds: at most `runs` samples of one run each (a few, where runs are short), however many are asked for. */
export function few(timer, runs) {
  const samples = []
  let asked = 0
  return { async sample() { if (samples.length < runs) samples.push(await timer.sample(0)); return samples[asked++ % samples.length] } }
}
