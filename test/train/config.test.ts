import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { describeScheme, namedScheme, schemes } from '../../src/numerics/scheme.ts'
import { parseConfig } from '../../src/train/config.ts'
import { canonicalJson, configHash, loadConfig, overrideConfig, presets } from '../../src/train/config-file.ts'

const file = (text: string, name = 'run.yaml') => {
  const path = join(mkdtempSync(join(tmpdir(), 'blockscale-config-')), name)
  writeFileSync(path, text)
  return path
}
/** The message, after checking that it is one line of a UsageError. */
const refusal = (f: () => unknown): string => {
  try { f() } catch (error) {
    expect((error as Error).name).toBe('UsageError')
    expect((error as Error).message).not.toContain('\n')
    return (error as Error).message
  }
  throw new Error('nothing was refused')
}

describe('presets', () => {
  test('every preset resolves, describes itself and survives a round trip through JSON with the same hash', () => {
    const names = Object.keys(presets())
    expect(names).toEqual(expect.arrayContaining(['quick', 'paper', 'paper-code', 'tiny']))
    for (const name of names) {
      expect(presets()[name]!.length).toBeGreaterThan(20)
      const config = loadConfig(name)
      expect(configHash(parseConfig(JSON.parse(JSON.stringify(config))))).toBe(configHash(config))
    }
    expect(new Set(names.map(n => configHash(loadConfig(n)))).size).toBe(names.length)
  })

  test('quick is the run of two minutes', () => {
    const c = loadConfig('quick')
    expect(c).toMatchObject({ model: { depth: 4, width: 128, activation: 'gelu', layerNorm: true }, batch: 256, steps: 1000, labelNoise: 1e-3, seed: 1337 })
    expect(c.optimizer).toEqual({ name: 'adam', lr: 2e-3, betas: [0.9, 0.999], eps: 1e-8, momentum: 0 })
    expect(c.precision).toEqual(schemes['e4m3/e4m3'])
    expect(c.baseline).toEqual(schemes.fp32)
    expect(Object.values(c.probes.schemes).map(s => s.layerNorm)).toEqual(['fp32', 'bf16', 'mx'])
  })

  test('extends: paper-code changes what it names and keeps the rest of paper', () => {
    const c = loadConfig('paper-code')
    expect(c).toMatchObject({ batch: 2048, steps: 9000, seed: 1337, data: { generator: 'torch' }, labelNoise: 0.005 })
    expect(c.precision).toEqual(schemes['paper-code'])
  })
})

describe('overrides', () => {
  test('last one wins; values are YAML; a scheme by name can be changed in place', () => {
    const c = loadConfig('quick', ['steps=200', 'steps=300', 'optimizer.betas=[0.8, 0.99]', 'precision.layerNorm=mx', 'baseline=null', 'probes.weights=studied'])
    expect(c.steps).toBe(300)
    expect(c.optimizer.betas).toEqual([0.8, 0.99])
    expect(c.precision).toEqual({ ...schemes['e4m3/e4m3'], layerNorm: 'mx' })
    expect(c.baseline).toBeNull()
  })

  test('work where the file leaves precision to its default', () => {
    expect(loadConfig(file('steps: 5'), ['precision.forward.weight=e2m3']).precision.forward).toEqual({ activation: 'e4m3', weight: 'e2m3' })
  })

  test('of a resolved configuration: by key, or a named scheme in place of all of it', () => {
    const c = loadConfig('tiny')
    expect(overrideConfig(c, ['precision.layerNorm=fp32']).precision).toEqual({ ...schemes['e4m3/e4m3'], layerNorm: 'fp32' })
    expect(overrideConfig(c, ['precision=mxfp8-rceil']).precision).toEqual(schemes['mxfp8-rceil'])
    expect(configHash(overrideConfig(c, []))).toBe(configHash(c))
  })

  test('forward-only: an fp32 backward has one spelling', () => {
    const c = loadConfig('quick', ['precision.backward=fp32'])
    expect(c.precision).toEqual(schemes['e4m3/e4m3/forward-only'])
    expect(describeScheme(c.precision)).toBe('e4m3/e4m3/forward-only')
  })
})

