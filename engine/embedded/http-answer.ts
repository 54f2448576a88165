import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Chdb, RawResult } from './chdb.ts'

/** Answers of ClickHouse's HTTP interface: headers, summaries, exceptions with their codes. */

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
/** An error in the form that the engine gives its own. */
export function exception(code: number, type: string, text: string): Error {
  return new Error(`Code: ${code}. DB::Exception: ${text}. (${type})`)
}

export function answerException(res: ServerResponse, engine: Chdb, id: string, error: unknown): void {
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
    ...headersOf(engine, id),
  })
  res.end(`${/\(version /.test(text) ? text.trim() : `${text.trim()} (version ${engine.version} (chdb))`}\n`)
}

export function headersOf(engine: Chdb, id: string): OutgoingHttpHeaders {
  return {
    'X-ClickHouse-Server-Display-Name': 'chdb',
    'X-ClickHouse-Query-Id': id,
    'X-ClickHouse-Timezone': engine.timezone,
  }
}

export function contentType(format: string): string {
  if (/json/i.test(format)) return 'application/json; charset=UTF-8'
  return /^(RowBinary|Native|Parquet|Arrow|MsgPack)/i.test(format)
    ? 'application/octet-stream'
    : 'text/tab-separated-values; charset=UTF-8'
}

export function summary(result: RawResult): string {
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
