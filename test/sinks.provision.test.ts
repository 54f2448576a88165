import assert from 'node:assert/strict'
import test from 'node:test'
import { connect } from 'nats'
import { cleanUp } from './support/clean-up.ts'
import { Fault } from '../engine/base/fault.ts'
import { BLOCK_STREAM, storeConsumer } from '../engine/record/streams.ts'
import { storedTables } from '../engine/record/tables.ts'
import { storedViews } from '../engine/record/views.ts'
import { provesDeduplication, provisionTables } from '../engine/sinks/provision.ts'
import { provisionStreams } from '../engine/sinks/provision-streams.ts'
import { ask, clientOf, startClickHouse, startNats } from './support/embedded.ts'
import { STORAGE as DEFAULTS, STREAMS } from './support/settings.ts'

const STORAGE = { ...DEFAULTS, database: 'mp' }
const NOTHING = { created: [], changed: [], notes: [] }

function refusal(...parts: RegExp[]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof Fault, String(error))
    assert.ok(!error.message.includes('\n'), error.message)
    for (const part of parts) assert.match(error.message, part)
    return true
  }
}

test('provision of tables', async (t) => {
  const server = await startClickHouse(t)
  const client = clientOf(t, server.url)
  const provision = (mayChange = true, storage = STORAGE) => provisionTables(client, { storage, mayChange })
  const alter = (alteration: string) => client.command({ query: `ALTER TABLE mp.trades ${alteration}` })

  await t.test('provision should refuse an empty server when it may not change it', async () => {
    await assert.rejects(provision(false), refusal(/table mp\.trades is missing/, /table mp\.blocks is missing/))
    assert.equal(await ask(client, "SELECT count() FROM system.databases WHERE name = 'mp'"), '0')
  })

  await t.test('provision should create every table once', async () => {
    const first = await provision()
    const wanted = [...storedTables(STORAGE), ...storedViews('mp')].map(({ name }) => name)
    assert.deepEqual(first.created.map((line) => line.split('.')[1]).sort(), wanted.sort())
    assert.deepEqual(await provision(), NOTHING)
    assert.deepEqual(await provision(false), NOTHING)
  })

  await t.test('provision should add what is missing and keep the rows', async () => {
    await client.command({
      query:
        "INSERT INTO mp.trades (exchange, symbol, received_ns, trade_id, price_mantissa, price_scale) VALUES ('x', 's', now64(9), 7, 12345, 2)",
    })
    for (const alteration of [
      'DROP COLUMN notional',
      'DROP COLUMN price',
      'DROP COLUMN first_trade_id',
      'DROP INDEX received',
      'MODIFY COLUMN row_in_block CODEC(LZ4)',
      'MODIFY SETTING non_replicated_deduplication_window = 5',
      'ADD COLUMN mine UInt8',
    ])
      await alter(alteration)
    await assert.rejects(provision(false), refusal(/has no column first_trade_id \(ALTER TABLE/, /has no alias price/))
    const report = await provision()
    assert.deepEqual(
      report.changed.map((line) => /^table mp\.trades (.*?): changed by ALTER TABLE/.exec(line)?.[1]).sort(),
      [
        'compresses row_in_block with CODEC(LZ4), the schema wants CODEC(Delta(4), ZSTD(1))',
        'has no alias notional',
        'has no alias price',
        'has no column first_trade_id',
        'has no index received',
        'has non_replicated_deduplication_window = 5, the configuration wants 100000',
      ],
    )
    assert.deepEqual(report.notes, [
      'table mp.trades has a column mine that the schema does not know; it stays as it is',
    ])
    assert.deepEqual(await provision(), { ...NOTHING, notes: report.notes })
    assert.equal(await ask(client, 'SELECT trade_id, price, notional FROM mp.trades'), '7\t123.45\t0')
    await alter('DROP COLUMN mine')
  })

  await t.test('provision should replace a view whose definition is another', async () => {
    await client.command({ query: "CREATE OR REPLACE VIEW mp.trades_in_base AS SELECT 1 AS one COMMENT 'older'" })
    await assert.rejects(provision(false), refusal(/view mp\.trades_in_base is missing or old/))
    assert.deepEqual(await provision(), { ...NOTHING, changed: ['view mp.trades_in_base had another definition'] })
    assert.deepEqual(await provision(), NOTHING)
    assert.match(await ask(client, 'SELECT base_quantity FROM mp.trades_in_base'), /^\\N$/)
  })

  await t.test('provision should mend an alias and an enum that grew', async () => {
    await alter('MODIFY COLUMN notional Decimal(76, 36) ALIAS price + quantity')
    await client.command({ query: 'CREATE TABLE mp.old_gaps AS mp.gaps' })
    await client.command({ query: 'DROP TABLE mp.gaps' })
    const [shown] = await (await client.query({ query: 'SHOW CREATE TABLE mp.old_gaps', format: 'JSONEachRow' })).json<{
      statement: string
    }>()
    const ddl = (shown?.statement ?? '').replace('mp.old_gaps', 'mp.gaps').replace(", 'silent' = 8, 'crossed' = 9", '')
    await client.command({ query: ddl })
    await client.command({ query: 'DROP TABLE mp.old_gaps' })
    const report = await provision()
    assert.equal(report.changed.length, 2, report.changed.join('\n'))
    assert.match(
      report.changed.join('\n'),
      /computes notional in another way[\s\S]*has cause as Enum8|has cause as Enum8[\s\S]*computes notional/,
    )
    assert.deepEqual(await provision(), NOTHING)
  })

  await t.test('provision should set and remove the time to live', async () => {
    const report = await provision(true, { ...STORAGE, ttlDays: 30 })
    assert.match(
      report.changed.join('\n'),
      /keeps rows by no rule \(for ever\), the configuration wants TTL toDateTime\(received_ns\) \+ toIntervalDay\(30\)/,
    )
    assert.deepEqual(await provision(true, { ...STORAGE, ttlDays: 30 }), NOTHING)
    assert.equal((await provision()).changed.length, storedTables(STORAGE).length) // back to for ever
    assert.deepEqual(await provision(), NOTHING)
  })

  await t.test(
    'provision should refuse what would change the meaning of rows, before it changes anything',
    async () => {
      await client.command({ query: 'RENAME TABLE mp.trades TO mp.trades_kept' })
      await client.command({ query: 'DROP TABLE mp.gaps' })
      await client.command({
        query:
          'CREATE TABLE mp.trades (exchange String, price_mantissa Float64, price Float64, received_ns DateTime) ENGINE = MergeTree ORDER BY exchange',
      })
      await assert.rejects(
        provision(),
        refusal(
          /mp\.trades has the engine MergeTree, the schema wants ReplacingMergeTree\(received_ns\)/,
          /is partitioned by nothing/,
          /is ordered by exchange, the schema wants exchange, market, symbol, trade_ns/,
          /has exchange as String, the schema wants LowCardinality\(String\)/,
          /has price_mantissa as Float64, the schema wants Int64/,
          /stores a column price, the schema computes it/,
          /has no column symbol, which is part of the key/,
          /rename the table away/,
        ),
      )
      assert.equal(await ask(client, 'EXISTS TABLE mp.gaps'), '0')
    },
  )

  await t.test('provision should prove deduplication and leave nothing behind', async () => {
    assert.equal(await provesDeduplication(client, 'mp'), true)
    assert.equal(await ask(client, "SELECT count() FROM system.tables WHERE name LIKE '%probe%'"), '0')
  })

  await t.test('provision should find a server out that does not deduplicate', async () => {
    // the negative control: the probe's table without its window of remembered tokens
    const forgetful = new Proxy(client, {
      get: (target, name) =>
        name === 'command'
          ? (order: { query: string }) =>
              target.command({
                query: order.query.replace(
                  /non_replicated_deduplication_window = \d+/,
                  'non_replicated_deduplication_window = 0',
                ),
              })
          : Reflect.get(target, name).bind(target),
    })
    assert.equal(await provesDeduplication(forgetful, 'mp'), false)
  })
})

test('provision of streams', async (t) => {
  const server = await startNats(t, { streamBytesMax: 2 * 1024 ** 3 })
  if (server === null) return
  const connection = await connect({ servers: server.url })
  cleanUp(t, () => connection.close())
  const manager = await connection.jetstreamManager()
  const options = { ...STREAMS, bytesMax: 1024 ** 3 }
  const consumer = storeConsumer(16, 30)

  await t.test('provision should say that the server has no room for a stream', async () => {
    await assert.rejects(provisionStreams(manager, STREAMS, consumer), refusal(/MARKETPRISM_BLOCKS/, /max_file_store/))
  })

  await t.test('provision should create stream and consumer once', async () => {
    assert.deepEqual((await provisionStreams(manager, options, consumer)).created, [
      `stream ${BLOCK_STREAM} (block.>)`,
      'stream DLQ (deadletter.>)',
      `consumer store of ${BLOCK_STREAM}`,
    ])
    assert.deepEqual(await provisionStreams(manager, options, consumer), NOTHING)
    const { config } = await manager.streams.info(BLOCK_STREAM)
    assert.deepEqual(
      [config.discard, config.storage, config.max_bytes, config.max_age, config.duplicate_window, config.max_msg_size],
      ['new', 'file', 1024 ** 3, 24 * 3600e9, 300e9, 8 * 1024 ** 2],
    )
  })

  await t.test('provision should make a block with one identity one message', async () => {
    const jetstream = connection.jetstream()
    const acks = [
      await jetstream.publish('block.trades.binance', 'x', { msgID: 'p/1/1:0' }),
      await jetstream.publish('block.trades.binance', 'x', { msgID: 'p/1/1:0' }),
    ]
    assert.deepEqual(
      acks.map((ack) => [ack.seq, ack.duplicate]),
      [
        [1, false],
        [1, true],
      ],
    )
  })

  await t.test('provision should raise limits, leave larger ones and follow the consumer', async () => {
    const { config } = await manager.streams.info(BLOCK_STREAM)
    await manager.streams.update(BLOCK_STREAM, {
      ...config,
      max_bytes: 1000,
      max_age: 48 * 3600e9,
      subjects: ['block.trades.>', 'other'],
    })
    const report = await provisionStreams(manager, options, storeConsumer(32, 60))
    assert.equal(report.changed.length, 4, report.changed.join('\n'))
    assert.match(report.changed.join('\n'), /has max_bytes 1000, wanted is 1073741824/)
    assert.match(report.changed.join('\n'), /has max_ack_pending 64, wanted is 128/)
    assert.match(report.notes.join('\n'), /also takes .*other/)
    assert.match(report.notes.join('\n'), /has max_age 172800000000000, more than the configured/)
    assert.deepEqual((await provisionStreams(manager, options, storeConsumer(32, 60))).changed, [])
  })

  await t.test('provision should refuse a stream of another kind', async () => {
    await manager.streams.delete(BLOCK_STREAM)
    await manager.streams.add({
      name: BLOCK_STREAM,
      subjects: ['block.>'],
      storage: 'memory' as never,
      retention: 'workqueue' as never,
    })
    await assert.rejects(
      provisionStreams(manager, options, consumer),
      refusal(/storage memory, the schema wants file/, /retention workqueue/, /nats stream rm MARKETPRISM_BLOCKS/),
    )
  })
})
