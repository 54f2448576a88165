import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { BinanceParser } from '../engine/exchanges/binance/parse.ts'
import { KindCollector, plain } from './support/kind-collector.ts'

/**
 * Every recorded or documented Binance message: the right row with exact numbers, or the reason why there is none. The
 * oracle is JSON.parse and the venue's pages; numbers that matter come as text, so that none is lost.
 */
const RECORDINGS = process.env['MARKETPRISM_RECORDINGS'] ?? '../shared/data'
const read = (path: string) => readFileSync(join(RECORDINGS, path), 'utf8')
const isThere = existsSync(join(RECORDINGS, 'messages'))
const skip = isThere ? false : `no messages at ${join(RECORDINGS, 'messages')}: set MARKETPRISM_RECORDINGS`

type Json = Record<string, unknown>
type Row = readonly [table: string, symbol: string, cells: Record<string, string>]

const ms = (value: unknown) => `${value}000000`
/** Rows with every cell as text and no empty cell, so that both sides can be compared. */
const cells = (row: Json): Record<string, string> =>
  Object.fromEntries(
    Object.entries(row)
      .filter(([, cell]) => cell !== null && cell !== undefined && cell !== '')
      .map(([name, cell]) => [name, String(cell)]),
  )

// ---- what the pages say

function expectedRows(event: Json, market: string): Row[] {
  const inverse = market === 'coinm'
  const symbol = event['s'] as string
  const event_ns = ms(event['E'])
  switch (event['e']) {
    case 'markPriceUpdate':
      return [
        [
          'mark_prices',
          symbol,
          cells({ event_ns, mark_price: event['p'], settle_price: event['P'], average_price: event['ap'] }),
        ],
        ...(event['i'] ? [['index_prices', symbol, cells({ event_ns, index_price: event['i'] })] as const] : []),
        ...(event['r']
          ? [
              [
                'funding_rates',
                symbol,
                cells({ event_ns, funding_rate: event['r'], funding_ns: ms(event['T']) }),
              ] as const,
            ]
          : []),
      ]
    case 'kline': {
      const k = event['k'] as Json
      if (k['x'] !== true) return []
      const turnover = inverse
        ? { base_volume: k['q'], taker_buy_base_volume: k['Q'] }
        : { quote_volume: k['q'], taker_buy_quote_volume: k['Q'] }
      const bar = { open: k['o'], high: k['h'], low: k['l'], close: k['c'], volume: k['v'], taker_buy_volume: k['V'] }
      const times = { event_ns, open_ns: ms(k['t']), close_ns: ms(k['T']) }
      return [['klines', symbol, cells({ ...times, interval: k['i'], ...bar, trade_count: k['n'], ...turnover })]]
    }
    case '24hrTicker':
      return [
        [
          'tickers',
          symbol,
          cells({
            event_ns,
            last_price: event['c'],
            last_quantity: event['Q'],
            open_price: event['o'],
            high_price: event['h'],
            low_price: event['l'],
            price_change: event['p'],
            price_change_percent: event['P'],
            average_price: event['w'],
            volume: event['v'],
            [inverse ? 'base_volume' : 'quote_volume']: event['q'],
            trade_count: event['n'],
            bid_price: event['b'],
            bid_quantity: event['B'],
            ask_price: event['a'],
            ask_quantity: event['A'],
          }),
        ],
      ]
    case 'forceOrder': {
      const o = event['o'] as Json
      return [
        [
          'liquidations',
          o['s'] as string,
          cells({
            event_ns,
            liquidation_ns: ms(o['T']),
            side: String(o['S']).toLowerCase(),
            price: o['p'],
            average_price: o['ap'],
            quantity: o['q'],
            filled_quantity: o['z'],
            status: o['X'],
          }),
        ],
      ]
    }
    default:
      return []
  }
}

/** Trade, book ticker or depth of a hot kind as the collector shows it. */
function expectedHot(event: Json): Json | undefined {
  const symbol = event['s']
  const price = plain(String(event['p']))
  const quantity = plain(String(event['q']))
  const side = event['m'] === true ? 2 : 1
  if (event['e'] === 'trade')
    return { symbol, tradeId: event['t'], tradeMs: event['T'], price, quantity, side, stream: 1 }
  if (event['e'] === 'aggTrade')
    return {
      symbol,
      tradeId: event['a'],
      firstTradeId: event['f'],
      lastTradeId: event['l'],
      tradeMs: event['T'],
      price,
      quantity,
      side,
      stream: 2,
    }
  const levels = (list: unknown) => (list as string[][]).map((level) => level.map((each) => plain(each)))
  if (event['e'] === 'depthUpdate') return { symbol, bids: levels(event['b']), asks: levels(event['a']) }
  const [bid, ask] = levels([
    [event['b'], event['B']],
    [event['a'], event['A']],
  ])
  return { symbol, updateId: event['u'], bid, ask }
}

