// Asks for the 256-bit mode before a test file compiles the core.
import { enableWide } from '../src/runtime/wide.ts'

enableWide()
