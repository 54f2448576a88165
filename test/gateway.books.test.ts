import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { Books, type BooksEvents, type Heartbeat } from '../engine/gateway/live/books.ts'
import { bookRowOf } from '../engine/gateway/live/book-row.ts'
import type { Standing } from '../engine/gateway/live/followed-book.ts'
import type { LiveMessage } from '../engine/gateway/live/live-message.ts'
import { contentOf } from '../engine/gateway/live/book-view.ts'
import { BOOK_STATES } from '../engine/record/schema.ts'
import { served } from './support/gateway.ts'
import { SILENT } from './support/embedded.ts'
import { ToldSource, ToldWorker } from './support/live.ts'

const BTC = 'binance.usdm.BTCUSDT'
const ETH = 'binance.usdm.ETHUSDT'

/** The books of a gateway at a time that the test says, behind a source and workers that say what it wants. */
function scene() {
  const source = new ToldSource()
  const told: { event: string; id: string; standing?: Standing }[] = []
  const wanted: string[] = []
  const events: BooksEvents = {
    onKnown: () => {},
    onGone: ({ id }) => told.push({ event: 'gone', id }),
    onSnapshot: ({ id }) => told.push({ event: 'snapshot', id }),
    onCaughtUp: ({ id }) => told.push({ event: 'caughtUp', id }),
    onChange: ({ id }) => told.push({ event: 'change', id }),
    onReset: ({ id }, standing) => told.push({ event: 'reset', id, standing }),
    onProof: ({ id }) => told.push({ event: 'proof', id }),
    wantBook: ({ exchange, market, symbol }) => wanted.push(`${exchange}.${market}.${symbol}`),
  }
  const books = new Books(events)
  const time = { ms: 1_000 }
  const ns = () => String(BigInt(time.ms) * 1_000_000n)
  source.say = (subject: string, message: object) => {
    const [type, exchange = '', market = '', symbol = ''] = subject.split('.')
    const id = `${exchange}.${market}.${symbol}`
    const numbered = message as LiveMessage
    const ofBook = () => ({ ...numbered, number: Number(numbered.number), rows: numbered.rows.map(bookRowOf) })
    if (type === 'heartbeat') books.onHeartbeat(message as Heartbeat, time.ms)
    else if (type === 'book_state') books.onState({ exchange, market, symbol }, numbered, time.ms, ns())
    else if (type === 'book_snapshot') books.onSnapshot({ exchange, market, symbol }, ofBook(), time.ms, ns())
    else {
      const followed = books.active(id)
      if (followed !== undefined) books.onDelta(followed, ofBook(), time.ms, ns())
    }
  }
  const use = (id: string) => {
    const followed = books.all.get(id)
    assert.ok(followed !== undefined, `${id} is known`)
    books.addUser(followed, time.ms, ns())
    return followed
  }
  const pass = (ms: number) => {
    time.ms += ms
    books.sweep(time.ms, ns())
  }
  const shown = (id: string) => {
    const live = books.all.get(id)?.held(time.ms)
    if (live === undefined) return undefined
    const { bids, asks, last_seq } = contentOf(live, 0)
    return { bids, asks, last_seq }
  }
  const isProven = (id: string) => books.all.get(id)?.proven(time.ms) !== undefined
  const breakAll = () => books.onBreak()
  return { source, books, told, wanted, time, use, pass, shown, isProven, breakAll }
}

function liveScene() {
  const stage = scene()
  const worker = new ToldWorker(stage.source)
  worker.state(BTC, 'LIVE')
  worker.heartbeat()
  const followed = stage.use(BTC)
  const answer = () => worker.snapshot(BTC, [[100, 1]], [[101, 2]], { lastSeq: 10, epoch: 1, reason: 'wanted' })
  return { ...stage, worker, followed, answer }
}

