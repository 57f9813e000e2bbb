// Metrics as named columns, for trackers: TensorBoard, CSV, Parquet. Where the released code of arXiv 2506.20752 logs the same quantity to wandb, the
// column has its name there (student_teacher.py): `mx` is the studied arm, `fp32` the baseline. The rest follows the same pattern.
import type { Arm } from './config.ts'
import type { Comparison, MetricsRow } from './types.ts'

/** Scalars of one row of metrics.jsonl by column name; NaN for a value that was not finite. */
export function scalars(row: MetricsRow): Record<string, number> {
  const columns: Record<string, number> = {}
  const set = (name: string, value: number | null | undefined) => { if (value !== undefined) columns[name] = value ?? NaN }
  switch (row.kind) {
    case 'step':
      set(`train/loss_${suffix(row.arm)}`, row.loss)
      set(row.arm === 'studied' ? 'lr' : 'lr_fp32', row.lr)
      break
    case 'validation':
      set(`val/loss_${suffix(row.arm)}`, row.loss)
      break
    case 'gradient':
      set(`grad/norm_${suffix(row.arm)}`, row.norm)
      for (const [group, norm] of Object.entries(row.groups)) set(`grad/norm_${suffix(row.arm)}_${group}`, norm)
      break
    case 'trajectory':
      set('eps/mean', row.meanDifference)
      set('eps/norm_upper_bound', row.upperBound)
      set('eps/relative_error', row.relativeError)
      set('stab/cos', row.cosine)
      set('stab/zeta_norm', row.zeta)
      set('stab/rhs_2_over_sigma2', row.zeta === null ? null : 2 / (row.zeta + 1e-12))
      break
    case 'probe':
      for (const key of ['relativeError', 'cosine', 'zeta', 'meanDifference'] as const satisfies (keyof Comparison)[]) set(`probe/${row.probe}/${key}`, row[key])
      break
    case 'overflow':
      for (const [tensor, share] of Object.entries(row.tensors)) set(overflowColumn(row.arm, tensor), share)
      set(`clipW/${prefix(row.arm)}total_frac`, row.totals.weights)
      set(`clipW/${prefix(row.arm)}total_frac_gamma`, row.totals.gamma)
      set(`clipW/${prefix(row.arm)}total_frac_beta`, row.totals.beta)
      set(`ClipAct/${prefix(row.arm)}total_frac_hidden_all_layers`, row.totals.hidden)
      set(`ClipAct/${row.arm === 'baseline' ? 'fp32_total_frac_output' : 'total_frac_layer'}_all_layers`, row.totals.outputs)
      break
    case 'moments':
      for (const [tensor, { mean, variance }] of Object.entries(row.tensors)) {
        const [meanColumn, varianceColumn] = momentColumns(row.arm, tensor)
        set(meanColumn, mean)
        set(varianceColumn, variance)
      }
      break
    case 'gamma':
    case 'event':
  }
  return columns
}

const suffix = (arm: Arm) => arm === 'studied' ? 'mx' : 'fp32'
const prefix = (arm: Arm) => arm === 'studied' ? '' : 'fp32_'

/** `layers.2.ln.gamma` is `clipW/ln2_gamma_clipped_frac`, `layers.2.hidden` is `ClipAct/blk2_hidden_clipped_frac`, a weight keeps its name. */
function overflowColumn(arm: Arm, tensor: string): string {
  const [, layer, part] = /^layers\.(\d+)\.(.*)$/.exec(tensor) ?? []
  if (part === 'ln.gamma' || part === 'ln.beta') return `clipW/${prefix(arm)}ln${layer}_${part.slice(3)}_clipped_frac`
  if (part === 'hidden' || part === 'output') return `ClipAct/${prefix(arm)}blk${layer}_${part}_clipped_frac`
  return `clipW/${prefix(arm)}${tensor}`
}

function momentColumns(arm: Arm, tensor: string): [mean: string, variance: string] {
  const [, layer, part] = /^layers\.(\d+)\.(.*)$/.exec(tensor) ?? []
  const end = arm === 'studied' ? '' : '_fp32'
  if (part === 'hidden') return [`act/mean_hid${layer}${end}`, `act/var_hid${layer}${end}`]
  if (part === 'ln.output') return [`act/mean_layer${layer}_input_after_ln${end}`, `act/var_layer${layer}_input_after_ln${end}`]
  if (part === 'ln.gamma' || part === 'ln.beta') return [`act/${prefix(arm)}ln${layer}_${part.slice(3)}_mean`, `act/${prefix(arm)}ln${layer}_${part.slice(3)}_var`]
  return [`act/${prefix(arm)}${tensor}_mean`, `act/${prefix(arm)}${tensor}_var`]
}
