/** The straight way from live message to frame against the way by objects: msgpackr, publicRow, JSON.stringify. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, type Random, seededRandom } from '../engine/base/random.ts'
import { RowChange } from '../engine/gateway/live/book-change.ts'
import { type BookMessage, BookReader } from '../engine/gateway/live/book-row.ts'
import { textFrame } from '../engine/gateway/live/frames.ts'
import { decodedBook, LiveRowsBody } from '../engine/gateway/live/live-message.ts'
import { BOOK_TYPE, ENCODINGS, Outgoing, Topic } from '../engine/gateway/live/topic.ts'
import { MsgpackWriter } from '../engine/record/msgpack.ts'
import { ROW_HEAD, TABLES } from '../engine/record/schema.ts'
import type { Column } from '../engine/record/schema-columns.ts'

const RUNS = Number(process.env['TEST_RUNS'] ?? 60)
const NAME = { exchange: 'okx', market: 'swap', symbol: 'BTC-USDT-SWAP' }
const LIVE_TABLES = TABLES.filter(({ liveType }) => liveType !== null)

const upTo = (random: Random, count: number): number => Math.floor(random() * count)
const oneOf = <Value>(random: Random, values: readonly Value[]): Value => values[upTo(random, values.length)] as Value

/** Integers of all sizes, and those at the edges of their forms. */
function integer(random: Random): number {
  const edge = oneOf(random, [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 100_000_000])
  return random() < 0.3 ? edge : Math.floor(random() * 2 ** (random() * 53))
}

function writeInteger(writer: MsgpackWriter, value: number): void {
  writer.words(Math.floor(value / 2 ** 32), value | 0)
}

function writeText(writer: MsgpackWriter, random: Random, isPlain: boolean): void {
  const plain = ['', 'BTC-USDT', 'a b', '0.000001', 'x'.repeat(40)]
  writer.text(oneOf(random, isPlain ? plain : [...plain, 'a"b', 'back\\slash', 'line\n', '币安', '\u007f', '\u2028']))
}

/** As record/live.ts writes them, column by column. */
function writeRow(writer: MsgpackWriter, columns: readonly Column[], random: Random, isPlain: boolean): void {
  const counts = { bid: upTo(random, 20), ask: upTo(random, 20) }
  writer.map(columns.length)
  for (const { name, meaning, type, words } of columns) {
    writer.text(name)
    if (type === 'Array(Int64)') {
      const count = name.startsWith('bid') ? counts.bid : counts.ask
      writer.array(count)
      for (let index = 0; index < count; index++) writeInteger(writer, integer(random))
    } else if (meaning === 'priceMantissa' || meaning === 'quantityMantissa')
      writeInteger(writer, random() < 0.2 ? -integer(random) : integer(random))
    else if (meaning === 'time') writer.words(oneOf(random, [0, 401_234_567, 2 ** 31 - 1]), upTo(random, 2 ** 32) | 0)
    else if (meaning === 'scale') writer.uint(upTo(random, 16))
    else if (meaning === 'enum') writer.text(oneOf(random, Object.keys(words ?? {})))
    else if (meaning === 'plain') writeInteger(writer, integer(random))
    else if (meaning === 'decimal' && random() < 0.3) writer.nil()
    else writeText(writer, random, isPlain)
  }
}

function messageOf(columns: readonly Column[], type: string, random: Random, isPlain = true): Uint8Array {
  const bytes = new Uint8Array(1 << 17)
  const rows = 1 + upTo(random, 4)
  const writer = new MsgpackWriter(bytes, 0).fixMap(7)
  for (const text of [
    'type',
    type,
    'exchange',
    'okx',
    'market',
    'swap',
    'symbol',
    NAME.symbol,
    'run',
    '179-0-1',
    'number',
  ])
    writer.text(text)
  writeInteger(writer, integer(random))
  writer.text('rows').array(rows)
  for (let row = 0; row < rows; row++) writeRow(writer, columns, random, isPlain)
  return bytes.slice(0, writer.at)
}

const columnsOf = (columns: readonly Column[]): readonly Column[] => [...ROW_HEAD.slice(1), ...columns]

/** What clients got before there was a straight way; undefined where that throws. */
function byObjects(message: Outgoing): Buffer | undefined {
  try {
    return textFrame(JSON.stringify(message.object()))
  } catch {
    return undefined
  }
}

/** Some bytes are others, or the end is missing. */
function damaged(message: Uint8Array, random: Random): Uint8Array {
  const bytes = message.slice(0, random() < 0.3 ? upTo(random, message.length) : message.length)
  for (let count = upTo(random, 3); count >= 0; count--) bytes[upTo(random, bytes.length)] = upTo(random, 256)
  return bytes
}

