import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, type Random, seededRandom } from '../engine/base/random.ts'
import { GeneralParser } from '../engine/exchanges/okx/parse-general.ts'
import { IGNORE_REASONS, REJECT_REASONS } from '../engine/record/emit.ts'
import { GAP_CHANNELS } from '../engine/record/schema.ts'
import { OkxRig, type Told } from './support/okx.ts'

const SNAPSHOT =
  '{"arg":{"channel":"books","instId":"ABC-USDT"},"action":"snapshot","data":[{"asks":[["100.5","3","0","2"],["101","0.25","0","1"]],"bids":[["100.1","7.125","0","4"]],"ts":"1790000000100","checksum":0,"seqId":10,"prevSeqId":-1}]}'
const UPDATE =
  '{"arg":{"channel":"books","instId":"ABC-USDT"},"action":"update","data":[{"asks":[["100.5","0","0","0"]],"bids":[["100.05","1","0","1"]],"ts":"1790000000200","checksum":-1624804252,"seqId":9007199254740991,"prevSeqId":10}]}'
const KEEP_ALIVE =
  '{"arg":{"channel":"books-l2-tbt","instId":"ABC-USDT"},"action":"update","data":[{"asks":[],"bids":[],"ts":"1790000060200","checksum":0,"seqId":15,"prevSeqId":15}]}'
const UNNUMBERED =
  '{"arg":{"channel":"books50-l2-tbt","instId":"ABC-USDT"},"action":"update","data":[{"asks":[],"bids":[["99","2","3","1"]],"ts":"1626995758590","checksum":1761402362}]}'
const BEST =
  '{"arg":{"channel":"bbo-tbt","instId":"ABC-USDT-SWAP"},"data":[{"asks":[["84093.5","667.19","0","70"]],"bids":[["84093.4","570.27","0","83"]],"ts":"1790000000900","seqId":342177336945}]}'
const HALF_BEST =
  '{"arg":{"channel":"bbo-tbt","instId":"ABC-USDT-SWAP"},"data":[{"asks":[],"bids":[["0.5","1","0","1"]],"ts":"1790000000901","seqId":342177336946}]}'
const TRADE =
  '{"arg":{"channel":"trades","instId":"ABC-USDT-SWAP"},"data":[{"instId":"ABC-USDT-SWAP","tradeId":"2953620209","px":"84093.4","sz":"0.01","side":"sell","ts":"1790000000782","count":"3","source":"0","seqId":342177336862}]}'
const TRADE_2021 =
  '{"arg":{"channel":"trades","instId":"ABC-USDT"},"data":[{"instId":"ABC-USDT","tradeId":"338476314","px":"30243.5","sz":"0.00000938","side":"buy","ts":"1652459226199"}]}'
const TRADE_ALL =
  '{"arg":{"channel":"trades-all","instId":"ABC-USDT"},"data":[{"instId":"ABC-USDT","tradeId":"7","px":"1.5","sz":"2","side":"buy","ts":"1652459226199","source":"1"}]}'

