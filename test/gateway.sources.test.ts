/** Where the gateway hears live messages: the ring of its own process, and NATS. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Clock } from '../engine/base/clock.ts'
import { seededRandom } from '../engine/base/random.ts'
import type { LiveSource } from '../engine/gateway/live-source.ts'
import { NatsSource } from '../engine/gateway/sources/nats.ts'
import { RingSource } from '../engine/gateway/sources/ring.ts'
import { LIVE, PUBLICATION } from '../engine/ring/frame.ts'
import { Histogram } from '../engine/ring/histogram.ts'
import { createRing, RingReader, RingWriter } from '../engine/ring/ring.ts'
import { connectNats, NATS_DEFAULT, NatsLink } from '../engine/sinks/nats.ts'
import { SinkLive, type SinkLiveSettings } from '../workers/sink-live.ts'
import { cleanUp } from './support/clean-up.ts'
import { SILENT, startNats, until } from './support/embedded.ts'

const RANDOM = seededRandom(1)
const WAIT_MS = 20_000

/** The live side of a sink worker, fed by hand through a batch ring. */
function sinkLive(settings: Omit<SinkLiveSettings, 'latencies'>) {
  const memory = createRing(1 << 20)
  const [writer, reader] = [new RingWriter(memory), new RingReader(memory)]
  const wanted: string[][] = []
  const live = new SinkLive(
    { ...settings, latencies: [new Histogram().memory] },
    {
      clock: new Clock(),
      random: RANDOM,
      log: SILENT,
      recordsMax: 4096,
      dropsBefore: 0,
      onWanted: (books) => wanted.push([...books]),
    },
  )
  const send = (subject: string, message: string, kind: typeof LIVE | typeof PUBLICATION = LIVE): void => {
    const name = Buffer.from(subject)
    writer.tryWrite(kind, 0, 0, 0, 1, 2, Buffer.concat([Buffer.from([name.length, 0]), name, Buffer.from(message)]))
    writer.publish()
    reader.drain((_, bytes, offset, length) => live.take(kind, bytes, offset, length), 1)
    live.endOfDrain(0)
  }
  return { live, send, wanted }
}

/** What a source says, in order. */
function listen(source: LiveSource): { heard: string[]; messages: () => string[]; breaks: () => string[] } {
  const heard: string[] = []
  source.start(
    (subject, bytes) => heard.push(`${subject} ${Buffer.from(bytes).toString()}`),
    (reason) => heard.push(`! ${reason}`),
  )
  const part = (isBreak: boolean) => () => heard.filter((line) => line.startsWith('! ') === isBreak)
  return { heard, messages: part(false), breaks: part(true) }
}

test('ring source should give every message once and in order', async (t) => {
  const memory = createRing(8192)
  const { send, live } = sinkLive({ gateway: memory, isPublished: false })
  const source = new RingSource(memory, false)
  cleanUp(t, () => source.close())
  send('trade.binance.usdm.币安人生USDT', 'before it was started')
  const { heard } = listen(source)
  for (let round = 0; round < 40; round++) {
    for (let index = 0; index < 10; index++) send('trade.binance.spot.BTCUSDT', `${round * 10 + index}`)
    await until(() => heard.length === 1 + (round + 1) * 10, WAIT_MS, 'the messages of a round')
  }
  assert.deepEqual(heard, [
    'trade.binance.usdm.币安人生USDT before it was started',
    ...Array.from({ length: 400 }, (_, index) => `trade.binance.spot.BTCUSDT ${index}`),
  ])
  assert.deepEqual([source.lost, live.values().gatewayLive, live.values().gatewayDropped], [0, 401, 0])
})

test('ring source should tell what found no room before the first message behind it, and count it', async (t) => {
  const memory = createRing(4096)
  const { send, live } = sinkLive({ gateway: memory, isPublished: false })
  const source = new RingSource(memory, false)
  cleanUp(t, () => source.close())
  const { heard, messages, breaks } = listen(source)
  for (let index = 0; index < 500; index++) send('trade.a.b.C', `${index}`) // the reader has no turn: most find no room
  const given = live.values().gatewayLive
  assert.ok(given > 10 && given < 490, `${given} found room`)
  await until(() => heard.length === given, WAIT_MS, 'what found room')
  send('trade.a.b.C', 'after')
  send('trade.a.b.C', 'last')
  await until(() => messages().length === given + 2, WAIT_MS, 'what came after')
  assert.deepEqual(heard, [
    ...Array.from({ length: given }, (_, index) => `trade.a.b.C ${index}`),
    `! ${500 - given} live messages found no room: the gateway is too slow for all of them`,
    'trade.a.b.C after',
    'trade.a.b.C last',
  ])
  assert.deepEqual([breaks().length, source.lost, live.values().gatewayDropped], [1, 500 - given, 500 - given])
})

