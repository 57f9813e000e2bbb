// The other half of mma.test.ts.
import { tenMillion } from '../mma-agree.ts'

tenMillion(1)
