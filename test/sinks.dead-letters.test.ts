import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JetStreamManager } from 'nats'
import { seededRandom } from '../engine/base/random.ts'
import { BLOCK_STREAM, DEAD_LETTER_STREAM, STORE_CONSUMER } from '../engine/record/streams.ts'
import { ClickHouseSink } from '../engine/sinks/clickhouse.ts'
import { COMMIT_SUBJECT, CommitAnswers } from '../engine/sinks/commit-answers.ts'
import { DirectoryLetters, StreamLetters } from '../engine/sinks/dead-letters.ts'
import { Intake, INTAKE_DEFAULT } from '../engine/sinks/intake.ts'
import { StreamLetterBox } from '../engine/sinks/letter-box.ts'
import { NatsLink, natsHeaders, subjectOf } from '../engine/sinks/nats.ts'
import { openBlock, type SealedBlock, sealedBlock } from '../engine/sinks/sink.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { cleanUp } from './support/clean-up.ts'
import { startTestClickHouse, type TestClickHouse } from './support/clickhouse.ts'
import { SILENT, temporaryDirectory, until } from './support/embedded.ts'
import { startTestNats, type TestNats } from './support/nats.ts'

const ROWS = 10

function tradeBlock(producer: string, blockSeq: number): SealedBlock {
  return sealedBlock(
    buildBlock({
      table: 'trades',
      rows: tradeRows(ROWS, blockSeq * ROWS),
      instruments: TRADE_INSTRUMENTS,
      epoch: 7n,
      blockSeq: BigInt(blockSeq),
      producer,
    }),
  )
}

