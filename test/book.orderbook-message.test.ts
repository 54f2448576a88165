import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Unpackr } from 'msgpackr'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { type OrderbookMessage, orderbookBytesMax, writeOrderbook } from '../engine/book/orderbook-message.ts'
import { decimalBytesMax, decimalText, writeDecimal } from '../engine/scan/decimal.ts'

const RUNS = Number(process.env['TEST_RUNS'] ?? 20_000)
const OFFSET = 7
const seed = freshSeed()
const random = seededRandom(seed)
const upTo = (limit: number): number => Math.floor(random() * limit)

/** All lengths are as likely, and so are zeros at the end. */
function someMantissa(): number {
  const digits = upTo(17)
  const value = upTo(Math.min(10 ** digits, Number.MAX_SAFE_INTEGER))
  return random() < 0.3 ? value - (value % 10 ** upTo(digits + 1)) : value
}

test('writeDecimal should write what decimalText says, within its bound', (t) => {
  t.diagnostic(`seed ${seed}`)
  const edges = [0, 1, 9, 10, 999_999_999, 1e9, 1e9 + 1, 1e15, 2 ** 53 - 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32]
  for (let run = 0; run < RUNS; run++) {
    const mantissa = edges[run % 40] ?? someMantissa()
    const scale = upTo(19)
    const bytes = new Uint8Array(64)
    const end = writeDecimal(bytes, OFFSET, mantissa, scale)
    const text = Buffer.from(bytes.subarray(OFFSET, end)).toString('latin1')
    assert.equal(text, decimalText(mantissa, scale), `${mantissa} at scale ${scale}`)
    assert.ok(end - OFFSET <= decimalBytesMax(scale))
    assert.ok(
      bytes.subarray(end).every((byte) => byte === 0),
      'nothing is written behind it',
    )
  }
})

function someMessage(symbol: string): OrderbookMessage {
  const of = (count: number) => Float64Array.from({ length: count + 3 }, someMantissa)
  const [bidCount, askCount] = [upTo(40), upTo(40)]
  return {
    name: { exchange: 'binance', market: 'usdm', symbol },
    sides: {
      bidCount,
      bidPrices: of(bidCount),
      bidQuantities: of(bidCount),
      askCount,
      askPrices: of(askCount),
      askQuantities: of(askCount),
    },
    priceScale: upTo(13),
    quantityScale: upTo(19),
    timestampMs: 1_700_000_000_000 + upTo(1e9),
    lastUpdateId: upTo(Number.MAX_SAFE_INTEGER),
    collectedMs: 1_700_000_000_000 + upTo(1e9),
  }
}

/** The same as a plain object. */
function plain({ name, sides, priceScale, quantityScale, ...rest }: OrderbookMessage): Record<string, unknown> {
  const levels = (prices: Float64Array, quantities: Float64Array, count: number) =>
    Array.from({ length: count }, (_, level) => ({
      price: decimalText(prices[level] as number, priceScale),
      quantity: decimalText(quantities[level] as number, quantityScale),
    }))
  return {
    exchange_name: name.exchange,
    symbol_name: name.symbol,
    bids: levels(sides.bidPrices, sides.bidQuantities, sides.bidCount),
    asks: levels(sides.askPrices, sides.askQuantities, sides.askCount),
    timestamp: rest.timestampMs,
    last_update_id: rest.lastUpdateId,
    collected_at: rest.collectedMs,
  }
}

test('orderbook message should be read by JSON.parse and by msgpackr as the book that it is of, within its bound', (t) => {
  t.diagnostic(`seed ${seed}`)
  const unpackr = new Unpackr({ useRecords: false, int64AsType: 'number' })
  for (const symbol of ['BTCUSDT', 'a"b\\c', '币安人生USDT', 'X'.repeat(40)]) {
    for (let run = 0; run < 50; run++) {
      const message = someMessage(symbol)
      const bytes = new Uint8Array(OFFSET + orderbookBytesMax(message))
      const json = writeOrderbook(bytes, OFFSET, 'json', message)
      assert.ok(OFFSET + json <= bytes.length)
      const text = Buffer.from(bytes.subarray(OFFSET, OFFSET + json)).toString()
      assert.equal(text, JSON.stringify(plain(message)))
      const packed = writeOrderbook(bytes, OFFSET, 'msgpack', message)
      assert.ok(OFFSET + packed <= bytes.length)
      assert.deepEqual(unpackr.unpack(bytes.subarray(OFFSET, OFFSET + packed)), plain(message))
    }
  }
})