const GOLDEN: readonly (readonly [string, Told])[] = [
  [
    SNAPSHOT,
    {
      table: 'book',
      symbol: 'ABC-USDT',
      eventMs: 1790000000100,
      isSnapshot: true,
      checksum: 'none',
      seqs: [10, 10, 0],
      bids: [['100.1', '7.125']],
      asks: [
        ['100.5', '3'],
        ['101', '0.25'],
      ],
    },
  ],
  [
    UPDATE,
    {
      table: 'book',
      symbol: 'ABC-USDT',
      eventMs: 1790000000200,
      isSnapshot: false,
      checksum: -1624804252,
      seqs: [9007199254740991, 9007199254740991, 10],
      bids: [['100.05', '1']],
      asks: [['100.5', '0']],
    },
  ],
  [
    KEEP_ALIVE,
    {
      table: 'book',
      symbol: 'ABC-USDT',
      eventMs: 1790000060200,
      isSnapshot: false,
      checksum: 'none',
      seqs: [15, 15, 15],
      bids: [],
      asks: [],
    },
  ],
  [
    UNNUMBERED,
    {
      table: 'book',
      symbol: 'ABC-USDT',
      eventMs: 1626995758590,
      isSnapshot: false,
      checksum: 1761402362,
      seqs: [1, 1, 0],
      bids: [['99', '2']],
      asks: [],
    },
  ],
  [
    BEST,
    {
      table: 'book_tickers',
      symbol: 'ABC-USDT-SWAP',
      eventMs: 1790000000900,
      updateId: 342177336945,
      bid: ['84093.4', '570.27'],
      ask: ['84093.5', '667.19'],
    },
  ],
  [
    HALF_BEST,
    {
      table: 'book_tickers',
      symbol: 'ABC-USDT-SWAP',
      eventMs: 1790000000901,
      updateId: 342177336946,
      bid: ['0.5', '1'],
      ask: ['0', '0'],
    },
  ],
  [
    TRADE,
    {
      table: 'trades',
      symbol: 'ABC-USDT-SWAP',
      tradeMs: 1790000000782,
      ids: [2953620207, 2953620209, 2953620209],
      seqs: [2953620207, 2953620209],
      venueTradeId: '',
      price: '84093.4',
      quantity: '0.01',
      side: 'sell',
    },
  ],
  [
    TRADE_2021,
    {
      table: 'trades',
      symbol: 'ABC-USDT',
      tradeMs: 1652459226199,
      ids: [338476314, 338476314, 338476314],
      seqs: [338476314, 338476314],
      venueTradeId: '',
      price: '30243.5',
      quantity: '0.00000938',
      side: 'buy',
    },
  ],
  [
    TRADE_ALL,
    {
      table: 'trades',
      symbol: 'ABC-USDT',
      tradeMs: 1652459226199,
      ids: [7, 7, 7],
      seqs: [7, 7],
      venueTradeId: '',
      price: '1.5',
      quantity: '2',
      side: 'buy',
    },
  ],
]
const HOT = GOLDEN.map(([frame]) => frame)

const RARE = [
  '{"arg":{"channel":"funding-rate","instId":"ABC-USDT-SWAP"},"data":[{"fundingRate":"0.0001","fundingTime":"1790784000000","instId":"ABC-USDT-SWAP","nextFundingRate":"","nextFundingTime":"1790812800000","prevFundingTime":"1790755200000","ts":"1790757122992"}]}',
  '{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":[{"bkPx":"82655.7","posSide":"long","side":"sell","sz":"8.55","ts":"1791565600771"}],"instId":"ABC-USDT-SWAP"}]}',
  '{"arg":{"channel":"candle1m","instId":"ABC-USDT"},"data":[["1597026360000","8533.02","8553.74","8527.17","8548.26","45247","529.5","5529.5","1"]]}',
  '{"arg":{"channel":"opt-summary","instFamily":"ABC-USD"},"data":[{"instId":"ABC-USDT","deltaBS":"0.7","ts":"1597026383085","uly":"ABC-USD"}]}',
]

/** Knows the instruments of the frames with digits enough, so that the fast way can take them. */
function knownRig(): OkxRig {
  const rig = new OkxRig()
  for (const symbol of ['ABC-USDT', 'ABC-USDT-SWAP']) {
    const instrument = rig.collector.instrumentOf(symbol)
    rig.collector.priceScales[instrument] = 2
    rig.collector.quantityScales[instrument] = 8
  }
  return rig
}

test('okx parser should read each hot frame on the fast way', (t) => {
  const general = t.mock.method(GeneralParser.prototype, 'parse')
  for (const [frame, event] of GOLDEN)
    assert.deepEqual(knownRig().parse(frame), { outcome: '', events: [event] }, frame)
  assert.equal(general.mock.callCount(), 0)
})

/** The same JSON with other whitespace and the members of each object the other way round. */
function reordered(frame: string): string {
  const turned = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(turned)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, member]) => [key, turned(member)]),
    )
  }
  // seqIds may be above what a double is sure of only by one: these are not
  return JSON.stringify(turned(JSON.parse(frame)), null, 1)
}

test('okx parser should read the same from other key orders and with whitespace', () => {
  for (const [frame, event] of GOLDEN) {
    assert.deepEqual(knownRig().parse(reordered(frame)), { outcome: '', events: [event] }, frame)
    const extra = frame.replace('"data":[{', '"data":[{"new":{"a":[1,null]},')
    assert.deepEqual(knownRig().parse(extra), { outcome: '', events: [event] }, extra)
  }
})

test('okx parser should learn a symbol and widen its scales until every digit has room', () => {
  for (const [frame, event] of GOLDEN) {
    assert.deepEqual(new OkxRig().parse(frame), { outcome: '', events: [event] }, frame)
  }
})