test('ring source should begin with what is new after a gateway that died', async (t) => {
  const memory = createRing(4096)
  const { send } = sinkLive({ gateway: memory, isPublished: false })
  for (let index = 0; index < 500; index++) send('trade.a.b.C', `${index}`)
  const source = new RingSource(memory, true)
  cleanUp(t, () => source.close())
  const { heard } = listen(source)
  send('trade.a.b.C', 'new')
  send('trade.a.b.C', 'newer')
  await until(() => heard.at(-1) === 'trade.a.b.C newer', WAIT_MS, 'the new messages')
  assert.deepEqual(heard.slice(-2), ['trade.a.b.C new', 'trade.a.b.C newer'])
  assert.ok(heard.length <= 3 && source.lost <= 500)
})

test('ring source should not hear what is only published, nor a sink that does not publish reach NATS', async (t) => {
  const memory = createRing(4096)
  const { send } = sinkLive({ gateway: memory, isPublished: false })
  const source = new RingSource(memory, false)
  cleanUp(t, () => source.close())
  const { heard } = listen(source)
  send('orderbook.a.b.C', 'whole', PUBLICATION)
  send('trade.a.b.C', 'row')
  await until(() => heard.length > 0, WAIT_MS, 'the row')
  assert.deepEqual(heard, ['trade.a.b.C row'])
})

test('NATS source should hear all live types of a sink worker, ask for books, and tell a new connection', async (t) => {
  const server = await startNats(t)
  if (server === null) return
  const nats = { ...NATS_DEFAULT, url: server.url, retryMsMin: 20, retryMsMax: 100 }
  const { send, live, wanted } = sinkLive({ nats, isPublished: true })
  cleanUp(t, () => live.close())
  const link = new NatsLink(nats, 'test', RANDOM, SILENT)
  const source = new NatsSource(link)
  cleanUp(t, () => source.close())
  const { messages, breaks } = listen(source)
  const arrives = async (subject: string, text: string): Promise<void> => {
    await until(
      () => {
        send(subject, text)
        return messages().includes(`${subject} ${text}`)
      },
      WAIT_MS,
      `${subject} ${text}`,
    )
  }
  await arrives('trade.binance.spot.BTCUSDT', 'first')
  send('orderbook.binance.spot.BTCUSDT', 'not for the gateway', PUBLICATION)
  for (const type of ['book_snapshot', 'book_state', 'book_delta', 'funding_rate'])
    await arrives(`${type}.okx.swap.BTC-USDT-SWAP`, type)
  await arrives('heartbeat.desk.0.0', 'beat')
  assert.deepEqual(
    messages().filter((line) => line.startsWith('orderbook')),
    [],
  )
  assert.deepEqual(breaks(), [])
  for (let count = 0; count < 100; count++)
    source.wantBook({ exchange: 'okx', market: 'swap', symbol: 'BTC-USDT-SWAP' })
  source.wantBook({ exchange: 'binance', market: 'spot', symbol: 'BTCUSDT' })
  const stranger = await connectNats(nats, 'stranger')
  for (const text of [
    'no JSON',
    '{"exchange":7}',
    'null',
    '{"exchange":"","market":"b","symbol":"c"}',
    'x'.repeat(5000),
  ])
    stranger.publish('marketprism.book.want', text)
  await stranger.close()
  await until(() => wanted.flat().includes('binance.spot.BTCUSDT'), WAIT_MS, 'the wishes')
  assert.deepEqual([...new Set(wanted.flat())], ['okx.swap.BTC-USDT-SWAP', 'binance.spot.BTCUSDT'])
  assert.ok(wanted.flat().length < 10, 'wishes for one book are gathered')
  server.renew() // killed and started again
  await until(() => breaks().length > 0, WAIT_MS, 'the break')
  await arrives('trade.binance.spot.BTCUSDT', 'after the break')
  assert.equal(source.lost, 0)
})