describe('refusals name key, value and rule in one line', () => {
  const cases: [string, string[], RegExp][] = [
    ['', ['optimizer.lrr=1'], /^config: optimizer\.lrr: unknown key, use one of name, lr, betas, eps, momentum/],
    ['', ['stepss=1'], /^config: stepss: unknown key, use one of task, model/],
    ['', ['precision.blocksize=16'], /precision\.blocksize: unknown key, use one of scheme, forward.*blockSize/],
    ['', ['steps=fast'], /^config: steps = "fast": expected number, received string/],
    ['', ['steps=1.5'], /steps = 1.5: expected int/],
    ['', ['steps=0'], /steps = 0: expected number to be >=1/],
    ['', ['optimizer.lr=-1'], /optimizer\.lr = -1: expected number to be >0/],
    ['', ['optimizer.lr=.nan'], /optimizer\.lr/],
    ['', ['model.activation=tanh'], /model\.activation = "tanh": expected one of "gelu", "relu", "swiglu", "linear"/],
    ['', ['precision=e4m4'], /precision = "e4m4": unknown precision scheme, use one of fp32, bf16, e4m3\/e4m3/],
    ['', ['precision.scheme=nope'], /precision\.scheme = "nope": unknown precision scheme/],
    ['', ['precision.forward.weight=e9m9'], /precision\.forward\.weight = "e9m9": expected one of "e4m3"/],
    ['', ['model.depth=2000000'], /model\.depth = 2000000: expected number to be <=1024/],
    ['', ['precision.scaleBits=16'], /precision\.scaleBits = 16: expected number to be <=8/],
    ['', ['precision=mxfp4-backward', 'model.width=33'], /precision\.hadamard = "backward": needs model\.width 33 to be a multiple of precision\.blockSize 32/],
    ['', ['precision.hadamard=wgrad', 'batch=40'], /precision\.hadamard = "wgrad": needs batch 40 to be a multiple of precision\.blockSize 32/],
    ['', ['precision=mxfp4-backward', 'model.activation=swiglu'], /precision\.hadamard = "backward": needs the hidden width 1365 to be a multiple/],
    ['', ['precision.accumulator=blackwel'], /precision\.accumulator = "blackwel": forward: unknown accumulator "blackwel": use one of f32, exact, block-exact, volta/],
    ['', ['precision.accumulator=cdna4'], /precision\.accumulator = "cdna4": forward: MMA model "cdna4" is not offered: the accumulation of MI350/],
    ['', ['precision.accumulator=hopper-fp8'], /precision\.accumulator = "hopper-fp8": forward: takes e4m3, e5m2 without block scales, which no scheme has/],
    ['', ['precision=int8/int8', 'precision.accumulator=blackwell-mxf8f6f4'], /forward: does not take int8: use one of e4m3/],
    ['', ['precision.blockSize=16', 'precision.accumulator=blackwell-mxf8f6f4'], /forward: does not take scales e8m0\/16: use one of e8m0\/32/],
    ['', ['precision=fp32', 'precision.accumulator=blackwell'], /precision\.accumulator = "blackwell": takes none of the products/],
    ['', ['precision.accumulator=block-exact'], /forward: does not take e4m3: only e2m1, e2m3, e3m2 and integers/],
    ['', ['precision=nvfp4', 'precision.blockSize=32'], /precision\.blockSize = 32: must be 16 with precision\.scaling nvfp4/],
    ['', ['precision=nvfp4', 'precision.forward.weight=e4m3'], /precision\.scaling = "nvfp4": needs e2m1 \(or bf16, or null\) for every operand, found e4m3/],
    ['', ['precision=nvfp4', 'precision.rounding=toward-zero'], /precision\.scaling = "nvfp4": rounds nearest-even or stochastic, found toward-zero/],
    ['', ['precision=nvfp4', 'precision.highFirst=8'], /precision\.highLast = 1: highFirst and highLast must not exceed depth 8 together/],
    ['', ['precision=nvfp4', 'precision.layerNorm=mx'], /precision\.layerNorm = "mx": needs precision\.scaling mx and a rounding that is not stochastic/],
    ['', ['precision.rounding=stochastic', 'precision.layerNorm=mx'], /precision\.layerNorm = "mx": needs precision\.scaling mx/],
    ['', ['precision=nvfp4', 'batch=40'], /precision\.hadamard = "wgrad": needs batch 40 to be a multiple of precision\.blockSize 16/],
    ['', ['optimizer.momentum=0.9'], /optimizer\.momentum = 0.9: needs optimizer\.name sgd/],
    ['', ['schedule.lrMin=1e-5'], /schedule\.lrMin = 0.00001: needs schedule\.kind cosine/],
    ['', ['schedule.kind=cosine', 'schedule.lrMin=1'], /schedule\.lrMin = 1: must not exceed optimizer\.lr 0.001/],
    ['', ['precision=fp32', 'precision.layerNorm=mx'], /precision\.layerNorm = "mx": needs a block format in precision\.forward\.weight, which is null/],
    ['', ['precision=mxfp8-rceil', 'precision.bump=intended'], /precision\.bump = "intended": needs precision\.scaleRule floor, which is rceil/],
    ['', ['precision=e5m2/e5m2', 'precision.bump=as-released'], /precision\.bump = "as-released": needs e4m3 for every operand.*e5m2/],
    ['', ['precisionSchedule=[{step: 9, precision: fp32}, {step: 3, precision: fp32}]'], /precisionSchedule = \[9,3\]: steps must rise/],
    ['', ['probes.every=5'], /probes\.every = 5: needs at least one entry/],
    ['', ['checkpoints.window={center: 9999}'], /checkpoints\.window\.center = 9999: must not exceed steps 7000/],
    ['', ['steps'], /^--set steps: must have the form key=value/],
    ['', ['__proto__.x=1'], /^--set __proto__\.x=1: must have the form/],
    ['', ['steps=[1'], /^--set steps=\[1: /],
    ['- 1\n- 2\n', [], /run\.yaml: a configuration is a mapping/],
    ['extends: 5\n', [], /run\.yaml: extends = 5: must be the name/],
    ['extends: nope\n', [], /unknown preset "nope": use one of .*quick/],
    ['# all of it a comment\n', [], /run\.yaml is empty: a configuration is a mapping of keys to values/],
    ['extends: ./run.yaml\n', [], /run\.yaml: extends itself \(run\.yaml > run\.yaml\)/],
    ['precision: { forward: { weight: e4m3 } }\n', [], /precision\.forward\.activation is missing/],
  ]
  test.each(cases)('%j %j', (yaml, overrides, message) => {
    expect(refusal(() => loadConfig(file(yaml || '{}'), overrides))).toMatch(message)
  })

  test('a key of a file is located by line and column, an override is not', () => {
    const path = file('steps: 10\noptimizer:\n  lr: fast\n')
    expect(refusal(() => loadConfig(path))).toBe('config: optimizer.lr = "fast": expected number, received string (run.yaml line 3, column 7)')
    expect(refusal(() => loadConfig(path, ['optimizer.lr=slow']))).toBe('config: optimizer.lr = "slow": expected number, received string (from --set)')
  })

  test('malformed YAML: line and column', () => {
    expect(refusal(() => loadConfig(file('steps: 10\nmodel: {depth: 4\nbatch: 3\n')))).toMatch(/^run\.yaml line \d+, column \d+: /)
    expect(refusal(() => loadConfig(file('steps: 1\nsteps: 2\n')))).toMatch(/^run\.yaml line 2, column 1: .*unique/)
  })

  test('unknown preset and missing file', () => {
    expect(refusal(() => loadConfig('quack'))).toMatch(/unknown preset "quack": use one of .*paper.*quick/)
    expect(refusal(() => loadConfig('./no.yaml'))).toBe('config file ./no.yaml does not exist')
  })
})

describe('schemes', () => {
  test('names follow the paper: weights / activations, gradients as activations', () => {
    expect(namedScheme('e5m2/e4m3')).toMatchObject({ forward: { weight: 'e5m2', activation: 'e4m3' }, dgrad: { gradient: 'e4m3', weight: 'e5m2' }, wgrad: { gradient: 'e4m3', activation: 'e4m3' } })
    expect(refusal(() => namedScheme('e5m2/e4m2'))).toMatch(/unknown precision scheme "e5m2\/e4m2": use one of/)
  })

  test('every scheme is distinct, normal and named by itself', () => {
    for (const [name, scheme] of Object.entries(schemes)) {
      expect(describeScheme(scheme)).toBe(name)
      expect(loadConfig('tiny', [`precision=${name}`]).precision).toEqual(scheme)
    }
  })

  test('an unnamed scheme is described by its nearest name and the differences', () => {
    expect(describeScheme({ ...schemes['mxfp8-rceil']!, blockSize: 16 })).toBe('mxfp8-rceil blockSize=16')
  })
})

test('canonical JSON: key order does not matter, array order does', () => {
  expect(canonicalJson({ b: [2, 1], a: { d: null, c: 'x' } })).toBe('{"a":{"c":"x","d":null},"b":[2,1]}')
})

test('presets carry a first line of comment', () => {
  expect(readFileSync('configs/quick.yaml', 'utf8')).toMatch(/^# /)
})