const HOT = new Set(['trade', 'aggTrade', 'depthUpdate', 'bookTicker'])
/** Understood, and no row: nobody subscribes them. Each with its reason. */
const NO_ROW: Readonly<Record<string, string>> = {
  '24hrMiniTicker': 'rolling_ticker', // what it says is in the 24 h ticker
  '1hTicker': 'rolling_ticker', // another window than the table's 24 h
  continuous_kline: 'kline', // of a chain of contracts, not of an instrument
  compositeIndex: 'other_event', // how an index is made up
  contractInfo: 'other_event', // a change of an instrument; the list of instruments is asked for instead
}

function send(parser: BinanceParser, text: string) {
  const bytes = Buffer.from(text)
  return parser.parse(bytes, 0, bytes.length)
}

function check(text: string, market: string, say: string): string {
  const frame = JSON.parse(text) as Json
  const event = ('data' in frame ? frame['data'] : frame) as Json
  const collector = new KindCollector()
  const outcome = send(new BinanceParser(collector, market), text)
  const rows = collector.rows.map(({ table, symbol, row }) => [table, symbol, cells(row)])
  const word = String(event['e'] ?? ('u' in event ? 'bookTicker' : ''))
  if (HOT.has(word)) {
    assert.equal(outcome, '', say)
    const [got, ...more] = [...collector.trades, ...collector.tickers, ...collector.depths] as Json[]
    assert.deepEqual(more, [], say)
    const expected = expectedHot(event) as Json
    assert.deepEqual(Object.fromEntries(Object.keys(expected).map((key) => [key, got?.[key]])), expected, say)
    return word
  }
  const expected = expectedRows(event, market)
  assert.deepEqual(rows, expected, say)
  if (expected.length > 0) assert.equal(outcome, '', say)
  else if (word === 'kline') assert.equal(outcome, 'open_kline', say)
  else if (Array.isArray(event)) assert.equal(outcome, 'type', `${say}: lists of all symbols are not subscribed`)
  else if (word === '') assert.equal(outcome, 'unknown_event', `${say}: depth5 of spot names neither event nor symbol`)
  else assert.equal(outcome, NO_ROW[word], say)
  return word
}

test('Binance messages of 2026 should give the rows of their numbers', { skip }, () => {
  const marks = read('messages/live-2026/binance_usdm_markprice.jsonl').trim().split('\n')
  for (const line of marks) assert.equal(check(line, 'usdm', line), 'markPriceUpdate')
  const liquidations = read('messages/live-2026/liquidations.jsonl')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { exchange: string; raw: Json })
    .filter(({ exchange }) => exchange.startsWith('binance'))
  for (const { raw } of liquidations)
    assert.equal(check(JSON.stringify(raw), 'usdm', JSON.stringify(raw)), 'forceOrder')
  assert.deepEqual([marks.length, liquidations.length], [5, 2])
})

test('Binance documented stream messages should give rows, or a reason why not', { skip }, () => {
  const seen: string[] = []
  const folder = 'messages/nautilus/binance'
  for (const file of readdirSync(join(RECORDINGS, folder)).filter((name) => name.includes('stream')))
    seen.push(check(read(join(folder, file)), 'usdm', file))
  for (const each of jkorf().filter(({ kind }) => kind === 'ws'))
    seen.push(check(JSON.stringify(each.raw), each.file.includes('/Spot/') ? 'spot' : 'usdm', each.file))
  assert.equal(seen.length, 29)
  assert.equal(new Set(seen).size, 14)
})

// ---- REST

interface Fixture {
  readonly file: string
  readonly kind: string
  readonly path: string
  readonly raw: unknown
}

function jkorf(): Fixture[] {
  return JSON.parse(read('messages/jkorf/binance.json')) as Fixture[]
}

const SCOPES: Readonly<Record<string, string>> = {
  topLongShortPositionRatio: 'top_positions',
  topLongShortAccountRatio: 'top_accounts',
  globalLongShortAccountRatio: 'all_accounts',
}

