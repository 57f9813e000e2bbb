// The configuration of a run: a strict schema with defaults, here that of the student-teacher task; language models: language-model-config.ts.
// A resolved configuration has every value spelled out, so it can be hashed, stored and compared. Pure: files, presets and the hash are in config-file.ts.
//
// Defaults are those of the original student_teacher.py where it has the option, so that a run is described by the same differences as there.
// Not part of a configuration, because they cannot change a bit of the result: threads, engine, output directory.
import { z } from 'zod'
import { UsageError } from '../errors.ts'
import { checkpoints, commonRules, count, every, isObject, merge, notNegative, positive, precision, precisionSchedule, probes, type Rule } from './config-parts.ts'
import { finishLanguageModel, languageModelRules, languageModelSchema, type LanguageModelConfig } from './language-model-config.ts'

export { isObject, merge }
export type { LanguageModelConfig }

const activation = z.enum(['gelu', 'relu', 'swiglu', 'linear'])

const studentTeacherSchema = z.strictObject({
  task: z.literal('student-teacher').default('student-teacher'),
  /** The student: `depth` residual blocks x + fc2(act(fc1(LN(x)))), hidden width 4 `width` (SwiGLU: round(8 width / 3)). */
  model: z.strictObject({
    depth: count.max(1024).default(8),
    width: count.default(512),
    activation: activation.default('gelu'),
    layerNorm: z.boolean().default(true),
    /** `default`: torch's Linear, U(±1/sqrt(fan_in)). `xavier`: Xavier-normal with gain 0.5, zero bias. */
    init: z.enum(['default', 'xavier']).default('default'),
  }).prefault({}),
  /** The teacher: `depth` blocks fc2(act(fc1(x))), no residual, no norm, no bias. null: as the student. Its hidden width is `width`, not 4 `width`. */
  teacher: z.strictObject({
    depth: count.nullable().default(null),
    width: count.nullable().default(null),
    activation: z.enum(['gelu', 'relu', 'swiglu', 'linear', 'tanh']).nullable().default(null),
  }).prefault({}),
  optimizer: z.strictObject({
    name: z.enum(['adam', 'sgd']).default('adam'),
    lr: positive.default(1e-3),
    betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).default([0.9, 0.999]),
    eps: notNegative.default(1e-8),
    /** SGD only. */
    momentum: z.number().min(0).lt(1).default(0),
  }).prefault({}),
  /** `cosine` falls from optimizer.lr to lrMin over all steps. No warm-up, as in the paper. */
  schedule: z.strictObject({
    kind: z.enum(['constant', 'cosine']).default('constant'),
    /** Cosine only; null means 1e-4 there. */
    lrMin: notNegative.nullable().default(null),
  }).prefault({}),
  steps: count.default(7000),
  batch: count.default(512),
  seed: z.int().min(0).default(1337),
  /** Standard deviation of the noise added to training labels. The released code has 0.005, the paper's text 0.001. */
  labelNoise: notNegative.default(0.005),
  /** `shared`: both arms see the same noise. `per-arm`: each draws its own, as in the released code, whose second phase goes on drawing. */
  labelNoiseStream: z.enum(['shared', 'per-arm']).default('shared'),
  /** `philox`: every number is a function of (seed, step, index). `torch`: the streams of torch's CPU generator, for the paper's own numbers. */
  data: z.strictObject({ generator: z.enum(['philox', 'torch']).default('philox') }).prefault({}),
  /** The arm under study. */
  precision: precision.prefault('e4m3/e4m3'),
  /** A second arm from the same start on the same data, for comparison; null trains the studied arm alone. */
  baseline: precision.nullable().prefault('fp32'),
  precisionSchedule,
  validation: z.strictObject({ every: every.default(200), batches: count.default(4), batchSize: count.default(2048) }).prefault({}),
  /** Intervals of what is logged. */
  metrics: z.strictObject({
    loss: every.default(1),
    /** Gradient norms, and the difference of the two arms' gradients. */
    gradient: every.default(10),
    /** Share of values in the last bucket, for weights, gamma, beta, hidden activations, block outputs. */
    overflow: every.default(10),
    activations: every.default(10),
    /** All gamma values, for histograms. */
    gamma: every.default(100),
  }).prefault({}),
  probes: probes.prefault({}),
  checkpoints: checkpoints.prefault({}),
})