describe('dead letters', () => {
  let nats: TestNats | undefined
  let reason = ''
  let clickhouse: TestClickHouse
  let manager: JetStreamManager

  before(async () => {
    const started = await startTestNats()
    clickhouse = await startTestClickHouse()
    if (typeof started === 'string') reason = started
    else {
      nats = started
      manager = await started.connection.jetstreamManager()
    }
  })
  after(async () => {
    await nats?.stop()
    await clickhouse.stop()
  })

  function startStore(t: TestContext, { options }: TestNats): Intake {
    const random = seededRandom(1)
    const link = new NatsLink(options, 'store', random, SILENT)
    const sink = new ClickHouseSink(clickhouse.options, () => BigInt(Date.now()) * 1_000_000n, SILENT)
    const times = { retryMsMin: 10, retryMsMax: 50 }
    const intake = new Intake(link, sink, { ...INTAKE_DEFAULT, ...times }, random, SILENT, new StreamLetters(link))
    link.start()
    intake.start()
    cleanUp(t, () => link.close())
    cleanUp(t, () => sink.close())
    cleanUp(t, () => intake.stop(5000))
    return intake
  }

  /** What the store says to a collector that asks for its blocks 1 to 3. */
  async function answers(t: TestContext, { options, connection }: TestNats) {
    const link = new NatsLink(options, 'answers', seededRandom(1), SILENT)
    const answering = new CommitAnswers(link, clickhouse.options, SILENT)
    link.start()
    answering.start()
    cleanUp(t, () => link.close())
    cleanUp(t, () => answering.close())
    await until(() => link.up() !== undefined, 5000, 'the connection')
    await link.up()?.flush()
    return async (producer: string) => {
      const question = JSON.stringify({ producer, epoch: 7, firstSeq: 1, lastSeq: 3 })
      const { missing, error } = (await connection.request(COMMIT_SUBJECT, question, { timeout: 10_000 })).json<{
        missing: unknown
        error?: string
      }>()
      assert.equal(error, undefined)
      return missing
    }
  }

  const publish = ({ connection }: TestNats, block: SealedBlock, bytes: Uint8Array = block.payload) =>
    connection.jetstream().publish(subjectOf(block), bytes, {
      msgID: block.messageId,
      headers: natsHeaders({ 'Marketprism-Durable': ['1790000000000000001'] }),
    })

  /** The newest letter of a producer. */
  async function letterOf(producer: string) {
    const { data, header, seq } = await manager.streams.getMessage(DEAD_LETTER_STREAM, {
      last_by_subj: `deadletter.trades.binance.${producer}`,
    })
    return { bytes: Buffer.from(data), seq, headers: Object.fromEntries(header) }
  }

  const letterCount = async () => (await manager.streams.info(DEAD_LETTER_STREAM)).state.messages
  const stored = async (producer: string) =>
    (
      await clickhouse.query(`SELECT block_seq FROM blocks FINAL WHERE producer = '${producer}' ORDER BY block_seq`)
    ).map((row) => Number(row.block_seq))
  const rowsOf = async (producer: string) =>
    Number((await clickhouse.query(`SELECT count() c FROM trades WHERE producer = '${producer}'`))[0]?.c)
  const unacknowledged = async () => (await manager.consumers.info(BLOCK_STREAM, STORE_CONSUMER)).num_ack_pending

  it('a block whose bytes are damaged should become a letter with bytes, headers and reason, and those behind it be stored', async (t) => {
    if (nats === undefined) return t.skip(reason)
    startStore(t, nats)
    const [before, bad] = [await letterCount(), tradeBlock('damaged', 2)]
    const bytes = Buffer.from(bad.payload)
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1 // still a block, but not this one
    await publish(nats, tradeBlock('damaged', 1))
    const { seq } = await publish(nats, bad, bytes)
    for (const blockSeq of [3, 4, 5]) await publish(nats, tradeBlock('damaged', blockSeq))
    await until(async () => (await stored('damaged')).length === 4, 20_000, 'the others are stored')
    await until(async () => (await letterCount()) === before + 1, 20_000, 'a letter')
    const letter = await letterOf('damaged')
    assert.deepEqual(letter.bytes, bytes)
    const { 'Marketprism-Reason': why, ...rest } = letter.headers
    assert.match(why?.[0] ?? '', /^damaged: these are not the bytes of damaged\/7\/2:[0-9a-f]{8}: they are those of /)
    assert.deepEqual(
      {
        block: rest['Marketprism-Block'],
        durable: rest['Marketprism-Durable'],
        subject: rest['Marketprism-Subject'],
        stream: rest['Marketprism-Stream'],
        seq: rest['Marketprism-Stream-Sequence'],
        attempts: rest['Marketprism-Attempts'],
      },
      {
        block: [bad.messageId],
        durable: ['1790000000000000001'],
        subject: ['block.trades.binance.damaged'],
        stream: [BLOCK_STREAM],
        seq: [String(seq)],
        attempts: ['1'],
      },
    )
    assert.deepEqual(await stored('damaged'), [1, 3, 4, 5])
    const ask = await answers(t, nats)
    assert.deepEqual(await ask('damaged'), [[2, 2]], 'the collector, which has it whole, shall send it again')
    await until(async () => (await unacknowledged()) === 0, 10_000, 'nothing comes again')
  })

  it('a block that its table refuses should become a letter after five tries, without any of its rows', async (t) => {
    if (nats === undefined) return t.skip(reason)
    const statement = `ALTER TABLE trades ADD CONSTRAINT refuses CHECK NOT (producer = 'refused' AND block_seq = 2)`
    await clickhouse.client.command({ query: statement })
    startStore(t, nats)
    const [before, bad] = [await letterCount(), tradeBlock('refused', 2)]
    for (const block of [tradeBlock('refused', 1), bad, tradeBlock('refused', 3)]) await publish(nats, block)
    await until(async () => (await letterCount()) === before + 1, 30_000, 'a letter')
    await until(async () => (await stored('refused')).length === 2, 20_000, 'the others are stored')
    const { bytes, headers } = await letterOf('refused')
    assert.deepEqual(bytes, Buffer.from(bad.payload))
    assert.deepEqual(headers['Marketprism-Attempts'], ['5'])
    assert.match(headers['Marketprism-Reason']?.[0] ?? '', /code 469 VIOLATED_CONSTRAINT/)
    assert.deepEqual([await stored('refused'), await rowsOf('refused')], [[1, 3], 2 * ROWS])
    await clickhouse.client.command({ query: 'ALTER TABLE trades DROP CONSTRAINT refuses' })
    const ask = await answers(t, nats)
    assert.deepEqual(await ask('refused'), [], 'the collector need not keep what is a letter')
    assert.deepEqual(await ask('nobody'), [[1, 3]])
    const box = new StreamLetterBox(nats.connection, manager)
    for await (const letter of box.letters())
      if (letter.name === bad.messageId) await box.replay(letter, Date.now() + 0.5)
    await until(async () => (await stored('refused')).length === 3, 20_000, 'the replayed block is stored')
    assert.deepEqual([await stored('refused'), await rowsOf('refused')], [[1, 2, 3], 3 * ROWS])
  })

  it('a letter that nothing takes should leave its block unacknowledged, the blocks behind stored, and go when there is room', async (t) => {
    if (nats === undefined) return t.skip(reason)
    const before = await letterCount()
    const { config } = await manager.streams.info(DEAD_LETTER_STREAM)
    await manager.streams.update(DEAD_LETTER_STREAM, { ...config, max_msg_size: 10 })
    const intake = startStore(t, nats)
    const bad = tradeBlock('kept', 1)
    await publish(nats, bad, Buffer.from('these bytes are no block'))
    for (const blockSeq of [2, 3, 4]) await publish(nats, tradeBlock('kept', blockSeq))
    await until(async () => (await stored('kept')).length === 3, 20_000, 'the others are stored')
    await sleep(200)
    assert.deepEqual([await letterCount(), await unacknowledged(), intake.stats.poisoned], [before, 1, 0])
    await intake.stop(2000) // it goes back at once, to whoever stores next
    const next = startStore(t, nats)
    await until(() => next.stats.received > 0, 10_000, 'it comes again')
    await manager.streams.update(DEAD_LETTER_STREAM, config)
    await until(async () => (await letterCount()) === before + 1, 20_000, 'it is a letter at last')
    await until(async () => (await unacknowledged()) === 0, 10_000, 'and is not asked for any more')
    const { bytes, headers } = await letterOf('kept')
    assert.deepEqual([bytes.toString(), headers['Marketprism-Block']], ['these bytes are no block', [bad.messageId]])
  })

  it('a letter that is put twice should be there once, in the stream and in a directory', async (t) => {
    const block = tradeBlock('twice', 1)
    const origin = { subject: 'block.trades.binance.twice', stream: BLOCK_STREAM, seq: 3, headers: {} }
    const note = { reason: 'a reason\nof two lines', attempts: 5, name: 'x' }
    const directory = join(temporaryDirectory(t), 'poison')
    const files = new DirectoryLetters(directory, () => 1_790_000_000_000)
    await Promise.all([files.put(block, block.payload, note), files.put(undefined, Buffer.from('other'), note)])
    await files.put(block, block.payload, note)
    const name = block.messageId.replaceAll(/[/:]/g, '_')
    assert.deepEqual(readdirSync(directory).sort(), [`${name}.block`, `${name}.json`, 'x.block', 'x.json'])
    assert.deepEqual(readFileSync(join(directory, `${name}.block`)), Buffer.from(block.payload))
    assert.equal(JSON.parse(readFileSync(join(directory, `${name}.json`), 'utf8')).number, 1)
    if (nats === undefined) return t.skip(reason)
    const before = await letterCount()
    const link = new NatsLink(nats.options, 'letters', seededRandom(1), SILENT)
    link.start()
    cleanUp(t, () => link.close())
    await until(() => link.up() !== undefined, 5000, 'the connection')
    const letters = new StreamLetters(link)
    await letters.put(block, block.payload, { ...note, origin })
    await letters.put(block, block.payload, { ...note, origin })
    assert.equal(await letterCount(), before + 1)
    assert.deepEqual((await letterOf('twice')).headers['Marketprism-Reason'], ['a reason of two lines'])
    await letters.put(block, block.payload, { ...note, origin: { ...origin, seq: 9 } }) // a later try of it failed, too
    assert.equal(await letterCount(), before + 2)
  })

  it('a directory that cannot be written should refuse the letter and say what to do', async (t) => {
    const file = join(temporaryDirectory(t), 'file')
    writeFileSync(file, '')
    const letters = new DirectoryLetters(join(file, 'poison'), () => 0)
    await assert.rejects(letters.put(undefined, Buffer.from('x'), { reason: '', attempts: 1, name: 'x' }), {
      message:
        /^the dead letter cannot be written to \S+\/file\/poison \(ENOTDIR\): free some space or correct its owner$/,
    })
  })

  it('a name should open the block of its bytes alone, whatever stands behind it for renewal and further tries', () => {
    const { payload, messageId } = tradeBlock('names', 1)
    assert.equal(openBlock(payload).messageId, messageId)
    assert.equal(openBlock(payload, messageId).messageId, messageId)
    assert.equal(openBlock(payload, `${messageId}~try2`).messageId, messageId)
    assert.equal(openBlock(payload, `${messageId}#again`).messageId, `${messageId}#again`)
    assert.equal(openBlock(payload, `${messageId}#again~try2`).messageId, `${messageId}#again`)
    for (const wrong of [messageId.replace('/7/', '/8/'), `${messageId}x`, 'nonsense', `${messageId}#`])
      assert.throws(() => openBlock(payload, wrong), /^Error: these are not the bytes of /)
  })
})
