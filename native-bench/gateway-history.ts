/**
 * Questions to the gateway on 100 million stored trades: the real gateway on a real ClickHouse engine in a process of its
 * own, each question as an HTTP request, one after the other, with random instruments and times. The first answers of each
 * kind are held against SQL of their own before any figure is printed.
 */
import { mkdirSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ClickHouseClient } from '@clickhouse/client'
import { Clock } from '../engine/base/clock.ts'
import { createLog } from '../engine/base/log.ts'
import { seededRandom } from '../engine/base/random.ts'
import { startEmbeddedClickHouse } from '../engine/embedded/clickhouse.ts'
import type { EngineLink } from '../engine/gateway/engine-link.ts'
import { type Gateway, startGateway } from '../engine/gateway/gateway.ts'
import { CandleJob } from '../engine/gateway/history/candle-job.ts'
import { CLICKHOUSE_DEFAULT, type ClickHouseOptions, createClickHouseClient } from '../engine/sinks/clickhouse.ts'
import { type Bench, type BenchContext, type BenchResult, check } from './bench.ts'
import {
  BOOK_SECONDS,
  BOOK_SYMBOL,
  createTables,
  DAYS,
  insertRows,
  INSTRUMENTS,
  instrument,
} from './gateway-history-rows.ts'
import { measured } from './measure.ts'

const ROWS_DEFAULT = 100_000_000
/** Bytes a stored row, with room for merges. */
const ROW_BYTES = 60
const ASKED = 200
const CHECKED = 5
const SEED = 7
const DAY_NS = 86_400_000_000_000n
const DATABASE = 'marketprism'
/** Seconds without a merge. */
const QUIET_S = 3
const MERGE_MS_MAX = 300_000

type Json = Readonly<Record<string, unknown>>
type Rows = readonly Json[]

interface Question {
  readonly name: string
  /** ms, as the project promises them */
  readonly p99Max: number
  next(): { readonly path: string; readonly sql: string; readonly shown: (body: Json) => unknown }
}

export const gatewayHistory: Bench = async (context: BenchContext): Promise<BenchResult> => {
  const { say, rows = ROWS_DEFAULT, directory } = context
  const place = directory ?? join(tmpdir(), `marketprism-bench-history-${process.pid}`)
  mkdirSync(place, { recursive: true })
  const free = statfsSync(place)
  check(
    free.bavail * free.bsize > rows * ROW_BYTES,
    `gatewayHistory: ${place} has no room for ${rows} rows; give --directory or fewer --rows`,
  )
  const log = createLog('error', 'bench')
  const server = await startEmbeddedClickHouse({ dataDirectory: place, port: 0, log })
  const options: ClickHouseOptions = { ...CLICKHOUSE_DEFAULT, url: server.url, database: DATABASE }
  const client = createClickHouseClient({ ...options, database: 'default', requestTimeoutMs: 3_600_000 })
  try {
    await createTables(client, { database: DATABASE, ttlDays: 0, dedupeWindowInserts: 1000, syncInserts: false })
    const sql = createClickHouseClient({ ...options, requestTimeoutMs: 3_600_000 })
    const startNs = await filled(sql, rows, say)
    await keepBars(options, say)
    await merged(sql, say)
    const gateway = await startedGateway(options, log)
    const result = await askAll(gateway, sql, startNs, context)
    await gateway.close()
    await sql.close()
    return result
  } finally {
    await client.close()
    await server.stop()
    if (directory === undefined) rmSync(place, { recursive: true, force: true })
  }
}

/** @returns begin of the first day of what is stored */
async function filled(client: ClickHouseClient, rows: number, say: (line: string) => void): Promise<bigint> {
  const first = await ask(
    client,
    'SELECT toUInt64(count()) AS n, toString(toUnixTimestamp64Nano(min(trade_ns))) AS first FROM trades',
  )
  const [{ n = 0, first: firstNs = '0' } = {}] = first as { n?: number; first?: string }[]
  if (n > 0) {
    say(`gatewayHistory: ${n} trades are there already`)
    return BigInt(firstNs) - (BigInt(firstNs) % DAY_NS)
  }
  const nowNs = new Clock().nowNs()
  const startNs = nowNs - (nowNs % DAY_NS) - BigInt(DAYS) * DAY_NS
  await insertRows(client, rows, startNs, say)
  return startNs
}

async function keepBars(options: ClickHouseOptions, say: (line: string) => void): Promise<void> {
  const clock = new Clock()
  const job = new CandleJob(options, clock, () => false)
  const beganMs = clock.monotonicMs()
  const said = await job.run(new AbortController().signal)
  say(`gatewayHistory: candles: ${said} in ${((clock.monotonicMs() - beganMs) / 1000).toFixed(1)} s`)
  await job.close()
}