/** A resolved configuration: every key present. */
export type StudentTeacherConfig = z.output<typeof studentTeacherSchema>
/** A resolved configuration of either task; docs/runs.md lists the keys. */
export type RunConfig = StudentTeacherConfig | LanguageModelConfig
/** The two runs of a pair. */
export type Arm = 'baseline' | 'studied'

function studentTeacherRules(c: StudentTeacherConfig): Rule[] {
  const { optimizer, schedule, batch, model: { width, activation } } = c
  const hidden = activation === 'swiglu' ? Math.round(8 * width / 3) : 4 * width
  return [
    [optimizer.momentum === 0 || optimizer.name === 'sgd', 'optimizer.momentum', optimizer.momentum, 'needs optimizer.name sgd'],
    [schedule.lrMin === null || schedule.kind === 'cosine', 'schedule.lrMin', schedule.lrMin, 'needs schedule.kind cosine'],
    [schedule.kind === 'constant' || schedule.lrMin! <= optimizer.lr, 'schedule.lrMin', schedule.lrMin, `must not exceed optimizer.lr ${optimizer.lr}`],
    ...commonRules(c, { depth: c.model.depth, dgrad: { 'model.width': width, 'the hidden width': hidden }, wgrad: { batch }, sequences: false }),
  ]
}

function finishStudentTeacher(c: StudentTeacherConfig): void { if (c.schedule.kind === 'cosine') c.schedule.lrMin ??= 1e-4 }

/** Per task: its schema, what fills in defaults that depend on other values, and its rules. */
const tasks = {
  'student-teacher': { schema: studentTeacherSchema, finish: finishStudentTeacher, rules: studentTeacherRules },
  'language-model': { schema: languageModelSchema, finish: finishLanguageModel, rules: languageModelRules },
} as const

/** The task that `raw` names; the student-teacher's schema judges everything else. */
const taskOf = (raw: unknown): { schema: z.ZodType<any>, finish: (c: any) => void, rules: (c: any) => Rule[] } =>
  tasks[isObject(raw) && raw.task === 'language-model' ? 'language-model' : 'student-teacher']

/** Where a key stands, appended to an error: " (run.yaml line 3, column 5)". */
export type Locate = (path: readonly PropertyKey[]) => string

/** Validate `raw` (what YAML or JSON gave) and fill in defaults. Throws UsageError, one line: key, value, rule. */
export function parseConfig(raw: unknown, locate: Locate = () => ''): RunConfig {
  const { schema, finish, rules } = taskOf(raw), parsed = schema.safeParse(raw)
  if (!parsed.success) throw new UsageError(explain(parsed.error.issues[0]!, raw, locate))
  const config: RunConfig = parsed.data
  finish(config)
  for (const [holds, key, value, rule] of rules(config)) {
    if (!holds) throw new UsageError(`config: ${key} = ${JSON.stringify(value)}: ${rule}${locate(key.split('.'))}`)
  }
  return config
}

function explain(issue: z.core.$ZodIssue, raw: unknown, locate: Locate): string {
  const key = issue.path.join('.')
  if (issue.code === 'unrecognized_keys') {
    const path = [...issue.path, issue.keys[0]!]
    return `config: ${path.join('.')}: unknown key, use one of ${keysAt(taskOf(raw).schema, issue.path).join(', ')}${locate(path)}`
  }
  let value: any = raw
  for (const k of issue.path) value = isObject(value) || Array.isArray(value) ? (value as any)[k] : undefined
  const rule = issue.message.replace(/^Invalid (input|option): |^Too (small|big): /, '').replaceAll('"|"', '", "')
  if (issue.path.length === 0 && issue.code === 'invalid_type') return `config: ${rule}`
  return value === undefined ? `config: ${key} is missing: ${rule}${locate(issue.path)}` : `config: ${key} = ${JSON.stringify(value)}: ${rule}${locate(issue.path)}`
}

/** The keys that a schema allows at `path`. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at: any = schema
  for (const key of [undefined, ...path]) {
    if (key !== undefined) at = at.shape?.[key] ?? at.element ?? at.valueType
    while (!at.shape && !at.element && !at.valueType) {
      if (at.in) at = at.in.shape ? at.in : at.out
      else if (at.def?.innerType) at = at.def.innerType
      else break
    }
  }
  const keys = Object.keys(at.shape ?? {})
  return keys.includes('scaleRule') ? ['scheme', ...keys] : keys
}
