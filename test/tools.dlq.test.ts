import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { JetStreamManager } from 'nats'
import { seededRandom } from '../engine/base/random.ts'
import { BLOCK_STREAM, DEAD_LETTER_STREAM } from '../engine/record/streams.ts'
import { DirectoryLetters, StreamLetters } from '../engine/sinks/dead-letters.ts'
import { NatsLink } from '../engine/sinks/nats.ts'
import { type SealedBlock, sealedBlock } from '../engine/sinks/sink.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { lastJson, runCli } from './support/cli.ts'
import { startTestClickHouse } from './support/clickhouse.ts'
import { SILENT, temporaryDirectory, until } from './support/embedded.ts'
import { startTestNats, type TestNats } from './support/nats.ts'

function tradeBlock(producer: string, blockSeq: number): SealedBlock {
  const rows = tradeRows(10, blockSeq * 10)
  const epoch = 7n
  return sealedBlock(
    buildBlock({ table: 'trades', rows, instruments: TRADE_INSTRUMENTS, epoch, blockSeq: BigInt(blockSeq), producer }),
  )
}

interface Listed {
  readonly place: string
  readonly letters: readonly { number: number; block: string; table: string; rows: number | null; reason: string }[]
}

describe('dlq', () => {
  let nats: TestNats | undefined
  let reason = ''
  let manager: JetStreamManager
  let link: NatsLink

  before(async () => {
    const started = await startTestNats()
    if (typeof started === 'string') {
      reason = started
      return
    }
    nats = started
    manager = await started.connection.jetstreamManager()
    link = new NatsLink(started.options, 'letters', seededRandom(1), SILENT)
    link.start()
    await until(() => link.up() !== undefined, 5000, 'the connection')
    const letters = new StreamLetters(link)
    for (const seq of [1, 2, 3, 4]) {
      const block = tradeBlock(seq === 4 ? 'other' : 'main', seq)
      const headers = { 'Nats-Msg-Id': [block.messageId], 'Marketprism-Durable': [`${seq}`] }
      const origin = { subject: `block.trades.binance.${block.head.producer}`, stream: BLOCK_STREAM, seq, headers }
      const why = seq === 3 ? 'too large' : 'VIOLATED_CONSTRAINT'
      await letters.put(block, block.payload, { reason: why, attempts: 5, name: '', origin })
    }
  })
  after(async () => {
    await link?.close()
    await nats?.stop()
  })

  const dlq = (...words: string[]) => runCli(['dlq', ...words, '--set', `nats.url=${nats?.server.url}`])
  const numbers = async () => lastJson<Listed>(await dlq('list', '--json')).letters.map(({ number }) => number)

  it('dlq list and show should say what each letter is and why, by filter', async (t) => {
    if (nats === undefined) return t.skip(reason)
    const all = lastJson<Listed>(await dlq('list', '--json'))
    assert.match(all.place, /^stream DLQ of NATS at /)
    assert.deepEqual(
      all.letters.map(({ number, block, table, rows }) => [number, block, table, rows]),
      [1, 2, 3, 4].map((seq) => [seq, tradeBlock(seq === 4 ? 'other' : 'main', seq).messageId, 'trades', 10]),
    )
    const few = lastJson<Listed>(await dlq('list', '1-3', '--reason', 'CONSTRAINT', '--producer', 'main', '--json'))
    assert.deepEqual(
      few.letters.map(({ number }) => number),
      [1, 2],
    )
    const out = join(temporaryDirectory(t), 'bytes')
    const shown = lastJson<{ firstRows: { trade_id: string }[]; headers: Record<string, string[]> }>(
      await dlq('show', '3', '--json', '--out', out),
    )
    assert.deepEqual(readFileSync(out), Buffer.from(tradeBlock('main', 3).payload))
    assert.deepEqual(
      shown.firstRows.map((row) => row.trade_id),
      ['30', '31', '32'],
    )
    assert.deepEqual(shown.headers['Marketprism-Durable'], ['3'])
    const people = await dlq('list')
    assert.match(people.stdout, /VIOLATED_CONSTRAINT/)
  })

  it('dlq drop and replay should not act on letters that nobody named, nor drop without --yes', async (t) => {
    if (nats === undefined) return t.skip(reason)
    for (const words of [['drop', '--yes'], ['replay'], ['drop', '4'], ['drop', 'x', '--yes']]) {
      const { code, stdout, stderr } = await dlq(...words)
      assert.deepEqual([code, stdout, stderr.trimEnd().split('\n').length], [2, '', 1], stderr)
    }
    assert.deepEqual(await numbers(), [1, 2, 3, 4])
    for (const words of [
      ['show', '99'],
      ['replay', '99'],
      ['drop', '99', '--yes'],
    ]) {
      const { code, stderr } = await dlq(...words)
      assert.deepEqual([code, /no such letter in .*: marketprism dlq list/.test(stderr)], [1, true], stderr)
    }
    assert.deepEqual(await numbers(), [1, 2, 3, 4])
  })

  it('dlq drop should remove the named letters alone, the others keep their numbers', async (t) => {
    if (nats === undefined) return t.skip(reason)
    assert.deepEqual(lastJson(await dlq('drop', '2', '--yes', '--json')), { dropped: [2] })
    assert.deepEqual(await numbers(), [1, 3, 4])
  })

  it('dlq replay should send the bytes again under a new try, and keep a letter that is not acknowledged', async (t) => {
    if (nats === undefined) return t.skip(reason)
    const block = tradeBlock('main', 1)
    const name = { msgID: block.messageId }
    await nats.connection.jetstream().publish('block.trades.binance.main', block.payload, name) // as it once came
    assert.deepEqual(lastJson(await dlq('replay', '--reason', 'CONSTRAINT', '--json')), {
      replayed: [1, 4],
      failed: [],
    })
    assert.deepEqual(await numbers(), [3])
    const again = await manager.streams.getMessage(BLOCK_STREAM, { last_by_subj: 'block.trades.binance.main' })
    assert.deepEqual(Buffer.from(again.data), Buffer.from(block.payload))
    assert.match(again.header.get('Nats-Msg-Id'), /^main\/7\/1:[0-9a-f]{8}~[0-9a-z]+$/)
    assert.deepEqual([...again.header].map(([header]) => header).sort(), [
      'Marketprism-Durable',
      'Nats-Expected-Stream',
      'Nats-Msg-Id',
    ])
    const { config } = await manager.streams.info(BLOCK_STREAM)
    await manager.streams.update(BLOCK_STREAM, { ...config, max_msg_size: 10 })
    const refused = await dlq('replay', '--all')
    assert.deepEqual([refused.code, await numbers()], [1, [3]])
    assert.match(refused.stderr, /^marketprism: letter 3 stays: .*maximum/m)
    await manager.streams.update(BLOCK_STREAM, config)
    assert.equal((await dlq('replay', '3')).code, 0)
    assert.equal((await manager.streams.info(DEAD_LETTER_STREAM)).state.messages, 0)
  })

  it('dlq should work on the directory of a collector without NATS, and replay into clickhouse', async (t) => {
    const data = temporaryDirectory(t)
    const clickhouse = await startTestClickHouse()
    try {
      const letters = new DirectoryLetters(join(data, 'spool', 'poison'), () => Date.now())
      const block = tradeBlock('direct', 1)
      await letters.put(block, block.payload, { reason: 'a reason', attempts: 5, name: '7-1' })
      await letters.put(undefined, Buffer.from('no block'), { reason: 'no block', attempts: 1, name: '7-2' })
      const here = ['--data', data, '--delivery', 'direct', '--set', `clickhouse.url=${clickhouse.server.url}`]
      const listed = lastJson<Listed>(await runCli(['dlq', 'list', '--json', ...here]))
      assert.deepEqual(
        listed.letters.map(({ number, block: name, rows }) => [number, name, rows]),
        [
          [1, block.messageId, 10],
          [2, '7-2', null],
        ],
      )
      const replayed = await runCli(['dlq', 'replay', '--all', ...here])
      assert.equal(replayed.code, 1, replayed.stderr)
      assert.match(replayed.stderr, /^marketprism: letter 2 stays: /m)
      assert.deepEqual(await clickhouse.query(`SELECT count() c FROM trades WHERE producer = 'direct'`), [{ c: '10' }])
      const left = lastJson<Listed>(await runCli(['dlq', 'list', '--json', ...here]))
      assert.deepEqual(
        left.letters.map(({ number }) => number),
        [2],
      )
      assert.equal((await runCli(['dlq', 'drop', '2', '--yes', ...here])).code, 0)
      assert.deepEqual(lastJson<Listed>(await runCli(['dlq', 'list', '--json', ...here])).letters, [])
    } finally {
      await clickhouse.stop()
    }
  })
})
