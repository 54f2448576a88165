import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rm, stat } from 'node:fs/promises'
import http from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import zlib from 'node:zlib'
import { type Chdb, quoted, type RawResult } from './chdb.ts'
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

/** Parameters of the interface itself; everything else in the URL is a setting or `param_…`. */
const INTERFACE_WORDS = new Set([
  'query',
  'database',
  'default_format',
  'query_id',
  'session_id',
  'session_timeout',
  'session_check',
  'user',
  'password',
  'role',
  'compress',
  'decompress',
  'wait_end_of_query',
  'buffer_size',
  'enable_http_compression',
  'http_zlib_compression_level',
  'send_progress_in_http_headers',
  'http_headers_progress_interval_ms',
  'quota_key',
  'close_session',
  'cancel_http_readonly_queries_on_client_close',
])
/** Formats without header or footer: their chunks can be sent as they come. */
const STREAMABLE =
  /^(JSONEachRow|JSONCompactEachRow|JSONStringsEachRow|JSONCompactStringsEachRow|TSV|TabSeparated|TSVRaw|TabSeparatedRaw|CSV|RowBinary|Native|MsgPack|LineAsString|Null)$/i
const STATUS_OF_CODE: Readonly<Record<number, number>> = {
  27: 400,
  36: 400,
  47: 400,
  62: 400,
  117: 400,
  60: 404,
  81: 404,
  159: 408,
  193: 401,
  194: 401,
  192: 403,
  497: 403,
  516: 403,
  202: 503,
}
const INFLATERS: Readonly<Record<string, () => zlib.Gunzip | zlib.Inflate | zlib.BrotliDecompress>> = {
  gzip: zlib.createGunzip,
  deflate: zlib.createInflate,
  br: zlib.createBrotliDecompress,
}
const LOOPBACK = /^(?:\w+:\/\/)?(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?$/i

interface Request {
  readonly id: string
  readonly urlText: string
  readonly params: Record<string, string>
  readonly settings: (readonly [string, string])[]
  readonly database: string | null
  readonly defaultFormat: string
  readonly zipped: boolean
  readonly whole: boolean
}

/** An error in the form that the engine gives its own. */
function exception(code: number, type: string, text: string): Error {
  return new Error(`Code: ${code}. DB::Exception: ${text}. (${type})`)
}

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
      .catch((error: unknown) => fail(res, error, id))
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
      ...headersOf(request.id),
    })
    res.end()
  }

  async function query(res: ServerResponse, request: Request, statement: PlainStatement, text: string): Promise<void> {
    const format = statement.format ?? request.defaultFormat
    const tag = `/* request ${randomUUID()} */ `
    const order = {
      sql: tag + utf8(text.slice(0, statement.end)),
      format: request.defaultFormat,
      params: request.params,
      settings: request.settings,
      database: request.database,
      sticky: statement.sticky,
    }
    let isGone = false
    res.once('close', () => {
      isGone = !res.writableFinished
      if (isGone && statement.reads) void engine.kill(tag) // nobody waits for the answer any more
    })
    const headers = {
      'Content-Type': contentType(format),
      'X-ClickHouse-Format': format,
      ...(request.zipped ? { 'Content-Encoding': 'gzip' } : {}),
      ...headersOf(request.id),
    }
    if (!statement.reads || !STREAMABLE.test(format) || request.whole) {
      const result = await engine.run(order)
      const bytes = Buffer.from(result.bytes.buffer, result.bytes.byteOffset, result.bytes.byteLength)
      res.writeHead(200, { ...headers, 'X-ClickHouse-Summary': summary(result) })
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

  function readRequest(req: IncomingMessage, url: URL): Request {
    const words = url.searchParams
    const params: Record<string, string> = {}
    const settings: (readonly [string, string])[] = []
    for (const [name, value] of words) {
      if (name.startsWith('param_')) params[name.slice('param_'.length)] = value
      else if (!INTERFACE_WORDS.has(name)) {
        if (!/^\w+$/.test(name)) throw exception(115, 'UNKNOWN_SETTING', `Unknown setting ${name}`)
        settings.push([name, value])
      }
    }
    const header = (name: string) => req.headers[name] as string | undefined
    return {
      id: words.get('query_id') ?? randomUUID(),
      urlText: Buffer.from((words.get('query') ?? '').trim(), 'utf8').toString('latin1'),
      params,
      settings,
      database: words.get('database') ?? header('x-clickhouse-database') ?? null,
      defaultFormat: words.get('default_format') ?? header('x-clickhouse-format') ?? 'TabSeparated',
      zipped: words.get('enable_http_compression') === '1' && /\bgzip\b/.test(header('accept-encoding') ?? ''),
      whole: words.get('wait_end_of_query') === '1',
    }
  }

  function fail(res: ServerResponse, error: unknown, id: string): void {
    const message = String((error as Error)?.message ?? error)
    if (res.headersSent || res.destroyed) {
      res.destroy() // the client sees a broken answer, never a short one that looks whole
      return
    }
    const code = Number(/Code: (\d+)/.exec(message)?.[1] ?? 1002)
    const text = /Code: \d+/.test(message)
      ? message.slice(message.indexOf('Code: '))
      : `Code: ${code}. DB::Exception: ${message}. (UNKNOWN_EXCEPTION)`
    res.writeHead(STATUS_OF_CODE[code] ?? 500, {
      'Content-Type': 'text/plain; charset=UTF-8',
      'X-ClickHouse-Exception-Code': code,
      ...headersOf(id),
    })
    res.end(`${/\(version /.test(text) ? text.trim() : `${text.trim()} (version ${engine.version} (chdb))`}\n`)
  }

  function headersOf(id: string): http.OutgoingHttpHeaders {
    return {
      'X-ClickHouse-Server-Display-Name': 'chdb',
      'X-ClickHouse-Query-Id': id,
      'X-ClickHouse-Timezone': engine.timezone,
    }
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

/** A page in a browser can post to loopback addresses, or reach them under a name of its own; programs do neither. */
function isFromElsewhere(req: IncomingMessage): boolean {
  const { host, origin } = req.headers
  return (host !== undefined && !LOOPBACK.test(host)) || (origin !== undefined && !LOOPBACK.test(origin))
}

function inflated(req: IncomingMessage): Readable {
  const encoding = req.headers['content-encoding'] ?? 'identity'
  if (encoding === 'identity') return req
  const create = INFLATERS[encoding]
  if (create === undefined) throw exception(36, 'BAD_ARGUMENTS', `Unknown compression method ${encoding}`)
  const inflater = create()
  req.once('error', (error) => inflater.destroy(error))
  req.once('aborted', () => inflater.destroy(new Error('the request broke off')))
  return req.pipe(inflater)
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

function contentType(format: string): string {
  if (/json/i.test(format)) return 'application/json; charset=UTF-8'
  return /^(RowBinary|Native|Parquet|Arrow|MsgPack)/i.test(format)
    ? 'application/octet-stream'
    : 'text/tab-separated-values; charset=UTF-8'
}

function summary(result: RawResult): string {
  const written = String(result.rowsWritten ?? 0)
  return JSON.stringify({
    read_rows: String(result.rowsRead ?? 0),
    read_bytes: String(result.bytesRead ?? 0),
    written_rows: written,
    written_bytes: String(result.bytesWritten ?? 0),
    total_rows_to_read: '0',
    result_rows: written,
    result_bytes: String(result.bytesWritten ?? 0),
    elapsed_ns: String(Math.round(result.elapsed * 1e9)),
  })
}