/** What was filled in minutes is merged in the background, which is no part of any question. */
async function merged(client: ClickHouseClient, say: (line: string) => void): Promise<void> {
  const clock = new Clock()
  const beganMs = clock.monotonicMs()
  for (let quiet = 0; quiet < QUIET_S && clock.monotonicMs() - beganMs < MERGE_MS_MAX; ) {
    const [row] = await ask(client, 'SELECT toUInt32(count()) AS running FROM system.merges')
    quiet = row?.running === 0 ? quiet + 1 : 0
    await sleep(1_000)
  }
  say(`gatewayHistory: merges ended after ${((clock.monotonicMs() - beganMs) / 1000).toFixed(0)} s`)
}

async function startedGateway(clickhouse: ClickHouseOptions, log: ReturnType<typeof createLog>): Promise<Gateway> {
  const nothing = (): never => {
    throw new Error('no engine runs beside this bench')
  }
  const engine = new Proxy({ pressure: () => 0 } as unknown as EngineLink, {
    get: (link, name) => Reflect.get(link, name) ?? nothing,
  })
  const security = {
    exposed: false,
    keys: { file: '', single: undefined },
    localAdmin: false,
    tls: undefined,
    behindTlsProxy: false,
    origins: [],
    hosts: [],
    requestsPerSecond: 100_000,
    inFlightMax: 128,
    connectionsMax: 100,
    connectionsPerClientMax: 100,
    headersTimeoutMs: 5_000,
    auditFile: join(tmpdir(), `marketprism-bench-audit-${process.pid}.ndjson`),
  }
  const live = {
    resumeBytes: 1 << 20,
    queueBytesMax: 1 << 20,
    stallMsMax: 10_000,
    subscriptionsMax: 10,
    messagesPerSecond: 10,
  }
  const settings = {
    host: '127.0.0.1',
    port: 0,
    version: 'bench',
    clickhouse,
    nats: undefined,
    letterDirectory: undefined,
    candles: false,
    security,
    live,
  }
  return await startGateway({ settings, clock: new Clock(), random: seededRandom(SEED), log, engine }, undefined)
}

async function ask(client: ClickHouseClient, query: string): Promise<Rows> {
  const clickhouse_settings = {
    output_format_json_quote_64bit_integers: 0,
    output_format_json_quote_decimals: 1,
  } as const
  return await (await client.query({ query, format: 'JSONEachRow', clickhouse_settings })).json<Json>()
}

async function askAll(
  gateway: Gateway,
  client: ClickHouseClient,
  startNs: bigint,
  { say }: BenchContext,
): Promise<BenchResult> {
  const ratios: Record<string, number> = {}
  const notes: string[] = []
  const all: number[] = []
  for (const question of questions(startNs)) {
    const times: number[] = []
    for (let asked = 0; asked < ASKED; asked++) {
      const { path, sql, shown } = question.next()
      const beganMs = performance.now()
      const response = await fetch(`${gateway.url}${path}`)
      const text = await response.text()
      times.push(performance.now() - beganMs)
      check(response.status === 200, `gatewayHistory: ${path}: ${response.status} ${text.slice(0, 300)}`)
      if (asked >= CHECKED) continue
      const [found, wanted] = [JSON.stringify(shown(JSON.parse(text) as Json)), JSON.stringify(await ask(client, sql))]
      check(
        found === wanted,
        `gatewayHistory: ${path} gave ${found.slice(0, 300)} where SQL gives ${wanted.slice(0, 300)}`,
      )
    }
    times.sort((a, b) => a - b)
    const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? 0
    ratios[`${question.name}P50Ms`] = at(0.5)
    ratios[`${question.name}P99Ms`] = at(0.99)
    const verdict = at(0.99) < question.p99Max ? 'as wanted' : `wanted below ${question.p99Max}`
    notes.push(
      `${question.name}: p50 ${at(0.5).toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms, ${verdict}; ${ASKED} asked, ${CHECKED} checked`,
    )
    say(`gatewayHistory: ${notes.at(-1)}`)
    all.push(...times.map((ms) => ms / 1000))
  }
  return { ...measured(1, all), unit: 'questions/s', ratios, others: {}, notes }
}

