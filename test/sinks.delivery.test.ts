import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it, test } from 'node:test'
import { createLog } from '../engine/base/log.ts'
import { seededRandom } from '../engine/base/random.ts'
import { ClickHouseSink } from '../engine/sinks/clickhouse.ts'
import { Delivery, DELIVERY_DEFAULT } from '../engine/sinks/delivery.ts'
import type { DeadLetters, LetterNote } from '../engine/sinks/dead-letters.ts'
import { openBlock, type Outcome, type SealedBlock, type Sink, sealedBlock, triedName } from '../engine/sinks/sink.ts'
import { openSpool, SPOOL_DEFAULT, type Spool } from '../engine/spool/spool.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { startTestClickHouse, type TestClickHouse } from './support/clickhouse.ts'

const silent = createLog('silent', 'test')
const nowMs = () => Date.now()

function appendTrades(spool: Spool, rowsPerBlock: number, firstId: number, producer: string): void {
  spool.append(
    buildBlock({
      table: 'trades',
      rows: tradeRows(rowsPerBlock, firstId),
      instruments: TRADE_INSTRUMENTS,
      epoch: BigInt(spool.epoch),
      blockSeq: BigInt(spool.nextSeq),
      producer,
    }),
  )
}

/** A sink that answers as a script says. */
class ScriptedSink implements Sink {
  readonly name = 'scripted'
  readonly sent: string[] = []
  readonly #answer: (block: SealedBlock, call: number) => Outcome

  constructor(answer: (block: SealedBlock, call: number) => Outcome) {
    this.#answer = answer
  }

  async send(block: SealedBlock): Promise<Outcome> {
    const outcome = this.#answer(block, this.sent.length)
    this.sent.push(`${block.head.epoch}/${block.head.blockSeq} ${outcome}`)
    return outcome
  }

  trouble(): undefined {}

  async close(): Promise<void> {}
}

