import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Row } from './support/blocks.ts'
import { historyRig } from './support/history.ts'
import { ToldSource, ToldWorker } from './support/live.ts'

const NOW_NS = BigInt(Date.parse('2026-10-01T12:00:00Z')) * 1_000_000n
const USDM = 'binance.usdm.BTCUSDT'
const at = (second: number): bigint => NOW_NS + BigInt(Math.round(second * 1000)) * 1_000_000n

type Level = readonly [bigint, bigint]

function levels(bids: readonly Level[], asks: readonly Level[]): Row {
  return {
    bid_price_mantissas: bids.map(([price]) => price),
    bid_quantity_mantissas: bids.map(([, quantity]) => quantity),
    ask_price_mantissas: asks.map(([price]) => price),
    ask_quantity_mantissas: asks.map(([, quantity]) => quantity),
    price_scale: 1,
    quantity_scale: 3,
  }
}

const snapshot = (second: number, kind: number, lastSeq: number, more: Row): Row => ({
  instrument: 0,
  received_ns: at(second),
  event_ns: at(second),
  kind,
  last_seq: lastSeq,
  book_epoch: 7,
  bid_levels: 3,
  ask_levels: 3,
  ...more,
})
const delta = (second: number, lastSeq: number, prevSeq: number, more: Row): Row => ({
  instrument: 0,
  received_ns: at(second),
  event_ns: at(second) - 5_000_000n,
  first_seq: prevSeq + 1,
  last_seq: lastSeq,
  prev_seq: prevSeq,
  book_epoch: 7,
  state: 2,
  ...more,
})
const WHOLE = levels(
  [
    [1000n, 1n],
    [990n, 2n],
    [980n, 3n],
  ],
  [
    [1010n, 4n],
    [1020n, 5n],
    [1030n, 6n],
  ],
)

test('book at a time', async (t) => {
  const rig = await historyRig(t)
  const ask = async (second: number, query = '') => await rig.get(`/v1/books/${USDM}/at?time=${at(second)}${query}`)
  await rig.put('book_snapshots', [USDM], [snapshot(0, 2, 100, WHOLE)])
  await rig.put(
    'book_deltas',
    [USDM],
    [
      delta(-1, 90, 80, { state: 1, ...levels([[1n, 1n]], []) }), // waited, and was too old
      delta(-0.5, 92, 90, levels([[990n, 999n]], [])), // LIVE, and in the anchor already
      delta(
        1,
        110,
        95,
        levels(
          [
            [1000n, 5n], // twice in one row: the later one counts
            [1000n, 0n],
            [970n, 9n],
          ],
          [[1005n, 7n]],
        ),
      ),
      delta(
        2,
        120,
        110,
        levels(
          [[985n, 8n]],
          [
            [1010n, 0n],
            [1005n, 70n],
          ],
        ),
      ),
      // at other scales: 99.05 and 0.00011
      delta(3, 130, 120, { ...levels([[9905n, 11n]], []), price_scale: 2, quantity_scale: 5 }),
    ],
  )
  await rig.put('trades', [USDM], [{ instrument: 0, received_ns: at(30), trade_ns: at(30), trade_id: 1 }])

  await t.test('a book should be the fold of its anchor and the deltas up to the time', async () => {
    const { status, json, text } = await ask(2.5)
    assert.equal(status, 200, text)
    assert.deepEqual(json, {
      instrument: USDM,
      time_ns: String(at(2.5)),
      state: 'LIVE',
      book_epoch: 7,
      last_seq: 120,
      event_ns: String(at(2) - 5_000_000n),
      received_ns: String(at(2)),
      start: { kind: 'anchor', received_ns: String(at(0)), last_seq: 100 },
      deltas: 2,
      proven_bids: 3, // 97.0 lies below what the anchor proved
      proven_asks: 3,
      bids: [
        ['99', '0.002'],
        ['98.5', '0.008'],
        ['98', '0.003'],
      ],
      asks: [
        ['100.5', '0.07'],
        ['102', '0.005'],
        ['103', '0.006'],
      ],
    })
    assert.deepEqual((await ask(3)).json.bids[0], ['99.05', '0.00011'])
    const one = (await ask(0.5, '&depth=1')).json
    assert.deepEqual(
      [one.bids, one.asks, one.proven_bids, one.last_seq],
      [[['100', '0.001']], [['101', '0.004']], 3, 100],
    )
  })

  await t.test('a book that was not LIVE should be refused with cause and times', async () => {
    const gap = (from: number, to: number): Row => ({
      instrument: 0,
      received_ns: at(to),
      channel: 1,
      cause: 2,
      status: 2,
      from_ns: at(from),
      to_ns: at(to),
    })
    await rig.put('gaps', [USDM], [gap(10, 12)])
    const refused = await ask(11)
    assert.equal(refused.status, 503)
    assert.deepEqual(
      [refused.json.error.code, refused.json.error.reason, refused.json.error.since_ns, refused.json.error.until_ns],
      ['book_not_live', 'sequence', String(at(10)), String(at(12))],
    )
    assert.equal((await ask(9)).status, 503) // nothing of the chain is stored after it
  })

  await t.test('a book should be refused where nothing of it is stored, before it and after it', async () => {
    const before = await ask(-5)
    assert.deepEqual([before.status, before.json.error.code], [404, 'no_book'])
    const unknown = await rig.get(`/v1/books/binance.usdm.XUSDT/at?time=${at(1)}`)
    assert.deepEqual([unknown.status, unknown.json.error.code], [404, 'unknown_instrument'])
    const after = await ask(31)
    assert.deepEqual([after.status, after.json.error.code], [503, 'not_stored_yet'])
    const ended = await ask(20)
    assert.deepEqual([ended.status, ended.json.error.code, ended.json.error.reason], [503, 'book_unproven', 'ended'])
    assert.equal((await rig.get(`/v1/books/${USDM}/at?time=2999-01-01`)).status, 400)
  })

  await t.test(
    'a checkpoint should begin behind the event with its number, and prove that the book lived',
    async () => {
      const checkpoint = snapshot(14, 3, 130, levels([[1000n, 1n]], [[1010n, 4n]]))
      await rig.put('book_snapshots', [USDM], [{ ...checkpoint, bid_levels: 9, ask_levels: 1 }])
      assert.equal((await ask(13)).json.last_seq, 130) // alive, by the checkpoint
      await rig.put(
        'book_deltas',
        [USDM],
        [
          delta(14, 140, 130, levels([[1001n, 2n]], [])), // of the same packet as the tick
          delta(15, 150, 140, levels([[995n, 5n]], [[1009n, 1n]])),
        ],
      )
      const { json } = await ask(14.9)
      assert.deepEqual(
        [json.start.kind, json.deltas, json.bids],
        [
          'checkpoint',
          1,
          [
            ['100.1', '0.002'],
            ['100', '0.001'],
          ],
        ],
      )
      const later = (await ask(15)).json
      assert.deepEqual(
        [later.deltas, later.proven_bids, later.asks],
        [
          2,
          2,
          [
            ['100.9', '0.001'],
            ['101', '0.004'],
          ],
        ],
      )
    },
  )

  await t.test('a book should be refused when a delta of its chain is not in the store', async () => {
    await rig.put('book_deltas', [USDM], [delta(16, 170, 160, levels([[995n, 6n]], []))])
    const refused = await ask(16)
    assert.deepEqual(
      [refused.status, refused.json.error.code, refused.json.error.reason],
      [503, 'book_unproven', 'chain'],
    )
    assert.match(refused.json.error.message, /after 150 comes 161\.\.170/)
    // what is missing may have come before this time, too
    const between = await ask(15.5)
    assert.deepEqual([between.status, between.json.error?.reason], [503, 'chain'], between.text)
    assert.equal((await ask(14.9)).status, 200)
  })

  await t.test('a book should be refused while a block of its producer is on its way', async () => {
    const other = 'binance.usdm.ETHUSDT'
    const of = { producer: 'late' }
    await rig.put('book_snapshots', [other], [snapshot(0, 2, 100, WHOLE)], { ...of, blockSeq: 1n })
    await rig.put('book_deltas', [other], [delta(1, 110, 100, WHOLE)], { ...of, blockSeq: 2n })
    await rig.put('trades', [other], [{ instrument: 0, received_ns: at(1), trade_ns: at(1), trade_id: 1 }], {
      ...of,
      blockSeq: 4n,
    })
    await rig.put('book_deltas', [other], [delta(9, 120, 110, WHOLE)], { ...of, blockSeq: 5n })
    const question = `/v1/books/${other}/at?time=${at(2)}`
    const missing = await rig.get(question)
    assert.deepEqual([missing.status, missing.json.error.code], [503, 'not_stored_yet'])
    assert.match(missing.json.error.message, /of the blocks 1 to 4 of late only 3 are stored/)
    await rig.put('trades', [other], [{ instrument: 0, received_ns: at(1), trade_ns: at(1), trade_id: 2 }], {
      ...of,
      blockSeq: 3n,
    })
    assert.equal((await rig.get(question)).json.last_seq, 110)
  })
})

