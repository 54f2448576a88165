import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { bybitFeed } from '../engine/exchanges/bybit/index.ts'
import type { Channel } from '../engine/exchanges/exchange.ts'
import { decodeBlock, rowsOf } from '../engine/record/decode.ts'
import { DATA } from '../engine/ring/frame.ts'
import { shardRig } from './support/shard-rig.ts'

/**
 * Every Bybit message of the shared data, with the row it gives or the reason why it gives none. The expected values are
 * those of the file as `JSON.parse` reads them: all of them are texts there, so nothing is rounded.
 */
const FOLDER = join(process.env['MARKETPRISM_RECORDINGS'] ?? '../shared/data', 'messages')
const rules = bybitFeed()
type Row = Record<string, unknown>
// biome-ignore lint/suspicious/noExplicitAny: files of many shapes
type Message = any

function rowsOfFrame(
  text: string,
  market: string,
): { rows: Row[]; count: (name: 'rejected') => number; reasons: string[] } {
  const rig = shardRig({ exchange: 'bybit', market, learnUnknown: true, live: false })
  rig.frame(DATA, text)
  rig.finish()
  const rows = rig.blocks.flatMap((block) => [...rowsOf(decodeBlock(block))])
  return { rows, count: rig.count, reasons: rig.shard.rejected.list().map(({ reason }) => reason) }
}

const of = (rows: Row[], table: string) => rows.filter((row) => row['table'] === table)
const ns = (ms: number | string) => `${ms}000000`
/** `1.500` and `1.5` are the same number. */
const plain = (text: string) => (text.includes('.') ? text.replace(/\.?0+$/, '') : text)
const texts = (...values: string[]) => values.map(plain)
const seen = (row: Row | undefined, ...columns: string[]) => columns.map((column) => row?.[column])

/** What each file of `nautilus/bybit` should come to; none is left out. */
const FILES: Readonly<Record<string, (message: Message, text: string) => void>> = {
  'ws_orderbook_snapshot.json': (message, text) => {
    const [row] = of(rowsOfFrame(text, 'linear').rows, 'book_tickers')
    const { b, a, u } = message.data
    assert.deepEqual(seen(row, 'event_ns', 'update_id', 'bid_price', 'bid_quantity', 'ask_price', 'ask_quantity'), [
      ns(message.ts),
      String(u),
      ...texts(...b[0], ...a[0]),
    ])
  },
  // Documentation's example of a change at level 1, which the venue does not send: level 1 comes whole. Refused, for a
  // change cannot be told from another level's.
  'ws_orderbook_delta.json': (_message, text) => {
    const { rows, reasons } = rowsOfFrame(text, 'linear')
    assert.deepEqual([of(rows, 'book_tickers'), reasons], [[], ['unknown_event']])
  },
  // A topic that does not exist in v5 (`trade.linear.`): refused; as `publicTrade.` it is a trade.
  'ws_public_trade.json': (message, text) => {
    assert.deepEqual(rowsOfFrame(text, 'linear').reasons, ['unknown_event'])
    const [row] = of(rowsOfFrame(text.replace('trade.linear.', 'publicTrade.'), 'linear').rows, 'trades')
    const { T, S, v, p, i } = message.data[0]
    assert.deepEqual(seen(row, 'trade_ns', 'event_ns', 'side', 'quantity', 'price', 'venue_trade_id', 'trade_id'), [
      ns(T),
      ns(message.ts),
      S.toLowerCase(),
      ...texts(v, p),
      i,
      '0',
    ])
  },
  // An open bar: no row. The same one closed is one.
  'ws_kline.json': (message, text) => {
    const open = rowsOfFrame(text, 'linear')
    assert.deepEqual([open.rows, open.count('rejected')], [[], 0])
    const [row] = of(rowsOfFrame(text.replace('false', 'true'), 'linear').rows, 'klines')
    const bar = message.data[0]
    assert.deepEqual(
      seen(row, 'interval', 'open_ns', 'close_ns', 'open', 'high', 'low', 'close', 'volume', 'quote_volume'),
      ['5m', ns(bar.start), ns(bar.end), ...texts(bar.open, bar.high, bar.low, bar.close, bar.volume, bar.turnover)],
    )
  },
  'ws_ticker_linear.json': (message, text) => {
    const { rows } = rowsOfFrame(text, 'linear')
    const { data } = message
    assert.deepEqual(
      seen(
        of(rows, 'tickers')[0],
        'last_price',
        'open_price',
        'high_price',
        'low_price',
        'volume',
        'quote_volume',
        'bid_price',
        'bid_quantity',
        'ask_price',
        'ask_quantity',
      ),
      texts(
        data.lastPrice,
        data.prevPrice24h,
        data.highPrice24h,
        data.lowPrice24h,
        data.volume24h,
        data.turnover24h,
        data.bid1Price,
        data.bid1Size,
        data.ask1Price,
        data.ask1Size,
      ),
    )
    assert.equal(of(rows, 'tickers')[0]?.['price_change_percent'], '1.7103') // of 0.017103
    assert.deepEqual(seen(of(rows, 'mark_prices')[0], 'mark_price', 'settle_price'), [data.markPrice, null])
    assert.deepEqual(seen(of(rows, 'index_prices')[0], 'index_price'), [data.indexPrice])
    assert.deepEqual(seen(of(rows, 'funding_rates')[0], 'funding_rate', 'funding_ns', 'interval_hours'), [
      data.fundingRate,
      ns(data.nextFundingTime),
      data.fundingIntervalHour,
    ])
    assert.deepEqual(seen(of(rows, 'open_interests')[0], 'open_interest', 'quote_open_interest', 'event_ns'), [
      data.openInterest,
      data.openInterestValue,
      ns(message.ts),
    ])
  },
  // Options are not collected (spot, linear and inverse are); what the message shares with the others is read exactly.
  'ws_ticker_option.json': (message, text) => {
    const { rows } = rowsOfFrame(text, 'linear')
    const { data } = message
    assert.deepEqual(
      seen(of(rows, 'tickers')[0], 'last_price', 'high_price', 'low_price', 'volume'),
      texts(data.lastPrice, data.highPrice24h, data.lowPrice24h, data.volume24h),
    )
    assert.deepEqual(seen(of(rows, 'mark_prices')[0], 'mark_price', 'settle_price'), [data.markPrice, null])
    assert.deepEqual(seen(of(rows, 'open_interests')[0], 'open_interest', 'quote_open_interest'), [
      data.openInterest,
      null,
    ])
  },
  'ws_subscription_ack.json': (message, text) => {
    assert.deepEqual(rules.readControl(new TextEncoder().encode(text)), {
      kind: 'acknowledged',
      tokens: [message.req_id],
    })
  },
  'ws_subscription_failure.json': (message, text) => {
    assert.deepEqual(rules.readControl(new TextEncoder().encode(text)), {
      kind: 'refused',
      tokens: [],
      reason: message.ret_msg,
    })
  },
  ...Object.fromEntries(
    ['linear', 'linear_symbol_type', 'inverse', 'inverse_symbol_type', 'spot', 'spot_xstocks'].map((name) => [
      `http_get_instruments_${name}.json`,
      (message: Message, text: string) => {
        const market = name.split('_')[0] as string
        const instruments = rules.readInstruments(market, text)
        const digits = (step: string) => (plain(step).split('.')[1] ?? '').length
        assert.deepEqual(
          instruments.map((got) => [
            got.symbol,
            got.base,
            got.quote,
            got.settle,
            got.tickSize,
            got.lotSize,
            got.priceScale,
            got.quantityScale,
            got.isTrading,
            got.kind,
          ]),
          message.result.list.map((entry: Message) => {
            const lot = entry.lotSizeFilter.qtyStep ?? entry.lotSizeFilter.basePrecision
            const kind = market === 'spot' ? 'spot' : 'perpetual'
            return [
              entry.symbol,
              entry.baseCoin,
              entry.quoteCoin,
              entry.settleCoin,
              entry.priceFilter.tickSize,
              lot,
              digits(entry.priceFilter.tickSize),
              digits(lot),
              true,
              kind,
            ]
          }),
        )
        assert.equal(rules.nextInstrumentsRequest?.(market, text), undefined)
      },
    ]),
  ),
}

