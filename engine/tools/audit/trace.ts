/**
 * `marketprism audit trace`: one block from its first frame to its rows, each station with its time. A station that has
 * forgotten the block (a spool that deleted the segment, a stream that was trimmed) is left out; which one has never had
 * it can be told by those behind.
 */
import { EXIT_MISSED, EXIT_USAGE, Fault } from '../../base/fault.ts'
import type { Run } from '../../base/run.ts'
import { TABLES } from '../../record/schema.ts'
import type { BlockHead } from '../../record/decode.ts'
import { BLOCK_STREAM } from '../../record/streams.ts'
import { dataDirectory } from '../../roles/settings.ts'
import { StreamLetterBox } from '../../sinks/letter-box.ts'
import { headersOf, subjectOf } from '../../sinks/nats.ts'
import { sealedBlock } from '../../sinks/sink.ts'
import { type ReachedClickHouse, type ReachedNats, reachClickHouse, reachNats } from '../reach.ts'
import { blocksOf, readMarks, readSegments } from '../spool/files.ts'

interface BlockName {
  readonly producer: string
  readonly epoch: string
  readonly seq: string
}

/** Where the block was, and when. */
interface Station {
  readonly name: string
  /** ns since the epoch; undefined where only the place is known */
  readonly ns: bigint | undefined
  readonly detail: string
}

/** What is known of a block from the first station that has it. */
interface Known {
  readonly table: string
  readonly subject: string
  readonly lastReceivedNs: bigint
}

/** Headers that travel with a block (ns), and the columns of `blocks` that they become. */
const HOPS = [
  ['encoded by the book worker', 'Marketprism-Encoded', 'encoded_ns'],
  ['sealed', 'Marketprism-Sealed', 'sealed_ns'],
  ['durable in the spool', 'Marketprism-Durable', 'durable_ns'],
  ['published', 'Marketprism-Published', 'published_ns'],
] as const

export async function runTrace(block: string, asJson: boolean, run: Run): Promise<void> {
  const name = nameOf(block)
  const stations: Station[] = []
  const spooled = await inSpool(name, run, stations)
  const nats = await reachNats(run)
  const store = await reachClickHouse(run).catch(async (error: unknown) => {
    await nats?.stop()
    throw error
  })
  try {
    const stored = await inStore(name, spooled, store, stations)
    const known = spooled ?? stored.known
    if (nats !== undefined && known !== undefined) await inStream(name, known, nats, stations)
    if (nats !== undefined) await inDeadLetters(name, nats, stations)
    tell(block, stations, asJson)
    if (!stored.isWhole) {
      const where = stations.length === 0 ? 'it is nowhere' : `it was last seen: ${stations.at(-1)?.name}`
      throw new Fault('NOT_STORED', `block ${block} is not in ClickHouse with all its rows; ${where}`, EXIT_MISSED)
    }
  } finally {
    await store.stop()
    await nats?.stop()
  }
}

function nameOf(text: string): BlockName {
  const [, producer, epoch, seq] = /^([^/]+)\/(\d+)\/(\d+)(?::[0-9a-f]{8}.*)?$/.exec(text) ?? []
  if (producer === undefined || epoch === undefined || seq === undefined)
    throw new Fault(
      'WRONG_BLOCK',
      `${text} is no block: give producer/epoch/number, e.g. collector/1795253359/17`,
      EXIT_USAGE,
    )
  return { producer, epoch, seq }
}

