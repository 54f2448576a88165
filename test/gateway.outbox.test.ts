/** What a client gets that reads slowly: all that happened, the newest of what merely is, and an end when it is too much. */
import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { Outbox } from '../engine/gateway/live/outbox.ts'
import { Slabs } from '../engine/base/slabs.ts'
import type { BookContent } from '../engine/gateway/live/book-change.ts'
import { ENCODINGS, Outgoing, type OutgoingBody, Topic } from '../engine/gateway/live/topic.ts'
import type { Said } from './support/live.ts'

/** A socket whose other side reads when it is told to. */
class Pipe extends Duplex {
  readonly written: Buffer[] = []
  #waiting: (() => void) | undefined
  isReading = true

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.written.push(Buffer.from(chunk)) // the slab is used again
    if (this.isReading) done()
    else this.#waiting = done
  }

  override _read(): void {}

  readOn(): void {
    this.isReading = true
    this.#waiting?.()
    this.#waiting = undefined
  }

  /** What came, by a reader of RFC 6455 of its own. */
  said(): Said[] {
    const all = Buffer.concat(this.written)
    const messages: Said[] = []
    for (let at = 0; at < all.length; ) {
      assert.equal(all[at], 0x81, 'a whole text frame')
      const short = all[at + 1] as number
      const [head, length] =
        short < 126
          ? [2, short]
          : short === 126
            ? [4, all.readUInt16BE(at + 2)]
            : [10, Number(all.readBigUInt64BE(at + 2))]
      messages.push(JSON.parse(all.toString('utf8', at + head, at + head + length)))
      at += head + length
    }
    return messages
  }
}

function scene(queueBytesMax = 1 << 20) {
  const pipe = new Pipe()
  const slabs = new Slabs()
  const waiting = new Set<Outbox>()
  const evictions: string[] = []
  const counts = { sent: 0, conflated: 0 }
  const limits = { queueBytesMax, stallMsMax: 1_000 }
  const outbox = new Outbox(pipe, ENCODINGS.json, limits, counts, {
    onWaiting: (each) => waiting.add(each),
    onEvict: (reason) => evictions.push(reason),
  })
  const flush = async (nowMs = 0) => {
    for (const each of [...waiting]) {
      waiting.delete(each)
      each.flush(slabs, nowMs, { owedBytes: 1 << 20 })
    }
    await turn()
  }
  /** Until nothing waits any more. */
  const drain = async () => {
    pipe.readOn()
    await turn()
    while (waiting.size > 0) await flush()
  }
  return { pipe, outbox, flush, drain, evictions, counts, waiting }
}

const topicOf = (type: string, symbol = 'BTCUSDT') => new Topic({ type, exchange: 'binance', market: 'usdm', symbol })
const rows = (id: number): OutgoingBody => ({ kind: 'rows', rows: [{ id, filling: 'x'.repeat(300) }] })
const change = (first: number, last: number, price: string, quantity: string): OutgoingBody => ({
  kind: 'update',
  change: {
    book_epoch: 1,
    first_seq: first,
    last_seq: last,
    event_ns: '1',
    received_ns: String(last),
    bids: [[price, quantity]],
    asks: [],
  },
})

test('outbox should send everything in order to a client that reads', async () => {
  const { pipe, outbox, flush, counts } = scene()
  const [trades, quotes] = [topicOf('trade'), topicOf('book_ticker')]
  for (let id = 0; id < 500; id++) outbox.push(new Outgoing(id % 2 === 0 ? trades : quotes, `b-${id}`, rows(id)))
  for (let index = 0; index < 10; index++) await flush()
  assert.deepEqual(
    pipe.said().map(({ rows }) => rows[0].id),
    Array.from({ length: 500 }, (_, id) => id),
  )
  assert.deepEqual([counts.sent, counts.conflated, outbox.bytes], [500, 0, 0])
})

test('outbox should keep every trade of a client that reads slowly, and only the newest quote', async () => {
  const { pipe, outbox, flush, drain, evictions, counts } = scene()
  const [trades, quotes, others] = [topicOf('trade'), topicOf('book_ticker'), topicOf('book_ticker', 'ETHUSDT')]
  outbox.push(new Outgoing(trades, 'b-0', rows(-1)))
  pipe.isReading = false
  await flush()
  for (let id = 0; id < 1_000; id++) {
    outbox.push(new Outgoing(trades, `b-${id}`, rows(id)))
    outbox.push(new Outgoing(quotes, `b-${id}`, rows(id)))
    if (id === 500) outbox.push(new Outgoing(others, `b-${id}`, rows(id)))
  }
  await drain()
  const said = pipe.said()
  const of = (topic: Topic) =>
    said
      .filter(({ type, symbol }) => type === topic.subject.type && symbol === topic.subject.symbol)
      .map(({ rows }) => rows[0].id)
  assert.deepEqual(
    of(trades),
    Array.from({ length: 1_001 }, (_, id) => id - 1),
  )
  const left = of(quotes)
  assert.ok(left.length < 5 && left.at(-1) === 999, `${left.length} quotes`)
  assert.ok(
    left.every((id: number, index: number) => index === 0 || id > left[index - 1]),
    'older ones never come later',
  )
  assert.deepEqual(of(others), [500])
  assert.deepEqual([evictions, counts.conflated], [[], 1_000 - left.length])
})

