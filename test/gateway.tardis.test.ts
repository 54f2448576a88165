/** A client of tardis-machine's documented messages, with none of our code in it, against what the simulated venue sent. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { cleanUp } from './support/clean-up.ts'
import { startCli } from './support/cli.ts'
import { SILENT, temporaryDirectory, until } from './support/embedded.ts'
import { served } from './support/gateway.ts'
import { Listener, ToldSource, ToldWorker } from './support/live.ts'
import { rigVenue } from './support/rig.ts'

const BTC = 'binance.usdm.BTCUSDT'
const pathOf = (options: unknown) => `/ws-stream-normalized?options=${encodeURIComponent(JSON.stringify(options))}`

interface Level {
  readonly price: number
  readonly amount: number
}

// biome-ignore lint/suspicious/noExplicitAny: as a stranger reads it
type Message = any

/** What their documentation tells a client to do. */
class Book {
  readonly sides = { bids: new Map<number, number>(), asks: new Map<number, number>() }
  isWhole = false

  take({ isSnapshot, bids, asks }: Message): void {
    if (isSnapshot) {
      this.sides.bids.clear()
      this.sides.asks.clear()
      this.isWhole = true
    }
    assert.ok(this.isWhole, 'the first is a snapshot')
    for (const [side, levels] of [
      ['bids', bids],
      ['asks', asks],
    ] as const)
      for (const { price, amount } of levels as Level[])
        if (amount === 0) this.sides[side].delete(price)
        else this.sides[side].set(price, amount)
  }

  sorted(side: 'bids' | 'asks'): [number, number][] {
    return [...this.sides[side]].sort(([left], [right]) => (side === 'bids' ? right - left : left - right))
  }
}

