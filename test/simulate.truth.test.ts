import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { writeDecimal, writeInteger } from '../engine/simulate/digits.ts'
import { startSimulator } from '../engine/simulate/simulator.ts'
import type { VenueClient } from './support/venue-client.ts'
import { openClient, REST_PATHS, streamUrl, SYMBOLS } from './support/venue-client.ts'

type Query = (sql: string, format: string) => string

/** ClickHouse itself reads the files: our writer is not judged by a reader of ours. */
async function clickhouse(): Promise<Query | null> {
  try {
    return ((await import('chdb')) as { query: Query }).query
  } catch {
    return null
  }
}

const power = (text: string, scale: number): string => {
  const [whole = '', part = ''] = text.split('.')
  return String(BigInt(whole + part.slice(0, scale).padEnd(scale, '0')))
}

test('simulate truth: the files should say what the client heard, read by ClickHouse', async (t) => {
  const query = await clickhouse()
  if (query === null) return t.skip('the package chdb (a ClickHouse engine) is not installed here')
  const directory = await mkdtemp(join(tmpdir(), 'marketprism-truth-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const simulator = await startSimulator({ rate: 3000, seconds: 1, truthDirectory: directory })
  const kinds = ['trade', 'aggTrade', 'bookTicker', 'depth@100ms']
  const clients: { market: string; client: VenueClient }[] = []
  const scales = new Map<string, [number, number]>()
  for (const market of ['spot', 'coinm'] as const) {
    const base = simulator.urls[market]
    clients.push({
      market,
      client: await openClient(streamUrl(base?.ws as string, '', SYMBOLS[market] as readonly string[], kinds)),
    })
    const info = await (await fetch(`${base?.rest}${REST_PATHS[market]}/exchangeInfo`)).json()
    for (const { symbol, filters } of (info as { symbols: { symbol: string; filters: Record<string, string>[] }[] })
      .symbols) {
      const digits = (step: string): number => (step.split('.')[1] ?? '').replace(/0+$/, '').length
      scales.set(`${market} ${symbol}`, [
        digits(filters[0]?.tickSize as string),
        digits(filters[1]?.stepSize as string),
      ])
    }
  }
  await simulator.over
  await simulator.stop()
  await Promise.all(clients.map(({ client }) => client.closed))

  const rows = async (table: string): Promise<string[]> => {
    const { file, format, structure } = JSON.parse(await readFile(join(directory, `${table}.json`), 'utf8'))
    const columns = structure.map(({ name, type }: { name: string; type: string }) => `${name} ${type}`).join(', ')
    const from = `file('${join(directory, file)}', '${format}', '${columns.replaceAll("'", "\\'")}')`
    return query(
      `SELECT * EXCEPT (exchange${table === 'book_tickers' ? ', event_ms' : ''}) FROM ${from} WHERE exchange = 'binance'`,
      'TSV',
    )
      .trim()
      .split('\n')
      .sort()
  }
  const heard = (
    kind: string,
    row: (
      data: Record<string, never>,
      price: (text: string) => string,
      quantity: (text: string) => string,
      lead: string[],
    ) => (string | number)[],
  ): string[] =>
    clients
      .flatMap(({ market, client }) =>
        client.frames
          .filter(({ stream }) => stream.split('@')[1] === kind)
          .map(({ data }) => {
            const [priceScale, quantityScale] = scales.get(`${market} ${data.s}`) as [number, number]
            const lead = [market, data.s, String(priceScale), String(quantityScale)]
            return row(
              data,
              (text) => power(text, priceScale),
              (text) => power(text, quantityScale),
              lead,
            ).join('\t')
          }),
      )
      .sort()
  const tradeRow =
    (stream: string, idKey: string) =>
    (
      data: Record<string, never>,
      price: (text: string) => string,
      quantity: (text: string) => string,
      [market, symbol, ...both]: string[],
    ) => [
      market as string,
      symbol as string,
      stream,
      ...both,
      data.m ? 'sell' : 'buy',
      data[idKey] ?? '',
      price(data.p ?? ''),
      quantity(data.q ?? ''),
      data.T ?? '',
    ]
  const trades = [...heard('trade', tradeRow('trade', 't')), ...heard('aggTrade', tradeRow('agg_trade', 'a'))].sort()
  assert.ok(trades.length > 100)
  assert.deepEqual(await rows('trades'), trades)
  const tickers = heard('bookTicker', (data, price, quantity, lead) => [
    ...lead,
    data.u ?? '',
    price(data.b ?? ''),
    quantity(data.B ?? ''),
    price(data.a ?? ''),
    quantity(data.A ?? ''),
  ])
  assert.ok(tickers.length > 100)
  assert.deepEqual(await rows('book_tickers'), tickers)
  const sum = (levels: [string, string][], column: 0 | 1, digits: (text: string) => string): string =>
    String(levels.reduce((total, level) => total + BigInt(digits(level[column])), 0n))
  const deltas = heard('depth', (data, price, quantity, lead) => {
    const [bids, asks] = [data.b ?? [], data.a ?? []] as [string, string][][] as [
      [string, string][],
      [string, string][],
    ]
    const sums = [bids, asks].flatMap((side) => [sum(side, 0, price), sum(side, 1, quantity)])
    return [...lead, data.U ?? '', data.u ?? '', bids.length, asks.length, ...sums]
  })
  assert.ok(deltas.length > 20)
  assert.deepEqual(await rows('book_deltas'), deltas)
})

test('simulate digits: numbers should print as the language prints them', () => {
  const bytes = Buffer.alloc(64)
  const integer = (value: number): string => bytes.toString('latin1', 0, writeInteger(bytes, 0, value))
  const decimal = (mantissa: number, scale: number, decimals: number): string =>
    bytes.toString('latin1', 0, writeDecimal(bytes, 0, mantissa, scale, decimals))
  for (const value of [
    0,
    7,
    10,
    99,
    999_999_999,
    1_000_000_000,
    1_000_000_001,
    5_123_107_852_948,
    Number.MAX_SAFE_INTEGER,
  ]) {
    assert.equal(integer(value), String(value))
  }
  assert.equal(decimal(6_180_030, 2, 8), '61800.30000000')
  assert.equal(decimal(1, 5, 8), '0.00001000')
  assert.equal(decimal(35, 0, 0), '35')
  assert.equal(decimal(35, 0, 8), '35.00000000')
  assert.equal(decimal(Number.MAX_SAFE_INTEGER, 9, 9), '9007199.254740991')
})