test('outbox should make several changes of a book one, which leads to the same book', async () => {
  const seed = freshSeed()
  const random = seededRandom(seed)
  const { pipe, outbox, flush, drain } = scene()
  const book = topicOf('book')
  const truth = new Map<string, string>()
  outbox.push(new Outgoing(topicOf('trade'), 'b-0', rows(0)))
  pipe.isReading = false
  await flush()
  for (let seq = 1; seq <= 2_000; seq++) {
    const [price, quantity] = [String(Math.floor(random() * 50)), random() < 0.3 ? '0' : String(seq)]
    if (quantity === '0') truth.delete(price)
    else truth.set(price, quantity)
    outbox.push(new Outgoing(book, `b-${seq}`, change(seq, seq, price, quantity)))
  }
  await drain()
  const updates = pipe.said().filter(({ type }) => type === 'book')
  assert.ok(updates.length < 1_000, `seed ${seed}: ${updates.length} updates`)
  const own = new Map<string, string>()
  let lastSeq = 0
  for (const { first_seq, last_seq, bids } of updates) {
    assert.equal(first_seq, lastSeq + 1, `seed ${seed}: no hole`)
    lastSeq = last_seq
    for (const [price, quantity] of bids) {
      if (quantity === '0') own.delete(price)
      else own.set(price, quantity)
    }
  }
  assert.equal(lastSeq, 2_000)
  assert.deepEqual([...own].sort(), [...truth].sort(), `seed ${seed}`)
})

test('outbox should owe a whole book once, as it is when there is room, and no change that it holds already', async () => {
  const { pipe, outbox, flush, drain } = scene()
  const book = topicOf('book')
  let content: BookContent = {
    book_epoch: 1,
    last_seq: 5,
    state: 'LIVE',
    event_ns: '1',
    received_ns: '1',
    bids: [['1', '1']],
    asks: [],
  }
  const whole = () => new Outgoing(book, 'b-1', { kind: 'snapshot', book: content })
  book.begin = () => [whole()]
  outbox.push(new Outgoing(book, 'b-0', change(1, 1, '1', '1')))
  pipe.isReading = false
  await flush()
  outbox.push(new Outgoing(book, 'b-1', change(2, 2, '1', '2'))) // of the book before
  outbox.push(whole())
  for (let seq = 6; seq < 10; seq++) outbox.push(new Outgoing(book, 'b-2', change(seq, seq, '1', '3')))
  content = { ...content, last_seq: 9, bids: [['1', '3']] }
  await drain()
  outbox.push(new Outgoing(book, 'b-3', change(10, 10, '1', '4')))
  await drain()
  assert.deepEqual(
    pipe.said().map(({ kind, last_seq }) => [kind, last_seq]),
    [
      ['update', 1],
      ['update', 2],
      ['snapshot', 9],
      ['update', 10],
    ],
  )
})

test('outbox should drop an owed book when it is reset, and send the reset', async () => {
  const { pipe, outbox, drain } = scene()
  const book = topicOf('book')
  book.begin = () => []
  outbox.push(new Outgoing(book, 'b-1', { kind: 'snapshot', book: {} as BookContent }))
  outbox.push(new Outgoing(book, 'b-2', { kind: 'reset', reset: { state: 'GAP', reason: 'sequence', since_ns: '7' } }))
  await drain()
  assert.deepEqual(
    pipe.said().map(({ type }) => type),
    ['book_reset'],
  )
})

test('outbox should evict a client beyond its bound, and hold nothing of it then', async () => {
  const { pipe, outbox, flush, evictions } = scene(100_000)
  const trades = topicOf('trade')
  outbox.push(new Outgoing(trades, 'b-0', rows(0)))
  pipe.isReading = false
  await flush()
  let most = 0
  for (let id = 0; id < 10_000; id++) {
    outbox.push(new Outgoing(trades, `b-${id}`, rows(id)))
    most = Math.max(most, outbox.bytes)
  }
  await turn()
  assert.equal(evictions.length, 1)
  assert.match(evictions[0] as string, /more than 100000 bytes/)
  assert.ok(most <= 100_000 && outbox.bytes < 1_000, `${most}, ${outbox.bytes} bytes`)
})

test('outbox should evict a client that takes nothing for its time, however little waits', async () => {
  const { pipe, outbox, flush, evictions } = scene()
  outbox.push(new Outgoing(topicOf('trade'), 'b-0', rows(0)))
  pipe.isReading = false
  await flush(5_000)
  outbox.look(6_000)
  await turn()
  assert.deepEqual(evictions, [])
  outbox.look(6_001)
  await turn()
  assert.deepEqual(evictions, ['it read nothing for 1 s'])
})
