import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { lastJson, runCli } from './support/cli.ts'
import { temporaryDirectory } from './support/embedded.ts'
import { hasNatsServer } from './support/nats.ts'

/**
 * The whole engine as a user runs it: simulator process → sockets → books → spool → (nats-server →) ClickHouse engine,
 * and every row compared by ClickHouse with what the simulator wrote down.
 */
interface DemoResult {
  sent: Record<string, number>
  rows: Record<string, number>
  missing: number
  doubled: number
  wrong: number
  delivery: string
  instruments: number
  rejected: number
  gaps: number
  made: Record<string, number>
  liveLatencyMs: { count: number } | null
}

const RECORDINGS = join(process.env.MARKETPRISM_RECORDINGS ?? '../shared/data')

async function demo(t: TestContext, ...words: string[]): Promise<{ result: DemoResult; data: string }> {
  const data = temporaryDirectory(t)
  const ended = await runCli(['demo', '--json', '--data', data, ...words])
  assert.equal(ended.code, 0, ended.stderr)
  return { result: lastJson<DemoResult>(ended), data }
}

function assertWhole(result: DemoResult): void {
  assert.deepEqual(result.rows, result.sent)
  assert.deepEqual([result.missing, result.doubled, result.wrong, result.rejected, result.gaps], [0, 0, 0, 0, 0])
}

test('demo should store what was sent, once, by direct delivery', async (t) => {
  const { result } = await demo(t, '--seconds', '5', '--rate', '4000', '--instruments', '7', '--delivery', 'direct')
  assert.equal(result.delivery, 'direct')
  assert.equal(result.instruments, 7)
  assertWhole(result)
  const sum = Object.values(result.sent).reduce((total, count) => total + count, 0)
  assert.ok(sum > 15_000, `only ${sum} events in 5 s at 4,000/s`)
  assert.ok((result.made.blocks ?? 0) > 0)
  assert.ok((result.made.book_snapshots ?? 0) >= 7 * 2) // an anchor and at least one periodic each
})

test('demo should store what was sent, once, through JetStream, and publish live', async (t) => {
  const reason = await hasNatsServer()
  if (reason !== '') return t.skip(reason)
  const { result } = await demo(t, '--seconds', '5', '--rate', '4000', '--delivery', 'jetstream')
  assert.equal(result.delivery, 'jetstream')
  assertWhole(result)
  assert.ok((result.liveLatencyMs?.count ?? 0) > 1_000)
})

test('demo should store what four venues sent, once, with instruments of every market', async (t) => {
  const { result } = await demo(t, '--seconds', '5', '--venues', 'okx,deribit,bybit,binance')
  assertWhole(result)
  assert.equal(result.instruments, 3 + 2 + 2 + 2 + 2) // markets of Binance, OKX, Deribit, Bybit; two indices
  assert.ok((result.sent.book_tickers ?? 0) > 15_000) // enough that tops come back within one packet
})

test('demo should leave data that sql reads, and refuse a directory that is not a demo', async (t) => {
  const { result, data } = await demo(t, '--seconds', '2', '--rate', '1000', '--delivery', 'direct')
  const answer = await runCli([
    'sql',
    '--data',
    data,
    '--format',
    'TSV',
    "SELECT count(), toString(sum(notional)) > '' FROM trades",
  ])
  assert.deepEqual([answer.code, answer.stdout], [0, `${result.rows.trades}\t1\n`], answer.stderr)
  const home = temporaryDirectory(t)
  const { writeFileSync } = await import('node:fs')
  writeFileSync(join(home, 'thesis.txt'), 'mine')
  const refused = await runCli(['demo', '--data', home])
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /holds something that is not of a demo/)
  assert.equal(readFileSync(join(home, 'thesis.txt'), 'utf8'), 'mine')
})

interface Truth {
  symbols: Record<
    string,
    {
      final: { bids: [string, string][]; asks: [string, string][] }
      trades: {
        trade: { count: number; sum_qty: string; sum_price_x_qty: string; first_id: number; last_id: number }
      }
    }
  >
}

test('demo should store a recording of two markets as its truth has it', async (t) => {
  const files = { usdm: 'usdm_btcusdt_20240808', spot: 'spot_ethusdt_20240808' }
  const paths = Object.entries(files).map(
    ([market, name]) => `${market}:${join(RECORDINGS, 'recordings/hftbacktest', `${name}.gz`)}`,
  )
  if (!existsSync(join(RECORDINGS, 'truth'))) return t.skip(`no recordings in ${RECORDINGS} (MARKETPRISM_RECORDINGS)`)
  const { result, data } = await demo(t, '--recording', ...paths, '--speed', '30')
  assertWhole(result)
  for (const [market, name] of Object.entries(files)) {
    const truth = JSON.parse(readFileSync(join(RECORDINGS, 'truth', `${name}.json`), 'utf8')) as Truth
    const [symbol, { final, trades }] = Object.entries(truth.symbols)[0] as [string, Truth['symbols'][string]]
    const where = `market = '${market}' AND symbol = '${symbol}'`
    const answer = await runCli([
      'sql',
      '--data',
      data,
      '--format',
      'JSONEachRow',
      `SELECT toString(count()) AS count, toString(sum(quantity)) AS volume, toString(sum(price * quantity)) AS turnover, toString(min(trade_id)) AS first, toString(max(trade_id)) AS last FROM trades WHERE ${where}`,
      `SELECT arrayMap((p, q) -> (toString(p), toString(q)), bid_prices, bid_quantities) AS bids, arrayMap((p, q) -> (toString(p), toString(q)), ask_prices, ask_quantities) AS asks FROM book_snapshots WHERE ${where} AND kind = 'periodic' ORDER BY received_ns DESC LIMIT 1`,
    ])
    assert.equal(answer.code, 0, answer.stderr)
    const [sums, book] = answer.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)) as [Record<string, string>, { bids: unknown[]; asks: unknown[] }]
    const { count, sum_qty, sum_price_x_qty, first_id, last_id } = trades.trade
    assert.deepEqual(sums, {
      count: String(count),
      volume: sum_qty,
      turnover: sum_price_x_qty,
      first: String(first_id),
      last: String(last_id),
    })
    assert.deepEqual(book, { bids: final.bids.slice(0, 20), asks: final.asks.slice(0, 20) })
  }
})
