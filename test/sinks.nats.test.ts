import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { NatsConnection } from 'nats'
import { createLog } from '../engine/base/log.ts'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { BLOCK_STREAM, DEAD_LETTER_STREAM } from '../engine/record/streams.ts'
import { ClickHouseSink } from '../engine/sinks/clickhouse.ts'
import { StreamLetters } from '../engine/sinks/dead-letters.ts'
import { Delivery, DELIVERY_DEFAULT } from '../engine/sinks/delivery.ts'
import { Intake, INTAKE_DEFAULT } from '../engine/sinks/intake.ts'
import { LivePublisher } from '../engine/sinks/live-publisher.ts'
import { connectNats, NATS_DEFAULT, NatsLink, NatsSink, readySocketOf } from '../engine/sinks/nats.ts'
import { sealedBlock } from '../engine/sinks/sink.ts'
import { openSpool, SPOOL_DEFAULT } from '../engine/spool/spool.ts'
import { FaultLink } from '../engine/tools/conservation/fault-link.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { startTestClickHouse } from './support/clickhouse.ts'
import { startTestNats, type TestNats } from './support/nats.ts'

const silent = createLog('silent', 'test')
const random = seededRandom(1)

function tradeBlock(blockSeq: number, count = 10, epoch = 7) {
  return sealedBlock(
    buildBlock({
      table: 'trades',
      rows: tradeRows(count, blockSeq * count),
      instruments: TRADE_INSTRUMENTS,
      epoch: BigInt(epoch),
      blockSeq: BigInt(blockSeq),
      producer: 'made.by test',
    }),
  )
}

async function until(what: string, isTrue: () => boolean, deadlineMs = 15_000): Promise<void> {
  for (const end = Date.now() + deadlineMs; !isTrue(); await sleep(10))
    assert.ok(Date.now() < end, `${what} did not happen in ${deadlineMs} ms`)
}