test('okx parser should hand over several trades in order, or none', () => {
  const more = '{"instId":"ABC-USDT","tradeId":"8","px":"1.25","sz":"3","side":"sell","ts":"1652459226200"}'
  const both = TRADE_ALL.replace('}]}', `},${more}]}`)
  const { outcome, events } = knownRig().parse(both)
  assert.equal(outcome, '')
  assert.deepEqual(
    events.map(({ ids }) => ids),
    [
      [7, 7, 7],
      [8, 8, 8],
    ],
  )
  const second = both.replace('"side":"sell"', '"side":"none"')
  assert.deepEqual(knownRig().parse(second), { outcome: 'type', events: [] })
})

test('okx parser should keep an id above 2^53 as text', () => {
  const { events } = knownRig().parse(TRADE_ALL.replace('"7"', '"632960608383700997"'))
  assert.deepEqual(
    [events[0]?.['ids'], events[0]?.['seqs'], events[0]?.['venueTradeId']],
    [[0, 0, 0], [-1, -1], '632960608383700997'],
  )
})

test('okx parser should give the oldest of the trades of an answer first', () => {
  const trade = (id: number) =>
    `{"instId":"ABC-USDT","side":"sell","sz":"0.00001","px":"29963.2","tradeId":"${id}","ts":"165416164697${id}"}`
  const { outcome, events } = knownRig().trades(`{"code":"0","msg":"","data":[${[3, 2, 1].map(trade)}]}`, 'ABC-USDT')
  assert.equal(outcome, '')
  assert.deepEqual(
    events.map(({ seqs, tradeMs }) => [seqs, tradeMs]),
    [
      [[1, 1], 1654161646971],
      [[2, 2], 1654161646972],
      [[3, 3], 1654161646973],
    ],
  )
  assert.equal(knownRig().trades('{"code":"50011","msg":"Too Many Requests","data":[]}', 'ABC-USDT').outcome, 'type')
  assert.equal(knownRig().trades('{"code":"0","msg":"","data":[]}', 'ABC-USDT').outcome, 'unchanged')
})

test('okx parser should name what it does not take', () => {
  const refused: readonly (readonly [string, string])[] = [
    ['', 'empty'],
    ['pong', 'control'],
    ['pang', 'truncated'],
    ['{"arg":pang}', 'syntax'],
    ['{"event":"subscribe","arg":{"channel":"books","instId":"ABC-USDT"},"connId":"431d41f8"}', 'control'],
    ['[]', 'type'],
    ['{}', 'unknown_event'],
    [SNAPSHOT.slice(0, -1), 'truncated'],
    [SNAPSHOT.slice(0, -20), 'truncated'],
    [SNAPSHOT.slice(0, SNAPSHOT.indexOf('}') + 1), 'truncated'],
    [`${SNAPSHOT}}`, 'syntax'],
    [SNAPSHOT.replace('books', 'strange'), 'unknown_event'],
    [SNAPSHOT.replace('books', 'books5'), 'other_event'],
    [SNAPSHOT.replace('"data"', '"date"'), 'missing_key'],
    [SNAPSHOT.replace('"snapshot"', '"other"'), 'type'],
    [SNAPSHOT.replace('"asks"', '"oops"'), 'missing_key'],
    [SNAPSHOT.replace('"100.1"', '"-100.1"'), 'number'],
    [SNAPSHOT.replace('"100.1"', '"1e2"'), 'number'],
    [SNAPSHOT.replace('"100.1"', '""'), 'number'],
    [SNAPSHOT.replace('"100.1"', '"100.12345678901234567"'), 'precision'],
    [SNAPSHOT.replace('"100.1"', '"99999999999999999"'), 'overflow'],
    [SNAPSHOT.replace('["100.1","7.125","0","4"]', '"100.1"'), 'type'],
    [SNAPSHOT.replace('"ts":"1790000000100"', '"ts":"soon"'), 'number'],
    [UPDATE.replace(',"prevSeqId":10', ''), 'missing_key'],
    [UPDATE.replace('"prevSeqId":10', '"prevSeqId":-1'), 'number'],
    [UPDATE.replace('9007199254740991', '9007199254740993'), 'overflow'],
    [UNNUMBERED.replace(',"checksum":1761402362', ''), 'missing_key'],
    [BEST.replace(',"seqId":342177336945', ''), 'missing_key'],
    [BEST.replace('[["84093.5"', '[["1","1","0","1"],["84093.5"'), 'levels'],
    [TRADE.replace('"count":"3"', '"count":"0"'), 'number'],
    [TRADE.replace('"sell"', '"none"'), 'type'],
    [TRADE.replace('"tradeId":"2953620209",', ''), 'missing_key'],
    [TRADE.replaceAll('ABC-USDT-SWAP', 'XYZ-USDT-SWAP'), 'unknown_symbol'],
    [RARE[0]?.replace('"1790757122992"', '"soon"') ?? '', 'number'],
    [RARE[1]?.replace('"sell"', '"none"') ?? '', 'type'],
    [RARE[2]?.replace('candle1m', 'candle7m') ?? '', 'unknown_event'],
  ]
  for (const [frame, outcome] of refused) {
    const rig = knownRig()
    rig.collector.isLearning = false
    assert.deepEqual(rig.parse(frame), { outcome, events: [] }, frame)
  }
})

