// blockscale evaluate: loss and perplexity on files, accuracy on multiple-choice tasks.
import { UsageError } from '../errors.ts'
import { evaluateChoices, evaluateText, Scorer } from '../train/evaluate.ts'
import { loadTrainedModel } from '../train/trained-model.ts'
import { modelOptions, modelSource, parse } from './arguments.ts'
import { openExecutor } from './with-core.ts'

export const help = `usage: blockscale evaluate RUN|CONFIG [FILES...] [--choices TASK.jsonl...] [options]

Loss (nats per token), perplexity and bits per byte of a trained language model on files; accuracy on multiple-choice tasks.
RUN is a run directory; CONFIG a preset or YAML file whose model.init names a weights file.

A task file has one question per line: {"context": "The sky is", "choices": [" blue.", " loud."], "answer": 0}. A choice's score is the log-probability of
its tokens after the context; the largest wins, raw or per character.

  --choices FILE     a task file, as often as needed
  --arm NAME         studied (default) or baseline
  --step N           checkpoint of this step (default: the newest)
  --precision NAME   compute in this precision (default: the one it was trained with)
  --threads N        number of threads, or auto (default); never changes a result
  --narrow           do not try the engine's 256-bit mode
  --json             results as JSON lines

examples:
  blockscale evaluate runs/lm-quick-0a1b2c3d4e5f default
  blockscale evaluate runs/lm-quick-0a1b2c3d4e5f text/*.txt --precision fp32
  blockscale evaluate runs/lm-quick-0a1b2c3d4e5f --choices piqa.jsonl
`

export async function run(args: string[]): Promise<void> {
  const { values, positionals: [source, ...files] } = parse('evaluate', args, { ...modelOptions, choices: { type: 'string', multiple: true }, json: { type: 'boolean' } }, [1, Infinity])
  const tasks = values.choices ?? []
  if (files.length + tasks.length === 0) throw new UsageError('evaluate: nothing to evaluate on, name files or --choices')
  const model = loadTrainedModel(modelSource(source!, values)), executor = await openExecutor(values)
  try {
    const scorer = new Scorer(executor, model)
    if (!values.json) process.stdout.write(`${model.label}\n`)
    for (const file of files) for (const r of await evaluateText(scorer, [file])) {
      process.stdout.write(values.json ? `${JSON.stringify({ kind: 'text', ...r })}\n` : `${r.file}: loss ${r.loss.toFixed(4)}, perplexity ${r.perplexity.toFixed(2)}${r.bitsPerByte === null ? '' : `, ${r.bitsPerByte.toFixed(4)} bits per byte`} (${r.tokens} tokens)\n`)
    }
    for (const file of tasks) {
      const r = await evaluateChoices(scorer, file)
      process.stdout.write(values.json ? `${JSON.stringify({ kind: 'choices', ...r })}\n` : `${r.file}: accuracy ${r.accuracy.toFixed(4)}, per character ${r.accuracyPerCharacter.toFixed(4)}, loss of the right choice ${r.loss.toFixed(4)} (${r.questions} questions)\n`)
    }
  } finally { await executor.close() }
}
