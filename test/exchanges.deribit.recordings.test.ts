import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { deribitFeed } from '../engine/exchanges/deribit/index.ts'
import { DATA } from '../engine/ring/frame.ts'
import { summarise } from '../workers/shard-summary.ts'
import { DeribitRig } from './support/deribit.ts'
import { shardRig } from './support/shard-rig.ts'

/**
 * Recorded frames against the truth that a separate slow script computed from them, and against what JSON.parse and
 * BigInt make of each single message.
 */
const RECORDINGS = process.env['MARKETPRISM_RECORDINGS'] ?? '../shared/data'
const CAPTURE = join(RECORDINGS, 'recordings/cryptofeed/DERIBIT.ws.1.0.gz')
const MESSAGES = join(RECORDINGS, 'messages')

function missing(t: TestContext, path: string): boolean {
  if (!existsSync(path)) t.skip(`no recording at ${path}: set MARKETPRISM_RECORDINGS`)
  return !existsSync(path)
}

/** `<seconds>: <frame>` a line; what the client did is marked with an arrow. */
function capturedFrames(): string[] {
  const lines = gunzipSync(readFileSync(CAPTURE)).toString('utf8').split('\n')
  return lines.filter((line) => /^\d+(\.\d+)?: /.test(line)).map((line) => line.slice(line.indexOf(' ') + 1))
}

// biome-ignore lint/suspicious/noExplicitAny: a file of another program
type Truth = Record<string, Record<string, any>>
const truthOf = (): Truth => JSON.parse(readFileSync(join(RECORDINGS, 'truth/cryptofeed_DERIBIT.json'), 'utf8')).symbols

/** Plain notation without trailing zeros, of any spelling. */
function canonical(text: string): string {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text)
  assert.ok(match, `no number: ${text}`)
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match
  const places = fraction.length - Number(exponent)
  const digits = (whole + fraction + '0'.repeat(Math.max(0, -places))).padStart(Math.max(0, places) + 1, '0')
  const cut = digits.length - Math.max(0, places)
  const head = digits.slice(0, cut).replace(/^0+(?=\d)/, '')
  const tail = digits.slice(cut).replace(/0+$/, '')
  return `${sign}${head}${tail === '' ? '' : `.${tail}`}`
}

// biome-ignore lint/suspicious/noExplicitAny: frames of another program
type Said = any

/** JSON whose numbers are canonical text. */
function said(frame: string): Said {
  const numbers = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g
  return JSON.parse(frame.replace(numbers, (token) => (token.startsWith('"') ? token : `"${canonical(token)}"`)))
}

test('deribit parser and a naive book should come to the truth of a captured connection', (t) => {
  if (missing(t, CAPTURE)) return
  const rig = new DeribitRig()
  const books = new Map<string, { seq: number; applied: number; sides: [Map<string, string>, Map<string, string>] }>()
  const tickers = new Map<string, number>()
  for (const frame of capturedFrames()) {
    const { outcome, events } = rig.parse(frame)
    assert.equal(outcome, frame.includes('"result"') ? 'control' : '', frame.slice(0, 200))
    for (const event of events as Said[]) {
      if (event.table === 'tickers') tickers.set(event.symbol, (tickers.get(event.symbol) ?? 0) + 1)
      if (event.table !== 'book') continue
      const applied = (books.get(event.symbol)?.applied ?? 0) + 1
      if (event.isSnapshot) books.set(event.symbol, { seq: 0, applied, sides: [new Map(), new Map()] })
      const book = books.get(event.symbol)
      assert.ok(book && (event.isSnapshot || event.prevSeq === book.seq))
      Object.assign(book, { seq: event.lastSeq, applied })
      for (const [side, levels] of [event.bids, event.asks].entries())
        for (const [price, quantity] of levels)
          quantity === '0' ? book.sides[side]?.delete(price) : book.sides[side]?.set(price, quantity)
    }
  }
  const truth = truthOf()
  assert.equal(books.size, Object.keys(truth).length)
  for (const [symbol, expected] of Object.entries(truth)) {
    const book = books.get(symbol)
    assert.ok(book)
    const [bids, asks] = book.sides.map((side) => [...side].sort(([a], [b]) => Number(a) - Number(b)))
    assert.deepEqual(bids?.reverse(), expected['final'].bids, symbol)
    assert.deepEqual(asks, expected['final'].asks, symbol)
    assert.equal(String(book.seq), expected['last_applied'].change_id)
    assert.equal(book.applied, expected['applied'])
    assert.equal(tickers.get(symbol), expected['ticker'].count)
  }
})

