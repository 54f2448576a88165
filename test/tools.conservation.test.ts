import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { crc32 } from 'node:zlib'
import { openSpool, SPOOL_DEFAULT } from '../engine/spool/spool.ts'
import { readAccepted } from '../engine/tools/conservation/accepted.ts'
import { FaultLink, type Toxic } from '../engine/tools/conservation/fault-link.ts'
import { type Hole, unexplained } from '../engine/tools/conservation/holes.ts'
import { ACTORS, LINKS, planNemesis } from '../engine/tools/conservation/nemesis.ts'
import type { GapRow } from '../engine/tools/demo/notes.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { cleanUp } from './support/clean-up.ts'
import { lastJson, runCli } from './support/cli.ts'
import { temporaryDirectory, until } from './support/embedded.ts'
import { hasNatsServer } from './support/nats.ts'

/** The trial of conservation: its parts, a short run of it, and that it misses when what it proves is taken away. */

test('nemesis should kill and pause each process, reset and strike each link, whatever the seed', () => {
  for (let seed = 0; seed < 200; seed++) {
    const acts = planNemesis(seed, 30)
    for (const actor of ACTORS) {
      assert.ok(
        acts.some((act) => act.what === 'kill' && act.actor === actor),
        `seed ${seed} does not kill ${actor}`,
      )
      assert.ok(
        acts.some((act) => act.what === 'pause' && act.actor === actor),
        `seed ${seed} does not pause ${actor}`,
      )
    }
    for (const link of LINKS) {
      assert.ok(
        acts.some((act) => act.what === 'reset' && act.link === link),
        `seed ${seed} does not reset ${link}`,
      )
      assert.ok(
        acts.some((act) => act.what === 'toxic' && act.link === link),
        `seed ${seed} does not strike ${link}`,
      )
    }
    assert.ok(acts.every(({ atMs }) => atMs >= 0 && atMs <= 30_000))
    assert.deepEqual(acts, planNemesis(seed, 30))
  }
  const kinds = new Set(
    Array.from({ length: 200 }, (_, seed) => planNemesis(seed, 30))
      .flat()
      .map((act) => (act.what === 'toxic' ? act.toxic.kind : act.what)),
  )
  assert.equal(kinds.size, 9, [...kinds].join())
})

/** A server that sends back what it gets, behind a link, and a client of it. */
async function echo(t: TestContext): Promise<{ link: FaultLink; client: net.Socket; received: () => Buffer }> {
  const server = net.createServer((socket) => void socket.on('error', () => undefined).pipe(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanUp(t, () => server.close())
  const link = new FaultLink('test')
  const url = await link.through(`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`)
  cleanUp(t, () => link.close())
  const client = net.connect(Number(new URL(url).port), '127.0.0.1')
  cleanUp(t, () => client.destroy())
  const chunks: Buffer[] = []
  client.on('data', (chunk: Buffer) => chunks.push(chunk))
  client.on('error', () => undefined)
  await new Promise<void>((resolve) => client.once('connect', () => resolve()))
  return { link, client, received: () => Buffer.concat(chunks) }
}

const BYTES = Buffer.from(Array.from({ length: 200_000 }, (_, index) => index % 251))

for (const toxic of [
  { kind: 'latency', ms: 30 },
  { kind: 'slow', bytesPerSecond: 2_000_000 },
  { kind: 'slicer', bytes: 7 },
] satisfies Toxic[])
  test(`link with ${toxic.kind} should bring every byte, in order`, async (t) => {
    const { link, client, received } = await echo(t)
    link.strike(toxic)
    client.write(BYTES)
    await until(() => received().length === BYTES.length, 20_000, 'all comes back')
    assert.ok(received().equals(BYTES))
  })

test('link with a blackhole should hold everything back, and let it go on when it is healed', async (t) => {
  const { link, client, received } = await echo(t)
  link.strike({ kind: 'blackhole' })
  client.write(BYTES)
  await new Promise((resolve) => setTimeout(resolve, 100))
  assert.equal(received().length, 0)
  link.heal()
  await until(() => received().length === BYTES.length, 20_000, 'all comes back')
  assert.ok(received().equals(BYTES))
})

for (const [name, strike] of [
  ['reset', (link: FaultLink) => link.reset()],
  ['swallow', (link: FaultLink) => link.strike({ kind: 'swallow' })],
  ['limit', (link: FaultLink) => link.strike({ kind: 'limit', bytes: 1_000 })],
] as const)
  test(`link should end its connections by ${name}, and take new ones`, async (t) => {
    const { link, client } = await echo(t)
    const ended = new Promise<string>((resolve) =>
      client.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? '')),
    )
    strike(link)
    client.write(BYTES)
    assert.match(await ended, /ECONNRESET|EPIPE/)
  })

