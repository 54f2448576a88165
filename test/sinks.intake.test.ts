import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../engine/base/random.ts'
import { StreamLetters } from '../engine/sinks/dead-letters.ts'
import { Intake, INTAKE_DEFAULT } from '../engine/sinks/intake.ts'
import { NatsLink, subjectOf } from '../engine/sinks/nats.ts'
import { openBlock, type SealedBlock, type Sink } from '../engine/sinks/sink.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { cleanUp } from './support/clean-up.ts'
import { SILENT, until } from './support/embedded.ts'
import { startTestNats } from './support/nats.ts'

const SHORT = 1_500
const WAIT_MS = 30_000

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
  let blockSeq = 0n
  const publish = async (rows: number) => {
    const identity = { epoch: 1n, blockSeq: ++blockSeq, producer: 'intake' }
    const block = openBlock(
      buildBlock({ table: 'trades', rows: tradeRows(rows, 0), instruments: TRADE_INSTRUMENTS, ...identity }),
    )
    await nats.connection.jetstream().publish(subjectOf(block), block.payload, { msgID: block.messageId })
  }
  for (let count = 0; count < SHORT; count++) await publish(1)
  await until(() => taken.size === SHORT, WAIT_MS, 'all short blocks')
  for (const rows of [3_000, 1, 3_000]) await publish(rows)
  await until(() => taken.size === SHORT + 3, WAIT_MS, 'the long blocks, and the short one between them')
  assert.equal(intake.trouble(), undefined)
})
