import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SimulatorHandle } from '../engine/simulate/simulator.ts'
import { startSimulator } from '../engine/simulate/simulator.ts'
import type { BinanceMarketName as MarketName } from '../engine/simulate/binance/index.ts'
import type { Frame } from './support/venue-client.ts'
import { followBook, mantissas, openClient, REST_PATHS, streamUrl, SYMBOLS } from './support/venue-client.ts'

const DEPTH: Readonly<Record<MarketName, string>> = { spot: 'depth@100ms', usdm: 'depth@0ms', coinm: 'depth@500ms' }
const pathOf = (market: string): string => (market === 'usdm' ? '/public' : '')

async function snapshotOf(simulator: SimulatorHandle, market: MarketName, symbol: string) {
  const url = `${simulator.urls[market]?.rest}${REST_PATHS[market]}/depth?symbol=${symbol}&limit=1000`
  return (await fetch(url)).json() as Promise<Parameters<typeof followBook>[1]>
}

for (const market of ['spot', 'usdm', 'coinm'] as const) {
  test(`simulate market: a ${market} book followed from snapshot and deltas should equal the truth`, async (t) => {
    const seed = 11
    t.diagnostic(`seed ${seed}`)
    const simulator = await startSimulator({ seed, markets: [market], rate: 3000, seconds: 2 })
    const symbols = SYMBOLS[market] as readonly string[]
    const client = await openClient(
      streamUrl(simulator.urls[market]?.ws as string, pathOf(market), symbols, [DEPTH[market], 'bookTicker', 'trade']),
    )
    await client.until(() => symbols.every((symbol) => depthOf(client.frames, symbol).length > 20))
    const snapshots = await Promise.all(symbols.map((symbol) => snapshotOf(simulator, market, symbol)))
    await simulator.over
    const report = await simulator.stop()
    await client.closed
    for (const [index, symbol] of symbols.entries()) {
      const book = followBook(market, snapshots[index] as (typeof snapshots)[0], depthOf(client.frames, symbol))
      const truth = simulator.book(market, symbol)
      const listed = report.instruments.find((instrument) => instrument.symbol === symbol)
      assert.ok(book !== null && truth !== null && listed !== undefined)
      assert.ok(book.stale > 5 && book.applied > 20, 'events before and after the snapshot')
      assert.equal(book.lastSeq, truth.lastSeq)
      const scales: [number, number] = [listed.priceScale, listed.quantityScale]
      assert.deepEqual(mantissas(book.bids, scales, true), truth.bids)
      assert.deepEqual(mantissas(book.asks, scales, false), truth.asks)
      assert.ok((truth.bids[0]?.[0] as number) < (truth.asks[0]?.[0] as number), 'the book is not crossed')
    }
  })

  test(`simulate market: every ${market} event that was sent should arrive once, with contiguous trade ids`, async () => {
    const simulator = await startSimulator({ markets: [market], rate: 4000, seconds: 1 })
    const symbols = SYMBOLS[market] as readonly string[]
    const kinds = [DEPTH[market], 'bookTicker', 'trade', 'aggTrade']
    const url = (path: string): string => streamUrl(simulator.urls[market]?.ws as string, path, symbols, kinds)
    // USD-M serves trades on either path: ask for them once
    const clients =
      market === 'usdm'
        ? [
            await openClient(streamUrl(simulator.urls.usdm?.ws as string, '/public', symbols, kinds)),
            await openClient(streamUrl(simulator.urls.usdm?.ws as string, '/market', symbols, ['aggTrade'])),
          ]
        : [await openClient(url(''))]
    await simulator.over
    const { sent } = await simulator.stop()
    await Promise.all(clients.map(({ closed }) => closed))
    const frames = clients.flatMap((client) => client.frames)
    const count = (kind: string): number => frames.filter(({ stream }) => stream.split('@')[1] === kind).length
    assert.deepEqual(sent, {
      trades: count('trade'),
      agg_trades: count('aggTrade'),
      book_deltas: count('depth'),
      book_tickers: count('bookTicker'),
    })
    assert.ok(Object.values(sent).every((events) => events > 50))
    for (const symbol of symbols) {
      const ids = frames.filter((frame) => isOf(frame, symbol, 'trade')).map(({ data }) => data.t as number)
      assert.deepEqual(
        ids,
        ids.map((_, index) => (ids[0] as number) + index),
      )
    }
  })
}

