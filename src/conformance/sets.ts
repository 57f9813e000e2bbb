// The vector sets that this library can run, by folder name. A set's runner takes its folder and compares every case found there.
// To add one: src/conformance/sets/<name>.ts exporting `run: SetRunner`, and a line here.
import type { SetRunner } from './types.ts'

/** Loaded on demand, so that one set's dependencies do not delay another's. */
export const sets: Readonly<Record<string, () => Promise<{ run: SetRunner }>>> = {
  casts: () => import('./sets/casts.ts'),
  hw: () => import('./sets/hw.ts'),
  init: () => import('./sets/init.ts'),
  microxcaling: () => import('./sets/microxcaling.ts'),
  torchao: () => import('./sets/torchao.ts'),
  mma: () => import('./sets/mma.ts'),
  mxops: () => import('./sets/mxops.ts'),
  olmo: () => import('./sets/olmo.ts'),
  student_teacher: () => import('./sets/student_teacher.ts'),
  student_teacher_mx: () => import('./sets/student_teacher.ts'),
}
