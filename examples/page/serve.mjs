// Bundles the page's worker and serves the page. node serve.mjs [PORT]
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join } from 'node:path'
import { rolldown } from 'rolldown'

const types = { '.html': 'text/html', '.js': 'text/javascript' }

/** Serve the page on `port` (0: any); resolves to the server. */
export async function serve(port = 0) {
  const here = import.meta.dirname ?? new URL('.', import.meta.url).pathname
  const build = await rolldown({ input: join(here, 'train.js'), platform: 'browser', logLevel: 'silent' })
  const { output: [{ code }] } = await build.generate({ format: 'esm' })
  await build.close()
  const server = createServer(({ url }, response) => {
    const name = { '/': 'index.html', '/page.js': 'page.js', '/settings.js': 'settings.js', '/train.js': 'train.js' }[url]
    if (!name) { response.writeHead(404).end(); return }
    response.writeHead(200, { 'content-type': types[extname(name)] }).end(name === 'train.js' ? code : readFileSync(join(here, name)))
  })
  await new Promise(resolve => server.listen(port, 'localhost', resolve))
  return server
}

if (process.argv[1]?.endsWith('serve.mjs')) console.log(`http://localhost:${(await serve(Number(process.argv[2] ?? 8080))).address().port}/`)
