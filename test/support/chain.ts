import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { seededRandom } from '../../engine/base/random.ts'
import type { EmbeddedNats } from '../../engine/embedded/nats.ts'
import { BLOCK_STREAM, storeConsumer } from '../../engine/record/streams.ts'
import { ClickHouseSink } from '../../engine/sinks/clickhouse.ts'
import { CommitAnswers } from '../../engine/sinks/commit-answers.ts'
import { COMMIT_QUESTIONS_DEFAULT, CommitQuestions } from '../../engine/sinks/commit-questions.ts'
import { StreamLetters } from '../../engine/sinks/dead-letters.ts'
import { Delivery, DELIVERY_DEFAULT } from '../../engine/sinks/delivery.ts'
import { Intake, INTAKE_DEFAULT } from '../../engine/sinks/intake.ts'
import { connectNats, NATS_DEFAULT, NatsLink, NatsSink } from '../../engine/sinks/nats.ts'
import { provisionStreams } from '../../engine/sinks/provision-streams.ts'
import { openSpool, SPOOL_DEFAULT } from '../../engine/spool/spool.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './blocks.ts'
import { cleanUp } from './clean-up.ts'
import { startTestClickHouse, type TestClickHouse } from './clickhouse.ts'
import { SILENT, startNats, temporaryDirectory, until } from './embedded.ts'
import { STREAMS } from './settings.ts'

/** Spool → delivery → a real nats-server → stores → ClickHouse, with commit feedback; each part can be attacked. */

const random = seededRandom(1)
/** of a block, unless said otherwise */
export const ROWS = 50
export const WAIT_MS = 20_000

export interface Chain {
  readonly nats: EmbeddedNats
  readonly storeDirectory: string
  readonly clickhouse: TestClickHouse
  readonly spool: Awaited<ReturnType<typeof openSpool>>
  readonly questions: CommitQuestions
  readonly sink: NatsSink
  readonly link: NatsLink
  /** so many blocks more into the spool, of so many rows each */
  append(count: number, rows?: number): Promise<void>
  delivered(): Promise<void>
  startStore(): () => Promise<void>
  /** every row of every block is stored, once, and the spool knows */
  assertAllStored(): Promise<void>
  streamState(): Promise<{ messages: number; last_seq: number }>
}

export async function startChain(t: TestContext): Promise<Chain | undefined> {
  const storeDirectory = temporaryDirectory(t)
  const nats = await startNats(t, { storeDirectory })
  if (nats === null) return undefined
  const clickhouse = await startTestClickHouse()
  cleanUp(t, () => clickhouse.stop())
  const options = { ...NATS_DEFAULT, url: nats.url, ackTimeoutMs: 1000, retryMsMin: 20, retryMsMax: 200 }
  const admin = await connectNats(options, 'test')
  cleanUp(t, () => admin.close())
  const manager = await admin.jetstreamManager()
  await provisionStreams(manager, { ...STREAMS, bytesMax: 256 * 1024 * 1024 }, storeConsumer(32, 3))
  const spool = await openSpool(temporaryDirectory(t), SPOOL_DEFAULT, () => Date.now())
  cleanUp(t, () => spool.close())
  const link = new NatsLink(options, 'blocks', random, SILENT)
  const sink = new NatsSink(link, SILENT)
  const fast = { ...DELIVERY_DEFAULT, retryMsMin: 20, retryMsMax: 200 }
  const delivery = new Delivery(spool, sink, fast, random, SILENT, new StreamLetters(link))
  const often = { ...COMMIT_QUESTIONS_DEFAULT, askMs: 100, producerOf: () => 'chain' }
  const questions = new CommitQuestions(link, sink, spool, often, () => performance.now(), SILENT)
  link.start()
  delivery.start()
  questions.start()
  cleanUp(t, async () => {
    await delivery.stop(0)
    await questions.stop()
    await link.close()
  })
  let rowCount = 0
  const startStore = () => {
    const storeLink = new NatsLink(options, 'store', random, SILENT)
    const store = new ClickHouseSink(clickhouse.options, () => BigInt(Date.now()) * 1_000_000n, SILENT)
    const retry = { ...INTAKE_DEFAULT, retryMsMin: 20, retryMsMax: 200 }
    const intake = new Intake(storeLink, store, retry, random, SILENT, new StreamLetters(storeLink))
    const answers = new CommitAnswers(storeLink, clickhouse.options, SILENT)
    answers.start()
    storeLink.start()
    intake.start()
    const stop = async () => {
      await intake.stop(1000)
      await Promise.all([store.close(), storeLink.close(), answers.close()])
    }
    return stop
  }
  return {
    nats,
    storeDirectory,
    clickhouse,
    spool,
    questions,
    sink,
    link,
    startStore,
    async append(count, rows = ROWS) {
      for (let left = count; left > 0; left--) {
        spool.append(
          buildBlock({
            table: 'trades',
            rows: tradeRows(rows, rowCount),
            instruments: TRADE_INSTRUMENTS,
            epoch: BigInt(spool.epoch),
            blockSeq: BigInt(spool.nextSeq),
            producer: 'chain',
          }),
        )
        rowCount += rows
      }
      await spool.flush()
    },
    delivered: () => until(() => spool.stats.unacked === 0, WAIT_MS, 'all blocks are acknowledged'),
    async assertAllStored() {
      await until(() => spool.stats.uncommitted === 0, WAIT_MS, 'all blocks are known to be stored')
      const [rows] = await clickhouse.query(
        `SELECT count() c, uniqExact(trade_id) u, min(trade_id) a, max(trade_id) z FROM trades WHERE producer = 'chain'`,
      )
      const all = String(rowCount)
      assert.deepEqual(rows, { c: all, u: all, a: '0', z: String(rowCount - 1) })
      assert.equal(questions.stats.givenUp, 0)
    },
    async streamState() {
      for (;;) {
        const info = await manager.streams.info(BLOCK_STREAM).catch(() => undefined) // the server may be away
        if (info !== undefined) return info.state
      }
    },
  }
}

/** Kills the server and changes its directory before it is started again. */
export async function killAnd(nats: EmbeddedNats, change: () => void): Promise<void> {
  const { restarts } = nats
  const changed = new Promise<void>((resolve, reject) => {
    let isOver = false
    nats.onExit(() => {
      if (isOver) return // a later kill's
      isOver = true
      try {
        change()
        resolve()
      } catch (error) {
        reject(error)
      }
    })
  })
  process.kill(nats.pid, 'SIGKILL')
  await changed
  await until(() => nats.restarts > restarts, WAIT_MS, 'the server is started again')
}