/** @returns whether this is an answer that we ask for. */
function checkRest(path: string, body: unknown, say: string): boolean {
  const market = path.startsWith('/dapi') ? 'coinm' : path.startsWith('/api') ? 'spot' : 'usdm'
  const collector = new KindCollector()
  const parser = new BinanceParser(collector, market)
  const bytes = Buffer.from(JSON.stringify(body))
  const last = path.slice(path.lastIndexOf('/') + 1)
  const rows = () => collector.rows.map(({ table, row }) => [table, cells(row)])
  if (last === 'openInterest') {
    const { symbol, openInterest, time } = body as Json
    const instrument = collector.instrumentOf(symbol as string)
    assert.equal(parser.parsePoll('open_interest', bytes, 0, bytes.length, instrument), '', say)
    assert.deepEqual(rows(), [['open_interests', cells({ event_ns: ms(time), open_interest: openInterest })]], say)
  } else if (last in SCOPES) {
    const list = body as Json[]
    const instrument = collector.instrumentOf((list[0]?.['symbol'] ?? 'BTCUSD_PERP') as string)
    const scope = SCOPES[last] as string
    assert.equal(parser.parsePoll(`${scope}_ratio`, bytes, 0, bytes.length, instrument), '', say)
    const expected = list.map((entry) => [
      'long_short_ratios',
      cells({
        event_ns: ms(entry['timestamp']),
        scope,
        period: '5m', // the answer does not say, the name of the poll does
        ratio: entry['longShortRatio'],
        long_share: entry['longAccount'] ?? entry['longPosition'],
        short_share: entry['shortAccount'] ?? entry['shortPosition'],
      }),
    ])
    assert.ok(expected.length > 0, say)
    assert.deepEqual(rows(), expected, say)
  } else if (last === 'aggTrades') {
    const list = body as Json[]
    const instrument = collector.instrumentOf('BTCUSDT')
    const outcome = parser.parseTrades('agg_trades', bytes, 0, bytes.length, instrument)
    // who recorded these lost the name of `m` in some answers: without the side there is no trade
    if (list.some((entry) => !('m' in entry))) {
      assert.equal(outcome, 'missing_key', say)
      return true
    }
    assert.equal(outcome, '', say)
    assert.deepEqual(
      collector.trades.map(({ tradeId, firstTradeId, lastTradeId, tradeMs, price, quantity, side }) => [
        tradeId,
        firstTradeId,
        lastTradeId,
        tradeMs,
        price,
        quantity,
        side,
      ]),
      list.map((entry) => [
        entry['a'],
        entry['f'],
        entry['l'],
        entry['T'],
        plain(String(entry['p'])),
        plain(String(entry['q'])),
        entry['m'] === true ? 2 : 1,
      ]),
      say,
    )
  } else if (path === '/api/v3/historicalTrades') {
    const list = body as Json[]
    assert.equal(parser.parseTrades('trades', bytes, 0, bytes.length, collector.instrumentOf('BTCUSDT')), '', say)
    assert.deepEqual(
      collector.trades.map(({ tradeId, tradeMs, price, quantity, side }) => [tradeId, tradeMs, price, quantity, side]),
      list.map((entry) => [
        entry['id'],
        entry['time'],
        plain(String(entry['price'])),
        plain(String(entry['qty'])),
        entry['isBuyerMaker'] === true ? 2 : 1,
      ]),
      say,
    )
  } else if (last === 'depth') {
    const { bids, asks } = body as { bids: string[][]; asks: string[][] }
    const instrument = collector.instrumentOf('BTCUSDT')
    assert.equal(parser.parseSnapshot(bytes, 0, bytes.length, instrument, collector.depth), '', say)
    collector.onDepth()
    const levels = (list: string[][]) =>
      list.map(([price, quantity]) => [plain(price as string), plain(quantity as string)])
    assert.deepEqual(collector.depths, [{ symbol: 'BTCUSDT', bids: levels(bids), asks: levels(asks) }], say)
  } else return false
  return true
}

/** Read on the network side: test of the feed. */
const ELSEWHERE = /\/(exchangeInfo|ticker\/24hr|time)$/
/** Not asked for: a stream has it, nobody wants it, or (single trades of futures) it needs a key. */
const NOT_ASKED =
  /klines$|\/trades$|historicalTrades$|premiumIndex$|funding(Rate|Info)$|indexInfo$|\/ticker(\/\w+)?$|avgPrice$|openInterestHist$|basis$|taker\w+$|constituents$|assetIndex$|insuranceBalance$|executionRules$|referencePrice|^\/sapi/i