test('books should ask for what is used, and hold it from its snapshot on', () => {
  const { wanted, answer, shown, told, worker } = liveScene()
  assert.deepEqual(wanted, [BTC])
  assert.equal(shown(BTC), undefined)
  worker.delta(BTC, [[90, 1]], [], { firstSeq: 9, lastSeq: 9 }) // in the snapshot already
  answer()
  assert.deepEqual(shown(BTC), { bids: [['1', '0.001']], asks: [['1.01', '0.002']], last_seq: 10 })
  worker.delta(
    BTC,
    [
      [100, 0],
      [99, 5],
    ],
    [[101, 3]],
    { firstSeq: 11, lastSeq: 12 },
  )
  assert.deepEqual(shown(BTC), { bids: [['0.99', '0.005']], asks: [['1.01', '0.003']], last_seq: 12 })
  assert.deepEqual(
    told.map(({ event }) => event),
    ['snapshot', 'change'],
  )
})

test('books should skip a change that the snapshot holds, and take one that sets the numbers back', () => {
  const { answer, shown, worker } = liveScene()
  answer()
  worker.delta(BTC, [[99, 9]], [], { firstSeq: 9, lastSeq: 10 })
  assert.deepEqual(shown(BTC)?.bids, [['1', '0.001']])
  worker.delta(BTC, [[99, 5]], [], { firstSeq: 11, lastSeq: 3 }) // prev_seq = 10: the chain is whole
  assert.deepEqual([shown(BTC)?.bids.length, shown(BTC)?.last_seq], [2, 3])
  worker.delta(BTC, [[98, 5]], [], { firstSeq: 4, lastSeq: 4 })
  assert.equal(shown(BTC)?.bids.length, 3)
})

test('books should leave out a change that is no part of the chain, and go on', () => {
  const { answer, shown, worker, wanted } = liveScene()
  answer()
  worker.delta(BTC, [[50, 1]], [], { firstSeq: 5, lastSeq: 6, state: 'BUFFERING' }) // older than its anchor
  worker.delta(BTC, [[99, 1]], [], { firstSeq: 11, lastSeq: 11 })
  assert.deepEqual([shown(BTC)?.bids.length, shown(BTC)?.last_seq, wanted.length], [2, 11, 1])
})

test('books should serve no book any more when a message is missing, ask for it anew, and tell its readers after a second', () => {
  const { answer, shown, worker, wanted, told, pass } = liveScene()
  answer()
  worker.delta(BTC, [[99, 1]], [], { firstSeq: 11, lastSeq: 11 })
  worker.delta(BTC, [[98, 1]], [], { firstSeq: 12, lastSeq: 12, isLost: true })
  assert.notEqual(shown(BTC), undefined) // nobody can know yet
  worker.delta(BTC, [[97, 1]], [], { firstSeq: 13, lastSeq: 13 })
  assert.equal(shown(BTC), undefined)
  assert.equal(wanted.length, 2)
  pass(400)
  assert.equal(wanted.length, 2) // the answer is under way
  pass(200)
  assert.equal(wanted.length, 3)
  assert.equal(told.at(-1)?.event, 'change')
  pass(401)
  assert.deepEqual([told.at(-1)?.event, told.at(-1)?.standing?.state], ['reset', 'RESYNC'])
  assert.match(told.at(-1)?.standing?.reason ?? '', /1 messages of changes are missing/)
  pass(200)
  assert.equal(wanted.length, 3) // ever less often
  worker.heartbeat()
  answer()
  assert.notEqual(shown(BTC), undefined)
})

