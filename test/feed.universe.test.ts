import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Instrument, instrumentId } from '../engine/exchanges/exchange.ts'
import { compareUniverse, selectInstruments } from '../engine/feed/universe.ts'

const listed: Instrument[] = ['BTCUSDT', 'ETHUSDT', 'ETHBTC', 'BTCBUSD', 'LUNAUSDT', 'SOLUSDT'].map((symbol) => ({
  id: instrumentId('binance', 'spot', symbol),
  exchange: 'binance',
  market: 'spot',
  symbol,
  priceScale: 2,
  quantityScale: 5,
  status: symbol === 'LUNAUSDT' ? 'BREAK' : 'TRADING',
}))

const chosen = (...patterns: string[]) =>
  selectInstruments('binance.spot', patterns, listed).instruments.map((each) => each.symbol)

test('universe should take symbols, globs and exceptions, sorted and once each', () => {
  assert.deepEqual(chosen('ETHUSDT', 'BTCUSDT', 'ethusdt'), ['BTCUSDT', 'ETHUSDT'])
  assert.deepEqual(chosen('*USDT'), ['BTCUSDT', 'ETHUSDT', 'SOLUSDT'], 'a glob takes what trades')
  assert.deepEqual(chosen('BTC?USD', 'ETH*'), ['BTCBUSD', 'ETHBTC', 'ETHUSDT'])
  assert.deepEqual(chosen('*', '!*BTC', '!SOLUSDT'), ['BTCBUSD', 'BTCUSDT', 'ETHUSDT'])
})

test('universe should keep a named symbol that does not trade, and say so', () => {
  const universe = selectInstruments('binance.spot', ['LUNAUSDT', 'BTCUSDT'], listed)
  assert.equal(universe.instruments.length, 2)
  assert.deepEqual(
    universe.idle.map((each) => each.symbol),
    ['LUNAUSDT'],
  )
})

test('universe should name an unknown symbol and its neighbours', () => {
  assert.throws(() => chosen('BTCUSTD'), {
    code: 'UNKNOWN_SYMBOL',
    exitCode: 78,
    message: 'binance.spot lists no symbol BTCUSTD: did you mean BTCUSDT, BTCBUSD?',
  })
  assert.throws(() => chosen('SOL'), { message: /did you mean SOLUSDT\?/ })
  assert.throws(() => chosen('XXXXXXXXXXXXX'), { message: /nothing similar/ })
  assert.throws(() => chosen('*EUR'), {
    code: 'NO_SYMBOL_MATCHES',
    exitCode: 78,
    message: /no trading symbol matches \*EUR, 6 are listed/,
  })
})

const DERIVATIVES: readonly Instrument[] = (
  [
    ['BTC-PERPETUAL', 'perpetual', 'BTC', 90],
    ['ETH-PERPETUAL', 'perpetual', 'ETH', 80],
    ['SOL_USDC-PERPETUAL', 'perpetual', 'SOL', 30],
    ['BTC-27DEC24', 'future', 'BTC', 40],
    ['BTC-27DEC24-70000-C', 'option', 'BTC', 5],
    ['XRP_USDC-27DEC24-0d65-P', 'option', 'XRP', 1],
    ['btc_usd', 'index', 'BTC', 0],
    ['BTC-DEAD', 'perpetual', 'BTC', 1000],
  ] as const
).map(([symbol, kind, base]) => ({
  id: instrumentId('deribit', 'all', symbol),
  exchange: 'deribit',
  market: 'all',
  symbol,
  priceScale: 1,
  quantityScale: 0,
  status: symbol === 'BTC-DEAD' ? 'closed' : 'open',
  isTrading: symbol !== 'BTC-DEAD',
  kind,
  base,
}))
const VOLUMES = new Map([
  ['BTC-PERPETUAL', 90],
  ['ETH-PERPETUAL', 80],
  ['BTC-27DEC24', 40],
  ['SOL_USDC-PERPETUAL', 30],
  ['BTC-27DEC24-70000-C', 5],
  ['BTC-DEAD', 1000],
])
const byRule = (...entries: string[]) =>
  selectInstruments('deribit.all', entries, DERIVATIVES, { volumes: VOLUMES }).instruments.map((each) => each.symbol)

