// The core for several threads: the same kernels over shared memory.
import { modules } from '../../build/module.shared.js'
import type { CoreModules } from './instance.ts'
import { loadFrom } from './module.ts'

/** Compile the core for several threads (once per process). Throws RunError if the engine lacks SIMD or shared memory. */
export const loadSharedModules = (): CoreModules => loadFrom(modules, true)