/** Files that nothing here asks the venue for. */
const NOT_ASKED: Readonly<Record<string, string>> = {
  'http_get_funding_history.json': 'funding comes with the ticker stream',
  'http_get_klines_linear.json': 'bars come by stream',
  'http_get_orderbook.json': 'books start in the stream',
  'http_get_trades_recent.json': 'has no numbers to repair a gap by',
  'http_get_instruments_option.json': 'options are not collected',
  'http_get_instruments_option_symbol_id.json': 'options are not collected',
}

function folder(t: TestContext, name: string): string | undefined {
  const path = join(FOLDER, name)
  if (existsSync(path)) return path
  t.skip(`no messages at ${path}: set MARKETPRISM_RECORDINGS`)
  return undefined
}

for (const [name, check] of Object.entries(FILES)) {
  test(`message ${name} should give its row, every number exact`, (t) => {
    const path = folder(t, 'nautilus/bybit')
    if (path === undefined) return
    const text = readFileSync(join(path, name), 'utf8')
    check(JSON.parse(text), text)
  })
}

test('every Bybit message should be read, or have a reason why it is not', (t) => {
  const path = folder(t, 'nautilus/bybit')
  if (path === undefined) return
  assert.deepEqual(readdirSync(path).sort(), [...Object.keys(FILES), ...Object.keys(NOT_ASKED)].sort())
  const asked = (['book', 'klines', 'funding_rates'] as Channel[]).flatMap((channel) =>
    (rules.markets['linear']?.polls ?? []).filter((rule) => rule.channel === channel),
  )
  assert.deepEqual(asked, [])
})

test('recorded liquidations should name the side of the closing order', (t) => {
  const path = folder(t, 'live-2026')
  if (path === undefined) return
  const lines = readFileSync(join(path, 'liquidations.jsonl'), 'utf8').trim().split('\n')
  const messages = lines.map((line) => JSON.parse(line) as Message).filter(({ exchange }) => exchange === 'bybit')
  assert.equal(messages.length, 2)
  for (const { raw, note } of messages) {
    const rows = of(rowsOfFrame(JSON.stringify(raw), 'linear').rows, 'liquidations')
    const side = /LONG/.test(note) ? 'sell' : 'buy' // a liquidated long is sold
    assert.deepEqual(
      rows.map((row) => seen(row, 'liquidation_ns', 'event_ns', 'side', 'price', 'quantity')),
      raw.data.map((entry: Message) => [ns(entry.T), ns(raw.ts), side, ...texts(entry.p, entry.v)]),
    )
  }
})
