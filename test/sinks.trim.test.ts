import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog } from '../engine/base/log.ts'
import { seededRandom } from '../engine/base/random.ts'
import { BLOCK_STREAM, STORE_CONSUMER } from '../engine/record/streams.ts'
import { NatsLink } from '../engine/sinks/nats.ts'
import { Trim, TRIM_DEFAULT } from '../engine/sinks/trim.ts'
import { startTestNats } from './support/nats.ts'

const MESSAGE = new Uint8Array(900_000)
const MESSAGES = 40 // of a stream of 64 MiB: more than half
const STORED = 15

test('trim should remove stored blocks of a stream that is half full, and no block that is not stored', async (t) => {
  const nats = await startTestNats()
  if (typeof nats === 'string') return t.skip(nats)
  const log = createLog('silent', 'test')
  const link = new NatsLink(nats.options, 'test trim', seededRandom(1), log)
  try {
    link.start()
    while (link.up() === undefined) await new Promise((done) => setTimeout(done, 10))
    const jetstream = nats.connection.jetstream()
    const trim = new Trim(link, { ...TRIM_DEFAULT, stream: BLOCK_STREAM, consumers: [STORE_CONSUMER] }, log)
    for (let count = 0; count < 10; count++) await jetstream.publish('block.trades.binance.test', MESSAGE)
    assert.equal(await trim.look(), 0) // far from full
    for (let count = 10; count < MESSAGES; count++) await jetstream.publish('block.trades.binance.test', MESSAGE)
    assert.equal(await trim.look(), 0) // full, but nothing is stored
    const consumer = await jetstream.consumers.get(BLOCK_STREAM, STORE_CONSUMER)
    for await (const message of await consumer.fetch({ max_messages: STORED, expires: 2_000 })) await message.ackAck()
    assert.equal(await trim.look(), STORED)
    const { state } = await (await nats.connection.jetstreamManager()).streams.info(BLOCK_STREAM)
    assert.deepEqual([state.first_seq, state.messages], [STORED + 1, MESSAGES - STORED])
    assert.equal(trim.trimmedBlocks, STORED)
  } finally {
    await link.close()
    await nats.stop()
  }
})
