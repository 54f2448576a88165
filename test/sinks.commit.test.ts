import assert from 'node:assert/strict'
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { seededRandom } from '../engine/base/random.ts'
import { BLOCK_STREAM } from '../engine/record/streams.ts'
import { CommitAnswers } from '../engine/sinks/commit-answers.ts'
import { COMMIT_QUESTIONS_DEFAULT, CommitQuestions } from '../engine/sinks/commit-questions.ts'
import { connectNats, NATS_DEFAULT, NatsLink, type NatsSink } from '../engine/sinks/nats.ts'
import type { Spool } from '../engine/spool/spool.ts'
import { FaultLink } from '../engine/tools/conservation/fault-link.ts'
import { killAnd, startChain, WAIT_MS } from './support/chain.ts'
import { cleanUp } from './support/clean-up.ts'
import { startTestClickHouse } from './support/clickhouse.ts'
import { SILENT, temporaryDirectory, until } from './support/embedded.ts'

/** What JetStream acknowledged and then lost: the spool still has it, the store says so, and every row is stored once. */

const random = seededRandom(1)

test('blocks that were purged from the stream before the store took them should be stored all the same', async (t) => {
  const chain = await startChain(t)
  if (chain === undefined) return
  await chain.append(40)
  await chain.delivered()
  assert.equal((await chain.streamState()).messages, 40)
  const admin = await connectNats({ ...NATS_DEFAULT, url: chain.nats.url }, 'purge')
  await (await admin.jetstreamManager()).streams.purge(BLOCK_STREAM)
  await admin.close()
  assert.deepEqual([chain.spool.stats.uncommitted, chain.spool.stats.resent], [40, 0])
  const stopStore = chain.startStore()
  await chain.append(10)
  await chain.assertAllStored()
  assert.ok(chain.spool.stats.resent >= 40)
  await stopStore()
})

for (const [what, storedFirst] of [
  ['half of the blocks are stored', 20],
  ['all blocks are stored, so that the consumer stands beyond the end', 40],
] as const) {
  test(`a flipped bit in a file of JetStream while it is down should cost no row when ${what}`, async (t) => {
    const chain = await startChain(t)
    if (chain === undefined) return
    await chain.append(storedFirst)
    const stopFirst = chain.startStore()
    await chain.assertAllStored()
    await stopFirst()
    await chain.append(40 - storedFirst)
    await chain.delivered()
    const { last_seq: before } = await chain.streamState()
    await killAnd(chain.nats, () => {
      const messages = path.join(chain.storeDirectory, 'jetstream', '$G', 'streams', BLOCK_STREAM, 'msgs')
      const file = path.join(messages, readdirSync(messages).find((name) => name.endsWith('.blk')) as string)
      const bytes = readFileSync(file)
      const middle = bytes.length >> 1
      bytes[middle] = (bytes[middle] as number) ^ 4
      writeFileSync(file, bytes)
    })
    const { last_seq: after } = await chain.streamState()
    assert.ok(after < before, `the stream ends at ${after}, it had acknowledged ${before}`)
    await chain.append(10)
    const stopStore = chain.startStore()
    await chain.assertAllStored()
    await stopStore()
  })
}

test('a directory of JetStream that is set back to an earlier copy should cost no row and double none', async (t) => {
  const chain = await startChain(t)
  if (chain === undefined) return
  const copy = temporaryDirectory(t)
  const jetstream = path.join(chain.storeDirectory, 'jetstream')
  await chain.append(20)
  await chain.delivered()
  await killAnd(chain.nats, () => cpSync(jetstream, copy, { recursive: true }))
  const stopFirst = chain.startStore()
  await chain.append(20)
  await chain.assertAllStored()
  await stopFirst()
  await chain.append(20) // acknowledged, and stored by nobody yet
  await chain.delivered()
  await killAnd(chain.nats, () => {
    rmSync(jetstream, { recursive: true })
    cpSync(copy, jetstream, { recursive: true })
  })
  await until(() => chain.questions.stats.rollbacks > 0, WAIT_MS, 'the collector sees that the stream is shorter')
  const stopStore = chain.startStore()
  await chain.append(10)
  await chain.assertAllStored()
  assert.ok(chain.spool.stats.resent >= 20)
  await stopStore()
})

