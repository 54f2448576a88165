import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog, type Log } from '../engine/base/log.ts'
import { seededRandom } from '../engine/base/random.ts'
import { StreamLetters } from '../engine/sinks/dead-letters.ts'
import { Intake, INTAKE_DEFAULT } from '../engine/sinks/intake.ts'
import { NatsLink, subjectOf } from '../engine/sinks/nats.ts'
import { openBlock, type SealedBlock, type Sink } from '../engine/sinks/sink.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { cleanUp } from './support/clean-up.ts'
import { SILENT, until } from './support/embedded.ts'
import { startTestNats, type TestNats } from './support/nats.ts'

const SHORT = 1_500
const WAIT_MS = 30_000

/** Puts blocks into the stream, each with the next sequence. */
function publisherOf({ connection }: TestNats): (rows: number) => Promise<void> {
  let blockSeq = 0n
  return async (rows) => {
    const identity = { epoch: 1n, blockSeq: ++blockSeq, producer: 'intake' }
    const block = openBlock(
      buildBlock({ table: 'trades', rows: tradeRows(rows, 0), instruments: TRADE_INSTRUMENTS, ...identity }),
    )
    await connection.jetstream().publish(subjectOf(block), block.payload, { msgID: block.messageId })
  }
}

test('intake should go on when a long block follows many short ones', async (t) => {
  const nats = await startTestNats()
  if (typeof nats === 'string') return t.skip(nats)
  cleanUp(t, () => nats.stop())
  const taken = new Set<string>()
  const sink = {
    name: 'counting',
    trouble: () => undefined,
    send: async (block: SealedBlock) => {
      taken.add(block.messageId)
      return 'acknowledged'
    },
  } as unknown as Sink
  const link = new NatsLink(nats.options, 'store', seededRandom(1), SILENT)
  const intake = new Intake(link, sink, INTAKE_DEFAULT, seededRandom(1), SILENT, new StreamLetters(link))
  link.start()
  intake.start()
  cleanUp(t, () => link.close())
  cleanUp(t, () => intake.stop(1000))
  const publish = publisherOf(nats)
  for (let count = 0; count < SHORT; count++) await publish(1)
  await until(() => taken.size === SHORT, WAIT_MS, 'all short blocks')
  for (const rows of [3_000, 1, 3_000]) await publish(rows)
  await until(() => taken.size === SHORT + 3, WAIT_MS, 'the long blocks, and the short one between them')
  assert.equal(intake.trouble(), undefined)
})

/** A client whose first pull is never renewed, as it happened: what it asked for at once comes, and then nothing. */
class ForgetfulLink extends NatsLink {
  #isFirst = true

  override up(): ReturnType<NatsLink['up']> {
    const connection = super.up()
    if (connection === undefined) return undefined
    const consume = async (...place: [string, string]) => {
      const consumer = await connection.jetstream().consumers.get(...place)
      return {
        consume: async (options: object) => {
          const messages = await consumer.consume(options)
          if (this.#isFirst) Object.assign(messages, { pull: () => {} })
          this.#isFirst = false
          return messages
        },
      }
    }
    return { jetstream: () => ({ consumers: { get: consume } }) } as unknown as ReturnType<NatsLink['up']>
  }
}

test('intake should begin its pull anew when the client does not, and only then', async (t) => {
  const nats = await startTestNats()
  if (typeof nats === 'string') return t.skip(nats)
  cleanUp(t, () => nats.stop())
  let taken = 0
  const sink = { name: 'counting', trouble: () => undefined, send: async () => ++taken && 'acknowledged' }
  const said: string[] = []
  const log = { ...createLog('silent', 'test'), error: (_: object, line: string) => said.push(line), warn: () => {} }
  const link = new ForgetfulLink(nats.options, 'store', seededRandom(1), SILENT)
  const options = { ...INTAKE_DEFAULT, pulledCountMax: 4, stallMs: 30_000 }
  const letters = new StreamLetters(link)
  const intake = new Intake(link, sink as unknown as Sink, options, seededRandom(1), log as unknown as Log, letters)
  link.start()
  const publish = publisherOf(nats)
  for (let count = 0; count < 10; count++) await publish(1)
  intake.start()
  cleanUp(t, () => link.close())
  cleanUp(t, () => intake.stop(1000))
  await until(() => taken === 4, WAIT_MS, 'what the first pull asked for')
  intake.look(6, 1_000)
  intake.look(6, 30_999)
  assert.deepEqual(said, [], 'not before its time')
  intake.look(0, 31_500)
  intake.look(6, 61_400)
  assert.deepEqual(said, [], 'not when nothing waits in between')
  intake.look(6, 61_500)
  assert.equal(said.length, 1)
  await until(() => taken === 10, WAIT_MS, 'the rest, by the pull that began anew')
  intake.look(6, 61_600)
  intake.look(6, 91_500)
  assert.equal(said.length, 1, 'blocks came since')
})
