/**
 * The page at `/`: its own files as they stand in engine/gateway/page/, and what it draws with from node_modules. All of
 * it is read once into memory and looked up by name, so no request names a path.
 *
 * Arithmetic: some 500 kB of text, 150 kB compressed; a browser asks for about 30 files, once: later it gets 304.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Fault } from '../../base/fault.ts'
import type { App } from '../app.ts'
import { shown } from '../errors.ts'
import { HttpFault } from '../http-fault.ts'

interface PageFile {
  readonly type: string
  readonly tag: string
  readonly bytes: Buffer
  /** undefined where it would not get smaller */
  readonly gzip: Buffer | undefined
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.woff2': 'font/woff2',
}

/** Name on the page → file of a package. */
const VENDOR: Readonly<Record<string, string>> = {
  'vendor/uplot.js': 'uplot/dist/uPlot.esm.js',
  'vendor/uplot.css': 'uplot/dist/uPlot.min.css',
  'vendor/lightweight-charts.js': 'lightweight-charts/dist/lightweight-charts.standalone.production.mjs',
  'vendor/inter.woff2': '@fontsource-variable/inter/files/inter-latin-wght-normal.woff2',
}

/** Whose work the page shows, with their licences, as these ask for. */
const LICENCES = ['uplot/LICENSE', 'lightweight-charts/LICENSE', '@fontsource-variable/inter/LICENSE'] as const

/**
 * Scripts, styles and fonts of this server only, none of them inside the document. `data:` is for the images that CSS
 * itself holds; the page connects to nothing but its own server ('self' covers ws: of the same host, too).
 */
const CONTENT_SECURITY_POLICY = [
  `default-src 'none'`,
  `script-src 'self'`,
  `style-src 'self'`,
  `font-src 'self'`,
  `img-src 'self' data:`,
  `connect-src 'self'`,
  `base-uri 'none'`,
  `form-action 'none'`,
  `frame-ancestors 'none'`,
].join('; ')

export function addPageRoutes(app: App): void {
  const files = readFiles()
  const send = (name: string, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const file = files.get(name)
    if (file === undefined) throw new HttpFault(404, 'not_found', `the page has no file ${shown(name)}: it begins at /`)
    return answer(file, request, reply)
  }
  app.get('/', { config: { scope: 'public' }, schema: { hide: true } }, (request, reply) =>
    send('index.html', request, reply),
  )
  app.get<{ Params: { '*': string } }>(
    '/page/*',
    { config: { scope: 'public' }, schema: { hide: true } },
    (request, reply) => send(request.params['*'], request, reply),
  )
}

function answer(file: PageFile, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  reply
    .header('content-security-policy', CONTENT_SECURITY_POLICY)
    .header('x-content-type-options', 'nosniff')
    .header('referrer-policy', 'no-referrer')
    .header('cache-control', 'no-cache') // may be kept, has to be asked about: a new version is never half of an old one
    .header('vary', 'accept-encoding')
    .header('etag', file.tag)
    .type(file.type)
  if (request.headers['if-none-match'] === file.tag) return reply.code(304).send()
  if (file.gzip === undefined || !/\bgzip\b/.test(request.headers['accept-encoding'] ?? ''))
    return reply.send(file.bytes)
  return reply.header('content-encoding', 'gzip').send(file.gzip)
}

function readFiles(): ReadonlyMap<string, PageFile> {
  const folder = pageFolder(dirname(fileURLToPath(import.meta.url)))
  const { resolve } = createRequire(import.meta.url)
  const files = new Map<string, PageFile>()
  for (const name of readdirSync(folder))
    if (extname(name) in TYPES) files.set(name, fileOf(name, readFileSync(join(folder, name))))
  for (const [name, path] of Object.entries(VENDOR))
    files.set(name, fileOf(name, readFileSync(packageFile(resolve, path))))
  const licences = LICENCES.map((path) => `${path}\n\n${readFileSync(packageFile(resolve, path), 'utf8')}`)
  files.set('licences.txt', fileOf('licences.txt', Buffer.from(licences.join('\n\n\n'))))
  return files
}

function fileOf(name: string, bytes: Buffer): PageFile {
  const gzip = gzipSync(bytes)
  return {
    type: TYPES[extname(name)] ?? 'application/octet-stream',
    tag: `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`,
    bytes,
    gzip: gzip.length < bytes.length ? gzip : undefined,
  }
}

/** The sources stand beside package.json, whether this runs as engine/… or as dist/engine/…: nothing copies them. */
function pageFolder(from: string): string {
  const folder = join(from, 'engine/gateway/page')
  if (existsSync(join(from, 'package.json')) && existsSync(join(folder, 'index.html'))) return folder
  if (dirname(from) === from)
    throw new Fault('NO_PAGE', 'engine/gateway/page/index.html is not beside package.json: install marketprism again')
  return pageFolder(dirname(from))
}

/** Packages hide files behind their "exports"; their package.json (or, where that is hidden, an entry) shows the folder. */
function packageFile(resolve: NodeJS.RequireResolve, path: string): string {
  const parts = path.split('/')
  const name = parts.slice(0, path.startsWith('@') ? 2 : 1).join('/')
  return join(dirname(resolve(`${name}/package.json`)), path.slice(name.length + 1))
}