test('link with swallow should bring the question and no answer', async (t) => {
  const asked: Buffer[] = []
  const server = net.createServer((socket) =>
    socket
      .on('error', () => undefined)
      .on('data', (chunk: Buffer) => {
        asked.push(chunk)
        socket.write('done')
      }),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanUp(t, () => server.close())
  const link = new FaultLink('test')
  cleanUp(t, () => link.close())
  link.strike({ kind: 'swallow' })
  const url = await link.through(`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const client = net.connect(Number(new URL(url).port), '127.0.0.1')
  cleanUp(t, () => client.destroy())
  client.on('data', () => assert.fail('an answer came'))
  client.write('do it')
  await new Promise<void>((resolve) => client.on('error', () => undefined).once('close', () => resolve()))
  assert.equal(Buffer.concat(asked).toString(), 'do it')
})

test('accepted blocks should be what is in the spool, without the one whose bytes were changed', async (t) => {
  const directory = temporaryDirectory(t)
  const spool = await openSpool(directory, { ...SPOOL_DEFAULT, fsync: { kind: 'off' } }, () => 1_790_000_000_000)
  const blocks = [1, 2, 3].map((blockSeq) =>
    buildBlock({
      table: 'trades',
      rows: tradeRows(10 * blockSeq, 1_000),
      instruments: TRADE_INSTRUMENTS,
      epoch: BigInt(spool.epoch),
      blockSeq: BigInt(blockSeq),
      producer: 'p',
    }),
  )
  for (const block of blocks) spool.append(block)
  await spool.close()
  const expected = blocks.map((block, index) => ({
    producer: 'p',
    epoch: spool.epoch,
    blockSeq: index + 1,
    table: 'trades',
    rows: 10 * (index + 1),
    crc32: crc32(block),
  }))
  assert.deepEqual(readAccepted(directory), expected)
  const file = path.join(directory, readdirSync(directory).find((name) => name.endsWith('.seg')) as string)
  const bytes = readFileSync(file)
  const at = 32 + (blocks[0] as Uint8Array).length + 32 + 100 // in the payload of the second
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
  writeFileSync(file, bytes)
  assert.deepEqual(readAccepted(directory), [expected[0], expected[2]])
})

const PLACE = { exchange: 'binance', market: 'spot', symbol: 'BTCUSDT' }
const HOLE: Hole = {
  ...PLACE,
  table: 'trades',
  first: '101',
  last: '109',
  events: '9',
  beforeMs: '5000',
  afterMs: '7000',
}
const GAP: GapRow = {
  ...{ ...PLACE, channel: 'trades', cause: 'disconnect', status: 'closed', detail: '' },
  ...{ from_seq: '0', to_seq: '0', from_ms: '5000', to_ms: '7000' },
}

test('hole should be explained by a row of its stream that holds its numbers, or by rows that cover its time, and by no other', () => {
  const isExplained = (change: Partial<GapRow>): boolean => unexplained([HOLE], [{ ...GAP, ...change }]).length === 0
  assert.ok(isExplained({}))
  assert.ok(isExplained({ from_ms: '9000', to_ms: '9500', from_seq: '100', to_seq: '110' }))
  assert.ok(isExplained({ status: 'open', from_ms: '5500', to_ms: '0' }))
  const others: Partial<GapRow>[] = [
    { symbol: 'ETHUSDT' },
    { market: 'usdm' },
    { channel: 'book' },
    { from_ms: '6500', to_ms: '7000' },
    { from_ms: '5000', to_ms: '5900' },
    { from_ms: '7001', to_ms: '8000' },
    { from_ms: '3000', to_ms: '4999' },
    { status: 'open', from_ms: '7001', to_ms: '0' },
    { from_ms: '9000', to_ms: '9500', from_seq: '101', to_seq: '110' },
    { from_ms: '9000', to_ms: '9500', from_seq: '100', to_seq: '109' },
  ]
  for (const change of others) assert.ok(!isExplained(change), JSON.stringify(change))
  assert.equal(unexplained([HOLE], []).length, 1)
  const halves = [
    { ...GAP, to_ms: '5900' },
    { ...GAP, from_ms: '5800' },
  ]
  assert.equal(unexplained([HOLE], halves).length, 0)
  const atTheEnd = { ...HOLE, afterMs: null }
  assert.equal(unexplained([atTheEnd], [{ ...GAP, status: 'open', to_ms: '0' }]).length, 0)
  assert.equal(unexplained([{ ...HOLE, beforeMs: null }], [GAP]).length, 0)
})

interface Figures {
  readonly accepted: number
  readonly rows: number
  readonly missing: number
  readonly doubled: number
  readonly wrong: number
  readonly unexplained: number
  readonly unexplainedWithoutGapRows: number
  readonly kills: Readonly<Record<string, number>>
}

async function trial(t: TestContext, ...words: string[]) {
  const data = path.join(temporaryDirectory(t), 'data')
  const common = ['--seconds', '12', '--rate', '1000', '--json', '--data', data]
  return runCli(['conservation', ...common, ...words])
}

test('conservation should find every accepted row once when engine, NATS, store and ClickHouse are killed', async (t) => {
  const reason = await hasNatsServer()
  if (reason !== '') return t.skip(reason)
  const result = await trial(t, '--seed', '7')
  const figures = lastJson<Figures>(result)
  assert.equal(result.code, 0, result.stderr)
  const { missing, doubled, wrong, kills } = figures
  assert.deepEqual([missing, doubled, wrong, figures.unexplained], [0, 0, 0, 0], result.stderr)
  assert.equal(figures.rows, figures.accepted)
  assert.ok(figures.accepted > 5_000, result.stdout)
  assert.deepEqual(kills, { engine: 1, nats: 1, store: 1, clickhouse: 1 })
})

test('conservation should miss when ClickHouse forgets its inserts and when gaps are not told', async (t) => {
  const reason = await hasNatsServer()
  if (reason !== '') return t.skip(reason)
  const result = await trial(t, '--seed', '7', '--control', 'dedupe,gaps')
  const figures = lastJson<Figures>(result)
  assert.equal(result.code, 1, result.stderr)
  assert.ok(figures.doubled > 0, result.stdout)
  assert.ok(figures.unexplained > 0, result.stdout)
})
