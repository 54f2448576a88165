import assert from 'node:assert/strict'
import { test } from 'node:test'
import { APPLY, GAP, STALE } from '../engine/book/chain.ts'
import { DERIBIT_FEED_DEFAULTS, DERIBIT_READ, deribitFeed } from '../engine/exchanges/deribit/index.ts'
import type { Channel, Instrument } from '../engine/exchanges/exchange.ts'
import { instrumentOf } from './support/shard-rig.ts'

const feed = deribitFeed()
const bytesOf = (value: unknown): Uint8Array =>
  new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value))
const control = (value: unknown) => feed.readControl(bytesOf(value))
const namesOf = (id: string, channel: Channel, rules = feed): readonly string[] =>
  rules.streams(instrumentOf(id), channel).map(({ name }) => name)

test('deribit should tell the market of a symbol by its name', () => {
  const markets: Record<string, string | undefined> = {
    'BTC-PERPETUAL': 'perpetual',
    'BTC_USDC-PERPETUAL': 'perpetual',
    'BTC-27DEC24': 'future',
    'ETH_USDC-5JUN26': 'future',
    'BTC-27DEC24-70000-C': 'option',
    'XRP_USDC-30AUG24-0d625-P': 'option',
    BTC_USDC: 'spot',
    btc_usd: 'index',
    'drbfix-btc_usdc': 'index',
    btcdvol_usdc: 'index',
    'BTC-FS-27DEC24_PERP': undefined, // combos: their prices are differences
    'BTC-STRD-27DEC24-60000': undefined,
    BTC: undefined,
    '': undefined,
  }
  for (const [symbol, market] of Object.entries(markets)) assert.equal(DERIBIT_READ.marketOf(symbol), market, symbol)
})

test('deribit should name the channels of each kind', () => {
  const perpetual = 'deribit.perpetual.BTC-PERPETUAL'
  assert.deepEqual(namesOf(perpetual, 'book'), ['book.BTC-PERPETUAL.100ms'])
  assert.deepEqual(namesOf(perpetual, 'trades'), ['trades.BTC-PERPETUAL.100ms'])
  assert.deepEqual(namesOf(perpetual, 'liquidations'), ['trades.BTC-PERPETUAL.100ms'])
  assert.deepEqual(namesOf(perpetual, 'book_tickers'), ['quote.BTC-PERPETUAL'])
  assert.deepEqual(namesOf(perpetual, 'klines'), ['chart.trades.BTC-PERPETUAL.1'])
  for (const channel of ['tickers', 'mark_prices', 'index_prices', 'funding_rates', 'open_interests'] as const)
    assert.deepEqual(namesOf(perpetual, channel), ['ticker.BTC-PERPETUAL.100ms'], channel)
  for (const channel of ['agg_trades', 'long_short_ratios', 'volatility_indices'] as const)
    assert.deepEqual(namesOf(perpetual, channel), [], channel)
  assert.deepEqual(namesOf('deribit.option.BTC-27DEC24-70000-C', 'funding_rates'), [])
  assert.deepEqual(namesOf('deribit.spot.BTC_USDC', 'open_interests'), [])
  assert.deepEqual(namesOf('deribit.index.btc_usd', 'index_prices'), ['deribit_price_index.btc_usd'])
  assert.deepEqual(namesOf('deribit.index.btc_usd', 'volatility_indices'), ['deribit_volatility_index.btc_usd'])
  assert.deepEqual(namesOf('deribit.index.sol_usdc', 'volatility_indices'), [])
  assert.deepEqual(namesOf('deribit.index.btc_usd', 'book'), [])
  const bars = deribitFeed({
    ...DERIBIT_FEED_DEFAULTS,
    perpetual: { interval: 'agg2', klineIntervals: ['5m', '1h', '1d'] },
  })
  assert.deepEqual(namesOf(perpetual, 'klines', bars), [
    'chart.trades.BTC-PERPETUAL.5',
    'chart.trades.BTC-PERPETUAL.60',
    'chart.trades.BTC-PERPETUAL.1D',
  ])
  assert.deepEqual(namesOf(perpetual, 'book', bars), ['book.BTC-PERPETUAL.agg2'])
})

