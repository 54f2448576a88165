import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { BLOCK_STREAM, DEAD_LETTER_STREAM } from '../engine/record/streams.ts'
import { connectNats, NATS_DEFAULT } from '../engine/sinks/nats.ts'
import { type Chain, startChain, WAIT_MS } from './support/chain.ts'
import { startNats, until } from './support/embedded.ts'

/** Blocks that wait in the spool while somebody lowers max_payload: they are longer than a message may be, and go. */

const LARGE_ROWS = 6_000
const LOW_BYTES = 64 * 1024

/** Three large blocks wait among small ones when the server comes again with shorter messages. */
async function lowered(t: TestContext, chain: Chain): Promise<void> {
  await chain.append(5)
  await chain.delivered()
  await chain.nats.stop()
  await chain.append(2)
  await chain.append(3, LARGE_ROWS)
  await chain.append(2)
  assert.ok(chain.spool.stats.appendedBytes > 3 * 400_000, `${chain.spool.stats.appendedBytes} bytes are not large`)
  const { storeDirectory } = chain
  const port = Number(new URL(chain.nats.url).port)
  await startNats(t, { storeDirectory, port, payloadBytesMax: LOW_BYTES })
}

const admin = (chain: Chain) => connectNats({ ...NATS_DEFAULT, url: chain.nats.url }, 'admin')

test('large blocks should be stored once each by stores that share the consumer, when max_payload is lowered while they wait', async (t) => {
  const chain = await startChain(t)
  if (chain === undefined) return
  await lowered(t, chain)
  const stops = [chain.startStore(), chain.startStore()]
  await chain.delivered()
  await chain.assertAllStored()
  assert.equal(chain.sink.stats.large, 3)
  const connection = await admin(chain)
  assert.equal(connection.info?.max_payload, LOW_BYTES, 'the server takes less now')
  assert.equal((await chain.streamState()).messages, 12, 'one message a block')
  const letters = await (await connection.jetstreamManager()).streams.info(DEAD_LETTER_STREAM)
  assert.equal(letters.state.messages, 0)
  await connection.close()
  for (const stop of stops) await stop()
})

test('large blocks should be stored by a store that comes again in the middle of them, and by one that comes later', async (t) => {
  const chain = await startChain(t)
  if (chain === undefined) return
  await lowered(t, chain)
  await chain.delivered()
  const stop = chain.startStore()
  await until(() => chain.spool.stats.uncommitted < 12, WAIT_MS, 'the first blocks are stored')
  await stop()
  await chain.append(1, LARGE_ROWS)
  await chain.delivered()
  const stopLater = chain.startStore()
  await chain.assertAllStored()
  assert.ok(chain.sink.stats.large >= 4)
  await stopLater()
})

test('large blocks whose object is lost should be told as damaged and sent again by their collector', async (t) => {
  const chain = await startChain(t)
  if (chain === undefined) return
  await lowered(t, chain)
  await chain.delivered()
  const connection = await admin(chain)
  const manager = await connection.jetstreamManager()
  await manager.streams.purge('OBJ_MARKETPRISM_LARGE')
  const stop = chain.startStore()
  await chain.assertAllStored()
  assert.ok(chain.spool.stats.resent >= 3, `${chain.spool.stats.resent} were sent again`)
  const { state } = await manager.streams.info(BLOCK_STREAM)
  assert.ok(state.messages >= 15, `${state.messages} messages`)
  await connection.close()
  await stop()
})