for (const { liveType, columns } of LIVE_TABLES) {
  const type = liveType as string
  test(`${type} should be the same JSON straight from its bytes as by way of objects, and never another when bytes are damaged`, (t) => {
    const seed = freshSeed()
    t.diagnostic(`seed ${seed}`)
    const random = seededRandom(seed)
    const topic = new Topic({ type, ...NAME })
    const outgoing = (bytes: Uint8Array, number: number) =>
      new Outgoing(topic, `k3x9az-${number}`, new LiveRowsBody(bytes, topic.columns))
    for (let run = 0; run < RUNS; run++) {
      const bytes = messageOf(columnsOf(columns), type, random)
      const straight = topic.rowsText.frame(topic.headJson, `k3x9az-${run}`, bytes)
      assert.ok(straight !== undefined, 'everything that the engine writes goes straight')
      assert.equal(straight.toString('latin1'), byObjects(outgoing(bytes, run))?.toString('latin1'))

      const odd = outgoing(messageOf(columnsOf(columns), type, random, false), run)
      assert.equal(odd.frame(ENCODINGS.json).toString('latin1'), byObjects(odd)?.toString('latin1'))

      const broken = damaged(bytes, random)
      const frame = topic.rowsText.frame(topic.headJson, `k3x9az-${run}`, broken)
      const wanted = frame && byObjects(outgoing(broken, run))
      if (wanted !== undefined) assert.equal(frame?.toString('latin1'), wanted.toString('latin1'))
    }
  })
}

test('rows of an older collector should be read though columns are missing, in another order or new', () => {
  const random = seededRandom(7)
  const { columns, liveType } = LIVE_TABLES.find(({ name }) => name === 'trades') as (typeof LIVE_TABLES)[number]
  const type = liveType as string
  const topic = new Topic({ type, ...NAME })
  const all = columnsOf(columns)
  const unknown = { ...(all[0] as Column), name: 'new_column', meaning: 'text' } as Column
  const layouts = [all, all.slice(0, -2), [...all].reverse(), [unknown, ...all], all.slice(3)]
  for (let run = 0; run < 20; run++) {
    const bytes = messageOf(layouts[run % layouts.length] as readonly Column[], type, random)
    const frame = topic.rowsText.frame(topic.headJson, 'b-1', bytes)
    const wanted = byObjects(new Outgoing(topic, 'b-1', new LiveRowsBody(bytes, topic.columns)))
    assert.equal(frame?.toString('latin1'), wanted?.toString('latin1'))
  }
})

test('changes of a book should be read, and sent, the same straight from their bytes as by way of objects', (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const { columns } = LIVE_TABLES.find(({ name }) => name === 'book_deltas') as (typeof LIVE_TABLES)[number]
  const reader = new BookReader()
  const topic = new Topic({ type: BOOK_TYPE, ...NAME })
  const read = (bytes: Uint8Array): BookMessage | undefined => {
    try {
      return decodedBook(bytes)
    } catch {
      return undefined
    }
  }
  for (let run = 0; run < RUNS; run++) {
    const bytes = messageOf(columnsOf(columns), 'book_delta', random)
    const message = reader.read(bytes)
    assert.ok(message !== undefined)
    assert.deepEqual(message, decodedBook(bytes))
    for (const row of message.rows) {
      const update = new Outgoing(topic, 'k3x9az-1', { kind: 'update', change: new RowChange(row) })
      assert.equal(update.frame(ENCODINGS.json).toString('latin1'), byObjects(update)?.toString('latin1'))
      assert.deepEqual(new RowChange(row).frame(topic.headJson, 'k3x9az-1'), byObjects(update), 'straight')
    }
    const broken = damaged(bytes, random)
    const got = reader.read(broken)
    const wanted = got && read(broken)
    if (wanted !== undefined) assert.deepEqual(got, wanted)
  }
})

test('a change with numbers that a double does not hold should go by way of objects', () => {
  const topic = new Topic({ type: BOOK_TYPE, ...NAME })
  const levels = { prices: [2 ** 53], quantities: [1] }
  const numbers = { epoch: 1, firstSeq: 1, lastSeq: 1, prevSeq: 0, priceScale: 2, quantityScale: 2 }
  const row = { ...numbers, isLive: true, eventNs: '1', receivedNs: '2', bid: levels, ask: levels }
  assert.equal(new RowChange(row).frame(topic.headJson, 'b-1'), undefined)
})
