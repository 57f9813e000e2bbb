// Asks for the 256-bit mode, self-test included, before a test file compiles the core.
import { enableWide } from '../src/runtime/wide.ts'

enableWide({ cache: null })