async function inSpool(
  { producer, epoch, seq }: BlockName,
  { config }: Run,
  stations: Station[],
): Promise<Known | undefined> {
  const directory = dataDirectory(config, 'spool', config.spool.directory)
  const marks = await readMarks(directory)
  try {
    for await (const segment of readSegments(directory)) {
      const { base, next, name } = segment
      if (String(base.epoch) !== epoch || base.firstSeq > Number(seq) || (next?.firstSeq ?? Infinity) <= Number(seq))
        continue
      for (const spooled of blocksOf(segment)) {
        if (String(spooled.blockSeq) !== seq) continue
        const block = sealedBlock(new Uint8Array(spooled.payload))
        if (block.head.producer !== producer) continue
        received(block.head, stations)
        const isAcked = spooled.blockSeq < Math.max(marks.acked(name), marks.committed(name))
        const detail = `${name} at ${spooled.offset}, ${spooled.payload.length} bytes${isAcked ? ', acknowledged' : ''}`
        stations.push({ name: 'in the spool', ns: undefined, detail })
        return { table: block.head.table, subject: subjectOf(block), lastReceivedNs: block.head.lastReceivedNs }
      }
    }
  } catch (error) {
    if (!(error instanceof Fault && error.code === 'NO_SPOOL')) throw error // it is on another machine
  }
  return undefined
}

function received({ firstReceivedNs, lastReceivedNs, rows, table, exchange }: BlockHead, stations: Station[]): void {
  stations.push({ name: 'first row received', ns: firstReceivedNs, detail: `${rows} rows of ${table}, ${exchange}` })
  stations.push({ name: 'last row received', ns: lastReceivedNs, detail: '' })
}

type StoredBlock = Readonly<Record<string, string | number>>

async function inStore(
  name: BlockName,
  spooled: Known | undefined,
  { client }: ReachedClickHouse,
  stations: Station[],
) {
  const ask = async <Row>(query: string): Promise<Row[]> => {
    const answer = await client.query({
      query,
      query_params: { ...name },
      format: 'JSONEachRow',
      clickhouse_settings: { output_format_json_quote_64bit_integers: 1 },
    })
    return await answer.json<Row>()
  }
  const isIt = 'producer = {producer:String} AND epoch = {epoch:UInt64} AND block_seq = {seq:UInt64}'
  const [mark] = await ask<StoredBlock>(
    `SELECT * REPLACE (toUnixTimestamp64Nano(first_received_ns) AS first_received_ns, toUnixTimestamp64Nano(last_received_ns) AS last_received_ns, toUnixTimestamp64Nano(stored_ns) AS stored_ns)
     FROM blocks FINAL WHERE ${isIt} SETTINGS date_time_output_format = 'unix_timestamp'`,
  )
  const known = mark === undefined ? undefined : knownOf(name, mark)
  if (spooled === undefined && mark !== undefined) {
    const detail = `${mark.rows} rows of ${mark.table}, ${mark.exchange}`
    stations.push({ name: 'first row received', ns: nsOf(mark.first_received_ns), detail })
    stations.push({ name: 'last row received', ns: nsOf(mark.last_received_ns), detail: '' })
  }
  for (const [station, , column] of HOPS) hop(station, mark?.[column], 'by its mark', stations)
  hop('taken by the store', mark?.taken_ns, '', stations)
  if (mark !== undefined)
    hop(
      'stored and marked',
      mark.stored_ns,
      `${mark.rows} rows, crc32 ${Number(mark.crc32).toString(16).padStart(8, '0')}`,
      stations,
    )
  const table = spooled?.table ?? known?.table
  const tables = table === undefined ? TABLES.map((one) => one.name) : [table]
  let rows = 0
  for (const one of tables) {
    const [found] = await ask<{ rows: string; first: string }>(
      `SELECT count() AS rows, toUnixTimestamp64Nano(min(received_ns)) AS first FROM \`${one}\` WHERE ${isIt}`,
    )
    if (Number(found?.rows ?? 0) === 0) continue
    rows = Number(found?.rows)
    stations.push({ name: 'rows in ClickHouse', ns: undefined, detail: `${rows} rows in ${one}` })
  }
  return { known, isWhole: mark !== undefined && rows >= Number(mark.rows) }
}

function knownOf({ producer }: BlockName, mark: StoredBlock): Known {
  const subject = `block.${mark.table}.${mark.exchange}.${producer.replace(/[^A-Za-z0-9_-]/g, '_')}`
  return { table: String(mark.table), subject, lastReceivedNs: BigInt(mark.last_received_ns ?? 0) }
}

