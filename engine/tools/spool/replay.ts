import { setTimeout as sleep } from 'node:timers/promises'
import { Clock } from '../../base/clock.ts'
import type { Run } from '../../base/run.ts'
import { ClickHouseSink } from '../../sinks/clickhouse.ts'
import { publishBlock } from '../../sinks/nats.ts'
import { type SealedBlock, sealedBlock } from '../../sinks/sink.ts'
import { type ReachedClickHouse, type ReachedNats, reachClickHouse, reachNats } from '../reach.ts'
import { blocksOf, readSegments } from './files.ts'
import { type BlockChoice, blockFilter } from './range.ts'

/**
 * Blocks of a spool once more on their way, to JetStream or, without NATS, to ClickHouse. The spool is only read, so an
 * engine may be running on it. Under their own token blocks that are stored are stored no second time, and so nothing can
 * go wrong; but neither do rows come back that were deleted by `ALTER TABLE … DELETE`, for the store remembers the
 * token. A new token brings them back, and is given to no block of which rows are there.
 */
export interface ReplayCounts {
  readonly to: string
  sent: number
  rows: number
  /** of blocks whose rows are there, so that a new token would double them */
  refused: number
  readonly failed: { block: string; why: string }[]
}

type Send = (block: SealedBlock) => Promise<string>

const ATTEMPTS = 5
const RETRY_MS = 500

export async function replayBlocks(directory: string, choice: BlockChoice, isNewToken: boolean, run: Run) {
  const mark = Math.floor(new Clock().nowMs()).toString(36)
  const nats = await reachNats(run)
  const store = nats === undefined || isNewToken ? await reachClickHouse(run).catch(stopped(nats)) : undefined
  const sink = nats === undefined ? sinkOf(store as ReachedClickHouse, run) : undefined
  const counts: ReplayCounts = {
    to: nats === undefined ? 'clickhouse' : 'jetstream',
    sent: 0,
    rows: 0,
    refused: 0,
    failed: [],
  }
  const send: Send = nats === undefined ? (block) => sendDirectly(sink as ClickHouseSink, block) : publisher(nats, mark)
  try {
    const isChosen = blockFilter(choice)
    for await (const segment of readSegments(directory)) {
      for (const spooled of blocksOf(segment)) {
        if (!isChosen(spooled)) continue
        await replay(spooled.payload, { send, counts, store, choice, mark, isNewToken }).catch((error: Error) => {
          counts.failed.push({ block: `${spooled.epoch}/${spooled.blockSeq}`, why: error.message })
        })
      }
    }
  } finally {
    await sink?.close()
    await store?.stop()
    await nats?.stop()
  }
  return counts
}

interface Replay {
  readonly send: Send
  readonly counts: ReplayCounts
  readonly store: ReachedClickHouse | undefined
  readonly choice: BlockChoice
  readonly mark: string
  readonly isNewToken: boolean
}

async function replay(payload: Uint8Array, { send, counts, store, choice, mark, isNewToken }: Replay): Promise<void> {
  const block = sealedBlock(new Uint8Array(payload), isNewToken ? mark : '')
  const { head, messageId } = block
  if (choice.table !== undefined && head.table !== choice.table) return
  if (isNewToken && store !== undefined && (await rowsThere(store, block)) > 0) {
    counts.refused++
    return
  }
  const why = await send(block)
  if (why === '') {
    counts.sent++
    counts.rows += head.rows
  } else counts.failed.push({ block: messageId, why })
}

async function rowsThere({ client }: ReachedClickHouse, { head }: SealedBlock): Promise<number> {
  const answer = await client.query({
    query: `SELECT count() AS rows FROM \`${head.table}\` WHERE toYYYYMMDD(received_ns) = {day:UInt32}
            AND producer = {producer:String} AND epoch = {epoch:UInt64} AND block_seq = {seq:UInt64}`,
    query_params: {
      day: head.day,
      producer: head.producer,
      epoch: head.epoch.toString(),
      seq: head.blockSeq.toString(),
    },
    format: 'JSONEachRow',
  })
  const [row] = await answer.json<{ rows: string }>()
  return Number(row?.rows ?? 0)
}

/** JetStream may have had the block under its name a moment ago, and lost it: one more try has a name of its own. */
function publisher({ connection, options }: ReachedNats, mark: string): Send {
  const client = connection.jetstream()
  return async (block) => {
    try {
      await publishBlock(client, connection, options, block, `${block.messageId}~spool${mark}`)
      return ''
    } catch (error) {
      return (error as Error).message
    }
  }
}

function sinkOf({ options }: ReachedClickHouse, { log }: Run): ClickHouseSink {
  const clock = new Clock()
  const sink = new ClickHouseSink(options, () => clock.nowNs(), log)
  sink.hurry() // one block after the other: none has company to wait for
  return sink
}

async function sendDirectly(sink: ClickHouseSink, block: SealedBlock): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const outcome = await sink.send(block)
    if (outcome === 'acknowledged') return ''
    if (outcome !== 'retry') return outcome.reason
    if (attempt === ATTEMPTS) return sink.trouble() ?? 'ClickHouse does not take it now'
    await sleep(RETRY_MS)
  }
}

function stopped(nats: ReachedNats | undefined): (error: unknown) => Promise<never> {
  return async (error) => {
    await nats?.stop()
    throw error
  }
}
