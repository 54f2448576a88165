/*
 * Live trades of one instrument and its verified book, from a gateway.
 *
 *   npm run demo -- --seconds 300                                     (one terminal)
 *   node engine/client/examples/live.mjs [gateway] [instrument] [seconds]   (another)
 */
import { connectStream, query, StreamBooks } from 'marketprism/client'

const [url = 'http://127.0.0.1:9480', wanted, seconds = '30'] = process.argv.slice(2)
const key = process.env.MARKETPRISM_CONSUME_KEY

const { books: listed } = await query({ url, key }).get('/v1/books')
const instrument = wanted ?? listed.find(({ state }) => state === 'LIVE')?.instrument
if (instrument === undefined) throw new Error(`${url} has no book that is LIVE`)
console.log(`${instrument} for ${seconds} s`)

const patterns = [`trade.${instrument}`, `book.${instrument}`]
const stream = connectStream({ url, key, patterns, depth: 20, signal: AbortSignal.timeout(seconds * 1000) })
const books = new StreamBooks()
const counts = { trades: 0, bookChanges: 0, resets: 0 }
for await (const message of stream) {
  const book = books.apply(message) // leaves alone what is not of a book
  switch (message.type) {
    case 'trade':
      for (const { trade_ns, side, price, quantity } of message.rows) {
        counts.trades++
        console.log(new Date(Number(BigInt(trade_ns) / 1_000_000n)).toISOString(), side.padEnd(4), price, '×', quantity)
      }
      break
    case 'book': {
      counts.bookChanges++
      const [[bid, ask]] = [[book.bids(1)[0], book.asks(1)[0]]]
      console.log(`book ${book.lastSeq}  ${bid?.join(' × ')}  |  ${ask?.join(' × ')}`)
      break
    }
    case 'book_reset':
      counts.resets++
      console.log(`book is ${message.state} (${message.reason}): nothing is shown until it is LIVE again`)
      break
    case 'connection':
      console.log(`connection: ${message.state} ${message.reason}`)
  }
}
console.log(JSON.stringify({ instrument, ...counts, lastSeq: stream.lastSeq, isLive: books.get(instrument)?.isLive ?? false }))