test('universe should follow rules of kind, currency and turnover, alone and combined', () => {
  assert.deepEqual(byRule('perpetual:BTC,ETH'), ['BTC-PERPETUAL', 'ETH-PERPETUAL'])
  assert.deepEqual(byRule('Perpetual:btc+SOL'), ['BTC-PERPETUAL', 'SOL_USDC-PERPETUAL'])
  assert.deepEqual(
    byRule('top:3'),
    ['BTC-27DEC24', 'BTC-PERPETUAL', 'ETH-PERPETUAL'],
    'what does not trade has no rank',
  )
  assert.deepEqual(byRule('top:2:perpetual:*', '!btc-*'), ['ETH-PERPETUAL'])
  assert.deepEqual(byRule('top:1:*-C'), ['BTC-27DEC24-70000-C'])
  assert.deepEqual(byRule('*:BTC', '!option:*', '!BTC-PERPETUAL'), ['BTC-27DEC24', 'btc_usd'])
  assert.deepEqual(
    byRule('*', '!top:1'),
    byRule('*').filter((symbol) => symbol !== 'BTC-PERPETUAL'),
  )
})

test('universe should take symbols of every spelling without regard to case', () => {
  assert.deepEqual(byRule('BTC_USD', 'btc-27dec24-70000-c', 'XRP_USDC-27DEC24-0D65-P'), [
    'BTC-27DEC24-70000-C',
    'XRP_USDC-27DEC24-0d65-P',
    'btc_usd',
  ])
})

test('universe should say what it cannot read in a rule', () => {
  const refused: [string, RegExp][] = [
    [
      'perpetul:BTC',
      /^deribit\.all: cannot read perpetul:BTC: there is no kind perpetul: did you mean perpetual\? kinds are spot, /,
    ],
    ['top:x', /top: takes a count/],
    ['top:0', /top: takes a count/],
    ['top', /top: takes a count/],
    ['top:5:', /nothing is named/],
    ['perpetual:BTC+', /perpetual: takes currencies, e\.g\. perpetual:BTC\+ETH/],
    ['perpetual:BTC:x', /takes currencies/],
    ['perpetual:DOGE', /no trading symbol matches perpetual:DOGE, 8 are listed; currencies are BTC ETH SOL XRP/],
    ['ETH', /lists no symbol ETH: it is a currency: write \*:ETH, or perpetual:BTC\+ETH for several/],
    ['BTC_USDT', /lists no symbol BTC_USDT: did you mean btc_usd/],
  ]
  for (const [entry, message] of refused) assert.throws(() => byRule(entry), { exitCode: 78, message }, entry)
})

test('universe should keep what it collects at the edge of a ranking, and no more than the rule says', () => {
  const many = Array.from({ length: 30 }, (_, rank) => ({
    ...(DERIVATIVES[0] as Instrument),
    id: `d.all.S${rank}`,
    symbol: `S${rank}`,
  }))
  const volumes = new Map(many.map(({ symbol }, rank) => [symbol, 1000 - rank]))
  const top = (collected: readonly string[]) =>
    selectInstruments('d.all', ['top:10'], many, {
      volumes,
      collected: new Set(collected.map((symbol) => `d.all.${symbol}`)),
    })
      .instruments.map(({ symbol }) => symbol)
      .sort()
  const first = (count: number) => Array.from({ length: count }, (_, rank) => `S${rank}`)
  assert.deepEqual(top([]), first(10).sort())
  assert.deepEqual(top(['S10']), [...first(9), 'S10'].sort(), 'rank 11 of 10 stays')
  assert.deepEqual(top(['S11']), first(10).sort(), 'rank 12 of 10 goes')
})

test('universe should tell listings, delistings, removals and changes apart', () => {
  const [btc, eth, sol] = DERIVATIVES as [Instrument, Instrument, Instrument]
  const finer = { ...eth, tickSize: '0.01', priceScale: 2 }
  const halted = { ...sol, status: 'halt', isTrading: false }
  const gone = { ...btc, id: 'deribit.all.GONE', symbol: 'GONE' }
  const change = compareUniverse([gone, btc, eth, sol], {
    instruments: [finer, halted, DERIVATIVES[3] as Instrument],
    listed: new Set(DERIVATIVES.map(({ symbol }) => symbol)),
  })
  assert.deepEqual(
    change.added.map(({ symbol }) => symbol),
    ['BTC-27DEC24'],
  )
  assert.deepEqual(
    change.removed.map(({ instrument, isDelisted }) => [instrument.symbol, isDelisted]),
    [
      ['GONE', true],
      ['BTC-PERPETUAL', false],
    ],
  )
  assert.deepEqual(change.changed, [finer, halted])
  const again = selectInstruments('deribit.all', ['GONE', 'option:ZZZ', 'BTC-PERPETUAL'], DERIVATIVES, {
    collected: new Set(),
  })
  assert.deepEqual(
    again.instruments.map(({ symbol }) => symbol),
    ['BTC-PERPETUAL'],
    'at run time a name that is gone is no mistake',
  )
})