test('deribit books of a shard should be those of the truth', (t) => {
  if (missing(t, CAPTURE)) return
  const rig = shardRig({ exchange: 'deribit', market: '', learnUnknown: true, live: false })
  for (const frame of capturedFrames()) rig.frame(DATA, frame)
  rig.finish()
  assert.equal(rig.count('rejected'), 0)
  const { instruments } = summarise(rig.shard)
  const truth = truthOf()
  assert.equal(Object.keys(instruments).length, Object.keys(truth).length)
  for (const [symbol, expected] of Object.entries(truth)) {
    const got = instruments[`deribit.option.${symbol}`]
    assert.ok(got, symbol)
    assert.equal(got.state, 'LIVE')
    assert.equal(got.gaps, 0)
    assert.equal(got.lastSeq, expected['last_applied'].change_id)
    assert.deepEqual(got.bids, expected['final'].bids)
    assert.deepEqual(got.asks, expected['final'].asks)
    for (const table of ['tickers', 'mark_prices', 'index_prices', 'open_interests'])
      assert.equal(got.kinds[table], expected['ticker'].count, `${symbol} ${table}`)
  }
})

// ---- single messages

/** What the rows of a notification must say, from its own words. */
function expectedOf(frame: Said): Record<string, Said> {
  const { channel, data } = frame.params
  const ms = (time: string): bigint => BigInt(time) * 1_000_000n
  switch (channel.split('.')[0]) {
    case 'book': {
      const side = (levels: Said[]) =>
        levels.map(([action, price, amount]) => [price, action === 'delete' ? '0' : amount])
      return {
        book: [
          {
            symbol: data.instrument_name,
            eventMs: Number(data.timestamp),
            isSnapshot: data.type === 'snapshot',
            lastSeq: Number(data.change_id),
            prevSeq: Number(data.prev_change_id ?? 0),
            bids: side(data.bids),
            asks: side(data.asks),
          },
        ],
      }
    }
    case 'trades':
      return {
        trades: data.map((trade: Said) => ({
          symbol: trade.instrument_name,
          tradeMs: Number(trade.timestamp),
          seq: [Number(trade.trade_seq), Number(trade.trade_seq)],
          ...(/^\d+$/.test(trade.trade_id) ? { tradeId: Number(trade.trade_id) } : { venueTradeId: trade.trade_id }),
          price: trade.price,
          quantity: trade.amount,
          side: trade.direction,
          liquidation: 'none',
        })),
      }
    case 'quote':
      return {
        book_tickers: [
          {
            symbol: data.instrument_name,
            eventMs: Number(data.timestamp),
            bid: [data.best_bid_price, data.best_bid_amount],
            ask: [data.best_ask_price, data.best_ask_amount],
          },
        ],
      }
    case 'ticker': {
      const head = { symbol: data.instrument_name, event_ns: ms(data.timestamp) }
      const isInverse = /^[A-Z]+-PERPETUAL$/.test(data.instrument_name)
      const pick = (from: Said, ...keys: [string, string][]) =>
        Object.fromEntries(
          keys.filter(([, theirs]) => from?.[theirs] !== undefined).map(([ours, theirs]) => [ours, from[theirs]]),
        )
      return {
        tickers: [
          {
            ...head,
            ...pick(
              data,
              ['last_price', 'last_price'],
              ['bid_price', 'best_bid_price'],
              ['bid_quantity', 'best_bid_amount'],
            ),
            ...pick(
              data,
              ['ask_price', 'best_ask_price'],
              ['ask_quantity', 'best_ask_amount'],
              ['price_min', 'min_price'],
            ),
            ...pick(data, ['price_max', 'max_price'], ['settlement_price', 'settlement_price'], ['mark_iv', 'mark_iv']),
            ...pick(data, ['bid_iv', 'bid_iv'], ['ask_iv', 'ask_iv'], ['underlying_price', 'underlying_price']),
            ...pick(data, ['interest_rate', 'interest_rate']),
            ...pick(data.stats, ['high_price', 'high'], ['low_price', 'low'], ['base_volume', 'volume']),
            ...pick(data.stats, ['price_change_percent', 'price_change'], ['quote_volume', 'volume_notional']),
            volume: isInverse ? data.stats.volume_usd : data.stats.volume,
            ...pick(
              data.greeks,
              ['delta', 'delta'],
              ['gamma', 'gamma'],
              ['vega', 'vega'],
              ['theta', 'theta'],
              ['rho', 'rho'],
            ),
          },
        ],
        mark_prices: [{ ...head, mark_price: data.mark_price, settle_price: data.estimated_delivery_price }],
        index_prices: [{ ...head, index_price: data.index_price }],
        open_interests: [{ ...head, open_interest: data.open_interest }],
        ...(data.current_funding === undefined
          ? {}
          : { funding_rates: [{ ...head, funding_rate: data.current_funding, funding_rate_8h: data.funding_8h }] }),
      }
    }
    case 'deribit_volatility_index':
      return {
        volatility_indices: [{ symbol: data.index_name, event_ns: ms(data.timestamp), volatility: data.volatility }],
      }
    default:
      return {}
  }
}

