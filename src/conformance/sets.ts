// The vector sets that this library can run, by folder name. A set's runner takes its folder and compares every case found there.
// To add one: src/conformance/sets/<name>.ts exporting `run: SetRunner`, and a line here.
import type { SetRunner } from './types.ts'

/** Loaded on demand, so that one set's dependencies do not delay another's. */
export const sets: Readonly<Record<string, () => Promise<{ run: SetRunner }>>> = {
  casts: () => import('./sets/casts.ts'),
  microxcaling: () => import('./sets/microxcaling.ts'),
}
