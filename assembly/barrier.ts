// The barrier at which the threads of a pool meet between two calls of a program, and at which a worker sleeps between two programs.
// A central counter with a generation number: the last thread to arrive resets the counter and raises the generation, which is what the others
// watch. They spin at first (a sleeping core takes tens of microseconds to wake, a spinning one 0.2) and then sleep in a futex wait.
//
// `control` points to the pool's control block (src/runtime/team.ts writes its other words); each word has a cache line of its own.
// Exists in both builds of the core, used only over shared memory: over private memory the wait instruction traps.

const GENERATION: usize = 0
const ARRIVED: usize = 64
const SLEEPERS: usize = 128
/** 0 while the pool runs; set once, before the generation is raised, when it fails or closes. */
const HALTED: usize = 192

// What a thread learns at the barrier.
const MET: i32 = 0
const HALT: i32 = 1
const TIMEOUT: i32 = 2

/** The generation this thread waits to see the end of. A Wasm global is private to its instance, so to its thread. */
let awaited: i32 = 0

/** How many times in a row looking was in vain. On a busy machine the thread that is waited for may need this very core. */
let inVain: i32 = 0

/**
 * Arrive, and wait for the other `threads - 1`: first up to `spins` looks at the generation, then asleep for at most `milliseconds` (negative: for ever).
 * Returns 0 when all have met, 1 when the pool was halted, 2 when time ran out: then call barrier_resume, not barrier, to wait on.
 */
export function barrier(control: usize, threads: i32, spins: i32, milliseconds: i32): i32 {
  awaited = atomic.load<i32>(control, GENERATION)
  if (atomic.add<i32>(control, 1, ARRIVED) == threads - 1) {
    atomic.store<i32>(control, 0, ARRIVED)
    barrier_release(control)
    return atomic.load<i32>(control, HALTED) ? HALT : MET
  }
  return barrier_resume(control, spins, milliseconds)
}

/** Looks to spend now: all, unless the last three times that was in vain; then a sixteenth, and all again every sixteenth time. */
function lookout(spins: i32): i32 {
  if (inVain < 3) return spins
  return inVain & 15 ? spins >> 4 : spins
}

/** Go on waiting at the barrier this thread last arrived at. Parameters and result as barrier. */
export function barrier_resume(control: usize, spins: i32, milliseconds: i32): i32 {
  const generation = awaited
  if (atomic.load<i32>(control, HALTED)) return HALT
  for (let i = lookout(spins); i > 0; i--) {
    if (atomic.load<i32>(control, GENERATION) != generation) {
      inVain = 0
      return atomic.load<i32>(control, HALTED) ? HALT : MET
    }
  }
  inVain++
  atomic.add<i32>(control, 1, SLEEPERS)
  if (atomic.load<i32>(control, GENERATION) == generation) {
    atomic.wait<i32>(control + GENERATION, generation, milliseconds < 0 ? -1 : <i64>milliseconds * 1000000)
  }
  atomic.sub<i32>(control, 1, SLEEPERS)
  if (atomic.load<i32>(control, HALTED)) return HALT
  return atomic.load<i32>(control, GENERATION) == generation ? TIMEOUT : MET
}

/** Let every waiting thread go: end the generation, and wake those asleep. */
function barrier_release(control: usize): void {
  atomic.add<i32>(control, 1, GENERATION)
  if (atomic.load<i32>(control, SLEEPERS)) atomic.notify(control + GENERATION, -1)
}

/** Halt the pool for good: every thread at the barrier, now or later, is told so. */
export function barrier_halt(control: usize): void {
  atomic.store<i32>(control, 1, HALTED)
  barrier_release(control)
}
