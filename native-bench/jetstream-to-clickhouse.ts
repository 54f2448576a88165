import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, extname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { NatsConnection } from 'nats'
import { loadConfig } from '../engine/base/config.ts'
import { createLog } from '../engine/base/log.ts'
import { type EmbeddedClickHouse, startEmbeddedClickHouse } from '../engine/embedded/clickhouse.ts'
import { startEmbeddedNats } from '../engine/embedded/nats.ts'
import { type OpenBlock, writeIdentity } from '../engine/record/block.ts'
import { TradeEvent } from '../engine/record/emit.ts'
import { Recorder } from '../engine/record/recorder.ts'
import { consumerShapes, streamOptions } from '../engine/roles/settings.ts'
import { CLICKHOUSE_DEFAULT, createClickHouseClient } from '../engine/sinks/clickhouse.ts'
import { provisionStreams } from '../engine/sinks/provision-streams.ts'
import { sealedBlock } from '../engine/sinks/sink.ts'
import { connectNats, NATS_DEFAULT, subjectOf } from '../engine/sinks/nats.ts'
import { type Bench, type BenchContext, type BenchResult, check } from './bench.ts'
import { measured } from './measure.ts'
import { PROJECT_ROOT } from './paths.ts'

/** Blocks as a collector seals them: full ones under load, small ones by age when many tables and shards share it. */
export interface StoreLoad {
  readonly rows: number
  readonly rowsPerBlock: number
}

const TICKS_PER_SECOND = 100 // USER_HZ, the unit of /proc/<pid>/stat on every Linux
const PUBLISHES_IN_FLIGHT = 64
const LOOK_MS = 20
const WAIT_MS_MAX = 180_000
const INSTRUMENTS = ['BTCUSDT', 'ETHUSDT', 'SOLUSDT', 'XRPUSDT', 'DOGEUSDT', 'ADAUSDT', 'BNBUSDT', 'LTCUSDT']
const FIRST_ID = 5_000_000_000
const FIRST_NS = 1_790_000_000_000_000_000n
const NS_A_ROW = 3000n

/**
 * The store role as it is deployed, a process of its own: blocks of trades wait in the block stream of a real nats-server,
 * then it starts and puts them into a real ClickHouse engine. The clock runs from the first block that it takes to the last
 * acknowledgement; what the three processes used meanwhile is read from /proc.
 */
export function jetstreamToClickHouse(load: StoreLoad): Bench {
  return async ({ runCount, say }: BenchContext): Promise<BenchResult> => {
    const seconds: number[] = []
    const notes: string[] = []
    for (let run = 0; run < Math.min(runCount, 3); run++) {
      const took = await once(load, say)
      seconds.push(took.seconds)
      notes.push(took.note)
    }
    return { ...measured(load.rows, seconds), unit: 'rows/s', ratios: {}, others: {}, notes }
  }
}

async function once(load: StoreLoad, say: (line: string) => void): Promise<{ seconds: number; note: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'marketprism-bench-store-'))
  const undo: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })]
  try {
    const log = createLog('error', 'bench')
    const nats = await startEmbeddedNats({
      storeDirectory: join(folder, 'nats'),
      cacheDirectory: join(PROJECT_ROOT, '.cache'),
      port: 0,
      mayFetch: true,
      log,
    })
    check(!('reason' in nats), 'JetStream → ClickHouse: no nats-server')
    undo.push(() => nats.stop())
    const clickhouse = await startEmbeddedClickHouse({ dataDirectory: join(folder, 'clickhouse'), port: 0, log })
    undo.push(() => clickhouse.stop())
    const connection = await connectNats({ ...NATS_DEFAULT, url: nats.url }, 'bench')
    undo.push(() => connection.close())
    const blockCount = await publishAll(connection, load)
    say(`jetstreamToClickHouse: ${load.rows} rows in ${blockCount} blocks wait in JetStream …`)
    const child = startStore(nats.url, clickhouse.url, join(folder, 'data'))
    undo.push(() => ended(child))
    const pids = { store: child.pid ?? 0, 'nats-server': nats.pid, ClickHouse: clickhouse.pid }
    const { seconds, cpu } = await timeStore(connection, child, pids)
    await checkRows(clickhouse.url, load, blockCount)
    return { seconds, note: noteOf(load, blockCount, seconds, cpu, await insertsOf(clickhouse)) }
  } finally {
    while (undo.length > 0) await undo.pop()?.()
  }
}

async function publishAll(connection: NatsConnection, load: StoreLoad): Promise<number> {
  const { config } = loadConfig({ variables: {} })
  await provisionStreams(await connection.jetstreamManager(), streamOptions(config), ...consumerShapes(config))
  const stream = connection.jetstream()
  const underWay = new Set<Promise<unknown>>()
  let blockCount = 0
  for (const payload of blocksOf(load)) {
    writeIdentity(payload, 1n, BigInt(blockCount++))
    const block = sealedBlock(payload)
    const work = stream.publish(subjectOf(block), payload, { msgID: block.messageId, timeout: 30_000 })
    underWay.add(work)
    void work.finally(() => underWay.delete(work))
    if (underWay.size >= PUBLISHES_IN_FLIGHT) await Promise.race(underWay)
  }
  await Promise.all(underWay)
  return blockCount
}

