/** What the demo says at its end: rows a table against the truth, samples, queries to go on with; or one JSON object. */
import type { ClickHouseClient } from '@clickhouse/client'
import Table from 'cli-table3'
import { Fault } from '../../base/fault.ts'
import { Histogram } from '../../ring/histogram.ts'
import type { EngineProcess } from '../../roles/process.ts'
import { CHECKED_TABLES, type Check } from './check.ts'
import type { StatusLine } from './status.ts'
import type { VenueReport } from './venue.ts'

export interface ReportInput {
  readonly isJson: boolean
  readonly engine: EngineProcess
  readonly client: ClickHouseClient
  readonly database: string
  readonly check: Check
  readonly sent: VenueReport
  readonly status: StatusLine
  readonly directory: string
  readonly say: (line: string) => void
}

/** Tables that the engine makes by itself; nothing was sent that they could be compared with. */
const MADE_TABLES = ['book_snapshots', 'gaps', 'blocks'] as const

const SAMPLES: readonly (readonly [table: string, columns: string, order: string])[] = [
  ['trades', 'received_ns, exchange, market, symbol, trade_id, side, price, quantity', 'received_ns DESC'],
  [
    'book_tickers',
    'received_ns, market, symbol, update_id, bid_price, bid_quantity, ask_price, ask_quantity',
    'received_ns DESC',
  ],
  [
    'book_deltas',
    'received_ns, market, symbol, state, last_seq, length(bid_prices) AS bids, length(ask_prices) AS asks',
    'received_ns DESC',
  ],
  [
    'book_snapshots',
    'received_ns, market, symbol, kind, last_seq, arrayElement(bid_prices, 1) AS best_bid, arrayElement(ask_prices, 1) AS best_ask',
    'received_ns DESC',
  ],
]
const SAMPLE_ROWS = 2

export const QUERIES: readonly string[] = [
  'SELECT market, symbol, count() AS trades, sum(quantity) AS volume, sum(notional) AS turnover FROM trades GROUP BY market, symbol ORDER BY market, symbol',
  "SELECT toStartOfInterval(trade_ns, INTERVAL 1 SECOND) AS second, argMin(price, trade_id) AS open, max(price) AS high, min(price) AS low, argMax(price, trade_id) AS close, sum(quantity) AS volume FROM trades WHERE symbol = 'BTCUSDT' GROUP BY second ORDER BY second",
  "SELECT received_ns, ask_prices[1] - bid_prices[1] AS spread, bid_quantities[1], ask_quantities[1] FROM book_snapshots WHERE symbol = 'BTCUSDT' AND kind = 'periodic' ORDER BY received_ns DESC LIMIT 10",
  'SELECT * FROM gaps FINAL ORDER BY from_ns',
]

export async function printReport(input: ReportInput): Promise<void> {
  const { isJson, check, client, database } = input
  const made: Record<string, number> = {}
  for (const table of MADE_TABLES) made[table] = await rowCount(client, database, table)
  if (!isJson) await printForPeople(input, made)
  else process.stdout.write(`${JSON.stringify(summary(input, made))}\n`)
  const { missing, doubled, wrong } = sums(check)
  if (missing + doubled + wrong > 0) {
    throw new Fault(
      'NOT_EQUAL',
      `the store differs from what was sent: ${missing} missing, ${doubled} doubled, ${wrong} wrong`,
    )
  }
}

