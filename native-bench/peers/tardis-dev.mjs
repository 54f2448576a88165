/**
 * tardis-dev: parse, normalise (book changes, trades, book tickers) and keep its OrderBook.
 *
 * This is what its streamNormalized() does with a message of a socket, without its three nested async generators: they
 * only cost time, so the peer is measured at its best.
 */
import { createRequire } from 'node:module'
import { LEVELS_COMPARED, serve } from './peer.mjs'

const require = createRequire(import.meta.url)
const { OrderBook, normalizeBookChanges, normalizeBookTickers, normalizeTrades } = require('tardis-dev')
const { version } = require('tardis-dev/package.json')

const [, , , EXCHANGE, SYMBOL] = process.argv

/** Its names; what it must be told so that it reads all that it can. */
const VENUES = {
  // a REST depth body is wrapped as its own feed wraps it
  binance: {
    name: 'binance-futures',
    adapt: (message) =>
      message.lastUpdateId === undefined
        ? message
        : { stream: `${SYMBOL.toLowerCase()}@depthSnapshot`, generated: true, data: message },
  },
  // it reads `books` for messages of now, `books-l2-tbt` for those of its archive: which ones, it decides by the clock
  okx: { name: 'okex-swap', adapt: (message) => message },
  // it knows tops from `ticker` only; a quote has the same names of fields, so it is handed over as one
  deribit: {
    name: 'deribit',
    adapt(message) {
      const { params } = message
      if (params.channel.startsWith('quote.')) params.channel = `ticker.${SYMBOL}.100ms`
      return message
    },
  },
  bybit: { name: 'bybit', adapt: (message) => message },
}
const { name, adapt } = VENUES[EXCHANGE]

serve('tardis-dev', version, (messages) => {
  const mapperTime = EXCHANGE === 'binance' ? new Date(messages[0].receivedMs) : new Date()
  const mappers = [normalizeBookChanges, normalizeTrades, normalizeBookTickers].map((create) => create(name, mapperTime))
  const book = new OrderBook()
  let trades = 0
  let tradeQuantity = 0
  let tickers = 0
  for (const { receivedMs, bytes } of messages) {
    const localTimestamp = new Date(receivedMs)
    const message = adapt(JSON.parse(bytes.toString()))
    for (const mapper of mappers) {
      if (!mapper.canHandle(message)) continue
      for (const normalized of mapper.map(message, localTimestamp)) {
        if (normalized.type === 'book_change') book.update(normalized)
        else if (normalized.type === 'trade') {
          trades++
          tradeQuantity += normalized.amount
        } else tickers++
      }
    }
  }
  return () => ({ bids: best(book.bids()), asks: best(book.asks()), trades, tradeQuantity, tickers })
})

function best(levels) {
  const found = []
  for (const { price, amount } of levels) if (found.push([price, amount]) === LEVELS_COMPARED) break
  return found
}