test('deribit should ask for heartbeats first, and log in only with credentials', () => {
  const heartbeat = { jsonrpc: '2.0', id: 1, method: 'public/set_heartbeat', params: { interval: 10 } }
  const frames = feed.openingFrames(1, 0)
  assert.deepEqual(
    frames.map(({ id, text, tokens }) => ({ id, text: JSON.parse(text), tokens })),
    [{ id: 1, text: heartbeat, tokens: ['1'] }],
  )
  const raw = { interval: 'raw', klineIntervals: [] } as const
  const credentials = { clientId: 'me', clientSecret: 'hush' }
  const known = deribitFeed({ ...DERIBIT_FEED_DEFAULTS, option: raw, credentials })
  const [, login] = known.openingFrames(7, 0)
  assert.deepEqual(JSON.parse(login?.text ?? ''), {
    jsonrpc: '2.0',
    id: 8,
    method: 'public/auth',
    params: { grant_type: 'client_credentials', client_id: 'me', client_secret: 'hush' },
  })
  assert.deepEqual(namesOf('deribit.option.BTC-27DEC24-70000-C', 'book', known), ['book.BTC-27DEC24-70000-C.raw'])
  assert.throws(() => deribitFeed({ ...DERIBIT_FEED_DEFAULTS, option: raw }), /raw of deribit needs clientId/)
  assert.deepEqual(control({ jsonrpc: '2.0', id: 8, result: { access_token: 'x', expires_in: 900 } }), {
    kind: 'acknowledged',
    tokens: ['8'],
  })
})

test('deribit should subscribe with frames whose tokens are the channels', () => {
  const channels = Array.from({ length: 251 }, (_, index) => `quote.X-${index}`)
  const frames = feed.subscribeFrames(channels, 5)
  assert.deepEqual(
    frames.map(({ id, tokens }) => [id, tokens.length]),
    [
      [5, 250],
      [6, 1],
    ],
  )
  assert.deepEqual(JSON.parse(frames[1]?.text ?? ''), {
    jsonrpc: '2.0',
    id: 6,
    method: 'public/subscribe',
    params: { channels: ['quote.X-250'] },
  })
  assert.equal(JSON.parse(feed.unsubscribeFrames(['book.X.raw'], 9)[0]?.text ?? '').method, 'public/unsubscribe')
})

test('deribit should take the list of an answer as all that was accepted', () => {
  const answer = { jsonrpc: '2.0', id: 5, result: ['quote.X'], usIn: 1, usOut: 2, usDiff: 1, testnet: false }
  assert.ok(feed.isControl(bytesOf(answer)))
  assert.deepEqual(control(answer), { kind: 'acknowledged', tokens: ['5', 'quote.X'], answers: 5 })
  assert.deepEqual(control({ jsonrpc: '2.0', id: 1, result: 'ok' }), { kind: 'acknowledged', tokens: ['1'] })
})

test('deribit should answer a test_request with an id that no frame has', () => {
  const question = { jsonrpc: '2.0', method: 'heartbeat', params: { type: 'test_request' } }
  assert.ok(feed.isControl(bytesOf(question)))
  const read = control(question)
  assert.ok(read?.kind === 'question')
  assert.deepEqual(JSON.parse(read.answer), { jsonrpc: '2.0', id: 0, method: 'public/test', params: {} })
  assert.deepEqual(control({ jsonrpc: '2.0', id: 0, result: { version: '1.2.26' } }), {
    kind: 'acknowledged',
    tokens: ['0'],
  })
  assert.deepEqual(control({ jsonrpc: '2.0', id: 0, error: { code: -32000, message: 'x' } }), { kind: 'alive' })
  assert.deepEqual(control({ jsonrpc: '2.0', method: 'heartbeat', params: { type: 'heartbeat' } }), { kind: 'alive' })
  const probe = feed.probeFrame(12)
  assert.deepEqual(probe?.tokens, ['12'])
  assert.deepEqual(control({ jsonrpc: '2.0', id: 12, result: { version: '1.2.26' } }), {
    kind: 'acknowledged',
    tokens: ['12'],
  })
})

test('deribit should refuse the frame that an error answers, and the connection when credits are spent', () => {
  const error = (code: number, message: string, data?: object) => ({
    jsonrpc: '2.0',
    id: 3,
    error: { code, message, data },
  })
  assert.deepEqual(control(error(13778, 'raw_subscriptions_not_available_for_unauthorized')), {
    kind: 'refused',
    tokens: ['3'],
    answers: 3,
    reason: '13778 raw_subscriptions_not_available_for_unauthorized',
  })
  assert.deepEqual(control(error(11050, 'bad_request', { reason: 'value required' })), {
    kind: 'refused',
    tokens: ['3'],
    answers: 3,
    reason: '11050 bad_request {"reason":"value required"}',
  })
  assert.deepEqual(control(error(10028, 'too_many_requests')), {
    kind: 'refused',
    tokens: [],
    reason: '10028 too_many_requests',
  })
})

