/** Dead letters over the API: in the directory of a collector beside the gateway, and in NATS. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { seededRandom } from '../engine/base/random.ts'
import { BLOCK_STREAM } from '../engine/record/streams.ts'
import { type DeadLetters, DirectoryLetters, StreamLetters } from '../engine/sinks/dead-letters.ts'
import { NatsLink } from '../engine/sinks/nats.ts'
import { sealedBlock } from '../engine/sinks/sink.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { cleanUp } from './support/clean-up.ts'
import { startTestClickHouse } from './support/clickhouse.ts'
import { SILENT, temporaryDirectory, until } from './support/embedded.ts'
import { type Ask, served } from './support/gateway.ts'
import { startTestNats } from './support/nats.ts'

const ROWS = 10

async function putLetters(letters: DeadLetters, count: number): Promise<void> {
  for (let seq = 1; seq <= count; seq++) {
    const rows = tradeRows(ROWS, seq * ROWS)
    const options = { table: 'trades', rows, instruments: TRADE_INSTRUMENTS, epoch: 7n, producer: 'main' } as const
    const block = sealedBlock(buildBlock({ ...options, blockSeq: BigInt(seq) }))
    const headers = { 'Nats-Msg-Id': [block.messageId] }
    const origin = { subject: 'block.trades.binance.main', stream: BLOCK_STREAM, seq, headers }
    await letters.put(block, block.payload, { reason: `reason ${seq}`, attempts: 5, name: '', origin })
  }
}

const post = (get: Ask, path: string, body: object) =>
  get(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })

async function numbersOf(get: Ask): Promise<number[]> {
  return (await get('/v1/dlq')).json.letters.map(({ number }: { number: number }) => number)
}

async function lookAndDrop(get: Ask): Promise<void> {
  const page = (await get('/v1/dlq?limit=2')).json
  assert.deepEqual(
    page.letters.map(({ number, table, rows, reason }: Record<string, unknown>) => [number, table, rows, reason]),
    [
      [1, 'trades', ROWS, 'reason 1'],
      [2, 'trades', ROWS, 'reason 2'],
    ],
  )
  assert.equal(page.next, 3)
  assert.deepEqual(
    (await get('/v1/dlq?first=3')).json.letters.map(({ number }: { number: number }) => number),
    [3],
  )
  assert.equal((await get('/v1/dlq/2', { method: 'DELETE' })).json.dropped.reason, 'reason 2')
  const again = await get('/v1/dlq/2', { method: 'DELETE' })
  assert.deepEqual([again.status, again.json.error.code], [404, 'letter_unknown'])
  assert.deepEqual(await numbersOf(get), [1, 3])
}

test('dead letters of a directory should be listed, dropped and stored from there', async (t: TestContext) => {
  const clickhouse = await startTestClickHouse()
  cleanUp(t, () => clickhouse.stop())
  const letterDirectory = temporaryDirectory(t)
  await putLetters(new DirectoryLetters(letterDirectory, () => 1_790_000_000_000), 3)
  const { get } = await served(t, { letterDirectory, clickhouse: clickhouse.options, security: { localAdmin: true } })
  await lookAndDrop(get)
  const { json } = await post(get, '/v1/dlq/replay', { numbers: [1, 2] })
  assert.deepEqual(json, { replayed: [1], failed: [{ number: 2, reason: 'there is no such letter' }] })
  assert.deepEqual(await numbersOf(get), [3])
  const [stored] = await clickhouse.query('SELECT count() AS rows, min(trade_id) AS first FROM trades')
  assert.deepEqual([Number(stored?.rows), Number(stored?.first)], [ROWS, ROWS])
})

test('dead letters of NATS should be listed, dropped and sent again as they came', async (t: TestContext) => {
  const nats = await startTestNats()
  if (typeof nats === 'string') return t.skip(nats)
  cleanUp(t, () => nats.stop())
  const link = new NatsLink(nats.options, 'letters', seededRandom(1), SILENT)
  cleanUp(t, () => link.close())
  link.start()
  await until(() => link.up() !== undefined, 5_000, 'the connection')
  await putLetters(new StreamLetters(link), 3)
  const { get } = await served(t, { nats: nats.options, security: { localAdmin: true } })
  await lookAndDrop(get)
  assert.deepEqual((await post(get, '/v1/dlq/replay', { numbers: [3, 3] })).json, { replayed: [3], failed: [] })
  assert.deepEqual(await numbersOf(get), [1])
  const manager = await nats.connection.jetstreamManager()
  assert.equal((await manager.streams.info(BLOCK_STREAM)).state.messages, 1)
})

test('dead letters where there is neither NATS nor a collector should be told apart from none', async (t) => {
  const { get } = await served(t, { security: { localAdmin: true } })
  const { status, json } = await get('/v1/dlq')
  assert.deepEqual([status, json.error.code], [404, 'no_letters'])
})
