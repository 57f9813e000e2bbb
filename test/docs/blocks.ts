// Documentation as tests: the fenced blocks of a Markdown file are run in order, in one empty folder in which the package is installed.
//   sh     run by bash; `blockscale` and `npx blockscale` are the command line, `npm` only checks that the script exists
//   js     run as a module
//   text   what the block before it prints
//   yaml   a configuration that is read; written to the file that its first line names (# name.yaml)
//   ts     a declaration: api.md, which api.test.ts compares with the source
// Blocks without a language are not run.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { loadConfig } from '../../src/train/config-file.ts'
import { parseSweep } from '../../src/experiments/sweep.ts'

interface Block { readonly language: string, readonly line: number, readonly text: string }

/** The fenced blocks of a Markdown text. */
export function fencedBlocks(markdown: string): Block[] {
  const blocks: Block[] = [], lines = markdown.split('\n')
  for (let i = 0; i < lines.length; i++) {
    const fence = /^```(\w*)$/.exec(lines[i]!)
    if (!fence) continue
    const end = lines.indexOf('```', i + 1)
    if (end < 0) throw new Error(`line ${i + 1}: a fenced block does not end`)
    blocks.push({ language: fence[1]!, line: i + 1, text: `${lines.slice(i + 1, end).join('\n')}\n` })
    i = end
  }
  return blocks
}

const main = resolve('dist/cli/main.js')
const prelude = `set -e
blockscale() { "${process.execPath}" "${main}" "$@"; }
npx() { [ "$1" = blockscale ] && shift && blockscale "$@"; }
npm() { case "$1" in ci) ;; run) grep -q "\\"$2\\":" "${resolve('package.json')}" ;; *) grep -q "\\"$1\\":" "${resolve('package.json')}" ;; esac; }
`

/** A test for each block of `file`. */
export function testDocument(file: string): void {
  const folder = mkdtempSync(join(tmpdir(), 'blockscale-docs-'))
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(process.cwd(), join(folder, 'node_modules', 'blockscale'))
  const execute = (command: string, args: string[]) => {
    const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, encoding: 'utf8' })
    expect(status, stderr).toBe(0)
    return stdout
  }
  let printed: string | null = null
  const run: Record<string, (text: string) => void> = {
    sh: text => { printed = execute('bash', ['-c', prelude + text]) },
    js: text => {
      writeFileSync(join(folder, 'sample.mjs'), text)
      printed = execute(process.execPath, ['sample.mjs'])
    },
    text: text => { expect(printed).toBe(text) },
    yaml: text => {
      const name = /^# (\S+\.yaml)$/m.exec(text)?.[1]
      if (!name) throw new Error('the first line of a yaml block names its file: # name.yaml')
      writeFileSync(join(folder, name), text)
      if (/^(grid|seeds|entries|sweep):/m.test(text)) expect(parseSweep(text, name).points.length).toBeGreaterThan(0)
      else loadConfig(join(folder, name))
    },
  }
  for (const { language, line, text } of fencedBlocks(readFileSync(file, 'utf8'))) {
    if (language === '' || language === 'ts') continue
    test(`${file} line ${line}: ${language}`, () => {
      expect(Object.keys(run)).toContain(language)
      run[language]!(text)
    }, 600_000) // some blocks train three runs, and the machine may have other work
  }
}
