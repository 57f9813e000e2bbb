// Kernel and oracle on 10^7 generated results a model: every other model here, the others in mma-odd.test.ts, so that two processors share them.
import { tenMillion } from '../mma-agree.ts'

tenMillion(0)