function questions(startNs: bigint): readonly Question[] {
  const random = seededRandom(SEED)
  const pick = (count: number): number => Math.floor(random() * count)
  const rowsOf = (body: Json): Rows => body.rows as Rows
  const only = (rows: Rows, names: readonly string[]): unknown =>
    rows.map((row) => Object.fromEntries(names.map((name) => [name, row[name]])))
  const someone = () => {
    const { exchange, market, symbol } = instrument(pick(INSTRUMENTS))
    const is = `exchange = '${exchange}' AND market = '${market}' AND symbol = '${symbol}'`
    return { name: `${exchange}.${market}.${symbol}`, is }
  }
  const time = (ns: bigint): string => `fromUnixTimestamp64Nano(toInt64(${ns}))`
  return [
    {
      name: 'lastTrades',
      p99Max: 50,
      next: () => {
        const { name, is } = someone()
        return {
          path: `/v1/trades/${name}?limit=100`,
          sql: `SELECT trade_id, toString(price) AS price FROM trades FINAL WHERE ${is} ORDER BY trade_ns DESC, trade_id DESC LIMIT 100`,
          shown: (body) => only(rowsOf(body), ['trade_id', 'price']),
        }
      },
    },
    {
      name: 'lastTicker',
      p99Max: 50,
      next: () => {
        const { name, is } = someone()
        return {
          path: `/v1/tickers/${name}?limit=1`,
          sql: `SELECT toString(volume) AS volume FROM tickers FINAL WHERE ${is} ORDER BY received_ns DESC LIMIT 1`,
          shown: (body) => only(rowsOf(body), ['volume']),
        }
      },
    },
    {
      name: 'tradesAtTime',
      p99Max: 50,
      next: () => {
        const { name, is } = someone()
        const fromNs = startNs + BigInt(pick(DAYS * 86_400 - 600)) * 1_000_000_000n
        return {
          path: `/v1/trades/${name}?order=asc&limit=100&from=${fromNs}`,
          sql: `SELECT trade_id FROM trades FINAL WHERE ${is} AND trade_ns >= ${time(fromNs)} ORDER BY trade_ns, trade_id LIMIT 100`,
          shown: (body) => only(rowsOf(body), ['trade_id']),
        }
      },
    },
    {
      name: 'dayOfKlines',
      p99Max: 200,
      next: () => {
        const { name, is } = someone()
        const fromNs = startNs + BigInt(pick((DAYS - 1) * 1440)) * 60_000_000_000n
        return {
          path: `/v1/klines/${name}?interval=1m&order=asc&limit=1440&from=${fromNs}&to=${fromNs + DAY_NS}`,
          sql: `SELECT toString(intDiv(toUnixTimestamp64Nano(trade_ns), 60000000000) * 60000000000) AS open_ns, toString(argMin(price, (trades.trade_ns, trade_id))) AS open,
            toString(max(price)) AS high, toString(sum(quantity)) AS volume, count() AS trade_count
            FROM trades FINAL WHERE ${is} AND trade_ns >= ${time(fromNs)} AND trade_ns < ${time(fromNs + DAY_NS)} GROUP BY open_ns ORDER BY open_ns`,
          shown: (body) => only(rowsOf(body), ['open_ns', 'open', 'high', 'volume', 'trade_count']),
        }
      },
    },
    {
      name: 'hourlyVolume',
      p99Max: 200,
      next: () => {
        const fromNs = startNs + BigInt(pick((DAYS - 1) * 24)) * 3_600_000_000_000n
        return {
          path: `/v1/volumes?by=exchange&interval=1h&from=${fromNs}&to=${fromNs + DAY_NS}`,
          sql: `SELECT toString(toInt64(toUnixTimestamp(toStartOfHour(trade_ns))) * 1000000000) AS open_ns, exchange, toString(sum(toDecimal256(notional, 18))) AS quote_volume, count() AS trade_count
            FROM trades WHERE trade_ns >= ${time(fromNs)} AND trade_ns < ${time(fromNs + DAY_NS)} GROUP BY open_ns, exchange ORDER BY open_ns, exchange`,
          shown: (body) => only(rowsOf(body), ['open_ns', 'exchange', 'quote_volume', 'trade_count']),
        }
      },
    },
    {
      name: 'bookAtTime',
      p99Max: 200,
      next: () => {
        const ns = startNs + BigInt(1_000 + pick(BOOK_SECONDS * 1000 - 10_000)) * 1_000_000n
        return {
          path: `/v1/books/binance.usdm.${BOOK_SYMBOL}/at?depth=400&time=${ns}`,
          sql: bookSql(ns),
          shown: (body) => (body.bids as string[][]).map(([price, quantity]) => ({ price, quantity })),
        }
      },
    },
  ]
}

/** The bids by another way: everything since the anchor, in the order of sequences; of two levels of one price in a row the later. */
function bookSql(ns: bigint): string {
  const of = (
    table: string,
    kind: string,
  ) => `SELECT (last_seq, level.3) AS place, level.1 AS price, level.2 AS quantity FROM ${table}
    ARRAY JOIN arrayZip(bid_prices, bid_quantities, arrayEnumerate(bid_prices)) AS level
    WHERE symbol = '${BOOK_SYMBOL}' AND received_ns <= fromUnixTimestamp64Nano(toInt64(${ns})) ${kind}`
  const start = `last_seq >= (SELECT max(last_seq) FROM book_snapshots WHERE symbol = '${BOOK_SYMBOL}' AND received_ns <= fromUnixTimestamp64Nano(toInt64(${ns})))`
  return `SELECT toString(book.price) AS price, toString(book.quantity) AS quantity FROM (
      SELECT price, argMax(quantity, place) AS quantity
      FROM (${of('book_snapshots', `AND ${start}`)} UNION ALL ${of('book_deltas', `AND ${start.replace('>=', '>')}`)}) GROUP BY price
    ) AS book WHERE book.quantity != 0 ORDER BY book.price DESC LIMIT 400`
}