test('tardis clients should get the trades, books and quotes that the venue sent', async (t) => {
  const venue = await rigVenue(t, { markets: ['spot', 'usdm'], instruments: 2, rate: 1_000 })
  const engine = startCli([
    'collect',
    'store',
    'serve',
    '--data',
    temporaryDirectory(t),
    '--delivery',
    'direct',
    ...venue.flags,
  ])
  cleanUp(t, () => engine.kill('SIGKILL'))
  const [url] = /http:\/\/[\d.:]+/.exec(await engine.line(/gateway: http/)) as RegExpExecArray
  await until(
    async () => {
      const { books } = (await (await fetch(`${url}/v1/books`)).json()) as { books: { state: string }[] }
      return books.filter(({ state }) => state === 'LIVE').length === 4
    },
    30_000,
    'four books LIVE',
  )
  const dataTypes = ['trade', 'book_change', 'book_ticker', 'book_snapshot_5_100ms']
  const ws = new WebSocket(
    `${url.replace('http', 'ws')}${pathOf([
      { exchange: 'binance', dataTypes },
      { exchange: 'binance-futures', dataTypes },
    ])}`,
  )
  cleanUp(t, () => ws.terminate())
  const came: Message[] = []
  ws.on('message', (data) => came.push(JSON.parse(data.toString())))
  await sleep(3_000)
  venue.finish()
  await venue.over
  let before = -1
  await until(
    async () => {
      const isQuiet = came.length === before
      before = came.length
      await sleep(400)
      return isQuiet
    },
    20_000,
    'silence',
  )
  ws.terminate()
  await venue.stop()
  const truths = readFileSync(join(venue.truthDirectory, 'books.ndjson'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const sent = tradesOf(venue.truthDirectory)
  assert.equal(truths.length, 4)
  for (const { market, symbol, priceScale, quantityScale, bids, asks } of truths) {
    const exchange = market === 'spot' ? 'binance' : 'binance-futures'
    const own = came.filter((message) => message.exchange === exchange && message.symbol === symbol)
    const exact = ([price, quantity]: [number, number]) => [
      Number(`${price}e-${priceScale}`),
      Number(`${quantity}e-${quantityScale}`),
    ]
    const book = new Book()
    for (const message of own) if (message.type === 'book_change') book.take(message)
    assert.deepEqual(book.sorted('bids'), bids.map(exact), `${market} ${symbol}`)
    assert.deepEqual(book.sorted('asks'), asks.map(exact), `${market} ${symbol}`)
    const trades = own.filter(({ type }) => type === 'trade')
    assert.ok(trades.length > 10, `${trades.length} trades of ${market} ${symbol}`)
    const all = sent.filter((trade) => trade.market === market && trade.symbol === symbol)
    const first = all.findIndex(({ id }) => id === trades[0].id)
    assert.ok(first >= 0, 'the first trade is one that was sent')
    assert.deepEqual(
      trades.map(({ id, price, amount, side, timestamp }) => ({ id, price, amount, side, timestamp })),
      all.slice(first).map(({ id, price, quantity, side, tradeMs }) => ({
        id,
        price: exact([price, 0])[0],
        amount: exact([0, quantity])[1],
        side,
        timestamp: new Date(tradeMs).toISOString(),
      })),
      `${market} ${symbol}`,
    )
    const samples = own.filter(({ type }) => type === 'book_snapshot')
    assert.ok(samples.length >= 3, `${samples.length} samples`)
    for (const { name, depth, interval, bids: best } of samples) {
      assert.deepEqual([name, depth, interval, best.length], ['book_snapshot_5_100ms', 5, 100, 5])
      assert.ok(best.every(({ price }: Level, index: number) => index === 0 || price < best[index - 1].price))
    }
    assert.ok(own.some(({ type, bidPrice, askPrice }) => type === 'book_ticker' && bidPrice < askPrice))
    const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
    assert.ok(own.every(({ timestamp, localTimestamp }) => iso.test(timestamp) && iso.test(localTimestamp)))
  }
})

/** trades.rowbinary of the venue: of the market's single trades, or of the runs where there is nothing else. */
function tradesOf(directory: string) {
  const bytes = readFileSync(join(directory, 'trades.rowbinary'))
  const trades: {
    market: string
    symbol: string
    stream: number
    id: string
    price: number
    quantity: number
    side: string
    tradeMs: number
  }[] = []
  let at = 0
  const text = () => {
    const length = bytes[at++] as number
    at += length
    return bytes.toString('latin1', at - length, at)
  }
  const integer = () => {
    at += 8
    return Number(bytes.readBigInt64LE(at - 8))
  }
  while (at < bytes.length) {
    text()
    const [market, symbol] = [text(), text()]
    const stream = bytes[at] as number
    const side = bytes[at + 3] === 1 ? 'buy' : 'sell'
    at += 4
    trades.push({
      market,
      symbol,
      stream,
      side,
      id: String(integer()),
      price: integer(),
      quantity: integer(),
      tradeMs: integer(),
    })
  }
  const single = new Set(trades.filter(({ stream }) => stream === 1).map(({ market }) => market))
  return trades.filter(({ market, stream }) => stream === (single.has(market) ? 1 : 2))
}

async function scene(t: TestContext, options: unknown) {
  const source = new ToldSource()
  const { gateway } = await served(t, {}, SILENT, source)
  const worker = new ToldWorker(source)
  worker.live(BTC, [[10_000, 1_000]], [[10_001, 1_000]])
  const client = await Listener.open(t, gateway.url, pathOf(options))
  return { worker, client }
}

test('tardis clients should be told of a gap as a disconnect, and get the whole book anew', async (t) => {
  const { worker, client } = await scene(t, {
    exchange: 'binance-futures',
    symbols: ['btcusdt'],
    dataTypes: ['book_change'],
    withDisconnectMessages: true,
  })
  worker.snapshot(BTC, [[10_000, 1_000]], [[10_001, 1_000]], { lastSeq: 100, epoch: 1, reason: 'wanted' })
  assert.equal((await client.next(({ type }) => type === 'book_change')).isSnapshot, true)
  worker.state(BTC, 'GAP', 'disconnect')
  const { exchange, symbols } = await client.next(({ type }) => type === 'disconnect')
  assert.deepEqual([exchange, symbols], ['binance-futures', ['BTCUSDT']])
  worker.state(BTC, 'LIVE')
  worker.snapshot(BTC, [[9_000, 2_000]], [], { lastSeq: 200, epoch: 2 })
  const anew = await client.next(({ type }) => type === 'book_change')
  assert.deepEqual([anew.isSnapshot, anew.bids, anew.asks], [true, [{ price: 90, amount: 2 }], []])
})

test('tardis clients should be told as a disconnect when messages were lost on their way to the gateway', async (t) => {
  const { worker, client } = await scene(t, {
    exchange: 'binance-futures',
    symbols: ['btcusdt'],
    dataTypes: ['trade'],
    withDisconnectMessages: true,
  })
  worker.trade(BTC, 1)
  assert.equal((await client.next(() => true)).id, '1')
  worker.rows('trade', BTC, [], true)
  worker.trade(BTC, 3)
  assert.deepEqual((await client.next(() => true)).type, 'disconnect')
  assert.equal((await client.next(() => true)).id, '3')
})

test('tardis clients should get a derivative_ticker put together from its parts, each member a number or left out', async (t) => {
  const { worker, client } = await scene(t, {
    exchange: 'binance-futures',
    symbols: ['BTCUSDT'],
    dataTypes: ['derivative_ticker', 'liquidation'],
  })
  const at = { received_ns: worker.nowNs, event_ns: worker.nowNs }
  worker.rows('mark_price', BTC, [{ ...at, mark_price: '61000.123456789', settle_price: null, average_price: null }])
  worker.rows('funding_rate', BTC, [
    { ...at, funding_rate: '-0.00001', funding_ns: 1_723_132_800_000_000_000n, next_funding_rate: null },
  ])
  worker.rows('open_interest', BTC, [{ ...at, open_interest: '77' }])
  worker.rows('open_interest', BTC, [{ ...at, open_interest: '77' }]) // nothing new
  worker.rows('liquidation', BTC, [
    {
      ...at,
      liquidation_ns: worker.nowNs,
      side: 'sell',
      price: '60000.5',
      average_price: null,
      quantity: '2',
      filled_quantity: '1.5',
      status: 'FILLED',
      venue_id: '',
    },
  ])
  await client.next(({ type }) => type === 'derivative_ticker')
  await client.next(({ type }) => type === 'derivative_ticker')
  const third = await client.next(({ type }) => type === 'derivative_ticker')
  assert.deepEqual(third, {
    type: 'derivative_ticker',
    symbol: 'BTCUSDT',
    exchange: 'binance-futures',
    openInterest: 77,
    fundingRate: -0.00001,
    fundingTimestamp: '2024-08-08T16:00:00.000Z',
    markPrice: 61000.123456789,
    timestamp: '2024-08-08T12:00:00.000Z',
    localTimestamp: '2024-08-08T12:00:00.000Z',
  })
  const fourth = await client.next(({ type }) => type !== undefined)
  assert.deepEqual([fourth.type, fourth.price, fourth.amount, fourth.side], ['liquidation', 60000.5, 1.5, 'sell'])
})

test('tardis clients should be closed with 1011 and a line when the options cannot be', async (t) => {
  for (const [options, line] of [
    ['{', /no JSON/],
    ['{"exchange":"mtgox","dataTypes":["trade"]}', /exchange: there are binance/],
    ['{"exchange":"binance"}', /dataTypes/],
    ['{"exchange":"binance","dataTypes":["candles"]}', /data type candles/],
    ['{"exchange":"binance","dataTypes":["book_snapshot_5_9999999m"]}', /a day at most/], // no timer can wait so long
    ['{"exchange":"binance","dataTypes":["trade"],"symbols":["*"]}', /symbols/],
  ] as const) {
    const { gateway } = await served(t)
    const client = await Listener.open(t, gateway.url, `/ws-stream-normalized?options=${encodeURIComponent(options)}`)
    const { code, reason } = await client.until(() => client.closed, 'close')
    assert.equal(code, 1011)
    assert.match(reason, line)
  }
})