test('books should catch up with a snapshot that comes soon, and begin anew for all when somebody joins before, or it is of another epoch', () => {
  const behind = () => {
    const stage = liveScene()
    stage.answer()
    stage.worker.delta(BTC, [[98, 1]], [], { firstSeq: 11, lastSeq: 11, isLost: true })
    stage.worker.delta(BTC, [[97, 1]], [], { firstSeq: 12, lastSeq: 12 })
    assert.deepEqual([stage.shown(BTC), stage.told.at(-1)?.event], [undefined, 'snapshot'])
    return { ...stage, catchUp: (epoch: number) => stage.worker.snapshot(BTC, [[97, 1]], [], { lastSeq: 12, epoch }) }
  }
  const events = ({ told }: { told: { event: string }[] }) => told.map(({ event }) => event)
  const soon = behind()
  soon.catchUp(1)
  assert.deepEqual(events(soon), ['snapshot', 'caughtUp'])
  assert.deepEqual(soon.shown(BTC)?.last_seq, 12)
  const joined = behind()
  joined.use(BTC)
  joined.catchUp(1)
  assert.deepEqual(events(joined), ['snapshot', 'reset', 'snapshot'])
  const other = behind()
  other.catchUp(2)
  assert.deepEqual(events(other), ['snapshot', 'snapshot'])
  const gone = behind()
  gone.worker.state(BTC, 'GAP', 'sequence')
  assert.deepEqual([gone.told.at(-1)?.event, gone.told.at(-1)?.standing?.state], ['reset', 'GAP'])
})

test('books should find by two heartbeats that the last messages before a silence are missing', () => {
  const { answer, shown, worker, pass } = liveScene()
  answer()
  worker.delta(BTC, [[98, 1]], [], { firstSeq: 11, lastSeq: 11, isLost: true })
  pass(1_000)
  worker.heartbeat()
  pass(1_000)
  worker.heartbeat()
  assert.equal(shown(BTC), undefined)
})

test('books should not be held after three seconds without a heartbeat, and be asked for when it is back', () => {
  const { answer, shown, worker, pass, told, books, time, wanted } = liveScene()
  answer()
  pass(3_000)
  assert.notEqual(shown(BTC), undefined)
  time.ms += 1 // nobody looked yet
  assert.equal(shown(BTC), undefined)
  assert.equal(books.lines(time.ms)[0]?.state, 'STALE')
  pass(1)
  assert.deepEqual([told.at(-1)?.event, told.at(-1)?.standing?.state], ['reset', 'STALE'])
  const before = wanted.length
  pass(10_000)
  assert.equal(wanted.length, before) // nobody is there to answer
  worker.heartbeat()
  pass(1)
  assert.equal(wanted.length, before + 1)
  answer()
  assert.notEqual(shown(BTC), undefined)
})

test('books of instruments that are not collected any more should keep their last word, not be called silent', () => {
  const { answer, worker, books, pass, time, told, shown } = liveScene()
  worker.state(ETH, 'LIVE')
  answer()
  worker.state(BTC, 'INIT', 'removed')
  worker.state(ETH, 'DELISTED', 'delisted')
  worker.books.clear()
  for (let second = 0; second < 5; second++) {
    pass(1_000)
    worker.heartbeat()
  }
  assert.deepEqual(
    books.lines(time.ms).map(({ id, state, reason }) => [id, state, reason]),
    [
      [BTC, 'INIT', 'removed'],
      [ETH, 'DELISTED', 'delisted'],
    ],
  )
  assert.deepEqual([told.at(-1)?.standing?.state, told.at(-1)?.standing?.reason], ['INIT', 'removed'])
  assert.equal(shown(BTC), undefined)
})

test('books should not be served while messages may be missing, until a number or a heartbeat proves them', () => {
  const { answer, shown, isProven, breakAll, wanted, worker, told } = liveScene()
  answer()
  worker.delta(BTC, [[99, 1]], [], { firstSeq: 11, lastSeq: 11 })
  breakAll()
  assert.equal(isProven(BTC), false)
  worker.delta(BTC, [[98, 1]], [], { firstSeq: 12, lastSeq: 12 })
  assert.equal(isProven(BTC), true)
  breakAll()
  worker.heartbeat()
  assert.equal(isProven(BTC), true)
  assert.deepEqual([told.filter(({ event }) => event === 'proof').length, wanted.length], [2, 1])
  worker.delta(BTC, [[97, 1]], [], { firstSeq: 13, lastSeq: 13, isLost: true })
  breakAll()
  worker.heartbeat()
  assert.deepEqual([isProven(BTC), shown(BTC), wanted.length], [false, undefined, 2])
})