test('simulate market: messages should have the keys of recorded frames, in their order', async () => {
  const simulator = await startSimulator({ rate: 3000, seconds: 1 })
  const keys: Record<string, string> = {}
  const clients = await Promise.all(
    (['spot', 'usdm', 'coinm'] as const).flatMap((market) =>
      (market === 'usdm' ? ['/public', '/market'] : ['']).map(async (path) => {
        const kinds = ['trade', 'aggTrade', 'bookTicker', DEPTH[market]]
        const url = streamUrl(simulator.urls[market]?.ws as string, path, SYMBOLS[market] as readonly string[], kinds)
        return { market, client: await openClient(url) }
      }),
    ),
  )
  await simulator.over
  await simulator.stop()
  for (const { market, client } of clients) {
    for (const { stream, data } of client.frames) {
      keys[`${market} ${stream.split('@')[1]}`] = Object.keys(data).join(' ')
    }
  }
  // from the recordings hftbacktest (2024) and cryptofeed (2021)
  assert.deepEqual(keys, {
    'spot trade': 'e E s t p q T m M',
    'spot aggTrade': 'e E s a p q f l T m M',
    'spot bookTicker': 'u s b B a A',
    'spot depth': 'e E s U u b a',
    'usdm trade': 'e E T s t p q X m',
    'usdm aggTrade': 'e E a s p q f l T m',
    'usdm bookTicker': 'e u s b B a A T E',
    'usdm depth': 'e E T s U u pu b a',
    'coinm trade': 'e E T s t p q X m',
    'coinm aggTrade': 'e E a s p q f l T m',
    'coinm bookTicker': 'u e s ps b B a A T E',
    'coinm depth': 'e E T s ps U u pu b a',
  })
})

test('simulate market: one seed should give one history, another seed another', async () => {
  const run = async (seed: number): Promise<string[]> => {
    const simulator = await startSimulator({ seed, markets: ['spot'], rate: 2000, seconds: 0.5, startAfterStreams: 6 })
    const kinds = ['depth@100ms', 'bookTicker', 'trade']
    const client = await openClient(
      streamUrl(simulator.urls.spot?.ws as string, '', SYMBOLS.spot as readonly string[], kinds),
    )
    await simulator.over
    await simulator.stop()
    await client.closed
    return client.frames.slice(0, 800).map((frame) => JSON.stringify(frame).replace(/"[ET]":\d+/g, ''))
  }
  const [first, again, other] = [await run(3), await run(3), await run(4)]
  assert.equal(first.length, 800)
  assert.deepEqual(again, first)
  assert.notDeepEqual(other, first)
})

test('simulate market: prices should lie on the tick and numbers have the venue’s digits', async () => {
  const simulator = await startSimulator({ rate: 2000, seconds: 1, markets: ['spot', 'usdm', 'coinm'] })
  for (const [market, digits] of [
    ['spot', /^\d+\.\d{8}$/],
    ['usdm', /^\d+\.\d\d$/],
    ['coinm', /^\d+\.\d$/],
  ] as const) {
    const symbol = SYMBOLS[market]?.[0] as string
    const { symbols } = (await (
      await fetch(`${simulator.urls[market]?.rest}${REST_PATHS[market]}/exchangeInfo`)
    ).json()) as { symbols: { symbol: string; filters: { tickSize?: string }[] }[] }
    const tick = Number(symbols.find((entry) => entry.symbol === symbol)?.filters[0]?.tickSize)
    const { bids } = await snapshotOf(simulator, market, symbol)
    assert.ok(bids.length >= 100)
    for (const [price] of bids) {
      assert.match(price, digits)
      const ticks = Number(price) / tick
      assert.ok(Math.abs(ticks - Math.round(ticks)) < 1e-6, `${price} is no multiple of ${tick}`)
    }
  }
  await simulator.stop()
})

test('simulate market: a side should stay below 1000 levels, so that a snapshot of 1000 is the whole book', async () => {
  const simulator = await startSimulator({ markets: ['usdm'], instruments: 1, rate: 200_000, seconds: 2 })
  const client = await openClient(streamUrl(simulator.urls.usdm?.ws as string, '/public', ['BTCUSDT'], ['trade']))
  client.ws.removeAllListeners('message')
  await simulator.over
  await simulator.stop()
  const book = simulator.book('usdm', 'BTCUSDT')
  for (const side of [book?.bids, book?.asks])
    assert.ok((side?.length ?? 0) > 500 && (side?.length ?? 0) < 1000, `${side?.length} levels`)
})

test('simulate market: a slow client should make the market late, and lose nothing', async () => {
  const simulator = await startSimulator({ markets: ['spot'], rate: 60_000, seconds: 1, unflushedBytesMax: 65_536 })
  const kinds = ['depth@100ms', 'bookTicker', 'trade']
  const client = await openClient(
    streamUrl(simulator.urls.spot?.ws as string, '', SYMBOLS.spot as readonly string[], kinds),
  )
  client.ws.pause()
  await new Promise((next) => setTimeout(next, 1500))
  client.ws.resume()
  await simulator.over
  const report = await simulator.stop()
  await client.closed
  assert.equal(client.frames.length, report.events)
  assert.ok(report.events >= 59_000)
  assert.ok(report.stalledMs > 200, `held up for ${report.stalledMs} ms`)
})

const isOf = (frame: Frame, symbol: string, kind: string): boolean =>
  frame.stream.startsWith(`${symbol.toLowerCase()}@${kind}`)

function depthOf(frames: readonly Frame[], symbol: string) {
  return frames.filter((frame) => isOf(frame, symbol, 'depth')).map(({ data }) => data)
}
