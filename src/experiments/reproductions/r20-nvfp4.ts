// R20, the part that needs no training: NVFP4 (E2M1, blocks of 16, E4M3 scales, one f32 scale for the tensor) against MXFP4 (E2M1, blocks of 32, E8M0).
import { barX, ruleX } from '@observablehq/plot'
import { formats } from '../../numerics/formats.ts'
import { blockQuantizer } from '../../numerics/profiles.ts'
import { decode, encode } from '../../oracle/codec.ts'
import { wordOf } from '../../oracle/float.ts'
import { errorStatistics } from '../block-statistics.ts'
import { normalTensor, quantizeTensor } from '../core-tensors.ts'
import { outcome, shows, type Reproduction } from '../reproduction.ts'
import { Random } from '../statistics.ts'

/** Nearest value of a format, halves to even, saturating. */
const nearest = (format: typeof formats.e4m3 | typeof formats.e2m1, x: number) => decode(format, encode(format, wordOf(x), { rounding: 'nearest-even', overflow: 'saturate', nan: 'max' }))

/** NVFP4 as in arXiv 2509.25149, appendix C: tensor scale amax / (448 6), block scale E4M3(block amax / 6 / tensor scale). */
export function nvfp4(x: Float32Array, blockSize = 16): Float32Array {
  const amax = x.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
  const tensorScale = Math.fround(amax / (formats.e4m3.max * formats.e2m1.max)) || 1
  const y = new Float32Array(x.length)
  for (let begin = 0; begin < x.length; begin += blockSize) {
    const block = x.subarray(begin, begin + blockSize)
    const scale = nearest(formats.e4m3, block.reduce((m, v) => Math.max(m, Math.abs(v)), 0) / formats.e2m1.max / tensorScale) * tensorScale
    block.forEach((v, i) => { y[begin + i] = scale === 0 ? 0 : nearest(formats.e2m1, v / scale) * scale })
  }
  return y
}

export const reproduction: Reproduction = {
  name: 'r20-nvfp4',
  title: 'NVFP4 against MXFP4',
  claim: 'NVFP4, with finer scales and smaller blocks, has a smaller quantization error than MXFP4.',
  source: 'arXiv 2509.25149 (Pretraining LLMs with NVFP4), arXiv 2505.19115 (FP4 All the Way)',
  cost: { quick: '2^16 values of three kinds, seconds', full: '2^20 values, a minute' },
  run({ scale, seed, log }) {
    const random = new Random(seed), n = scale === 'quick' ? 2 ** 16 : 2 ** 20
    const tensors: Record<string, Float32Array> = {
      'Gaussian': normalTensor(n, seed),
      'Laplace': Float32Array.from({ length: n }, () => (random.below(2) ? 1 : -1) * Math.log(1 - random.uniform())),
      'Gaussian, 9 binades': normalTensor(n, seed, 1).map((v, i) => v * 2 ** -(Math.floor(i / 256) % 9)),
    }
    const methods: Record<string, (x: Float32Array) => Float32Array> = {
      'MXFP4, floor': x => quantizeTensor(x, blockQuantizer('ocp', 'e2m1')),
      'MXFP4, rceil': x => quantizeTensor(x, blockQuantizer('ocp', 'e2m1', { scaleRule: 'rceil' })),
      'MXFP4 with blocks of 16': x => quantizeTensor(x, blockQuantizer('ocp', 'e2m1', { blockSize: 16 })),
      'NVFP4 with blocks of 32': x => nvfp4(x, 32),
      'NVFP4': x => nvfp4(x),
    }
    const rows = Object.entries(tensors).flatMap(([tensor, x]) => Object.entries(methods).map(([method, f]) => ({ tensor, method, ...errorStatistics(x, f(x)) })))
    log(`${rows.length} tensors quantized`)
    const error = (tensor: string, method: string) => rows.find(r => r.tensor === tensor && r.method === method)!.relativeError
    return outcome([
      ...Object.keys(tensors).map(t => shows(`${t}: relative error of NVFP4 and of MXFP4`, 'NVFP4 smaller', `${error(t, 'NVFP4').toFixed(4)} against ${error(t, 'MXFP4, floor').toFixed(4)}`, error(t, 'NVFP4') < Math.min(error(t, 'MXFP4, floor'), error(t, 'MXFP4, rceil')))),
    ], `Of the two differences the finer scale does the work: on the Gaussian, E4M3 scales with blocks of 32 give ${error('Gaussian', 'NVFP4 with blocks of 32').toFixed(4)}, E8M0 scales with blocks of 16 give ${error('Gaussian', 'MXFP4 with blocks of 16').toFixed(4)}, against ${error('Gaussian', 'MXFP4, floor').toFixed(4)} for MXFP4: smaller blocks alone do not help there. Tensor error alone; what it means for a loss is a question for the trainer.`, [{
      name: 'r20-nvfp4', title: 'Relative error of 4-bit formats', caption: 'Root mean square error over root mean square.',
      plot: { height: 330, marginLeft: 160, x: { label: 'relative error (%)', percent: true, grid: true }, y: { label: null, domain: Object.keys(methods) }, fy: { label: null, domain: Object.keys(tensors) }, marginRight: 200, marks: [barX(rows, { fy: 'tensor', y: 'method', x: 'relativeError', fill: d => d.method === 'NVFP4' ? 'var(--studied)' : 'var(--baseline)' }), ruleX([0])] },
      data: rows,
    }])
  },
}