test('Binance recorded REST answers of our endpoints should give rows, the others be known', { skip }, () => {
  const recorded = JSON.parse(read('rest/binance_recorded_rest.json')) as {
    path: string
    query: string
    body: unknown
  }[]
  const fixtures = jkorf().filter(({ kind }) => kind === 'rest')
  let ours = 0
  const answers = [
    ...recorded.map(({ path, query, body }) => ({ path, body, say: `${path}?${query}` })),
    ...fixtures.map(({ path, raw, file }) => ({ path, body: raw, say: file })),
  ]
  for (const { path, body, say } of answers) {
    if (ELSEWHERE.test(path)) continue
    if (checkRest(path, body, say)) ours++
    else assert.match(path, NOT_ASKED)
  }
  assert.equal(recorded.length, 116)
  assert.equal(ours, 58)
})

// ---- recordings

interface Tally {
  count: number
  first_id: number
  last_id: number
}

const lines = (path: string) =>
  gunzipSync(readFileSync(join(RECORDINGS, path)))
    .toString('utf8')
    .split('\n')

test('Binance mark prices of a recording should be the truth, the last one to the digit', { skip }, () => {
  const truth = JSON.parse(read('truth/usdm_btcusdt_20230404.json')).symbols.BTCUSDT.markPrice
  const collector = new KindCollector()
  const parser = new BinanceParser(collector, 'usdm')
  for (const line of lines('recordings/hftbacktest/usdm_btcusdt_20230404.gz'))
    if (line.includes('@markPrice')) assert.equal(send(parser, line.slice(line.indexOf(' ') + 1)), '')
  const of = (table: string) => collector.rows.filter((row) => row.table === table).map(({ row }) => row)
  for (const table of ['mark_prices', 'index_prices', 'funding_rates']) assert.equal(of(table).length, truth.count)
  const { mark, index, funding, next_funding, E } = truth.last
  assert.equal(plain(String(of('mark_prices').at(-1)?.['mark_price'])), mark)
  assert.equal(plain(String(of('index_prices').at(-1)?.['index_price'])), index)
  assert.deepEqual(of('funding_rates').at(-1), {
    event_ns: BigInt(E) * 1_000_000n,
    funding_rate: funding,
    funding_ns: BigInt(next_funding) * 1_000_000n,
  })
})

for (const [name, market, bars] of [
  ['BINANCE', 'spot', 0],
  ['BINANCE_FUTURES', 'usdm', 4],
  ['BINANCE_DELIVERY', 'coinm', 0],
] as const) {
  test(`Binance bars and trades of ${name} should be the truth`, { skip }, () => {
    const { symbols } = JSON.parse(read(`truth/cryptofeed_${name}.json`))
    const collector = new KindCollector()
    const parser = new BinanceParser(collector, market)
    let closed = 0
    for (const line of lines(`recordings/cryptofeed/${name}.ws.1.0.gz`)) {
      if (!/^[\d.]+: /.test(line)) continue
      const text = line.slice(line.indexOf(': ') + 2)
      if (!text.includes('@kline') && !text.includes('@aggTrade')) continue
      const { data } = JSON.parse(text) as { data: Json }
      const before = collector.rows.length
      const isOpen = data['e'] === 'kline' && (data['k'] as Json)['x'] === false
      assert.equal(send(parser, text), isOpen ? 'open_kline' : '')
      if (data['e'] !== 'kline') continue
      const rows = collector.rows.slice(before).map(({ table, symbol, row }) => [table, symbol, cells(row)])
      assert.deepEqual(rows, expectedRows(data, market))
      closed += rows.length
    }
    assert.equal(closed, bars)
    for (const [symbol, expected] of Object.entries(symbols as Record<string, { trades?: { aggTrade?: Tally } }>)) {
      const truth = expected.trades?.aggTrade
      const got = collector.trades.filter((trade) => trade['symbol'] === symbol).map((trade) => trade['tradeId'])
      assert.deepEqual(
        [got.length, got[0], got.at(-1)],
        truth ? [truth.count, truth.first_id, truth.last_id] : [0, undefined, undefined],
        symbol,
      )
    }
  })
}