function hop(name: string, value: string | number | undefined, detail: string, stations: Station[]): void {
  const ns = nsOf(value)
  if (ns !== undefined && ns > 0n) stations.push({ name, ns, detail })
}

/** Whole ns, or seconds with nine digits behind the point. */
function nsOf(value: string | number | undefined): bigint | undefined {
  if (value === undefined) return undefined
  const [seconds = '0', rest] = String(value).split('.')
  return rest === undefined ? BigInt(seconds) : BigInt(seconds + rest.padEnd(9, '0').slice(0, 9))
}

/** The message is looked for from the moment of the block's last row on, by its headers alone. */
async function inStream(
  name: BlockName,
  known: Known,
  { connection }: ReachedNats,
  stations: Station[],
): Promise<void> {
  const prefix = `${name.producer}/${name.epoch}/${name.seq}:`
  const since = new Date(Number(known.lastReceivedNs / 1_000_000n) - 1000).toISOString()
  const consumer = await connection.jetstream().consumers.get(BLOCK_STREAM, {
    filterSubjects: known.subject,
    opt_start_time: since,
    deliver_policy: 'by_start_time' as never,
    headers_only: true,
  })
  const { num_pending: pending } = await consumer.info(true)
  const messages = pending === 0 ? [] : await consumer.consume({ max_messages: 1000 })
  let left = pending
  for await (const message of messages) {
    const headers = headersOf(message.headers)
    if (headers['Nats-Msg-Id']?.[0]?.startsWith(prefix) === true) {
      for (const [station, header] of HOPS)
        if (!stations.some((other) => other.name === station))
          hop(station, headers[header]?.[0], 'by its message', stations)
      const detail = `message ${message.seq} of ${BLOCK_STREAM}, ${known.subject}`
      stations.push({ name: 'in the stream', ns: BigInt(message.info.timestampNanos), detail })
    }
    if (--left <= 0) break
  }
}

async function inDeadLetters(name: BlockName, { connection }: ReachedNats, stations: Station[]): Promise<void> {
  const box = new StreamLetterBox(connection, await connection.jetstreamManager())
  for await (const letter of box.letters()) {
    if (letter.name.startsWith(`${name.producer}/${name.epoch}/${name.seq}:`))
      stations.push({
        name: 'dead letter',
        ns: BigInt(letter.atMs) * 1_000_000n,
        detail: `number ${letter.number}: ${letter.reason}`,
      })
  }
}

/** In the order of time; a station without one stays behind that before it. */
function inOrder(stations: readonly Station[]): Station[] {
  let last = 0n
  const placed = stations.map((station) => {
    last = station.ns ?? last
    return { station, at: last }
  })
  return placed.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)).map(({ station }) => station)
}

function tell(block: string, stations: readonly Station[], asJson: boolean): void {
  const ordered = inOrder(stations)
  if (asJson) {
    const shown = ordered.map(({ name, ns, detail }) => ({
      station: name,
      ns: ns?.toString() ?? null,
      time: timeText(ns),
      detail,
    }))
    process.stdout.write(`${JSON.stringify({ block, stations: shown })}\n`)
    return
  }
  process.stdout.write(`${block}\n`)
  let before: bigint | undefined
  for (const { name, ns, detail } of ordered) {
    const step = ns === undefined || before === undefined ? '' : `+${(Number(ns - before) / 1e6).toFixed(3)} ms`
    process.stdout.write(`${name.padEnd(28)}${timeText(ns).padEnd(32)}${step.padStart(14)}  ${detail}\n`)
    before = ns ?? before
  }
}

/** To the nanosecond. */
function timeText(ns: bigint | undefined): string {
  if (ns === undefined) return ''
  const text = new Date(Number(ns / 1_000_000n)).toISOString()
  return `${text.slice(0, 19)}.${String(ns % 1_000_000_000n).padStart(9, '0')}Z`
}
