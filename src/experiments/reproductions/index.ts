// Every reproduction by name, in the order in which `reproduce all` runs them.
import type { Reproduction } from '../reproduction.ts'
import { reproduction as codeGeometry } from './r01-code-geometry.ts'
import { reproduction as clamping } from './r02-clamping.ts'
import { reproduction as activationOverflow } from './r03-activation-overflow.ts'
import { reproduction as layerNormClustering } from './r04-layer-norm-clustering.ts'
import { reproduction as layerNormBias } from './r05-layer-norm-bias.ts'
import { reproduction as gradientTrajectories } from './r06-gradient-trajectories.ts'
import { reproduction as geluDivergence } from './r07-gelu-divergence.ts'
import { reproduction as activations } from './r08-activations.ts'
import { reproduction as noLayerNorm } from './r09-no-layer-norm.ts'
import { reproduction as phaseDiagram } from './r10-phase-diagram.ts'
import { reproduction as interventions } from './r11-interventions.ts'
import { reproduction as languageModel } from './r12-language-model.ts'
import { reproduction as blockSize } from './r13-block-size.ts'
import { reproduction as languageModelDrift } from './r14-language-model-drift.ts'
import { reproduction as scalingLaw } from './r15-scaling-law.ts'
import { reproduction as spikeOnset } from './r16-spike-onset.ts'
import { reproduction as scaleRounding } from './r17-scale-rounding.ts'
import { reproduction as exponentBump } from './r18-exponent-bump.ts'
import { reproduction as stochasticRounding } from './r19-stochastic-rounding.ts'
import { reproduction as nvfp4 } from './r20-nvfp4.ts'
import { reproduction as sqrt3Rule } from './r21-sqrt3-rule.ts'
import { reproduction as bumpInTraining } from './bump-in-training.ts'
import { reproduction as fp4Gradients } from './fp4-gradients.ts'
import { reproduction as overflowOrLayerNorm } from './overflow-or-layer-norm.ts'
import { reproduction as precisionSchedule } from './precision-schedule.ts'
import { reproduction as scaleRuleInTraining } from './scale-rule-in-training.ts'
import { reproduction as dimensionFree } from './dimension-free-sgd.ts'
import { reproduction as sketchedRegression } from './sketched-regression.ts'

export const reproductions: readonly Reproduction[] = [
  codeGeometry, clamping, activationOverflow, layerNormClustering, layerNormBias, gradientTrajectories, geluDivergence,
  activations, noLayerNorm, phaseDiagram, interventions, languageModel, blockSize, languageModelDrift, scalingLaw, spikeOnset, scaleRounding, exponentBump, stochasticRounding, nvfp4, sqrt3Rule,
  overflowOrLayerNorm, bumpInTraining, scaleRuleInTraining, fp4Gradients, sketchedRegression, dimensionFree, precisionSchedule,
]