/** Messages that give no row, and why. */
const ROWLESS: readonly (readonly [RegExp, string, string])[] = [
  [
    /ws_book_grouped_snapshot/,
    'other_event',
    'the top of a book without a chain: book.X.{interval} is what we ask for',
  ],
  [/ws_chart/, 'open_kline', 'a bar in progress becomes a row when the next one begins'],
  [/ws_(error|subscribe_response|test_request)/, 'control', 'answers and heartbeats'],
]

/** The numbers of rows of rare kinds are the venue's text. */
const plain = (value: unknown): unknown =>
  typeof value === 'string' && /^-?\d/.test(value) && !/^\d+[A-Z]/.test(value) ? canonical(value) : value

function assertRows(frame: string, name: string): void {
  const { outcome, events } = new DeribitRig().parse(frame)
  const rowless = ROWLESS.find(([pattern]) => pattern.test(name))
  if (rowless !== undefined) return assert.deepEqual({ outcome, events }, { outcome: rowless[1], events: [] }, name)
  assert.equal(outcome, '', name)
  const got: Record<string, object[]> = {}
  for (const { table, ...row } of events) {
    const known = Object.entries(row).map(([key, value]) => [key, plain(value)])
    const list = got[table as string] ?? []
    list.push(Object.fromEntries(known))
    got[table as string] = list
  }
  const expected = expectedOf(said(frame))
  assert.deepEqual(Object.keys(got).sort(), Object.keys(expected).sort(), name)
  for (const [table, rows] of Object.entries(expected)) {
    assert.equal(got[table]?.length, rows.length, `${name} ${table}`)
    for (const [index, row] of rows.entries()) {
      const full = got[table]?.[index] as Record<string, unknown>
      assert.deepEqual(Object.fromEntries(Object.keys(row).map((key) => [key, full[key]])), row, `${name} ${table}`)
    }
  }
}

