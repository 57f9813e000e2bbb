// Each instance (one per thread) owns a scratch area for packed panels and partial tiles. Wasm globals are private to an instance, so the
// pointer may differ per thread while all memory is shared.

/** First byte of this instance's scratch area; SCRATCH_BYTES long (src/runtime/memory.ts), 64-byte aligned. */
export let scratch: usize = 0

/** Tell this instance where its scratch area is. Called once, before any kernel. */
export function set_scratch(ptr: usize): void {
  scratch = ptr
}