test('books should take the first change after a snapshot only if it follows by the numbers of the venue', () => {
  const { answer, shown, isProven, breakAll, worker, wanted } = liveScene()
  answer()
  breakAll()
  worker.delta(BTC, [[99, 1]], [], { firstSeq: 11, lastSeq: 11 })
  assert.deepEqual([shown(BTC)?.last_seq, isProven(BTC)], [11, true])
  const other = liveScene()
  other.answer()
  other.worker.delta(BTC, [[99, 1]], [], { firstSeq: 12, lastSeq: 12 }) // which message it is, nobody can know
  assert.deepEqual([other.shown(BTC), other.wanted.length, wanted.length], [undefined, 2, 1])
})

test('books should follow one of two collectors, and the other when that one falls silent', () => {
  const { answer, shown, worker, pass, source, time } = liveScene()
  const other = new ToldWorker(source, 'other')
  other.producer = 'second'
  other.state(BTC, 'LIVE')
  worker.heartbeat()
  other.heartbeat()
  worker.heartbeat()
  answer()
  for (let second = 0; second < 5; second++) {
    worker.delta(BTC, [[100 - second, 1]], [], { firstSeq: 11 + second, lastSeq: 11 + second })
    other.delta(BTC, [[50, 1]], [], { firstSeq: 11 + second, lastSeq: 11 + second })
    other.state(BTC, 'GAP', 'sequence')
    pass(1_000)
    worker.heartbeat()
    other.heartbeat()
    assert.equal(shown(BTC)?.last_seq, 11 + second)
  }
  other.state(BTC, 'LIVE')
  for (let second = 0; second < 4; second++) {
    pass(1_000)
    other.heartbeat()
  }
  assert.equal(shown(BTC), undefined)
  other.snapshot(BTC, [[70, 1]], [], { lastSeq: 500, epoch: 7 })
  assert.deepEqual([shown(BTC)?.bids, shown(BTC)?.last_seq], [[['0.7', '0.001']], 500])
  assert.ok(time.ms > 0)
})

test('books should be let go a minute after their last use, and asked for when they are used again', () => {
  const { answer, shown, worker, pass, books, followed, time, wanted } = liveScene()
  answer()
  books.removeUser(followed, time.ms)
  for (let second = 0; second < 59; second++) {
    pass(1_000)
    worker.heartbeat()
  }
  assert.notEqual(shown(BTC), undefined)
  pass(1_001)
  worker.heartbeat()
  assert.equal(shown(BTC), undefined)
  assert.equal(books.active(BTC), undefined)
  const before = wanted.length
  books.touch(followed, time.ms, '1')
  assert.equal(wanted.length, before + 1)
})

/** What a worker's book truly is, at every sequence it ever had. */
class Truth {
  readonly sides = { bid: new Map<number, number>(), ask: new Map<number, number>() }
  readonly history = new Map<string, string>()

  set(side: 'bid' | 'ask', levels: readonly (readonly [number, number])[]): void {
    for (const [price, quantity] of levels)
      if (quantity === 0) this.sides[side].delete(price)
      else this.sides[side].set(price, quantity)
  }

  text(): string {
    const { bid, ask } = this.sides
    const show = (levels: [number, number][]) => levels.map(([price, quantity]) => `${price / 100}:${quantity / 1_000}`)
    return JSON.stringify([
      show([...bid].sort(([left], [right]) => right - left)),
      show([...ask].sort(([left], [right]) => left - right)),
    ])
  }

  remember(epoch: number, lastSeq: number): void {
    this.history.set(`${epoch}/${lastSeq}`, this.text())
  }
}