test('deribit parser should make the rows of every recorded message', (t) => {
  if (missing(t, MESSAGES)) return
  const lines = (file: string) =>
    readFileSync(join(MESSAGES, file), 'utf8')
      .split('\n')
      .filter((line) => line.trim() !== '')
  let count = 0
  for (const file of ['live-2026/deribit_perp_and_option.jsonl', 'gocryptotrader/deribit_trades.jsonl'])
    for (const line of lines(file)) {
      assertRows(line, file)
      count++
    }
  for (const file of readdirSync(join(MESSAGES, 'nautilus/deribit')).filter((name) => name.startsWith('ws_'))) {
    assertRows(readFileSync(join(MESSAGES, 'nautilus/deribit', file), 'utf8'), file)
    count++
  }
  assert.equal(count, 9 + 2 + 11)
})

test('deribit should read every recorded answer of REST that it asks for', (t) => {
  const folder = join(MESSAGES, 'nautilus/deribit')
  if (missing(t, folder)) return
  const body = (name: string): string => readFileSync(join(folder, `${name}.json`), 'utf8')
  const feed = deribitFeed()
  assert.equal(feed.readServerTime(body('http_get_time')), said(body('http_get_time')).result / 1)
  const entries = said(body('http_get_instruments')).result as Said[]
  for (const market of ['perpetual', 'future', 'option']) {
    const names = entries.filter(({ instrument_name: name }) => feed.markets[market] && marketWord(name) === market)
    const got = feed.readInstruments(market, body('http_get_instruments'))
    assert.deepEqual(
      got.map(({ symbol }) => symbol),
      names.map(({ instrument_name: name }) => name),
    )
    for (const [index, entry] of names.entries()) {
      assert.equal(canonical(got[index]?.tickSize ?? ''), entry.tick_size)
      assert.equal(canonical(got[index]?.lotSize ?? ''), entry.min_trade_amount)
      assert.equal(got[index]?.underlying, entry.price_index)
      assert.equal(got[index]?.expiryMs, market === 'perpetual' ? undefined : Number(entry.expiration_timestamp))
    }
  }
  const rig = new DeribitRig(['ETH-PERPETUAL'])
  const bytes = new TextEncoder().encode(body('http_get_last_trades'))
  assert.equal(rig.parser.parseTrades('trades', bytes, 0, bytes.length, 0), '')
  const trades = said(body('http_get_last_trades')).result.trades as Said[]
  assert.deepEqual(
    (rig.collector.events as Said[]).map(({ seq, venueTradeId, price, quantity, side, tradeMs }) => [
      String(seq[0]),
      venueTradeId,
      price,
      quantity,
      side,
      String(tradeMs),
    ]),
    trades.map((trade) => [
      trade.trade_seq,
      trade.trade_id,
      trade.price,
      trade.amount,
      trade.direction,
      trade.timestamp,
    ]),
  )
})

function marketWord(name: string): string {
  if (name.endsWith('-PERPETUAL')) return 'perpetual'
  return /-[CP]$/.test(name) ? 'option' : name.includes('COMBO') ? 'combo' : 'future'
}

test('deribit should read the whole list of instruments of a day', (t) => {
  const file = join(RECORDINGS, 'recordings/cryptofeed/DERIBIT.0.gz')
  if (missing(t, file)) return
  const feed = deribitFeed()
  const bodies = gunzipSync(readFileSync(file))
    .toString('utf8')
    .split('\n')
    .filter((line) => line.includes('/get_instruments'))
  assert.ok(bodies.length > 0)
  for (const line of bodies) {
    const body = line.slice(line.indexOf('{'))
    const entries = JSON.parse(body).result as {
      instrument_name: string
      tick_size: number
      min_trade_amount: number
    }[]
    const got = ['perpetual', 'future', 'option'].flatMap((market) => feed.readInstruments(market, body))
    assert.equal(got.length, entries.length)
    for (const entry of entries) {
      const instrument = got.find(({ symbol }) => symbol === entry.instrument_name)
      assert.equal(instrument?.market, marketWord(entry.instrument_name))
      assert.equal(Number(instrument?.tickSize), entry.tick_size)
      assert.ok(Number.isInteger(Math.round(entry.tick_size * 10 ** (instrument?.priceScale ?? 0) * 1e6) / 1e6))
    }
  }
})
