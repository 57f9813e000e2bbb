// How text files become documents, and token files tokens: the choices, apart from the code that reads files, because configurations state them anywhere.
import type { DocumentOptions } from './documents.ts'

/** Integer types of raw token files. */
export const tokenTypes = ['uint16', 'uint32'] as const
export type TokenType = typeof tokenTypes[number]

export interface CorpusOptions extends DocumentOptions {
  /** Integer type of raw token files. */
  tokenType: TokenType
}

export const corpusDefaults: CorpusOptions = { textField: 'text', documentBytes: 8192, tokenType: 'uint16' }
