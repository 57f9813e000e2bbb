// blockscale COMMAND [arguments]: which commands there are, and how one is called.
// Each command is a module of this folder with `help` and `run(args)`, loaded only when it is called, so that starting costs nothing.
import { UsageError } from '../errors.ts'

/** A command's module. `run` returns the exit code, 0 if it returns nothing; it throws UsageError and RunError. */
export interface Command { readonly help: string, run(args: string[]): Promise<number | void> }

const commands: Readonly<Record<string, { summary: string, load: () => Promise<Command> }>> = {
  train: { summary: 'train a model from a preset or a YAML file', load: () => import('./train.ts') },
  intervene: { summary: 'fork a run at a checkpoint with another precision', load: () => import('./intervene.ts') },
  report: { summary: 'write the page of a run, of a sweep, or of several runs compared', load: () => import('./report.ts') },
  watch: { summary: 'a live page of a run or a sweep', load: () => import('./watch.ts') },
  export: { summary: 'a run\'s metrics for TensorBoard, as CSV or Parquet', load: () => import('./export.ts') },
  sweep: { summary: 'many runs from one file, on this machine or a cluster', load: () => import('./sweep.ts') },
  tokenize: { summary: 'train a tokenizer, encode text into token files, decode them', load: () => import('./tokenize.ts') },
  evaluate: { summary: 'a language model\'s loss on text, multiple-choice tasks', load: () => import('./evaluate.ts') },
  generate: { summary: 'text from a language model', load: () => import('./generate.ts') },
  weights: { summary: 'a language model\'s weights as safetensors under OLMo or Hugging Face names', load: () => import('./weights.ts') },
  fit: { summary: 'fit a scaling law to a table of runs', load: () => import('./fit.ts') },
  reproduce: { summary: 'test published claims, with figures and verdicts', load: () => import('./reproduce.ts') },
  quantize: { summary: 'a tensor to codes and scales, as a library or a standard does it', load: () => import('./quantize.ts') },
  dequantize: { summary: 'codes and scales back to numbers', load: () => import('./dequantize.ts') },
  matmul: { summary: 'a matrix product, summed as a named matrix unit sums', load: () => import('./matmul.ts') },
  compare: { summary: 'two tensors, bit for bit: how many differ, how, and where', load: () => import('./compare.ts') },
  identify: { summary: 'which quantizer made a tensor, which arithmetic a product', load: () => import('./identify.ts') },
  vectors: { summary: 'conformance vectors of a matrix unit, to check a kernel with', load: () => import('./vectors.ts') },
  formats: { summary: 'the format table, or every code of one format', load: () => import('./formats.ts') },
  info: { summary: 'engine, SIMD width, threads, module hashes, self-test', load: () => import('./info.ts') },
}

const overview = (): string => `blockscale: block-scaled low-precision arithmetic and training, bit for bit, on any CPU

usage: blockscale COMMAND [arguments]

${Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(12)}${summary}`).join('\n')}

  blockscale COMMAND --help     arguments and examples
  blockscale --version

examples:
  blockscale train quick
  blockscale train quick --set steps=200 --threads 2 --out runs
  blockscale formats e4m3
`

/** Run the command that `args` begin with. Returns the exit code; throws UsageError, RunError. */
export async function dispatch([name, ...args]: string[]): Promise<number> {
  if (name === undefined) { process.stderr.write(overview()); return 2 }
  if (name === '--help' || name === '-h' || (name === 'help' && args.length === 0)) { process.stdout.write(overview()); return 0 }
  if (name === '--version' || name === '-v') { process.stdout.write(`${(await import('../version.ts')).VERSION}\n`); return 0 }
  const wantsHelp = name === 'help' || args.includes('--help') || args.includes('-h')
  const asked = name === 'help' ? args[0]! : name
  if (!Object.hasOwn(commands, asked)) throw new UsageError(`unknown command ${JSON.stringify(asked)}: use one of ${Object.keys(commands).join(', ')}`)
  const command = await commands[asked]!.load()
  if (wantsHelp) { process.stdout.write(command.help); return 0 }
  return await command.run(args) ?? 0
}

/** What to print for an error, and the exit code. Only what nobody expected shows its stack. */
export function explain({ name, message, stack }: Error): { text: string, code: number } {
  const expected = name === 'UsageError' || name === 'RunError'
  return { text: `blockscale: ${expected ? message.replace(/\s*\n\s*/g, ' ') : `unexpected error, please report it\n${stack}`}\n`, code: name === 'UsageError' ? 2 : 1 }
}
