import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import zlib from 'node:zlib'
import type { Params, Settings } from './chdb.ts'
import { exception } from './http-answer.ts'

/** What a request to ClickHouse's HTTP interface says besides its SQL. */

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
const INFLATERS: Readonly<Record<string, () => zlib.Gunzip | zlib.Inflate | zlib.BrotliDecompress>> = {
  gzip: zlib.createGunzip,
  deflate: zlib.createInflate,
  br: zlib.createBrotliDecompress,
}
const LOOPBACK = /^(?:\w+:\/\/)?(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?$/i

export interface Request {
  readonly id: string
  /** SQL in the URL, as latin1: one character a byte. */
  readonly urlText: string
  readonly params: Params
  readonly settings: Settings
  readonly database: string | null
  readonly defaultFormat: string
  /** The client takes gzip. */
  readonly zipped: boolean
  /** Nothing may be sent before all is known (`wait_end_of_query`). */
  readonly whole: boolean
}

export function readRequest(req: IncomingMessage, url: URL): Request {
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

/** A page in a browser can post to loopback addresses, or reach them under a name of its own; programs do neither. */
export function isFromElsewhere(req: IncomingMessage): boolean {
  const { host, origin } = req.headers
  return (host !== undefined && !LOOPBACK.test(host)) || (origin !== undefined && !LOOPBACK.test(origin))
}

export function inflated(req: IncomingMessage): Readable {
  const encoding = req.headers['content-encoding'] ?? 'identity'
  if (encoding === 'identity') return req
  const create = INFLATERS[encoding]
  if (create === undefined) throw exception(36, 'BAD_ARGUMENTS', `Unknown compression method ${encoding}`)
  const inflater = create()
  req.once('error', (error) => inflater.destroy(error))
  req.once('aborted', () => inflater.destroy(new Error('the request broke off')))
  return req.pipe(inflater)
}