test('blocks should stay in the spool while no store says what is stored', async (t) => {
  const chain = await startChain(t)
  if (chain === undefined) return
  await chain.append(5)
  await chain.delivered()
  await until(() => chain.questions.stats.unanswered > 2, WAIT_MS, 'nobody answers')
  assert.deepEqual([chain.spool.stats.uncommitted, chain.spool.stats.resent], [5, 0])
  assert.ok((chain.spool.uncommittedSinceMs() ?? 0) > Date.now() - WAIT_MS)
  const stopStore = chain.startStore()
  await chain.assertAllStored()
  await stopStore()
})

test('a consumer should be left alone when messages come while the store looks where the stream ends', async (t) => {
  const chain = await startChain(t)
  if (chain === undefined) return
  cleanUp(t, chain.startStore())
  const slow = new FaultLink('store that answers late')
  const link = new NatsLink({ ...NATS_DEFAULT, url: await slow.through(chain.nats.url) }, 'slow store', random, SILENT)
  const answers = new CommitAnswers(link, chain.clickhouse.options, SILENT)
  cleanUp(t, async () => {
    await Promise.all([link.close(), answers.close()])
    slow.close()
  })
  slow.strike({ kind: 'latency', ms: 40 })
  answers.start()
  link.start()
  await until(
    async () => {
      await chain.append(1)
      return answers.stats.answered >= 5
    },
    WAIT_MS,
    'the late store has answered',
  )
  assert.equal(answers.stats.consumersRenewed, 0)
  await chain.assertAllStored()
})

test('a server that is connected and does not acknowledge should count as down, and no block be lost by it', async (t) => {
  const chain = await startChain(t)
  if (chain === undefined) return
  await chain.append(5)
  await chain.delivered()
  assert.equal(chain.sink.trouble(), undefined)
  process.kill(chain.nats.pid, 'SIGSTOP')
  try {
    await chain.append(5)
    await until(() => chain.sink.stats.timeouts > 0, WAIT_MS, 'no acknowledgement comes')
    assert.notEqual(chain.link.up(), undefined, 'it is connected')
    assert.match(chain.sink.trouble() ?? '', /is connected but does not acknowledge: check the disk of its JetStream/)
  } finally {
    process.kill(chain.nats.pid, 'SIGCONT')
  }
  await chain.delivered()
  assert.equal(chain.sink.trouble(), undefined)
  const stopStore = chain.startStore()
  await chain.assertAllStored()
  await stopStore()
})

test('a block that went out while the question was asked should not be lost before the store is done with it', async () => {
  const sink = { lastSeq: 10 }
  const again: unknown[] = []
  const span = { epoch: 7, firstSeq: 5, lastSeq: 5 }
  const spool = {
    stats: { uncommitted: 1 },
    uncommitted: () => [span],
    delivered: () => [5],
    commit: () => {},
    again: (range: unknown) => again.push(range),
  }
  let floor = 9
  const connection = {
    request: async () => {
      sink.lastSeq = 20 // JetStream acknowledges it now, as message 20
      return { json: () => ({ missing: [[5, 5]], pending: 3, floor, lastSeq: 20 }) }
    },
  }
  const questions = new CommitQuestions(
    { up: () => connection } as unknown as NatsLink,
    sink as unknown as NatsSink,
    spool as unknown as Spool,
    { ...COMMIT_QUESTIONS_DEFAULT, producerOf: () => 'main' },
    () => 0,
    SILENT,
  )
  for (const storeIsAt of [9, 15, 19]) {
    floor = storeIsAt
    await questions.look()
    assert.deepEqual(again, [], `the store is at ${storeIsAt} of 20`)
  }
  floor = 20
  await questions.look()
  assert.deepEqual(again, [span])
})