test('okx parser should blame instrument and channel of a refused frame', () => {
  const cases: readonly (readonly [string, number, number])[] = [
    [SNAPSHOT.slice(0, -9), 0, GAP_CHANNELS.book],
    [TRADE.slice(0, -9), 1, GAP_CHANNELS.trades],
    [BEST.slice(0, -9), 1, GAP_CHANNELS.book_tickers],
    ['{"arg":{"channel":"candle1m","instId":"ABC-USDT"},"data":[', 0, GAP_CHANNELS.klines],
    ['{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[', -1, GAP_CHANNELS.liquidations],
    ['nonsense', -1, 0],
  ]
  for (const [frame, instrument, channel] of cases) {
    const rig = knownRig()
    rig.parse(frame)
    assert.deepEqual({ ...rig.parser.blamed }, { instrument, channel }, frame)
  }
})

test('okx parser should read each frame as it is, whatever frame of whatever stream came before it', () => {
  const others = HOT.map((frame) => frame.replaceAll('ABC-USDT-SWAP', 'ABC-USDT'))
  const mixed = HOT.map((frame) => frame.replace('ABC-USDT-SWAP', 'ABC-USDT'))
  const unnumbered = (frame: string) => !frame.includes('"seqId"') && frame.includes('"checksum"')
  const frames = [...HOT, ...others, ...mixed].filter((frame) => !unnumbered(frame)) // those are counted
  for (const before of frames) {
    for (const frame of frames) {
      const rig = knownRig()
      rig.parse(before)
      assert.deepEqual(rig.parse(frame), knownRig().parse(frame), before + frame)
    }
  }
})

const OUTCOMES: readonly string[] = ['', ...IGNORE_REASONS, ...REJECT_REASONS]

function damaged(frame: string, random: Random): Uint8Array {
  const bytes = new TextEncoder().encode(frame)
  const place = () => Math.floor(random() * bytes.length)
  switch (Math.floor(random() * 4)) {
    case 0:
      return bytes.slice(0, place())
    case 1: {
      const at = place()
      bytes[at] = (bytes[at] as number) ^ (1 << Math.floor(random() * 8))
      return bytes
    }
    case 2: {
      const [from, to] = [place(), place()]
      return Uint8Array.from([...bytes.slice(0, Math.min(from, to)), ...bytes.slice(Math.max(from, to))])
    }
    default: {
      const values = ['null', '{}', '[]', '"x"', '-1', '1e9', 'true', '""', '"]"']
      const text = new TextDecoder().decode(bytes)
      const parts = text.split(/("[^"]*")/)
      parts[Math.floor(random() * parts.length)] = values[Math.floor(random() * values.length)] as string
      return new TextEncoder().encode(parts.join(''))
    }
  }
}

test('okx parser should have an outcome for every damaged frame, and hand over nothing of one it refuses', () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  const random = seededRandom(seed)
  const frames = [...HOT, ...RARE]
  for (let round = 0; round < 20_000; round++) {
    const rig = knownRig()
    const frame = frames[round % frames.length] as string
    if (round % 2 === 0) rig.parse(frame) // so that it knows the stream
    const bytes = damaged(frame, random)
    const { outcome, events } = rig.parse(bytes)
    const text = new TextDecoder().decode(bytes)
    assert.ok(OUTCOMES.includes(outcome), `seed ${seed}, round ${round}: ${outcome} of ${text}`)
    if (outcome !== '') assert.equal(events.length, 0, `seed ${seed}, round ${round}: ${text}`)
  }
})
