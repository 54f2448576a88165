import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Clock } from '../engine/base/clock.ts'
import { CandleJob } from '../engine/gateway/history/candle-job.ts'
import { TABLES } from '../engine/record/schema.ts'
import { ClickHouseSink } from '../engine/sinks/clickhouse.ts'
import { sealedBlock } from '../engine/sinks/sink.ts'
import { type BlockOptions, buildBlock, type Row, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { lastJson, runCli } from './support/cli.ts'
import { startTestClickHouse, type TestClickHouse } from './support/clickhouse.ts'
import { SILENT } from './support/embedded.ts'

const AT = 1_790_000_000_000_000_000n
const ROWS = 100

interface AuditJson {
  readonly pass: boolean
  readonly blocks: number
  readonly checks: readonly { name: string; findings: readonly Record<string, string | number>[] }[]
  readonly notes: readonly string[]
}

/** Trades of two instruments, each numbered without a hole. */
const numbered = (count: number, firstId: number): Row[] =>
  tradeRows(count, firstId).map((row) => {
    const id = row.trade_id as number
    return { ...row, first_trade_id: id, last_trade_id: id, seq: (id >> 1) + 1 }
  })

const gap = (instrument: number, more: Row): Row => ({
  instrument,
  received_ns: AT + 250n,
  channel: 2,
  cause: 2,
  status: 2,
  from_ns: AT + 199n,
  to_ns: AT + 300n,
  from_seq: 100,
  to_seq: 151,
  lost_count: 0,
  detail: 'a hole that is told',
  ...more,
})

const delta = (seq: number, more: Row = {}): Row => ({
  instrument: 0,
  received_ns: AT + BigInt(seq),
  event_ns: AT,
  transaction_ns: AT,
  first_seq: seq * 10 + 1,
  last_seq: seq * 10 + 10,
  prev_seq: seq * 10,
  book_epoch: 1,
  state: 2,
  bid_price_mantissas: [1n],
  bid_quantity_mantissas: [2n],
  ask_price_mantissas: [],
  ask_quantity_mantissas: [],
  price_scale: 1,
  quantity_scale: 3,
  ...more,
})

/** In the order of their numbers. The trades 200 to 299 were never seen, and two rows of gaps say so. */
const BLOCKS: readonly Pick<BlockOptions, 'table' | 'rows'>[] = [
  { table: 'trades', rows: numbered(ROWS, 0) },
  { table: 'trades', rows: numbered(ROWS, 100) },
  { table: 'gaps', rows: [gap(0, {}), gap(1, {})] },
  { table: 'trades', rows: numbered(ROWS, 300) },
  { table: 'book_deltas', rows: [1, 2, 3].map((seq) => delta(seq)) },
  { table: 'book_deltas', rows: [4, 5, 6].map((seq) => delta(seq)) },
  // a Binance spot book has no prev_seq, and one that is anchored anew begins anywhere
  { table: 'book_deltas', rows: [7, 8].map((seq) => delta(seq, { instrument: 1, prev_seq: 0, book_epoch: 2 })) },
  { table: 'book_deltas', rows: [delta(2, { instrument: 1, prev_seq: 0, book_epoch: 3 })] },
]

describe('audit', () => {
  let clickhouse: TestClickHouse
  before(async () => {
    clickhouse = await startTestClickHouse()
  })
  after(() => clickhouse.stop())

  const run = (statement: string) =>
    clickhouse.client.command({ query: statement, clickhouse_settings: { mutations_sync: '1' } })

  async function store(blocks: readonly Pick<BlockOptions, 'table' | 'rows'>[], producer = 'audited', firstSeq = 1) {
    const sink = new ClickHouseSink(clickhouse.options, () => AT, SILENT)
    for (const [index, { table, rows }] of blocks.entries()) {
      const blockSeq = BigInt(firstSeq + index)
      const options = { table, rows, instruments: TRADE_INSTRUMENTS, epoch: 7n, blockSeq, producer }
      assert.equal(await sink.send(sealedBlock(buildBlock(options))), 'acknowledged')
    }
    await sink.close()
  }

  /** The whole store, as it must be. */
  async function fresh(): Promise<void> {
    for (const table of [...TABLES.map((one) => one.name), 'blocks']) await run(`TRUNCATE TABLE ${table}`)
    await store(BLOCKS)
  }

  /** What was found, by the name of the check; the exit code must say the same. */
  async function audit(...words: string[]) {
    const result = await runCli(['audit', '--json', '--set', `clickhouse.url=${clickhouse.server.url}`, ...words])
    const answer = lastJson<AuditJson>(result)
    assert.equal(result.code, answer.pass ? 0 : 1, result.stderr)
    const found = answer.checks.filter(({ findings }) => findings.length > 0)
    assert.equal(answer.pass, found.length === 0)
    return { ...answer, found: Object.fromEntries(found.map(({ name, findings }) => [name, findings])) }
  }

  it('audit should pass a whole store, with its told holes', async () => {
    await fresh()
    const { pass, blocks, found } = await audit()
    assert.deepEqual([pass, blocks, found], [true, BLOCKS.length, {}])
    const people = await runCli(['audit', '--set', `clickhouse.url=${clickhouse.server.url}`])
    assert.equal(people.code, 0)
    assert.equal(people.stdout.trimEnd().split('\n').at(-1), 'pass')
  })

  it('audit should find the rows of a block that were deleted', async () => {
    await fresh()
    await run('ALTER TABLE trades DELETE WHERE block_seq = 2')
    const { found } = await audit()
    assert.deepEqual(found['wrong row counts'], [
      {
        table: 'trades',
        producer: 'audited',
        epoch: '7',
        block_seq: '2',
        exchange: 'binance',
        wanted: 100,
        found: 0,
      },
    ])
    assert.deepEqual(
      found['unexplained holes']?.map((hole) => [hole.symbol, hole.first_missing, hole.last_missing]),
      [
        ['ETHUSD_PERP', '51', '150'],
        ['BTCUSDT', '51', '150'],
      ],
    )
  })

  it('audit should find a single row that is missing or that no block has', async () => {
    await fresh()
    await run('ALTER TABLE trades DELETE WHERE block_seq = 4 AND row_in_block = 17')
    await run('ALTER TABLE blocks DELETE WHERE block_seq = 8')
    const { found } = await audit()
    assert.deepEqual(
      found['wrong row counts']?.map(({ table, block_seq, wanted, found: there }) => [table, block_seq, wanted, there]),
      [
        ['trades', '4', 100, 99],
        ['book_deltas', '8', 0, 1],
      ],
    )
  })

  it('audit should find a block that is missing with its mark', async () => {
    await fresh()
    await run('ALTER TABLE book_deltas DELETE WHERE block_seq IN (6, 7)')
    await run('ALTER TABLE blocks DELETE WHERE block_seq IN (6, 7)')
    const { found } = await audit()
    const [hole] = found['missing blocks'] ?? []
    assert.deepEqual([hole?.producer, hole?.epoch, hole?.first_block, hole?.last_block], ['audited', '7', '6', '7'])
    await run('ALTER TABLE trades DELETE WHERE block_seq = 1')
    await run('ALTER TABLE blocks DELETE WHERE block_seq = 1')
    const again = (await audit()).found['missing blocks']
    assert.deepEqual(
      again?.map((one) => one.first_block),
      ['1', '6'],
      'a boot begins with block 1',
    )
  })

  it('audit should take damaged blocks that gaps tell for a told loss, and no others', async () => {
    await fresh()
    await run('ALTER TABLE book_deltas DELETE WHERE block_seq IN (6, 7)')
    await run('ALTER TABLE blocks DELETE WHERE block_seq IN (6, 7)')
    const told = { channel: 1, cause: 6, detail: 'blocks 7/6 to 6 are damaged in 0000000007-0000000001.seg' }
    await store([{ table: 'gaps', rows: [gap(0, told)] }], 'audited', 9)
    assert.equal((await audit()).pass, false)
    const rest = { ...told, detail: told.detail.replace('7/6 to 6', '7/7 to 7'), from_ns: AT }
    await store([{ table: 'gaps', rows: [gap(0, rest)] }], 'audited', 10)
    const { pass, notes } = await audit()
    assert.deepEqual([pass, notes.length], [true, 1])
    assert.match(notes[0] ?? '', /^2 blocks are missing, and gaps say so/)
  })

  it('audit should find a row that is there twice, of the same block or of another', async () => {
    await fresh()
    await run('INSERT INTO trades SELECT * FROM trades WHERE block_seq = 1 AND row_in_block = 3')
    await store([{ table: 'trades', rows: numbered(1, 150) }], 'audited', 9)
    const { found } = await audit()
    assert.deepEqual(
      found['doubled rows']
        ?.map(({ table, trade_id, copies, first_copy, last_copy }) => [
          table,
          trade_id,
          Number(copies),
          first_copy,
          last_copy,
        ])
        .sort(),
      [
        ['trades', '150', 2, '2', '9'],
        ['trades', '3', 2, '1', '1'],
      ],
    )
  })

  it('audit should find a row of gaps that was removed', async () => {
    await fresh()
    await run(`ALTER TABLE gaps DELETE WHERE symbol = 'BTCUSDT'`)
    const { found } = await audit()
    assert.deepEqual(
      found['unexplained holes']?.map((hole) => [hole.symbol, hole.first_missing, hole.last_missing]),
      [['BTCUSDT', '101', '150']],
    )
    await run(`ALTER TABLE gaps DELETE WHERE 1`) // no closing is left that could have replaced them
    const all = (await audit()).found
    assert.deepEqual(
      all['wrong row counts']?.map(({ table, wanted, found: there }) => [table, wanted, there]),
      [['gaps', 2, 0]],
    )
    assert.equal(all['unexplained holes']?.length, 2)
  })

  it('audit should not miss the row of a gap that its closing replaced', async () => {
    await fresh()
    const opened = gap(0, { channel: 1, status: 1, to_ns: 0n, to_seq: 0 })
    await store([{ table: 'gaps', rows: [opened] }], 'audited', 9)
    assert.match((await audit()).notes.join('\n'), /1 gaps are open/)
    await store(
      [{ table: 'gaps', rows: [{ ...opened, status: 2, received_ns: AT + 300n, to_ns: AT + 300n }] }],
      'audited',
      10,
    )
    await run('OPTIMIZE TABLE gaps FINAL')
    assert.deepEqual(await clickhouse.query('SELECT count() c FROM gaps'), [{ c: '3' }])
    const { pass, notes } = await audit()
    assert.deepEqual([pass, notes], [true, []])
  })

  it('audit should find a change of a book that does not continue the one before', async () => {
    await fresh()
    const broken = [delta(7, { prev_seq: 69 }), delta(10, { instrument: 1, prev_seq: 0, book_epoch: 2 })]
    await store([{ table: 'book_deltas', rows: [...broken, delta(20, { state: 3, prev_seq: 1 })] }], 'audited', 9)
    const { found } = await audit()
    assert.deepEqual(Object.keys(found), ['broken chains'])
    assert.deepEqual(
      found['broken chains']?.map(({ symbol, block_seq, previous, first_seq }) => [
        symbol,
        block_seq,
        previous,
        first_seq,
      ]),
      [
        ['ETHUSD_PERP', '9', '90', '101'],
        ['BTCUSDT', '9', '70', '71'],
      ],
    )
  })

  it('audit should hold the volume of a bar against its trades', async () => {
    await fresh()
    const minute = AT - (AT % 60_000_000_000n)
    const trades = Array.from({ length: 40 }, (_, index) => {
      const ns = minute - 10_000_000_000n + BigInt(index) * 2_000_000_000n
      const id = 1000 + index
      const [row] = tradeRows(1, 0)
      return {
        ...row,
        instrument: 0,
        received_ns: ns,
        trade_ns: ns,
        trade_id: id,
        first_trade_id: id,
        last_trade_id: id,
        stream: 2,
        seq: id,
        quantity_mantissa: 5n,
        quantity_scale: 1,
      }
    }) as Row[]
    // 30 of them lie within the minute: 15.0
    const bar: Row = {
      instrument: 0,
      received_ns: minute + 61_000_000_000n,
      event_ns: minute,
      interval: 2,
      open_ns: minute,
      close_ns: minute + 59_999_000_000n,
      volume: 15n * 10n ** 38n,
    }
    await store(
      [
        { table: 'trades', rows: trades },
        { table: 'klines', rows: [bar] },
      ],
      'bars',
    )
    await run(`ALTER TABLE trades DELETE WHERE producer != 'bars'`)
    await run(`ALTER TABLE gaps DELETE WHERE 1`)
    await run(`ALTER TABLE book_deltas DELETE WHERE 1`)
    await run(`ALTER TABLE blocks DELETE WHERE producer != 'bars'`)
    assert.deepEqual((await audit()).found, {})
    await run('ALTER TABLE klines UPDATE volume = volume + 1 WHERE 1')
    const { found } = await audit()
    assert.deepEqual(
      found['wrong bars']?.map(({ symbol, bar_volume, traded, trades: count }) => [symbol, bar_volume, traded, count]),
      [['BTCUSDT', '16', '15', '30']],
    )
  })

  it('audit should hold kept bars against their trades, and those of hours against their minutes', async () => {
    await fresh()
    const job = async () => {
      const candles = new CandleJob(clickhouse.options, new Clock(), () => false)
      await candles.run(new AbortController().signal)
      await candles.close()
    }
    await job()
    const [there] = await clickhouse.query(
      'SELECT (SELECT sum(trade_count) FROM trade_bars FINAL) AS minutes, (SELECT sum(trade_count) FROM trade_hour_bars FINAL) AS hours',
    )
    assert.deepEqual(there, { minutes: String(3 * ROWS), hours: String(3 * ROWS) })
    assert.deepEqual((await audit()).found, {})

    await run(`ALTER TABLE trade_hour_bars UPDATE volume = volume + 1 WHERE symbol = 'BTCUSDT'`)
    const hours = (await audit()).found['wrong kept bars']
    assert.deepEqual(
      hours?.map(({ table, symbol, trades_missing, volume_missing }) => [
        table,
        symbol,
        trades_missing,
        volume_missing,
      ]),
      [['trade_hour_bars', 'BTCUSDT', '0', '-1']],
    )
    await run(`INSERT INTO trade_hours SELECT * REPLACE ('open' AS state, 'another' AS job) FROM trade_hours`)
    assert.deepEqual((await audit()).found, {}, 'bars of an hour that is open do not count')
    await run('TRUNCATE TABLE trade_hours')

    await run(`ALTER TABLE trade_bars UPDATE volume = volume + 1, notional = notional + 1 WHERE symbol = 'ETHUSD_PERP'`)
    const minutes = (await audit()).found['wrong kept bars']
    assert.deepEqual(
      minutes?.map(({ table, symbol, bar_trades, trades }) => [table, symbol, bar_trades === trades]),
      [['trade_bars', 'ETHUSD_PERP', true]],
    )
    await run(`ALTER TABLE trade_bars DELETE WHERE symbol = 'ETHUSD_PERP'`)
    const missing = (await audit()).found['wrong kept bars']
    assert.deepEqual(
      missing?.map(({ symbol, bar_trades, trades }) => [symbol, Number(bar_trades), Number(trades)]),
      [['ETHUSD_PERP', 0, (3 * ROWS) / 2]],
    )

    // trades that were stored after the job was there wait for it
    await run('TRUNCATE TABLE trade_bars')
    await job()
    await run('TRUNCATE TABLE trade_hours') // minutes are what this is of
    await run(
      `INSERT INTO blocks SELECT * REPLACE (now64(9) + toIntervalHour(1) AS stored_ns) FROM blocks FINAL WHERE table = 'trades' AND block_seq = 4`,
    )
    await run(`ALTER TABLE trade_bars UPDATE volume = volume + 1 WHERE 1`)
    const { pass, notes } = await audit()
    assert.deepEqual([pass, notes.length], [true, 1])
    assert.match(notes[0] ?? '', /^2 kept minutes wait for the job candles/)
    for (const table of ['trade_bars', 'trade_hour_bars', 'trade_hours']) await run(`TRUNCATE TABLE ${table}`)
  })

  it('audit should look at what --since names, and refuse what is no time', async () => {
    await fresh()
    await run('ALTER TABLE trades DELETE WHERE block_seq = 2')
    assert.equal((await audit('--since', '2026-09-21T00:00:00Z')).pass, false)
    const later = await audit('--since', '2026-09-22')
    assert.deepEqual([later.pass, later.blocks], [true, 0])
    const kept = await audit('--set', 'clickhouse.ttlDays=2') // what is older is on its way out
    assert.deepEqual([kept.pass, kept.blocks], [true, 0])
    const wrong = await runCli(['audit', '--since', 'yesterday', '--set', `clickhouse.url=${clickhouse.server.url}`])
    assert.equal(wrong.code, 2)
    assert.match(wrong.stderr, /^marketprism: --since yesterday is no time: give /)
  })
})
