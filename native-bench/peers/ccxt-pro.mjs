/**
 * ccxt.pro: its client's onMessage (which parses), then its handlers of order book, trades and best bid/ask.
 *
 * No network: the client object is made by ccxt itself but never connected, the market is given instead of fetched. Where
 * a book starts with a REST answer (Binance), the depth body of the recording is what its own snapshot request is answered
 * with, where it stands.
 *
 * Without more: the handlers alone, nobody listens; that is ccxt.pro at its best. With `watched`: three loops await what
 * watchOrderBook, watchTrades and watchBidsAsks wait for, and get every update, as a program that uses it does.
 */
import ccxt from 'ccxt'
import { readFileSync } from 'node:fs'
import { VENUES } from './ccxt-venues.mjs'
import { LEVELS_COMPARED, serve } from './peer.mjs'

const [, , , EXCHANGE, ID, MODE] = process.argv
const VENUE = VENUES[EXCHANGE]
const MARKET = VENUE.market(ID)
const { symbol: SYMBOL } = MARKET
const HASHES = VENUE.hashes(SYMBOL, ID)
const IS_WATCHED = MODE === 'watched'

// ccxt.version lags behind its package
const { version } = JSON.parse(readFileSync(new URL('node_modules/ccxt/package.json', import.meta.url), 'utf8'))

serve('ccxt.pro', version, async (messages) => {
  const counts = { trades: 0, tradeQuantity: 0, tickers: 0 }
  const [exchange, client] = connected(counts)
  const topClient = EXCHANGE === 'bybit' ? connected(counts)[1] : client
  if (VENUE.bookLevels !== undefined) exchange.orderbooks[SYMBOL] = exchange.orderBook({}, VENUE.bookLevels)
  if (IS_WATCHED) watch(client, topClient)
  for (const { bytes } of messages) {
    if (bytes[2] === 0x6c) await anchor(exchange, client, JSON.parse(bytes.toString())) // {"lastUpdateId"
    else (VENUE.isTop(bytes) ? topClient : client).onMessage({ data: bytes.toString() })
    if (IS_WATCHED) await null // what was resolved is taken and asked for again
  }
  const { bids, asks } = exchange.orderbooks[SYMBOL]
  return () => ({ bids: best(bids), asks: best(asks), ...counts })
})

/** An exchange object and its client, subscribed as far as its handlers ask. */
function connected(counts) {
  const exchange = new ccxt.pro[VENUE.type]({ newUpdates: true })
  exchange.setMarkets([exchange.safeMarketStructure(MARKET)])
  const client = exchange.client(VENUE.url)
  for (const hash of Object.values(HASHES)) client.subscriptions[hash] = true
  client.resolve = countingResolve(client.resolve, counts)
  return [exchange, client]
}

function watch(client, topClient) {
  const take = async (from, messageHash, use) => {
    for (;;) use(await from.future(messageHash))
  }
  take(client, HASHES.book, (book) => book.limit())
  take(client, HASHES.trades, (trades) => trades.length)
  take(topClient, HASHES.tickers, (ticker) => ticker.bid)
}

async function anchor(exchange, client, body) {
  const snapshot = exchange.parseOrderBook(body, SYMBOL, body.T)
  snapshot.nonce = body.lastUpdateId
  exchange.fetchRestOrderBookSafe = async () => snapshot
  await exchange.fetchOrderBookSnapshot(client, undefined, { symbol: SYMBOL, limit: VENUE.bookLevels, type: 'future' })
}

/** Every frame of the messages has one trade. */
function countingResolve(resolve, counts) {
  return function (result, messageHash) {
    if (messageHash === HASHES.trades) {
      counts.trades++
      counts.tradeQuantity += result[result.length - 1].amount
    } else if (messageHash === HASHES.tickers) counts.tickers++
    return resolve.call(this, result, messageHash)
  }
}

const best = (side) => side.slice(0, LEVELS_COMPARED).map(([price, amount]) => [price, amount])