function* blocksOf({ rows, rowsPerBlock }: StoreLoad): Generator<Uint8Array> {
  const sealed: Uint8Array[] = []
  const onSeal = (block: OpenBlock) => {
    const bytes = new Uint8Array(block.sealedBytesMax())
    sealed.push(bytes.subarray(0, block.encodeInto(bytes, 0)))
  }
  const scales = new Uint8Array(INSTRUMENTS.length).fill(2)
  const recorder = new Recorder(
    { rowsMax: rowsPerBlock, bytesMax: 512 * 1024, producer: 'bench', exchange: 'binance' },
    (index) => `binance.usdm.${INSTRUMENTS[index]}`,
    scales,
    scales,
    onSeal,
  )
  const trade = Object.assign(new TradeEvent(), { stream: 1, side: 1 })
  for (let row = 0; row < rows; row++) {
    const receivedNs = FIRST_NS + BigInt(row) * NS_A_ROW
    recorder.time.hi = Number(receivedNs >> 32n)
    recorder.time.lo = Number(receivedNs & 0xffffffffn)
    trade.eventMs = trade.tradeMs = Number(receivedNs / 1_000_000n) - 5
    trade.tradeId = trade.firstTradeId = trade.lastTradeId = FIRST_ID + row
    trade.price = 6_180_000 + ((row * 7919) % 5000)
    trade.quantity = 1 + ((row * 104_729) % 90_000)
    trade.instrument = row % INSTRUMENTS.length
    recorder.trade(trade)
    while (sealed.length > 0) yield sealed.shift() as Uint8Array
  }
  recorder.sealAll()
  yield* sealed
}

function startStore(natsUrl: string, clickHouseUrl: string, data: string): ChildProcess {
  const here = fileURLToPath(import.meta.url)
  const main = join(dirname(here), '..', 'engine', `main${extname(here)}`)
  const keys = { 'nats.url': natsUrl, 'clickhouse.url': clickHouseUrl, 'observe.enabled': 'false' }
  const args = Object.entries(keys).flatMap(([key, value]) => ['--set', `${key}=${value}`])
  return spawn(process.execPath, [main, 'store', '--data', data, ...args], { stdio: ['ignore', 'ignore', 'inherit'] })
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  await gone
}

type Cpu = Readonly<Record<string, number>>

async function timeStore(
  connection: NatsConnection,
  child: ChildProcess,
  pids: Cpu,
): Promise<{ seconds: number; cpu: Cpu }> {
  const manager = await connection.jetstreamManager()
  const look = () => manager.consumers.info('MARKETPRISM_BLOCKS', 'store')
  const deadlineMs = performance.now() + WAIT_MS_MAX
  const until = async (holds: (info: Awaited<ReturnType<typeof look>>) => boolean) => {
    for (;;) {
      const atMs = performance.now()
      check(child.exitCode === null && atMs < deadlineMs, 'JetStream → ClickHouse: the store ended, or took too long')
      if (holds(await look())) return atMs
      await sleep(LOOK_MS)
    }
  }
  const startMs = await until(({ delivered }) => delivered.stream_seq > 0)
  const before = cpuOf(pids)
  const endMs = await until((info) => info.num_pending === 0 && info.num_ack_pending === 0)
  const after = cpuOf(pids)
  const cpu = Object.fromEntries(Object.keys(pids).map((name) => [name, (after[name] ?? 0) - (before[name] ?? 0)]))
  return { seconds: (endMs - startMs) / 1000, cpu }
}

/** CPU seconds of all threads of each process so far. */
function cpuOf(pids: Cpu): Cpu {
  return Object.fromEntries(
    Object.entries(pids).map(([name, pid]) => {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ') // the name before may hold blanks
      return [name, (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND]
    }),
  )
}

async function checkRows(url: string, { rows }: StoreLoad, blockCount: number): Promise<void> {
  const [sums] = await asked<{ rows: string; ids: string; sum: string }>(
    url,
    'SELECT count() AS rows, uniqExact(trade_id) AS ids, sum(trade_id) AS sum FROM trades',
  )
  const sum = BigInt(rows) * BigInt(FIRST_ID) + (BigInt(rows) * BigInt(rows - 1)) / 2n
  check(
    Number(sums?.rows) === rows && Number(sums?.ids) === rows && BigInt(sums?.sum ?? 0) === sum,
    `JetStream → ClickHouse: ${JSON.stringify(sums)} for ${rows} rows`,
  )
  const [marks] = await asked<{ blocks: string }>(url, 'SELECT count() AS blocks FROM blocks FINAL')
  check(Number(marks?.blocks) === blockCount, `JetStream → ClickHouse: ${marks?.blocks} marks for ${blockCount} blocks`)
}

async function insertsOf({ url }: EmbeddedClickHouse): Promise<number> {
  const [answer] = await asked<{ inserts: string }>(
    url,
    `SELECT value AS inserts FROM system.events WHERE event = 'InsertQuery'`,
  )
  return Number(answer?.inserts)
}

async function asked<Row>(url: string, query: string): Promise<Row[]> {
  const client = createClickHouseClient({ ...CLICKHOUSE_DEFAULT, url })
  try {
    const settings = { output_format_json_quote_64bit_integers: 1 } as const
    return await (await client.query({ query, format: 'JSONEachRow', clickhouse_settings: settings })).json<Row>()
  } finally {
    await client.close()
  }
}

function noteOf({ rows }: StoreLoad, blocks: number, seconds: number, cpu: Cpu, inserts: number): string {
  const all = Object.values(cpu).reduce((sum, one) => sum + one, 0)
  const shares = Object.entries(cpu).map(
    ([name, one]) => `${name} ${one.toFixed(2)} s (${Math.round((one / all) * 100)} %)`,
  )
  return (
    `${Math.round(rows / seconds)} rows/s: ${blocks} blocks, ${inserts} inserts; CPU ${all.toFixed(1)} s in ${seconds.toFixed(1)} s: ` +
    `${shares.join(', ')}; ${Math.round((2 * rows) / all)} rows/s were two cores ours alone`
  )
}