test('deribit should see data as data, in whatever order its keys come', () => {
  const data = { jsonrpc: '2.0', method: 'subscription', params: { channel: 'quote.X', data: {} } }
  assert.equal(feed.isControl(bytesOf(data)), false)
  const { jsonrpc, ...rest } = data
  assert.equal(control({ ...rest, jsonrpc }), undefined)
  for (const nonsense of ['', 'x', '[]', 'null', '{}', '{"id":"a","result":1}'])
    assert.equal(control(nonsense), undefined, nonsense)
  assert.equal(control(`{"id":1,"result":"${'x'.repeat(70_000)}"}`), undefined)
})

test('deribit sync should follow prev_change_id alone', () => {
  const { verdict, continues, anchor } = DERIBIT_READ.sync('option')
  assert.equal(anchor, 'stream')
  const chain = { seq: 1000, events: 3 }
  assert.equal(verdict(chain, 1070, 1070, 1000), APPLY)
  assert.equal(verdict(chain, 1001, 1001, 999), GAP)
  assert.equal(verdict(chain, 1000, 1000, 990), STALE)
  assert.equal(verdict(chain, 900, 900, 800), STALE)
  assert.equal(continues(1000, 1070, 1000), true)
  assert.equal(continues(1000, 1001, 1001), false)
})

// ---- REST

const ENTRIES = `{"jsonrpc":"2.0","id":1,"result":[
  {"price_index":"eth_usd","kind":"future","instrument_name":"ETH-PERPETUAL","instrument_type":"reversed","expiration_timestamp":32503708800000,"is_active":true,"state":"open","tick_size":0.05,"contract_size":1.0,"min_trade_amount":1.0,"settlement_currency":"ETH","settlement_period":"perpetual","base_currency":"ETH","quote_currency":"USD","block_trade_tick_size":0.01,"tick_size_steps":[]},
  {"price_index":"eth_usdc","kind":"future","instrument_name":"ETH_USDC-26MAR27","instrument_type":"linear","expiration_timestamp":1806048000000,"is_active":true,"state":"locked","tick_size":0.5,"contract_size":1.0e-3,"min_trade_amount":0.001,"settlement_currency":"USDC","settlement_period":"month","base_currency":"ETH","quote_currency":"USDC"},
  {"price_index":"btc_usd","kind":"option","instrument_name":"BTC-26MAR27-62500-P","instrument_type":"reversed","option_type":"put","strike":62500.0,"expiration_timestamp":1806048000000,"is_active":true,"tick_size":1.0e-4,"tick_size_steps":[{"above_price":0.005,"tick_size":5.0e-4}],"contract_size":1.0,"min_trade_amount":0.1,"settlement_currency":"BTC","settlement_period":"month","base_currency":"BTC","quote_currency":"BTC"},
  {"kind":"spot","instrument_name":"ETH_USDC","expiration_timestamp":32503708800000,"is_active":false,"tick_size":0.1,"contract_size":0.0001,"min_trade_amount":0.0001,"base_currency":"ETH","quote_currency":"USDC"},
  {"kind":"future_combo","instrument_name":"ETH-FS-26MAR27_PERP","is_active":true,"tick_size":0.05,"contract_size":1.0,"min_trade_amount":1.0,"base_currency":"ETH","quote_currency":"USD"}]}`
const only = (market: string): Instrument => {
  const [instrument, ...more] = feed.readInstruments(market, ENTRIES)
  assert.deepEqual(more, [])
  return instrument as Instrument
}