describe('delivery', () => {
  let directory: string
  const random = seededRandom(1)
  const fast = { ...DELIVERY_DEFAULT, retryMsMin: 1, retryMsMax: 5 }

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'marketprism-delivery-'))
  })

  after(async () => {
    await rm(directory, { recursive: true, force: true })
  })

  const openAt = (name: string) =>
    openSpool(
      join(directory, name),
      { ...SPOOL_DEFAULT, segmentBytesMax: 64 * 1024, bytesMax: 1024 * 1024 * 1024, residentBytesMax: 32 * 1024 },
      nowMs,
    )
  const NONE: DeadLetters = { put: async () => assert.fail('nothing is poison') }
  const deliver = (spool: Spool, sink: Sink, letters = NONE) => new Delivery(spool, sink, fast, random, silent, letters)

  it('delivery should carry every block from the spool into clickhouse once, marks included', async () => {
    const clickhouse: TestClickHouse = await startTestClickHouse()
    const sink = new ClickHouseSink(clickhouse.options, () => BigInt(Date.now()) * 1_000_000n, silent)
    try {
      const spool = await openAt('direct')
      const delivery = deliver(spool, sink)
      delivery.start()
      for (let block = 0; block < 40; block++) appendTrades(spool, 200, block * 200, 'direct')
      await spool.flush()
      await delivery.stop(20_000)
      assert.equal(spool.stats.unacked, 0)
      await spool.close()
      const [counts] = await clickhouse.query(
        `SELECT count() c, uniqExact(trade_id) u, toString(sum(toInt256(quantity_mantissa))) s FROM trades WHERE producer = 'direct'`,
      )
      assert.deepEqual(counts, {
        c: '8000',
        u: '8000',
        s: String(tradeRows(8000, 0).reduce((sum, row) => sum + (row.quantity_mantissa as bigint), 0n)),
      })
      const [marks] = await clickhouse.query(
        `SELECT count() c, min(block_seq) a, max(block_seq) z, sum(rows) r FROM blocks FINAL WHERE producer = 'direct'`,
      )
      assert.deepEqual(marks, { c: '40', a: '1', z: '40', r: '8000' })
    } finally {
      await sink.close()
      await clickhouse.stop()
    }
  })

  it('delivery should send again what a restart left undelivered, under the old identity', async () => {
    const first = await openAt('restart')
    const stuck = deliver(
      first,
      new ScriptedSink((block) => (block.head.blockSeq === 2n || block.head.blockSeq > 4n ? 'retry' : 'acknowledged')),
    )
    stuck.start()
    for (let block = 0; block < 6; block++) appendTrades(first, 20, block * 20, 'restart')
    await first.flush()
    await stuck.stop(2500) // a new block is tried once a second while another is stuck
    assert.equal(first.stats.unacked, 3)
    await first.close()

    const second = await openAt('restart')
    assert.ok(second.epoch > first.epoch)
    assert.equal(second.stats.unacked, 5, 'the advice knows what was delivered without a hole before it')
    const sink = new ScriptedSink(() => 'acknowledged')
    const delivery = deliver(second, sink)
    delivery.start()
    appendTrades(second, 10, 0, 'restart')
    await second.flush()
    await delivery.stop(5000)
    await second.close()
    assert.deepEqual(sink.sent, [
      ...[2, 3, 4, 5, 6].map((seq) => `${first.epoch}/${seq} acknowledged`),
      `${second.epoch}/1 acknowledged`,
    ])
  })

  it('delivery should retry the same bytes until they are taken, and hold no more than its window', async () => {
    const spool = await openAt('window')
    let down = true
    const sink = new ScriptedSink(() => (down ? 'retry' : 'acknowledged'))
    const delivery = new Delivery(spool, sink, { ...fast, inFlightCountMax: 4 }, random, silent, NONE)
    delivery.start()
    for (let block = 0; block < 50; block++) appendTrades(spool, 100, block * 100, 'window')
    await spool.flush()
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.ok(delivery.stats.inFlight >= 1 && delivery.stats.inFlight <= 4)
    assert.equal(delivery.stats.delivered, 0)
    down = false
    await delivery.stop(5000)
    await spool.close()
    assert.equal(delivery.stats.delivered, 50)
    assert.ok(spool.stats.readBack > 0, 'most blocks were read back from the disk')
    assert.equal(new Set(sink.sent.filter((line) => line.endsWith('acknowledged'))).size, 50)
  })

  it('delivery should set poison aside with its reason and go on, and keep it in the spool until that is done', async () => {
    const spool = await openAt('poison')
    const POISON = { reason: 'the script says so', attempts: 5 }
    const put: (LetterNote & { readonly bytes: string })[] = []
    let refusals = 3
    const letters: DeadLetters = {
      async put(_, payload, note) {
        assert.ok(spool.stats.unacked > 0, 'not acknowledged before it is a letter')
        if (refusals-- > 0) throw new Error('no room for letters')
        put.push({ ...note, bytes: Buffer.from(payload).toString('latin1') })
      },
    }
    const delivery = deliver(
      spool,
      new ScriptedSink((block) => (block.head.blockSeq === 2n ? POISON : 'acknowledged')),
      letters,
    )
    delivery.start()
    for (let block = 0; block < 3; block++) appendTrades(spool, 10, block * 10, 'poison')
    spool.append(Buffer.from('no block at all'))
    await spool.flush()
    await delivery.stop(5000)
    await spool.close()
    put.sort((a, b) => a.attempts - b.attempts)
    assert.deepEqual(
      put.map(({ name, attempts }) => [name, attempts]),
      [
        [`${spool.epoch}-4`, 1],
        [`${spool.epoch}-2`, 5],
      ],
    )
    assert.match(put[0]?.reason ?? '', /^these bytes are no block: /)
    assert.deepEqual([put[0]?.bytes, put[1]?.reason], ['no block at all', POISON.reason])
    assert.equal(delivery.stats.delivered, 2)
    assert.equal(spool.stats.unacked, 0)
  })
})

test('a name should be understood on every try, whatever the clock says, and with a renewal', () => {
  const { payload, messageId } = sealedBlock(
    buildBlock({ table: 'trades', rows: tradeRows(3, 1), instruments: TRADE_INSTRUMENTS }),
  )
  for (const atMs of [1, 12_345.678, 1_795_281_547_123.5]) {
    const once = triedName(messageId, atMs)
    assert.notEqual(once, messageId)
    assert.equal(openBlock(payload, once).messageId, messageId)
    assert.equal(triedName(once, atMs), once, 'one mark, not two')
    assert.equal(openBlock(payload, triedName(`${messageId}#v2`, atMs)).messageId, `${messageId}#v2`)
  }
  assert.throws(() => openBlock(payload, `${messageId}x`), /these are not the bytes of/)
})