describe('nats sink', () => {
  let nats: TestNats | undefined
  let reason = ''
  let root: string

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'marketprism-sinks-nats-'))
    const started = await startTestNats()
    if (typeof started === 'string') reason = started
    else nats = started
  })
  after(async () => {
    await nats?.stop()
    await rm(root, { recursive: true, force: true })
  })

  const messages = async (server: TestNats) =>
    (await (await server.connection.jetstreamManager()).streams.info(BLOCK_STREAM)).state.messages

  it('nats sink should publish the bytes of a block under its identity, once however often it is sent', async (t) => {
    if (nats === undefined) return t.skip(reason)
    const link = new NatsLink(nats.options, 'test', random, silent)
    link.start()
    await until('the connection', () => link.up() !== undefined)
    const sink = new NatsSink(link, silent)
    const block = tradeBlock(1)
    const before = await messages(nats)
    assert.deepEqual(await Promise.all([sink.send(block), sink.send(block)]), ['acknowledged', 'acknowledged'])
    assert.equal(await messages(nats), before + 1)
    assert.equal(sink.stats.duplicates, 1)
    const stored = await (await nats.connection.jetstreamManager()).streams.getMessage(BLOCK_STREAM, {
      last_by_subj: 'block.trades.binance.made_by_test',
    })
    assert.deepEqual(Buffer.from(stored.data), Buffer.from(block.payload))
    assert.equal(stored.header.get('Nats-Msg-Id'), block.messageId)
    assert.match(block.messageId, /^made\.by test\/7\/1:[0-9a-f]{8}$/)
    await sink.close()
  })

  it('nats sink should not send what the server would refuse, and say so in one line', async (t) => {
    const small = await startTestNats(12 * 1024)
    if (typeof small === 'string') return t.skip(small)
    const link = new NatsLink(small.options, 'test', random, silent)
    link.start()
    await until('the connection', () => link.up() !== undefined)
    const sink = new NatsSink(link, silent)
    assert.equal(await sink.send(tradeBlock(1, 2000)), 'retry')
    assert.match(sink.trouble() ?? '', /^NATS at \S+ takes 12288 bytes, a block has \d+: raise max_payload/)
    assert.equal(await sink.send(tradeBlock(2)), 'acknowledged')
    assert.equal(sink.trouble(), undefined)
    await (await small.connection.jetstreamManager()).streams.delete(BLOCK_STREAM)
    assert.equal(await sink.send(tradeBlock(3)), 'retry')
    assert.match(sink.trouble() ?? '', /^NATS at \S+ has no stream MARKETPRISM_BLOCKS/)
    await sink.close()
    await small.stop()
  })

  it('nats link should tell in one line that there is no server, and connect when there is one', async () => {
    const options = { ...NATS_DEFAULT, url: 'nats://127.0.0.1:1', retryMsMin: 5, retryMsMax: 10 }
    await assert.rejects(
      connectNats(options, 'test'),
      (error: Error) =>
        /^NATS at nats:\/\/127\.0\.0\.1:1 cannot be reached \(\S+\): start it/.test(error.message) &&
        !error.message.includes('\n'),
    )
    const warnings: string[] = []
    const log = { ...silent, warn: (line: string) => warnings.push(line) } as unknown as typeof silent
    const link = new NatsLink(options, 'test', random, log)
    link.start()
    await sleep(200)
    assert.equal(await new NatsSink(link, silent).send(tradeBlock(1)), 'retry')
    const live = new LivePublisher(link)
    assert.equal(live.tryPublish(Buffer.from('trade.a.b.c'), Buffer.from('x')), false)
    assert.equal(live.stats.dropped, 1)
    assert.equal(warnings.length, 1, 'told once, not at every attempt')
    await link.close()
  })

  it('nats link that comes and goes should be told once a minute', async (t) => {
    if (nats === undefined) return t.skip(reason)
    const fault = new FaultLink('flapping')
    const warnings: string[] = []
    const log = { ...silent, warn: (line: string) => warnings.push(line), info: () => {} } as unknown as typeof silent
    const url = await fault.through(nats.options.url)
    const link = new NatsLink({ ...nats.options, url }, 'test', random, log)
    link.start()
    for (let count = 1; count <= 4; count++) {
      await until('the connection', () => link.up() !== undefined)
      fault.reset()
      await until('its end', () => link.up() === undefined)
    }
    await until('the connection', () => link.up() !== undefined)
    assert.deepEqual([warnings.length, link.reconnects], [1, 4], warnings.join())
    await link.close()
    fault.close()
  })

  it('live publisher should deliver subject and bytes at once', async (t) => {
    if (nats === undefined) return t.skip(reason)
    const link = new NatsLink(nats.options, 'test', random, silent)
    link.start()
    await until('the connection', () => link.up() !== undefined)
    const received: string[] = []
    nats.connection.subscribe('trade.>', {
      callback: (_, message) => received.push(`${message.subject} ${Buffer.from(message.data).toString()}`),
    })
    await nats.connection.flush()
    const live = new LivePublisher(link)
    assert.ok(readySocketOf(link.up() as NatsConnection), 'the client still has its socket where we look for it')
    const memory = Buffer.alloc(64)
    for (let count = 0; count < 3; count++) {
      memory.write(`message ${count}`) // the same memory each time: it is copied
      assert.equal(live.tryPublish(Buffer.from('trade.binance.spot.BTCUSDT'), memory.subarray(0, 9)), true)
    }
    live.flush()
    await until('the messages', () => received.length === 3)
    assert.deepEqual(
      received,
      [0, 1, 2].map((count) => `trade.binance.spot.BTCUSDT message ${count}`),
    )
    await link.close()
  })

  it('live publisher should keep every byte and the order, whatever the sizes, and drop what the server would refuse', async (t) => {
    if (nats === undefined) return t.skip(reason)
    const seed = freshSeed()
    t.diagnostic(`seed ${seed}`)
    const pick = seededRandom(seed)
    const link = new NatsLink(nats.options, 'test', random, silent)
    link.start()
    await until('the connection', () => link.up() !== undefined)
    const received: Buffer[] = []
    nats.connection.subscribe('book.>', { callback: (_, message) => received.push(Buffer.from(message.data)) })
    await nats.connection.flush()
    const live = new LivePublisher(link)
    const sent: Buffer[] = []
    const bytesMax = link.up()?.info?.max_payload ?? 0
    for (let count = 0; count < 300; count++) {
      const bytes = Buffer.alloc(Math.floor(pick() ** 4 * 300_000)).fill(`${count}\r\nPUB a 1\r\n`)
      assert.equal(live.tryPublish(Buffer.from('book.okx.swap.币安人生USDT'), bytes), true)
      sent.push(bytes)
      if (count % 7 === 0) live.flush()
      if (count % 50 === 0) await link.up()?.flush()
    }
    assert.equal(live.tryPublish(Buffer.from('book.x'), Buffer.alloc(bytesMax + 1)), false)
    live.flush()
    await until('the messages', () => received.length === sent.length)
    assert.ok(received.every((bytes, index) => bytes.equals(sent[index] as Buffer)))
    assert.deepEqual([live.stats.published, live.stats.dropped], [300, 1])
    await link.close()
  })

  it('blocks should reach clickhouse once each, through kill -9 of nats-server, clickhouse and the store', async (t) => {
    if (nats === undefined) return t.skip(reason)
    const server = nats
    const clickhouse = await startTestClickHouse()
    const link = new NatsLink(server.options, 'blocks', random, silent)
    link.start()
    const spool = await openSpool(join(root, 'spool'), SPOOL_DEFAULT, () => Date.now())
    const delivery = new Delivery(
      spool,
      new NatsSink(link, silent),
      { ...DELIVERY_DEFAULT, retryMsMin: 20, retryMsMax: 200 },
      random,
      silent,
      { put: async () => assert.fail('poison') },
    )
    delivery.start()
    const startStore = () => {
      const storeLink = new NatsLink(server.options, 'store', random, silent)
      const sink = new ClickHouseSink(clickhouse.options, () => BigInt(Date.now()) * 1_000_000n, silent)
      const intake = new Intake(
        storeLink,
        sink,
        { ...INTAKE_DEFAULT, retryMsMin: 20, retryMsMax: 200 },
        random,
        silent,
        new StreamLetters(storeLink),
      )
      storeLink.start()
      intake.start()
      return { storeLink, sink, intake }
    }
    let store = startStore()
    const BLOCKS = 120
    const ROWS = 100
    for (let block = 0; block < BLOCKS; block++) {
      spool.append(
        buildBlock({
          table: 'trades',
          rows: tradeRows(ROWS, 1_000_000 + block * ROWS),
          instruments: TRADE_INSTRUMENTS,
          epoch: BigInt(spool.epoch),
          blockSeq: BigInt(spool.nextSeq),
          producer: 'chain',
        }),
      )
      await sleep(15)
      if (block === 30) process.kill(server.server.pid, 'SIGKILL')
      if (block === 60) process.kill(clickhouse.server.pid, 'SIGKILL')
      if (block === 80) {
        await store.storeLink.close() // as if the store was killed: what it held is not acknowledged
        await store.intake.stop(0)
        await store.sink.close()
        store = startStore()
      }
      if (block === 100)
        await server.connection
          .jetstream()
          .publish('block.trades.binance.foreign', Buffer.from('this is no block'))
          .catch(() => undefined)
    }
    await spool.flush()
    await delivery.stop(20_000)
    assert.equal(spool.stats.unacked, 0)
    const count = async () =>
      Number((await clickhouse.query(`SELECT count() c FROM blocks FINAL WHERE producer = 'chain'`))[0]?.c)
    for (const end = Date.now() + 90_000; (await count()) < BLOCKS; await sleep(200))
      assert.ok(Date.now() < end, 'blocks did not arrive')
    const [rows] = await clickhouse.query(
      `SELECT count() c, uniqExact(trade_id) u, min(trade_id) a, max(trade_id) z FROM trades WHERE producer = 'chain'`,
    )
    assert.deepEqual(rows, {
      c: String(BLOCKS * ROWS),
      u: String(BLOCKS * ROWS),
      a: '1000000',
      z: String(1_000_000 + BLOCKS * ROWS - 1),
    })
    const letter = await (await server.connection.jetstreamManager()).streams.getMessage(DEAD_LETTER_STREAM, {
      last_by_subj: 'deadletter.trades.binance.foreign',
    })
    assert.equal(Buffer.from(letter.data).toString(), 'this is no block')
    await store.intake.stop(1000)
    await store.sink.close()
    await store.storeLink.close()
    await link.close()
    await spool.close()
    await clickhouse.stop()
  })
})
