import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rm, stat } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import http from 'node:http'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import zlib from 'node:zlib'
import { type Chdb, quoted } from './chdb.ts'
import { answerException, contentType, exception, headersOf, summary } from './http-answer.ts'
import { inflated, isFromElsewhere, type Request, readRequest } from './http-request.ts'
import { type PlainStatement, type RowsStatement, scanStatement, StatementError } from './statement.ts'

/**
 * ClickHouse's HTTP interface over chDB, as far as @clickhouse/client, curl and the documentation's examples use it:
 * query in URL or body, rows behind an INSERT, settings and parameters in the URL, compression both ways, summaries,
 * exception codes. Loopback only and without users, like a fresh ClickHouse; pages in a browser are refused.
 *
 * The rows of an INSERT go to a file first and the engine reads that (`FROM INFILE`): bytes of any kind are safe there,
 * inline they are not (see statement.ts). A body that breaks off never reaches the engine.
 */
export interface HttpInterfaceOptions {
  readonly engine: Chdb
  /** Where the rows of inserts wait to be read. */
  readonly incomingDirectory: string
  /** Bound of a SQL text (rows behind it not counted, they are not held in memory when the head is in the URL). */
  readonly textBytesMax: number
}

export interface HttpInterface {
  readonly server: http.Server
  /** Requests under way. */
  inFlight(): number
  /** From now on requests on open connections are cut off unread, so that the client repeats them elsewhere or later. */
  refuse(): void
}

/** Formats without header or footer: their chunks can be sent as they come. */
const STREAMABLE =
  /^(JSONEachRow|JSONCompactEachRow|JSONStringsEachRow|JSONCompactStringsEachRow|TSV|TabSeparated|TSVRaw|TabSeparatedRaw|CSV|RowBinary|Native|MsgPack|LineAsString|Null)$/i

