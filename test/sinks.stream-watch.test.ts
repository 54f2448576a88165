import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BLOCK_STREAM, storeConsumer } from '../engine/record/streams.ts'
import { connectNats, NATS_DEFAULT } from '../engine/sinks/nats.ts'
import { StreamWatch } from '../engine/sinks/stream-watch.ts'
import { startChain, WAIT_MS } from './support/chain.ts'
import { cleanUp } from './support/clean-up.ts'
import { SILENT, until } from './support/embedded.ts'
import { STREAMS } from './support/settings.ts'

test('a block stream or consumer that somebody deletes should be made anew, and cost no row and double none', async (t) => {
  const chain = await startChain(t)
  if (chain === undefined) return
  const consumer = storeConsumer(32, 3)
  const streams = { ...STREAMS, bytesMax: 256 * 1024 * 1024 }
  const watching = (isStoring: boolean) => {
    const watch = new StreamWatch(chain.link, { streams, consumers: [consumer], isStoring, lookMs: 100 }, SILENT)
    watch.start()
    return () => watch.stop()
  }
  const nats = await connectNats({ ...NATS_DEFAULT, url: chain.nats.url }, 'somebody')
  cleanUp(t, () => nats.close())
  const { streams: streamsNow, consumers } = await nats.jetstreamManager()
  const isGone = (ask: Promise<unknown>) => ask.then(() => false).catch(() => true)

  await chain.append(20) // acknowledged, and stored by nobody yet
  await chain.delivered()
  await streamsNow.delete(BLOCK_STREAM)
  await chain.append(5)
  const stopCollecting = watching(false)
  await chain.delivered()
  const stopStore = chain.startStore()
  await chain.append(5)
  await chain.assertAllStored()
  assert.ok(chain.spool.stats.resent >= 20)

  await consumers.delete(BLOCK_STREAM, consumer.durable_name)
  await chain.append(5)
  await chain.delivered()
  assert.ok(await isGone(consumers.info(BLOCK_STREAM, consumer.durable_name)), 'who only collects makes no consumer')
  await stopCollecting()
  cleanUp(t, watching(true))
  await until(async () => !(await isGone(consumers.info(BLOCK_STREAM, consumer.durable_name))), WAIT_MS, 'a consumer')
  await chain.assertAllStored()
  await stopStore()
})
