// The entry for checking one's own results, on any executor, in any runtime: which bits differ, what made them, and test vectors of matrix units. What the command
// line's compare, identify and vectors do, without files.
export { compare, type CompareOptions, type Comparison, type Kind, type Mismatch } from './conformance/compare.ts'
export { identifyProduct, type ProductCandidate, type ProductCounterexample, type ProductDump, type ProductFindings, type ProductIdentifyOptions, type ProductVerdict } from './conformance/identify-product.ts'
export { identifyQuantizer, type IdentifyOptions, type QuantizerFindings } from './conformance/identify-quantizer.ts'
export type { ProductOperand } from './conformance/product-forms.ts'
export type { ProductDistance } from './conformance/product-hints.ts'
export type { Counterexample, QuantizerCandidate, QuantizerDump, QuantizerOutput, QuantizerVerdict } from './conformance/quantizer-check.ts'
export { makeVectors, vectorsJson, vectorsTensors, type Vector, type VectorOptions } from './conformance/vectors.ts'
export { formatNpy, parseNpy } from './io/npy.ts'
