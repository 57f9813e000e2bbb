// blockscale generate: text from a trained language model.
import { UsageError } from '../errors.ts'
import { generate } from '../train/generate.ts'
import { loadTrainedModel } from '../train/trained-model.ts'
import { modelOptions, modelSource, parse, wholeNumber } from './arguments.ts'
import { openExecutor } from './with-core.ts'

export const help = `usage: blockscale generate RUN|CONFIG [--prompt TEXT] [options]

Prints the prompt and what the model writes after it. The same seed writes the same text on every machine.
RUN is a run directory; CONFIG a preset or YAML file whose model.init names a weights file.

  --prompt TEXT      what the text begins with (default: a line end)
  --tokens N         tokens to write (default: 200); it ends earlier at a document separator
  --temperature X    0 takes the likeliest token, 1 draws from the model's distribution (default: 0.8)
  --seed N           of the draws (default: 0)
  --arm NAME         studied (default) or baseline
  --step N           checkpoint of this step (default: the newest)
  --precision NAME   compute in this precision (default: the one it was trained with)
  --threads N        number of threads, or auto (default); never changes a result
  --narrow           do not try the engine's 256-bit mode

examples:
  blockscale generate runs/lm-quick-0a1b2c3d4e5f --prompt 'export function '
  blockscale generate runs/lm-quick-0a1b2c3d4e5f --temperature 0 --tokens 100
`

export async function run(args: string[]): Promise<void> {
  const { values, positionals: [source] } = parse('generate', args,
    { ...modelOptions, prompt: { type: 'string' }, tokens: { type: 'string' }, temperature: { type: 'string' }, seed: { type: 'string' } }, [1, 1])
  const temperature = Number(values.temperature ?? 0.8)
  if (!(temperature >= 0 && temperature < Infinity)) throw new UsageError(`--temperature ${values.temperature}: must be a number of at least 0`)
  const tokens = wholeNumber('--tokens', values.tokens ?? '200', 1), seed = wholeNumber('--seed', values.seed ?? '0', 0), prompt = values.prompt ?? '\n'
  const model = loadTrainedModel(modelSource(source!, values)), executor = await openExecutor(values)
  try {
    const { params, precision } = model.place(executor)
    process.stdout.write(prompt)
    await generate(executor, model.shape, params, precision, model.tokenizer,
      { prompt, tokens, temperature, seed, stream: 0, context: model.config.model.context, onText: text => { process.stdout.write(text) } })
    process.stdout.write('\n')
  } finally { await executor.close() }
}