function summary({ engine, check, sent, status }: ReportInput, made: Record<string, number>) {
  const { collector, servers } = engine
  const column = (name: 'sent' | 'rows') =>
    Object.fromEntries(CHECKED_TABLES.map((table) => [table, check[table][name]]))
  const live = collector === undefined ? undefined : Histogram.sum(collector.liveLatencies)
  return {
    sent: column('sent'),
    rows: column('rows'),
    ...sums(check),
    delivery: servers.delivery,
    made,
    instruments: collector?.instrumentCount ?? 0,
    sockets: collector?.plan.connections.length ?? 0,
    seconds: sent.runSeconds,
    eventsPerSecond: sent.eventsPerSecond,
    lateMsMax: sent.lateMsMax,
    rejected: collector?.total('rejected') ?? 0,
    gaps: collector?.total('gaps') ?? 0,
    rssMiB: status.rssMiB,
    cpuSeconds: { engine: status.cpuSeconds, simulator: sent.cpuSeconds },
    liveLatencyMs:
      live === undefined || live.count === 0
        ? null
        : {
            count: live.count,
            p50: live.percentileNs(0.5) / 1e6,
            p99: live.percentileNs(0.99) / 1e6,
            max: live.maxNs / 1e6,
          },
  }
}

/** Of all tables together. */
export function sums(check: Check): { missing: number; doubled: number; wrong: number } {
  const sum = (name: 'missing' | 'doubled' | 'wrong') =>
    CHECKED_TABLES.reduce((total, table) => total + check[table][name], 0)
  return { missing: sum('missing'), doubled: sum('doubled'), wrong: sum('wrong') }
}

async function printForPeople(input: ReportInput, made: Record<string, number>): Promise<void> {
  const { engine, check, client, database, sent, status, directory, say } = input
  const table = newTable(['table', 'sent', 'rows', 'missing', 'doubled', 'wrong'])
  for (const name of CHECKED_TABLES) {
    const { sent: events, rows, missing, doubled, wrong } = check[name]
    table.push([name, events, rows, missing, doubled, wrong].map((cell) => cell.toLocaleString('en')))
  }
  for (const [name, rows] of Object.entries(made)) table.push([name, '', rows.toLocaleString('en'), '', '', ''])
  say('')
  say(
    `${Math.round(sent.eventsPerSecond).toLocaleString('en')} events/s for ${sent.runSeconds.toFixed(1)} s, delivery ${engine.servers.delivery}`,
  )
  say(table.toString())
  for (const [name, columns, order] of SAMPLES) await printSample(client, database, name, columns, order, say)
  const live = engine.collector === undefined ? undefined : Histogram.sum(engine.collector.liveLatencies)
  if (live !== undefined && live.count > 0) {
    say(
      `socket receive → live message published: p50 ${(live.percentileNs(0.5) / 1e6).toFixed(2)} ms, p99 ${(live.percentileNs(0.99) / 1e6).toFixed(2)} ms over ${live.count.toLocaleString('en')} messages`,
    )
  }
  say(`memory of the engine: ${status.rssMiB.join(' → ')} MiB`)
  say('')
  say('Queries to go on with:')
  for (const query of QUERIES) say(`  npx marketprism sql --data ${directory} "${query}"`)
}

async function printSample(
  client: ClickHouseClient,
  database: string,
  name: string,
  columns: string,
  order: string,
  say: (line: string) => void,
): Promise<void> {
  const query = `SELECT ${columns} FROM ${database}.${name} ORDER BY ${order} LIMIT ${SAMPLE_ROWS}`
  const answer = await client.query({ query, format: 'JSONCompactEachRowWithNames' })
  const [names, ...rows] = await answer.json<unknown[]>()
  if (names === undefined || rows.length === 0) return
  const table = newTable(names.map(String))
  for (const row of rows) table.push(row.map(String))
  say(`${name}, the newest:`)
  say(table.toString())
}

function newTable(head: string[]): Table.Table {
  return new Table({ head, style: { head: [], border: [] } })
}

async function rowCount(client: ClickHouseClient, database: string, table: string): Promise<number> {
  const final = table === 'gaps' ? ' FINAL' : ''
  const answer = await client.query({
    query: `SELECT count() AS rows FROM ${database}.${table}${final}`,
    format: 'JSONEachRow',
  })
  const [row] = await answer.json<{ rows: string | number }>()
  return Number(row?.rows ?? 0)
}