test('a quiet book should be told until its next checkpoint only if it is heard to be LIVE since before the time', async (t) => {
  const source = new ToldSource()
  const rig = await historyRig(t, {}, source)
  const nowNs = BigInt(Date.now()) * 1_000_000n
  const ago = (seconds: number): bigint => nowNs - BigInt(seconds * 1000) * 1_000_000n
  await rig.put('book_snapshots', [USDM], [{ ...snapshot(0, 2, 100, WHOLE), received_ns: ago(60) }])
  await rig.put('trades', [USDM], [{ instrument: 0, received_ns: ago(5), trade_ns: ago(5), trade_id: 1 }])
  const ask = (seconds: number) => rig.get(`/v1/books/${USDM}/at?time=${ago(seconds)}`)
  const refused = async (why: string): Promise<void> => {
    const { status, json } = await ask(30)
    assert.deepEqual([status, json.error.code, json.error.reason], [503, 'book_unproven', 'ended'], why)
  }
  await refused('nothing is heard of it')
  const worker = new ToldWorker(source)
  const stands = (state: string, seconds: number): void => {
    worker.nowNs = ago(seconds)
    worker.state(USDM, state)
    worker.heartbeat()
  }
  stands('LIVE', 60)
  const { status, json, text } = await ask(30)
  assert.deepEqual([status, json.last_seq, json.deltas], [200, 100, 0], text)
  stands('INIT', 40)
  await refused('it is not collected any more')
  stands('LIVE', 20)
  await refused('it was not collected then')
  await rig.put('book_snapshots', [USDM], [{ ...snapshot(0, 3, 100, WHOLE), received_ns: ago(10) }])
  assert.equal((await ask(30)).status, 200) // a checkpoint of the same chain: it lived
  assert.equal((await ask(9)).status, 503)
  // of an event that is not stored a later book tells
  await rig.put('book_snapshots', [USDM], [{ ...snapshot(0, 3, 105, WHOLE), received_ns: ago(8) }])
  await rig.put('trades', [USDM], [{ instrument: 0, received_ns: ago(1), trade_ns: ago(1), trade_id: 2 }])
  const lost = await ask(9)
  assert.deepEqual([lost.status, lost.json.error?.reason], [503, 'chain'], lost.text)
  assert.match(lost.json.error.message, /after 100 a book of 105 is stored/)
  assert.equal((await ask(30)).status, 200)
})
