/**
 * ccxt.pro binanceusdm: its client's onMessage (which parses), then its handlers of order book, trades and best bid/ask.
 *
 * No network: the client object is made by ccxt itself but never connected, the market is given instead of fetched, and
 * the REST depth body of the recording is what its own snapshot request is answered with, where it stands.
 *
 * Without more: the handlers alone, nobody listens; that is ccxt.pro at its best. With `watched`: three loops await what
 * watchOrderBook, watchTrades and watchBidsAsks wait for, and get every update, as a program that uses it does.
 */
import ccxt from 'ccxt'
import { readFileSync } from 'node:fs'
import { measure } from './peer.mjs'

const SYMBOL = process.argv[4]
const QUOTE = SYMBOL.slice(-4)
const BASE = SYMBOL.slice(0, -4)
const UNIFIED = `${BASE}/${QUOTE}:${QUOTE}`
const BOOK_LEVELS = 1000 // its own default
const WARM_RUNS = 2 // a pass takes seconds: long enough to compile everything
const IS_WATCHED = process.argv[5] === 'watched'

// ccxt.version lags behind its package
const { version } = JSON.parse(readFileSync(new URL('node_modules/ccxt/package.json', import.meta.url), 'utf8'))

await measure('ccxt.pro', version, async (messages) => {
  const exchange = new ccxt.pro.binanceusdm({ newUpdates: true })
  exchange.setMarkets([marketOf(exchange)])
  const client = exchange.client('wss://fstream.binance.com/stream')
  let trades = 0
  let tickers = 0
  client.resolve = countingResolve(client.resolve, () => trades++, () => tickers++)
  exchange.orderbooks[UNIFIED] = exchange.orderBook({}, BOOK_LEVELS) // as its handleOrderBookSubscription does
  if (IS_WATCHED) watch(client)
  for (const { bytes } of messages) {
    if (bytes[2] === 0x6c) await anchor(exchange, client, JSON.parse(bytes.toString())) // {"lastUpdateId"
    else client.onMessage({ data: bytes.toString() })
    if (IS_WATCHED) await null // what was resolved is taken and asked for again
  }
  const book = exchange.orderbooks[UNIFIED]
  return { bid: book.bids[0].slice(0, 2), ask: book.asks[0].slice(0, 2), trades, tickers }
}, WARM_RUNS)

function watch(client) {
  const take = async (messageHash, use) => {
    for (;;) use(await client.future(messageHash))
  }
  take(`orderbook::${UNIFIED}`, (book) => book.limit())
  take(`trade::${UNIFIED}`, (trades) => trades.length)
  take(`bidask:bookTicker@${UNIFIED}`, (ticker) => ticker.bid)
}

async function anchor(exchange, client, body) {
  const snapshot = exchange.parseOrderBook(body, UNIFIED, body.T)
  snapshot.nonce = body.lastUpdateId
  exchange.fetchRestOrderBookSafe = async () => snapshot
  await exchange.fetchOrderBookSnapshot(client, undefined, { symbol: UNIFIED, limit: BOOK_LEVELS, type: 'future' })
}

function countingResolve(resolve, onTrade, onTicker) {
  return function (result, messageHash) {
    if (messageHash.startsWith('trade::')) onTrade()
    else if (messageHash.startsWith('bidask:bookTicker@')) onTicker()
    return resolve.call(this, result, messageHash)
  }
}

function marketOf(exchange) {
  return exchange.safeMarketStructure({
    id: SYMBOL, lowercaseId: SYMBOL.toLowerCase(), symbol: UNIFIED, base: BASE, quote: QUOTE, settle: QUOTE,
    baseId: BASE, quoteId: QUOTE, settleId: QUOTE, type: 'swap', spot: false, margin: false, swap: true, future: false,
    option: false, contract: true, linear: true, inverse: false, active: true, contractSize: 1, taker: 0.0005, maker: 0.0002,
    precision: { price: 0.1, amount: 0.001 },
  })
}
