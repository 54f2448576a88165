import assert from 'node:assert/strict'
import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { seededRandom } from '../engine/base/random.ts'
import { BLOCK_STREAM } from '../engine/record/streams.ts'
import { openSpool, type Spool, SPOOL_DEFAULT } from '../engine/spool/spool.ts'
import { damagesOf, readSegments, tornBytes } from '../engine/tools/spool/files.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { cleanUp } from './support/clean-up.ts'
import { lastJson, runCli } from './support/cli.ts'
import { startTestClickHouse } from './support/clickhouse.ts'
import { insertBytes, temporaryDirectory } from './support/embedded.ts'
import { startTestNats } from './support/nats.ts'

const BLOCKS = 12
const ROWS = 10

/** A spool of several segments, open: its owner is at work. */
async function filledSpool(t: TestContext): Promise<{ data: string; directory: string; spool: Spool }> {
  const data = temporaryDirectory(t)
  const directory = join(data, 'spool')
  const options = { ...SPOOL_DEFAULT, segmentBytesMax: 8 * 1024, bytesMax: 1024 * 1024, freeBytesMin: 0 }
  const spool = await openSpool(directory, options, () => Date.now())
  for (let seq = 1; seq <= BLOCKS; seq++) {
    spool.append(
      buildBlock({
        table: 'trades',
        rows: tradeRows(ROWS, seq * ROWS),
        instruments: TRADE_INSTRUMENTS,
        epoch: BigInt(spool.epoch),
        blockSeq: BigInt(seq),
        producer: 'spooled',
      }),
    )
    await spool.flush() // so that segments are rolled as they fill
  }
  cleanUp(t, () => spool.close())
  return { data, directory, spool }
}

const segmentsIn = (directory: string) =>
  readdirSync(directory)
    .filter((name) => name.endsWith('.seg'))
    .sort()

async function damages(directory: string) {
  const found = []
  let torn = 0
  for await (const segment of readSegments(directory)) {
    found.push(...damagesOf(segment))
    torn += tornBytes(segment)
  }
  return { found, torn }
}

