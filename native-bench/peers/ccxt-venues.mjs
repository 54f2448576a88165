/**
 * How ccxt.pro is fed and watched for each venue: its class, its market, the socket that the messages seem to come from
 * and what the handlers resolve. Facts are those of its own files in ccxt/js/src/pro.
 */
const contract = (id, base, quote, settle) => ({
  id, lowercaseId: id.toLowerCase(), symbol: `${base}/${quote}:${settle}`, base, quote, settle,
  baseId: base, quoteId: quote, settleId: settle, type: 'swap', spot: false, margin: false, swap: true, future: false,
  option: false, contract: true, linear: quote === settle, inverse: base === settle, active: true, contractSize: 1,
  taker: 0.0005, maker: 0.0002, precision: { price: 0.1, amount: 0.001 },
})

/** `BTCUSDT` */
const joined = (id) => contract(id, id.slice(0, -4), id.slice(-4), id.slice(-4))

export const VENUES = {
  binance: {
    type: 'binanceusdm',
    url: 'wss://fstream.binance.com/stream',
    market: joined,
    hashes: (symbol) => ({ book: `orderbook::${symbol}`, trades: `trade::${symbol}`, tickers: `bidask:bookTicker@${symbol}` }),
    bookLevels: 1000, // its own default; its handleOrderBookSubscription makes the book
    isTop: () => false,
  },
  okx: {
    type: 'okx',
    url: 'wss://ws.okx.com:8443/ws/v5/public',
    market(id) {
      const [base, quote] = id.split('-')
      return contract(id, base, quote, quote)
    },
    hashes: (symbol) => ({ book: `books:${symbol}`, trades: `trades:${symbol}`, tickers: `bidask::${symbol}` }),
    isTop: () => false,
  },
  deribit: {
    type: 'deribit',
    url: 'wss://www.deribit.com/ws/api/v2',
    market: (id) => contract(id, id.split('-')[0], 'USD', id.split('-')[0]),
    hashes: (symbol, id) => ({ book: `book|${symbol}|100ms`, trades: `trades|${symbol}|100ms`, tickers: `quote.${id}` }),
    isTop: () => false,
  },
  // its handler of orderbook.1 overwrites the book of the same symbol: tops need an exchange object of their own
  bybit: {
    type: 'bybit',
    url: 'wss://stream.bybit.com/v5/public/linear',
    market: joined,
    hashes: (symbol) => ({ book: `orderbook:${symbol}`, trades: `trade:${symbol}`, tickers: `bidask:${symbol}` }),
    isTop: (bytes) => bytes.latin1Slice(10, 22) === 'orderbook.1.', // behind `{"topic":"`
  },
}
