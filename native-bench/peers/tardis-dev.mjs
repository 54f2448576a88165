/**
 * tardis-dev: parse, normalise (book changes, trades, book tickers) and keep its OrderBook.
 *
 * This is what its streamNormalized() does with a message of a socket, without its three nested async generators: they
 * only cost time, so the peer is measured at its best. A REST depth body is wrapped as its own feed wraps it.
 */
import { createRequire } from 'node:module'
import { measure } from './peer.mjs'

const require = createRequire(import.meta.url)
const { OrderBook, normalizeBookChanges, normalizeBookTickers, normalizeTrades } = require('tardis-dev')
const { version } = require('tardis-dev/package.json')

const EXCHANGE = 'binance-futures'
const SYMBOL = process.argv[4]

await measure('tardis-dev', version, (messages) => {
  const mappers = [normalizeBookChanges, normalizeTrades, normalizeBookTickers].map((create) => create(EXCHANGE, new Date(messages[0].receivedMs)))
  const book = new OrderBook()
  let trades = 0
  let tickers = 0
  for (const { receivedMs, bytes } of messages) {
    const localTimestamp = new Date(receivedMs)
    let message = JSON.parse(bytes.toString())
    if (message.lastUpdateId !== undefined) message = { stream: `${SYMBOL.toLowerCase()}@depthSnapshot`, generated: true, data: message }
    for (const mapper of mappers) {
      if (!mapper.canHandle(message)) continue
      for (const normalized of mapper.map(message, localTimestamp)) {
        if (normalized.type === 'book_change') book.update(normalized)
        else if (normalized.type === 'trade') trades++
        else tickers++
      }
    }
  }
  const bid = book.bestBid()
  const ask = book.bestAsk()
  return { bid: [bid.price, bid.amount], ask: [ask.price, ask.amount], trades, tickers }
})