test('a served book should always be what the engine had at its sequence, whatever is lost or restarted', () => {
  const seed = Number(process.env['TEST_SEED'] ?? freshSeed())
  const steps = Number(process.env['TEST_RUNS'] ?? 20_000)
  const random = seededRandom(seed)
  const below = (bound: number) => Math.floor(random() * bound)
  const { source, shown, isProven, use, pass, wanted, breakAll, books, time } = scene()
  const worker = new ToldWorker(source)
  const truths = new Map([BTC, ETH].map((id) => [id, new Truth()]))
  const seqs = new Map([BTC, ETH].map((id) => [id, { seq: 1, epoch: 0, isLive: false }]))
  const seen = { held: 0, steps: 0 }
  const broken = new Set<string>()
  let lossShare = 0
  let runs = 1

  const some = (count: number, low: number) =>
    Array.from({ length: count }, () => [low + below(40), below(4) === 0 ? 0 : 1 + below(5_000)] as const)
  const anchor = (id: string, isLost: boolean) => {
    const truth = truths.get(id) as Truth
    const at = seqs.get(id) as { seq: number; epoch: number; isLive: boolean }
    at.epoch++
    at.seq += 1 + below(50)
    truth.sides.bid.clear()
    truth.sides.ask.clear()
    truth.set(
      'bid',
      some(10, 960).filter(([, quantity]) => quantity > 0),
    )
    truth.set(
      'ask',
      some(10, 1_001).filter(([, quantity]) => quantity > 0),
    )
    truth.remember(at.epoch, at.seq)
    if (!at.isLive) worker.state(id, 'LIVE', '', isLost && below(2) === 0)
    at.isLive = true
    send(id, 'anchor', isLost)
  }
  const send = (id: string, reason: string, isLost: boolean) => {
    const { sides } = truths.get(id) as Truth
    const { epoch, seq } = seqs.get(id) as { seq: number; epoch: number }
    const [bids, asks] = [[...sides.bid].sort(([l], [r]) => r - l), [...sides.ask].sort(([l], [r]) => l - r)]
    worker.snapshot(id, bids, asks, { lastSeq: seq, epoch, reason, isLost })
  }
  const change = (id: string, isLost: boolean) => {
    const truth = truths.get(id) as Truth
    const at = seqs.get(id) as { seq: number; epoch: number; isLive: boolean }
    const [bids, asks] = [some(below(4), 960), some(below(4), 1_001)]
    if (!at.isLive) return worker.delta(id, bids, asks, { firstSeq: 1, lastSeq: 2, state: 'GAP', isLost })
    const firstSeq = at.seq + 1
    at.seq += 1 + below(3)
    truth.set('bid', bids)
    truth.set('ask', asks)
    truth.remember(at.epoch, at.seq)
    worker.delta(id, bids, asks, { firstSeq, lastSeq: at.seq, isLost })
  }

  for (const id of truths.keys()) anchor(id, false)
  worker.heartbeat()
  for (const id of truths.keys()) use(id)
  for (let step = 0; step < steps; step++) {
    const id = below(2) === 0 ? BTC : ETH
    const at = seqs.get(id) as { seq: number; epoch: number; isLive: boolean }
    if (step % 500 === 0) {
      lossShare = below(3) === 0 ? 0.05 : 0
      broken.clear()
    }
    const isLost = random() < lossShare
    const dice = below(1_000)
    if (dice < 850) change(id, isLost)
    else if (dice < 870) anchor(id, isLost)
    else if (dice < 885 && at.isLive) {
      at.isLive = false
      worker.state(id, 'GAP', 'sequence', isLost)
    } else if (dice < 888) {
      worker.restart(`run${++runs}`)
      for (const each of seqs.values()) each.isLive = false
    } else if (dice < 890) {
      for (let count = below(5); count > 0; count--) change(id, true) // what the source had no room for
      breakAll()
      if (lossShare === 0) for (const each of truths.keys()) broken.add(each)
    } else if (dice < 895) pass(below(5_000))
    else {
      pass(below(600))
      if (!isLost) {
        worker.heartbeat()
        for (const [each, { seq, isLive }] of seqs)
          if (isLive && isProven(each) && broken.delete(each))
            assert.equal(shown(each)?.last_seq, seq, `seed ${seed} step ${step}: proven is not what the engine has`)
      }
    }
    for (const want of wanted.splice(0)) {
      if (random() < lossShare) continue
      if (seqs.get(want)?.isLive === true) send(want, 'wanted', random() < lossShare)
      else worker.state(want, worker.books.get(want)?.state ?? 'INIT')
    }
    for (const [each, truth] of truths) {
      const book = shown(each)
      seen.steps++
      if (book === undefined) continue
      seen.held++
      const followed = books.all.get(each)
      assert.equal(followed?.standing.state, 'LIVE', `seed ${seed} step ${step}`)
      assert.ok(time.ms - (followed?.heardMs ?? 0) <= 3_000, `seed ${seed} step ${step}`)
      const side = (levels: readonly (readonly [string, string])[]) =>
        levels.map(([price, quantity]) => `${Number(price)}:${Number(quantity)}`)
      assert.equal(
        JSON.stringify([side(book.bids), side(book.asks)]),
        truth.history.get(`${followed?.book?.epoch}/${book.last_seq}`),
        `seed ${seed} step ${step} ${each}`,
      )
    }
  }
  assert.ok(seen.held > seen.steps / 4, `seed ${seed}: held in ${seen.held} of ${seen.steps} looks`)
})