/** Questions that are answered as by a store of the database that was named last; what is said of it. */
function askedOfDatabases() {
  const said: string[] = []
  const tell =
    (level: string) =>
    (...words: unknown[]): void =>
      void said.push(`${level}: ${words.at(-1)}`)
  const log = { ...SILENT, warn: tell('warn'), error: tell('error'), info: () => {} } as unknown as typeof SILENT
  const asked = { database: '', nowMs: 0 }
  const committed: number[] = []
  const spool = {
    stats: { uncommitted: 1 },
    uncommitted: () => [{ epoch: 7, firstSeq: 5, lastSeq: 5 }],
    delivered: () => [],
    commit: () => committed.push(asked.nowMs),
    again: () => {},
  }
  const rest = { missing: [], pending: 0, floor: 9, lastSeq: 9 }
  const connection = { request: async () => ({ json: () => ({ ...rest, database: asked.database }) }) }
  const questions = new CommitQuestions(
    { up: () => connection } as unknown as NatsLink,
    { lastSeq: 9 } as unknown as NatsSink,
    spool as unknown as Spool,
    { ...COMMIT_QUESTIONS_DEFAULT, producerOf: () => 'main' },
    () => asked.nowMs,
    log,
  )
  /** @returns whether the answer counts */
  const answer = async (database: string, atSeconds: number): Promise<boolean> => {
    Object.assign(asked, { database, nowMs: atSeconds * 1000 })
    await questions.look()
    return committed.at(-1) === asked.nowMs
  }
  return { answer, said }
}

test('a database that was restored should be believed when the old one has been silent for 30 s, and never be called a second one', async () => {
  const { answer, said } = askedOfDatabases()
  assert.equal(await answer('prism/old', 1), true)
  for (const second of [2, 15, 30.9]) assert.equal(await answer('prism/new', second), false)
  for (const second of [31, 32, 33]) assert.equal(await answer('prism/new', second), true)
  assert.equal(said.length, 2, said.join('\n'))
  assert.match(
    said[0] ?? '',
    /^warn: another database answers than before, prism\/new instead of prism\/old: if it was restored/,
  )
  assert.match(said[1] ?? '', /^warn: another database says which blocks are stored: prism\/new, before it prism\/old$/)
})

test('stores of two databases that answer in turn should be an error, told once', async () => {
  const { answer, said } = askedOfDatabases()
  for (let second = 1; second < 60; second += 2) {
    assert.equal(await answer('prism/first', second), true)
    assert.equal(await answer('prism/second', second + 1), false)
  }
  assert.deepEqual(
    said.map((line) => line.slice(0, 60)),
    [
      'warn: another database answers than before, prism/second instead of prism/first'.slice(0, 60),
      'error: stores of two databases answer at one NATS, prism/first'.slice(0, 60),
    ],
  )
  assert.match(said[1] ?? '', /prism\/first and prism\/second: only what the first has counts/)
  assert.equal(await answer('prism/third', 61), false)
  assert.equal(await answer('prism/first', 62), true)
  assert.match(said.at(-1) ?? '', /^error: .*prism\/first and prism\/third/)
  assert.equal(said.length, 4)
})

test('stores of two databases behind one NATS should not answer for each other', async (t) => {
  const chain = await startChain(t)
  if (chain === undefined) return
  const stopStore = chain.startStore()
  await chain.append(5)
  await chain.assertAllStored()
  const other = await startTestClickHouse()
  cleanUp(t, () => other.stop())
  const link = new NatsLink({ ...NATS_DEFAULT, url: chain.nats.url }, 'stranger', random, SILENT)
  cleanUp(t, () => link.close())
  const stranger = new CommitAnswers(link, other.options, SILENT)
  cleanUp(t, () => stranger.close())
  await other.query(
    `INSERT INTO blocks (producer, epoch, block_seq) SELECT 'chain', ${chain.spool.epoch}, number FROM numbers(6, 5)`,
  )
  stranger.start()
  link.start()
  await until(() => link.up() !== undefined, WAIT_MS, 'the stranger is connected')
  await stopStore() // the stranger alone is there, and says that it has what nobody has
  await chain.append(5)
  await chain.delivered()
  const { answered } = stranger.stats
  await until(() => stranger.stats.answered > answered + 3, WAIT_MS, 'the stranger answers')
  assert.equal(chain.spool.stats.uncommitted, 5)
  const stopLater = chain.startStore()
  await chain.assertAllStored()
  await stopLater()
})