export function createHttpInterface(options: HttpInterfaceOptions): HttpInterface {
  const { engine } = options
  let inFlight = 0
  let isRefusing = false

  const server = http.createServer({ keepAliveTimeout: 10_000, requestTimeout: 0 }, (req, res) => {
    if (isRefusing) {
      req.destroy()
      return
    }
    inFlight++
    let id = ''
    answer(req, res, (text) => {
      id = text
    })
      .catch((error: unknown) => answerException(res, engine, id, error))
      .finally(() => inFlight--)
  })

  async function answer(req: IncomingMessage, res: ServerResponse, named: (id: string) => void): Promise<void> {
    const url = new URL(req.url ?? '/', 'http://localhost')
    if (isFromElsewhere(req)) {
      res.writeHead(403)
      res.end('This ClickHouse answers programs on this machine only, no web pages\n')
      return
    }
    if (
      url.pathname === '/ping' ||
      url.pathname === '/replicas_status' ||
      (url.pathname === '/' && req.method === 'GET' && !url.searchParams.has('query'))
    ) {
      res.end('Ok.\n')
      return
    }
    if (url.pathname !== '/') {
      res.writeHead(404)
      res.end(`There is no handle ${url.pathname}\n`)
      return
    }
    const request = readRequest(req, url)
    named(request.id)
    const file = path.join(options.incomingDirectory, randomUUID())
    try {
      const found = await receive(req, request, file)
      if (found.statement.kind === 'rows') await insert(res, request, found.statement, found.text, file)
      else await query(res, request, found.statement, found.text)
    } finally {
      await rm(file, { force: true })
    }
  }

  /** Takes the body: rows of an INSERT into `file`, SQL into memory. */
  async function receive(
    req: IncomingMessage,
    request: Request,
    file: string,
  ): Promise<{ statement: RowsStatement | PlainStatement; text: string }> {
    const body = inflated(req)
    const inUrl = request.urlText === '' ? null : tryScan(request.urlText)
    if (inUrl?.kind === 'rows') {
      await pipeline(prefixed(request.urlText.slice(inUrl.dataOffset), body), createWriteStream(file, { mode: 0o600 }))
      return { statement: inUrl, text: request.urlText }
    }
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > options.textBytesMax)
        throw exception(
          62,
          'SYNTAX_ERROR',
          `The body has more than ${options.textBytesMax} bytes: put the head of an INSERT into the URL (query=) and only its rows into the body`,
        )
      chunks.push(chunk)
    }
    const text = [request.urlText, Buffer.concat(chunks).toString('latin1')].filter((part) => part !== '').join('\n')
    const statement = scan(text)
    if (statement.kind === 'rows')
      await pipeline(
        [Buffer.from(text.slice(statement.dataOffset), 'latin1')],
        createWriteStream(file, { mode: 0o600 }),
      )
    return { statement, text }
  }

  async function insert(
    res: ServerResponse,
    request: Request,
    statement: RowsStatement,
    text: string,
    file: string,
  ): Promise<void> {
    const target = utf8(text.slice(0, statement.targetEnd))
    const own =
      statement.settings === null ? '' : utf8(text.slice(statement.settings.start, statement.settings.end)).trim()
    const asked = request.settings.some(([name]) => name === 'async_insert')
      ? request.settings
      : [['async_insert', '0'] as const, ...request.settings]
    const settings = [...asked.map(([name, value]) => `${name} = ${quoted(value)}`), ...(own === '' ? [] : [own])].join(
      ', ',
    )
    const isEmpty = (await stat(file)).size === 0
    const result = isEmpty
      ? { bytes: new Uint8Array(0), elapsed: 0 }
      : await engine.insertFile(
          `${target} FROM INFILE ${quoted(file)} SETTINGS ${settings} FORMAT ${statement.format}`,
          request.database,
        )
    res.writeHead(200, {
      'Content-Type': 'text/plain; charset=UTF-8',
      'X-ClickHouse-Summary': summary(result),
      ...headersOf(engine, request.id),
    })
    res.end()
  }

  async function query(res: ServerResponse, request: Request, statement: PlainStatement, text: string): Promise<void> {
    const format = statement.format ?? request.defaultFormat
    const gone = new AbortController()
    const order = {
      sql: utf8(text.slice(0, statement.end)),
      format: request.defaultFormat,
      params: request.params,
      settings: request.settings,
      database: request.database,
      sticky: statement.sticky,
      ...(statement.reads ? { gone: gone.signal } : {}),
    }
    let isGone = false
    res.once('close', () => {
      isGone = !res.writableFinished
      if (isGone) gone.abort() // nobody waits for the answer any more
    })
    const headers = {
      'Content-Type': contentType(format),
      'X-ClickHouse-Format': format,
      ...(request.zipped ? { 'Content-Encoding': 'gzip' } : {}),
      ...headersOf(engine, request.id),
    }
    if (!statement.reads || !STREAMABLE.test(format)) {
      const result = await engine.run(order)
      const bytes = Buffer.from(result.bytes.buffer, result.bytes.byteOffset, result.bytes.byteLength)
      res.writeHead(200, { ...headers, 'X-ClickHouse-Summary': summary(result) })
      res.end(request.zipped ? zlib.gzipSync(bytes, { level: 1 }) : bytes)
      return
    }
    if (request.whole) {
      // read as a stream all the same: questions with parameters then wait for each other's beginning only
      const chunks: Uint8Array[] = []
      await engine.stream(order, async (bytes) => {
        chunks.push(bytes)
        return !isGone
      })
      const bytes = Buffer.concat(chunks)
      res.writeHead(200, headers)
      res.end(request.zipped ? zlib.gzipSync(bytes, { level: 1 }) : bytes)
      return
    }
    const out = request.zipped ? zlib.createGzip({ level: 1 }) : res
    const begin = () => {
      if (res.headersSent) return
      res.writeHead(200, headers) // only now: an error before the first chunk can still say its code
      if (out !== res) out.pipe(res)
    }
    await engine.stream(order, async (bytes) => {
      begin()
      if (!isGone && !out.write(bytes)) await drained(out, res)
      return !isGone
    })
    begin()
    out.end()
  }

  return {
    server,
    inFlight: () => inFlight,
    refuse: () => {
      isRefusing = true
    },
  }
}

function scan(text: string): RowsStatement | PlainStatement {
  try {
    return scanStatement(text)
  } catch (error) {
    if (error instanceof StatementError) throw exception(62, 'SYNTAX_ERROR', `Syntax error: ${error.message}`)
    throw error
  }
}

/** The text in the URL may be the beginning of a statement that goes on in the body. */
function tryScan(text: string): RowsStatement | PlainStatement | null {
  try {
    return scanStatement(text)
  } catch {
    return null
  }
}

async function* prefixed(first: string, rest: Readable): AsyncGenerator<Buffer> {
  if (first !== '') yield Buffer.from(first, 'latin1')
  yield* rest as AsyncIterable<Buffer>
}

function drained(out: NodeJS.WritableStream, res: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    out.once('drain', resolve)
    res.once('close', () => resolve())
  })
}

function utf8(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8')
}