test('deribit should read what each instrument is', () => {
  assert.deepEqual(only('perpetual'), {
    id: 'deribit.perpetual.ETH-PERPETUAL',
    exchange: 'deribit',
    market: 'perpetual',
    symbol: 'ETH-PERPETUAL',
    priceScale: 2,
    quantityScale: 0,
    status: 'open',
    isTrading: true,
    kind: 'perpetual',
    base: 'ETH',
    quote: 'USD',
    settle: 'ETH',
    contractSize: '1',
    contractUnit: 'USD',
    tickSize: '0.05',
    lotSize: '1.0',
    underlying: 'eth_usd',
  })
  assert.deepEqual(only('future'), {
    id: 'deribit.future.ETH_USDC-26MAR27',
    exchange: 'deribit',
    market: 'future',
    symbol: 'ETH_USDC-26MAR27',
    priceScale: 1,
    quantityScale: 3,
    status: 'locked',
    isTrading: false,
    kind: 'future',
    base: 'ETH',
    quote: 'USDC',
    settle: 'USDC',
    expiryMs: 1806048000000,
    tickSize: '0.5',
    lotSize: '0.001',
    underlying: 'eth_usdc',
  })
  assert.deepEqual(only('option'), {
    id: 'deribit.option.BTC-26MAR27-62500-P',
    exchange: 'deribit',
    market: 'option',
    symbol: 'BTC-26MAR27-62500-P',
    priceScale: 4,
    quantityScale: 1,
    status: 'open',
    isTrading: true,
    kind: 'option',
    base: 'BTC',
    quote: 'BTC',
    settle: 'BTC',
    expiryMs: 1806048000000,
    strike: '62500.0',
    optionType: 'put',
    tickSize: '1.0e-4',
    lotSize: '0.1',
    underlying: 'btc_usd',
  })
  assert.deepEqual(only('spot'), {
    id: 'deribit.spot.ETH_USDC',
    exchange: 'deribit',
    market: 'spot',
    symbol: 'ETH_USDC',
    priceScale: 1,
    quantityScale: 4,
    status: 'inactive',
    isTrading: false,
    kind: 'spot',
    base: 'ETH',
    quote: 'USDC',
    tickSize: '0.1',
    lotSize: '0.0001',
  })
  const names = feed.readInstruments('index', '{"jsonrpc":"2.0","result":["btc_usd",{"name":"eth_usdc"}]}')
  assert.deepEqual(
    names.map(({ symbol, base, quote, kind }) => [symbol, base, quote, kind]),
    [
      ['btc_usd', 'BTC', 'USD', 'index'],
      ['eth_usdc', 'ETH', 'USDC', 'index'],
    ],
  )
  for (const body of ['', '{}', '{"error":{"code":10028}}', '{"result":{}}', '{"result":[{}]}'])
    assert.throws(() => feed.readInstruments('option', body), /instruments of deribit/, body)
})

test('deribit should ask one request a market for instruments, one a currency for turnover', () => {
  assert.deepEqual(feed.instrumentsRequest('option'), {
    path: '/api/v2/public/get_instruments?currency=any&kind=option&expired=false',
    weight: 500,
  })
  assert.match(feed.instrumentsRequest('perpetual').path, /kind=future/)
  assert.equal(feed.instrumentsRequest('index').path, '/api/v2/public/get_index_price_names')
  const requests = feed.volumesRequests?.('perpetual') ?? []
  assert.deepEqual(
    requests.map(({ path }) => path),
    ['BTC', 'ETH', 'USDC', 'USDT', 'EURR'].map(
      (currency) => `/api/v2/public/get_book_summary_by_currency?currency=${currency}&kind=future`,
    ),
  )
  assert.deepEqual(feed.volumesRequest('perpetual'), requests[0])
  const body =
    '{"result":[{"instrument_name":"A","volume_usd":1.5e6},{"instrument_name":"B","volume_usd":null},{"instrument_name":"C"}]}'
  assert.deepEqual(
    [...feed.readVolumes('perpetual', body)],
    [
      ['A', 1_500_000],
      ['B', 0],
      ['C', 0],
    ],
  )
})

test('deribit should ask for trades by number and for the time', () => {
  const request = feed.tradesRequest('perpetual', 'BTC-PERPETUAL', 'trades', 100, 104)
  assert.equal(
    request?.path,
    '/api/v2/public/get_last_trades_by_instrument?instrument_name=BTC-PERPETUAL&start_seq=100&end_seq=104&count=5&sorting=asc',
  )
  assert.match(feed.tradesRequest('perpetual', 'X', 'trades', 1, 99_999)?.path ?? '', /count=1000/)
  assert.equal(feed.tradesRequest('perpetual', 'X', 'agg_trades', 1, 2), undefined)
  assert.equal(feed.readServerTime('{"jsonrpc":"2.0","result":1790000000123}'), 1790000000123)
  assert.throws(() => feed.readServerTime('{"error":{}}'), /get_time of deribit/)
  assert.throws(() => feed.readServerTime('{"result":"x"}'), /get_time of deribit/)
})

test('deribit should keep two minutes of our requests within the venue’s credits', () => {
  for (const { limits } of Object.values(feed.markets)) {
    assert.ok(2 * limits.weightPerMinuteMax <= 50_000 + 2 * 10_000)
    assert.ok((limits.connectionsMax as number) < 32)
  }
  assert.equal(feed.socketUrl('option', 'v2', 'wss://example.org/'), 'wss://example.org/ws/api/v2')
  assert.throws(() => feed.snapshotRequest('option', 'X', 10), /start in the stream/)
})