describe('spool tool', () => {
  it('spool ls, verify and export should read a spool that is in use, and change nothing in it', async (t) => {
    const { data, directory, spool } = await filledSpool(t)
    const first = await spool.next()
    if (first !== undefined) spool.ack(first)
    const state = () =>
      readdirSync(directory).map((name) => [
        name,
        statSync(join(directory, name)).size,
        statSync(join(directory, name)).mtimeMs,
      ])
    const before = state()
    const here = ['--data', data, '--json']
    const listed = lastJson<{
      segments: { segment: string; blocks: number; rows: number; firstSeq: number; lastSeq: number; tables: unknown }[]
      blocks: { block: string; offset: number; rows: number; table: string }[]
    }>(await runCli(['spool', 'ls', '--blocks', ...here]))
    const { segments, blocks } = listed
    assert.deepEqual(
      segments.map(({ segment }) => segment),
      segmentsIn(directory),
    )
    assert.ok(segments.length > 2)
    assert.deepEqual(
      blocks.map(({ block, rows, table }) => [block, rows, table]),
      Array.from({ length: BLOCKS }, (_, index) => [`spooled/${spool.epoch}/${index + 1}`, ROWS, 'trades']),
    )
    assert.deepEqual([segments[0]?.firstSeq, segments.at(-1)?.lastSeq], [1, BLOCKS])
    assert.deepEqual(segments[0]?.tables, { trades: segments[0]?.rows })
    const verified = await runCli(['spool', 'verify', ...here])
    assert.equal(verified.code, 0, verified.stderr)
    assert.equal(lastJson<{ blocks: number }>(verified).blocks, BLOCKS)
    const out = join(data, 'out')
    const range = ['--from', `${spool.epoch}/3`, '--to', `${spool.epoch}/5`, '--out', out]
    for (const format of ['ndjson', 'native', 'block']) {
      const exported = await runCli(['spool', 'export', '--format', format, ...range, ...here])
      assert.deepEqual(lastJson(exported), { blocks: 3, rows: 3 * ROWS, unreadable: 0 })
    }
    assert.deepEqual(state(), before)
    const rows = readFileSync(join(out, 'trades.ndjson'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    assert.deepEqual(
      rows.map((row) => Number(row.trade_id)),
      Array.from({ length: 30 }, (_, index) => 30 + index),
    )
    assert.deepEqual([rows[11].producer, rows[11].block_seq, rows[11].row_in_block], ['spooled', '4', 1])
    const clickhouse = await startTestClickHouse()
    try {
      const bytes = readFileSync(join(out, 'trades.native'))
      const [{ columns } = { columns: '' }] = await clickhouse.query(
        `SELECT arrayStringConcat(groupArray(name), ', ') AS columns FROM (SELECT name FROM system.columns WHERE table = 'trades' AND default_kind = '' ORDER BY position)`,
      )
      await insertBytes(clickhouse.client, `INSERT INTO trades (${columns}) FORMAT Native`, bytes)
      assert.deepEqual(
        await clickhouse.query('SELECT count() c, sum(trade_id) s, min(block_seq) a, max(block_seq) z FROM trades'),
        [{ c: '30', s: String((30 + 59) * 15), a: '3', z: '5' }],
      )
    } finally {
      await clickhouse.stop()
    }
    const block = readFileSync(join(out, `${spool.epoch}-4.block`))
    assert.ok(
      readFileSync(join(directory, segments[1]?.segment ?? '')).includes(block) ||
        readFileSync(join(directory, segments[0]?.segment ?? '')).includes(block),
    )
  })

  it('spool verify should report every bit that is flipped, wherever it is', async (t) => {
    const { directory, spool } = await filledSpool(t)
    await spool.close()
    const seed = Date.now() % 1_000_000
    t.diagnostic(`seed ${seed}`)
    const random = seededRandom(seed)
    const names = segmentsIn(directory)
    assert.deepEqual((await damages(directory)).found, [])
    for (let flip = 0; flip < 150; flip++) {
      const file = join(directory, names[Math.floor(random() * names.length)] as string)
      const bytes = readFileSync(file)
      const bit = Math.floor(random() * bytes.length * 8)
      const flipped = Buffer.from(bytes)
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
      writeFileSync(file, flipped)
      const { found, torn } = await damages(directory)
      // a length that grew beyond the end of the file cannot be: the checksum of its head does not fit any more
      assert.equal(torn, 0, `bit ${bit} of ${file} was taken for a record that is being written`)
      assert.ok(found.length > 0, `bit ${bit} of ${file}`)
      assert.ok(
        found.some((damage) => file.endsWith(damage.file) && damage.offset <= bit >> 3),
        `bit ${bit} of ${file}`,
      )
      writeFileSync(file, bytes)
    }
  })

  it('spool verify should name file, place and blocks, and tell damage from a record that is being written', async (t) => {
    const { data, directory, spool } = await filledSpool(t)
    await spool.close()
    const names = segmentsIn(directory)
    const last = join(directory, names.at(-1) as string)
    truncateSync(last, statSync(last).size - 7)
    const torn = await runCli(['spool', 'verify', '--data', data])
    assert.deepEqual([torn.code, torn.stderr], [0, ''])
    assert.match(torn.stdout, /bytes at an end are half a record/)
    const middle = join(directory, names[1] as string)
    const bytes = readFileSync(middle)
    bytes[100] = (bytes[100] as number) ^ 4 // in the payload of its first record
    writeFileSync(middle, bytes)
    const damaged = await runCli(['spool', 'verify', '--data', data])
    assert.equal(damaged.code, 1)
    const firstSeq = Number(names[1]?.slice(11, 21))
    assert.match(
      damaged.stdout,
      new RegExp(
        `^${names[1]} at 0, \\d+ bytes: a record does not fit its checksum; blocks ${spool.epoch}/${firstSeq} to ${spool.epoch}/${firstSeq}$`,
        'm',
      ),
    )
    assert.match(damaged.stderr, /^marketprism: \S+ is damaged at 1 places: check the disk/)
    rmSync(middle)
    assert.deepEqual(
      (await damages(directory)).found.map(({ file, what }) => [file, what]),
      [[names[0], 'its end is missing or damaged']],
    )
    const nowhere = await runCli(['spool', 'ls', '--data', join(data, 'nowhere')])
    assert.match(nowhere.stderr, /^marketprism: \S+nowhere\/spool does not exist: name the data directory/)
  })

  it('spool replay should bring blocks into clickhouse once, and deleted rows back only with a new token', async (t) => {
    const { data, spool } = await filledSpool(t)
    const clickhouse = await startTestClickHouse()
    cleanUp(t, () => clickhouse.stop())
    const here = ['--data', data, '--delivery', 'direct', '--json', '--set', `clickhouse.url=${clickhouse.server.url}`]
    const replay = async (...words: string[]) => {
      const { sent, refused, failed, to } = lastJson<Record<string, unknown>>(
        await runCli(['spool', 'replay', ...words, ...here]),
      )
      return { sent, refused, failed, to }
    }
    const rows = async () => (await clickhouse.query('SELECT count() c, uniqExact(trade_id) u FROM trades'))[0]
    const all = { c: String(BLOCKS * ROWS), u: String(BLOCKS * ROWS) }
    const done = { sent: BLOCKS, refused: 0, failed: [], to: 'clickhouse' }
    assert.deepEqual([await replay(), await rows()], [done, all])
    assert.deepEqual([await replay(), await rows()], [done, all]) // its tokens are known
    const less = { c: String((BLOCKS - 2) * ROWS), u: String((BLOCKS - 2) * ROWS) }
    const statement = 'ALTER TABLE trades DELETE WHERE block_seq IN (2, 3)'
    await clickhouse.client.command({ query: statement, clickhouse_settings: { mutations_sync: '1' } })
    assert.deepEqual([await replay(), await rows()], [done, less]) // the store remembers them
    const renewed = await replay('--new-token', '--from', `${spool.epoch}/2`)
    assert.deepEqual([renewed, await rows()], [{ ...done, sent: 2, refused: BLOCKS - 3 }, all])
    const absent = await runCli(['spool', 'replay', '--from', `${spool.epoch + 1}`, ...here])
    assert.deepEqual([absent.code, /has none of these blocks: see spool ls/.test(absent.stderr)], [1, true])
    const reversed = await runCli([
      'spool',
      'replay',
      '--from',
      `${spool.epoch}/2`,
      '--to',
      `${spool.epoch}/1`,
      ...here,
    ])
    assert.deepEqual([reversed.code, /give the older block first/.test(reversed.stderr)], [2, true])
  })

  it('spool replay should send blocks to the stream again under a name that it does not know', async (t) => {
    const nats = await startTestNats()
    if (typeof nats === 'string') return t.skip(nats)
    cleanUp(t, () => nats.stop())
    const { data, spool } = await filledSpool(t)
    const manager = await nats.connection.jetstreamManager()
    const here = ['--data', data, '--json', '--set', `nats.url=${nats.server.url}`]
    for (const times of [1, 2]) {
      const { sent, to } = lastJson<{ sent: number; to: string }>(await runCli(['spool', 'replay', ...here]))
      assert.deepEqual([sent, to], [BLOCKS, 'jetstream'])
      assert.equal((await manager.streams.info(BLOCK_STREAM)).state.messages, times * BLOCKS)
    }
    const { header } = await manager.streams.getMessage(BLOCK_STREAM, { seq: BLOCKS })
    assert.match(header.get('Nats-Msg-Id'), new RegExp(`^spooled/${spool.epoch}/${BLOCKS}:[0-9a-f]{8}~spool[0-9a-z]+$`))
  })
})
