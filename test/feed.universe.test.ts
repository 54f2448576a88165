import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Instrument, instrumentId } from '../engine/exchanges/exchange.ts'
import { selectInstruments } from '../engine/feed/universe.ts'

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
