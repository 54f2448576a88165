import assert from 'node:assert/strict'
import { join } from 'node:path'
import { it } from 'node:test'
import { seededRandom } from '../engine/base/random.ts'
import { BLOCK_STREAM } from '../engine/record/streams.ts'
import { ClickHouseSink } from '../engine/sinks/clickhouse.ts'
import { StreamLetters } from '../engine/sinks/dead-letters.ts'
import { NatsLink, natsHeaders, subjectOf } from '../engine/sinks/nats.ts'
import { sealedBlock } from '../engine/sinks/sink.ts'
import { openSpool, SPOOL_DEFAULT } from '../engine/spool/spool.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { cleanUp } from './support/clean-up.ts'
import { lastJson, runCli } from './support/cli.ts'
import { startTestClickHouse } from './support/clickhouse.ts'
import { SILENT, temporaryDirectory, until } from './support/embedded.ts'
import { startTestNats } from './support/nats.ts'

interface Traced {
  readonly stations: readonly { station: string; ns: string | null; detail: string }[]
}

it('audit trace should show each station of a block with its time, and say when it is not stored', async (t) => {
  const nats = await startTestNats()
  if (typeof nats === 'string') return t.skip(nats)
  cleanUp(t, () => nats.stop())
  const clickhouse = await startTestClickHouse()
  cleanUp(t, () => clickhouse.stop())
  const data = temporaryDirectory(t)
  const spool = await openSpool(join(data, 'spool'), { ...SPOOL_DEFAULT, freeBytesMin: 0 }, () => Date.now())
  cleanUp(t, () => spool.close())
  const epoch = BigInt(spool.epoch)
  const atNs = BigInt(Date.now()) * 1_000_000n
  const make = (seq: number, producer = 'traced') => {
    const rows = tradeRows(10, seq * 10, atNs)
    return buildBlock({ table: 'trades', rows, instruments: TRADE_INSTRUMENTS, epoch, blockSeq: BigInt(seq), producer })
  }
  const blocks = [1, 2, 3].map((seq) => make(seq))
  for (const block of blocks) spool.append(block)
  await spool.flush()
  const hops = { 'Marketprism-Sealed': [`${atNs + 1000n}`], 'Marketprism-Durable': [`${atNs + 2000n}`] }
  for (const payload of blocks) {
    const block = sealedBlock(payload)
    const options = { msgID: block.messageId, headers: natsHeaders(hops) }
    await nats.connection.jetstream().publish(subjectOf(block), payload, options)
  }
  const sink = new ClickHouseSink(clickhouse.options, () => atNs + 60_000_000_000n, SILENT)
  cleanUp(t, () => sink.close())
  assert.equal(await sink.send(sealedBlock(blocks[1] as Buffer)), 'acknowledged')
  const servers = ['--set', `nats.url=${nats.server.url}`, '--set', `clickhouse.url=${clickhouse.server.url}`]
  const trace = (seq: number, where = data) =>
    runCli(['audit', 'trace', `traced/${epoch}/${seq}`, '--json', '--data', where, ...servers])

  const stored = await trace(2)
  assert.equal(stored.code, 0, stored.stderr)
  const { stations } = lastJson<Traced>(stored)
  const names = stations.map(({ station }) => station).filter((station) => station !== 'taken by the store')
  assert.deepEqual(names, [
    'first row received',
    'last row received',
    'in the spool',
    'sealed',
    'durable in the spool',
    'in the stream',
    'stored and marked',
    'rows in ClickHouse',
  ])
  const of = (name: string) => stations.find(({ station }) => station === name)
  assert.deepEqual([of('first row received')?.ns, of('last row received')?.ns], [`${atNs + 20n}`, `${atNs + 29n}`])
  assert.deepEqual([of('sealed')?.ns, of('stored and marked')?.ns], [`${atNs + 1000n}`, `${atNs + 60_000_000_000n}`])
  assert.match(
    of('in the stream')?.detail ?? '',
    new RegExp(`^message 2 of ${BLOCK_STREAM}, block.trades.binance.traced$`),
  )
  assert.equal(of('rows in ClickHouse')?.detail, '10 rows in trades')

  const elsewhere = await trace(2, temporaryDirectory(t)) // on a machine that has no spool
  const left = lastJson<Traced>(elsewhere).stations.map(({ station }) => station)
  assert.deepEqual([elsewhere.code, left.includes('in the spool'), left[0]], [0, false, names[0]], elsewhere.stderr)

  const link = new NatsLink(nats.options, 'letters', seededRandom(1), SILENT)
  link.start()
  cleanUp(t, () => link.close())
  await until(() => link.up() !== undefined, 5000, 'the connection')
  const dead = sealedBlock(blocks[2] as Buffer)
  await new StreamLetters(link).put(dead, dead.payload, { reason: 'told so', attempts: 5, name: '' })
  const lost = await trace(3)
  assert.equal(lost.code, 1)
  assert.match(lost.stderr, /is not in ClickHouse with all its rows; it was last seen: dead letter/)
  assert.match(lastJson<Traced>(lost).stations.at(-1)?.detail ?? '', /^number 1: told so$/)

  const nowhere = await trace(9)
  assert.deepEqual([nowhere.code, lastJson<Traced>(nowhere).stations], [1, []])
  const wrong = await runCli(['audit', 'trace', 'nonsense', ...servers])
  assert.match(wrong.stderr, /^marketprism: nonsense is no block: give producer\/epoch\/number/)
})