test('GET of a book should answer 200 only when it is LIVE, in every other state 503 with state, reason and since', async (t) => {
  const source = new ToldSource()
  const { engine, get } = await served(t, {}, SILENT, source)
  const worker = new ToldWorker(source)
  assert.equal((await get(`/v1/books/${BTC}`)).status, 404)
  worker.live(
    BTC,
    [
      [10_000, 1_000],
      [9_999, 1],
    ],
    [[10_001, 1_000]],
  )
  const asked = get(`/v1/books/${BTC}?depth=1`)
  while (engine.wanted.length === 0) await sleep(5)
  worker.snapshot(
    BTC,
    [
      [10_000, 1_000],
      [9_999, 1],
    ],
    [[10_001, 1_000]],
    { lastSeq: 100, epoch: 1, reason: 'wanted' },
  )
  const { status, json } = await asked
  assert.deepEqual(
    [status, json.bids, json.asks, json.last_seq, json.state],
    [200, [['100', '1']], [['100.01', '1']], 100, 'LIVE'],
  )
  for (const state of Object.keys(BOOK_STATES).filter((each) => each !== 'LIVE')) {
    worker.heartbeat() // a slow machine must not make it STALE
    worker.state(BTC, state, 'because')
    const refused = await get(`/v1/books/${BTC}`)
    assert.deepEqual(
      [
        refused.status,
        refused.json.error.code,
        refused.json.error.state,
        refused.json.error.reason,
        refused.json.error.since_ns,
      ],
      [503, 'book_not_live', state, 'because', String(worker.nowNs)],
    )
    assert.ok(!refused.text.includes('bids'))
    const [line] = (await get('/v1/books')).json.books
    assert.deepEqual([line.instrument, line.state, line.reason, line.last_seq], [BTC, state, 'because', 100])
    worker.state(BTC, 'LIVE')
    worker.snapshot(BTC, [[10_000, 1_000]], [[10_001, 1_000]], { lastSeq: 100, epoch: 1 })
    assert.equal((await get(`/v1/books/${BTC}`)).status, 200)
  }
})

test('GET of a book should answer 503 STALE when its worker is not heard any more', async (t) => {
  const source = new ToldSource()
  const { engine, get } = await served(t, {}, SILENT, source)
  const worker = new ToldWorker(source)
  worker.live(BTC, [[10_000, 1]], [[10_001, 1]])
  const asked = get(`/v1/books/${BTC}`)
  while (engine.wanted.length === 0) await sleep(5)
  worker.snapshot(BTC, [[10_000, 1]], [[10_001, 1]], { lastSeq: 100, epoch: 1, reason: 'wanted' })
  assert.equal((await asked).status, 200)
  let answer = await get(`/v1/books/${BTC}`)
  for (; answer.status === 200; answer = await get(`/v1/books/${BTC}`)) await sleep(100)
  assert.deepEqual([answer.status, answer.json.error.state], [503, 'STALE'])
  assert.match(answer.json.error.reason, /no heartbeat of its worker for 3 s/)
})
