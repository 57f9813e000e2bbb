// The entry for Node, Deno and Bun: everything, on as many threads as there are.
export * from './api.ts'
export { open, type OpenOptions } from './runtime/open.ts'
