import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { createLog } from '../engine/base/log.ts'
import { seededRandom } from '../engine/base/random.ts'
import { ClickHouseSink } from '../engine/sinks/clickhouse.ts'
import { Delivery, DELIVERY_DEFAULT } from '../engine/sinks/delivery.ts'
import { sealedBlock } from '../engine/sinks/sink.ts'
import { openSpool, SPOOL_DEFAULT } from '../engine/spool/spool.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { ROWS, startChain, WAIT_MS } from './support/chain.ts'
import { cleanUp } from './support/clean-up.ts'
import { startTestClickHouse, type TestClickHouse } from './support/clickhouse.ts'
import { temporaryDirectory, until } from './support/embedded.ts'

/**
 * ClickHouse acknowledges before it syncs. A power cut may take rows that it had acknowledged and leave their marks, which
 * are inserted later, but on pages of their own. The spool has them for a while and gives them out again after a start of the
 * machine; a mark must not stand in their way.
 */

const BLOCKS = 6
const LOST = [2, 3, 5]

const block = (producer: string, epoch: number, seq: number) =>
  buildBlock({
    ...{ table: 'trades', instruments: TRADE_INSTRUMENTS, producer },
    rows: tradeRows(ROWS, (seq - 1) * ROWS), // received long ago: too old to be inserted without a look at the marks
    epoch: BigInt(epoch),
    blockSeq: BigInt(seq),
  })

async function cutThePower(clickhouse: TestClickHouse, producer: string): Promise<void> {
  const lost = `producer = '${producer}' AND block_seq IN (${LOST.join()})`
  await clickhouse.query(`ALTER TABLE trades DELETE WHERE ${lost} SETTINGS mutations_sync = 1`)
  assert.deepEqual(await countsOf(clickhouse, producer), counts(BLOCKS - LOST.length, BLOCKS))
}

async function countsOf(clickhouse: TestClickHouse, producer: string) {
  const rows = `SELECT count() FROM trades WHERE producer = '${producer}'`
  const marks = `SELECT uniqExact(block_seq) FROM blocks WHERE producer = '${producer}'`
  return await clickhouse.query(
    `SELECT (${rows}) AS rows, uniqExact(trade_id) AS ids, (${marks}) AS marks FROM trades WHERE producer = '${producer}'`,
  )
}

const counts = (blocks: number, marks: number) => [
  { rows: String(blocks * ROWS), ids: String(blocks * ROWS), marks: String(marks) },
]

test('rows that a power cut took from ClickHouse without their marks should come back from the spool, and no others twice', async (t) => {
  const clickhouse = await startTestClickHouse()
  cleanUp(t, () => clickhouse.stop())
  const directory = temporaryDirectory(t)
  const [log, random] = [createLog('silent', 'test'), seededRandom(1)]
  const run = async (count: number): Promise<void> => {
    const spool = await openSpool(directory, SPOOL_DEFAULT, () => Date.now())
    const sink = new ClickHouseSink(clickhouse.options, () => BigInt(Date.now()) * 1_000_000n, log)
    const letters = { put: async () => assert.fail('nothing is poison') }
    const delivery = new Delivery(spool, sink, DELIVERY_DEFAULT, random, log, letters)
    delivery.start()
    for (let seq = 1; seq <= count; seq++) spool.append(block('direct', spool.epoch, seq))
    await spool.flush()
    await delivery.stop(WAIT_MS)
    assert.equal(spool.stats.unacked, 0)
    await sink.close()
    await spool.close()
  }
  await run(BLOCKS)
  await cutThePower(clickhouse, 'direct')
  await run(0) // of the process alone: nothing goes out again
  assert.deepEqual(await countsOf(clickhouse, 'direct'), counts(BLOCKS - LOST.length, BLOCKS))
  const file = path.join(directory, 'EPOCH')
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), bootId: 'that of another day' }))
  await run(0)
  assert.deepEqual(await countsOf(clickhouse, 'direct'), counts(BLOCKS, BLOCKS))
})

test('a block that its collector doubts should be stored through JetStream though its mark is there', async (t) => {
  const chain = await startChain(t)
  if (chain === undefined) return
  cleanUp(t, chain.startStore())
  await chain.append(BLOCKS)
  await chain.assertAllStored()
  await cutThePower(chain.clickhouse, 'chain')
  for (let seq = 1; seq <= BLOCKS; seq++)
    assert.equal(await chain.sink.send(sealedBlock(block('chain', chain.spool.epoch, seq)), Date.now()), 'acknowledged')
  const hasAll = async () =>
    JSON.stringify(await countsOf(chain.clickhouse, 'chain')) === JSON.stringify(counts(BLOCKS, BLOCKS))
  await until(hasAll, WAIT_MS, 'the rows are back, once')
})
