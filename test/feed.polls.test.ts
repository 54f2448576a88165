import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { type Instrument, instrumentId, type PollRule } from '../engine/exchanges/exchange.ts'
import { POLL_DEFAULTS, Polls } from '../engine/feed/polls.ts'
import { settle, TurnedTime } from './support/feed-time.ts'

const INTERVAL_MS = 60_000

function instrument(index: number): Instrument {
  const symbol = `S${index}`
  const id = instrumentId('v', 'm', symbol)
  return { id, exchange: 'v', market: 'm', symbol, priceScale: 0, quantityScale: 0, status: 'TRADING' }
}

const RULE: PollRule = {
  name: 'open_interest',
  channel: 'open_interests',
  intervalMs: INTERVAL_MS,
  request: ({ symbol }) => (symbol === 'S13' ? undefined : { path: `/oi?${symbol}`, weight: 1 }),
}

interface Asked {
  readonly atMs: number
  readonly symbol: string
  readonly answer: (body: string) => void
  readonly fail: () => void
}

function rig(answersAtOnce: boolean) {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  const time = new TurnedTime(1_700_000_000_123)
  const asked: Asked[] = []
  const answers: string[] = []
  const failures: string[] = []
  const polls = new Polls(POLL_DEFAULTS, {
    fetch: ({ symbol }) =>
      new Promise((resolve, reject) => {
        asked.push({
          atMs: time.monotonicMs(),
          symbol,
          answer: (body) => resolve(Buffer.from(body)),
          fail: () => reject(new Error('503')),
        })
        if (answersAtOnce) resolve(Buffer.from(symbol))
      }),
    time,
    random: seededRandom(seed),
    onAnswer: (of, name, body) => answers.push(`${of.symbol}/${name}/${body}`),
    onFailed: (of, name, error) => failures.push(`${of.symbol}/${name}/${error.message}`),
  })
  return { time, asked, answers, failures, polls }
}

test('polls should ask once an interval for each instrument, spread evenly over it', async () => {
  const { time, asked, polls, answers } = rig(true)
  const count = 120
  for (let index = 0; index < count; index++) polls.add(instrument(index), [RULE])
  assert.equal(polls.taskCount, count - 1, 'S13 has no such thing')
  await time.turn(POLL_DEFAULTS.firstWithinMs)
  assert.equal(new Set(asked.map(({ symbol }) => symbol)).size, count - 1, 'everybody has a first row soon')
  await time.turn(2 * INTERVAL_MS)
  asked.length = 0
  const startMs = time.monotonicMs()
  await time.turn(10 * INTERVAL_MS)
  for (let index = 0; index < count; index++) {
    const mine = asked.filter(({ symbol }) => symbol === `S${index}`).length
    assert.ok(index === 13 ? mine === 0 : mine >= 9 && mine <= 11, `S${index} was asked ${mine} times in 10 intervals`)
  }
  const perSecond = new Map<number, number>()
  for (const { atMs } of asked) {
    const second = Math.floor((atMs - startMs) / 1000)
    perSecond.set(second, (perSecond.get(second) ?? 0) + 1)
  }
  assert.ok(
    Math.max(...perSecond.values()) <= 7,
    `2 a second on average, ${Math.max(...perSecond.values())} in the worst`,
  )
  assert.equal(polls.stats.skipped, 0)
  assert.equal(answers[0], 'S0/open_interest/S0')
})

test('polls should never have two of a kind of one instrument under way, and count what they skip', async () => {
  const { time, asked, polls, answers } = rig(false)
  polls.add(instrument(1), [RULE])
  await time.turn(5 * INTERVAL_MS)
  assert.equal(asked.length, 1)
  assert.ok(polls.stats.skipped >= 3, `${polls.stats.skipped}`)
  asked[0]?.answer('late')
  await settle()
  assert.deepEqual(answers, ['S1/open_interest/late'])
  await time.turn(2 * INTERVAL_MS)
  assert.equal(asked.length, 2)
})

test('polls should wait longer after each failure, and no longer after an answer', async () => {
  const { time, asked, polls, failures } = rig(false)
  polls.add(instrument(1), [RULE])
  const timesAsked: number[] = []
  for (let minute = 0; minute < 120; minute++) {
    await time.turn(INTERVAL_MS)
    while (asked.length > 0) {
      timesAsked.push(minute)
      const next = asked.shift()
      if (timesAsked.length < 6) next?.fail()
      else next?.answer('{}')
      await settle()
    }
  }
  assert.equal(failures.length, 5)
  const waits = timesAsked.slice(1).map((minute, index) => minute - (timesAsked[index] as number))
  const expected = [2, 4, 8, 16, 16]
  expected.forEach((wait, index) => {
    assert.ok(Math.abs((waits[index] as number) - wait) <= 1, `waits ${waits.slice(0, 6)}`)
  })
  assert.ok(
    waits.slice(5).every((wait) => wait <= 2),
    `after an answer every minute: ${waits.slice(5)}`,
  )
})

test('polls should end with their instrument and altogether, and deliver nothing afterwards', async () => {
  const { time, asked, polls, answers } = rig(false)
  polls.add(instrument(1), [RULE])
  polls.add(instrument(2), [RULE])
  assert.throws(() => polls.add(instrument(2), [RULE]), /polled already/)
  await time.turn(INTERVAL_MS)
  polls.remove(instrument(1).id)
  asked.find(({ symbol }) => symbol === 'S1')?.answer('too late')
  await settle()
  assert.deepEqual(answers, [])
  polls.close()
  assert.equal(time.timerCount, 0)
  polls.add(instrument(3), [RULE])
  await time.turn(3 * INTERVAL_MS)
  assert.ok(asked.every(({ symbol }) => symbol !== 'S3'))
})

test('polls that an overload held back should be asked once when it is over, each soon and not all at once', async () => {
  const { time, asked, polls } = rig(true)
  const count = 50
  polls.hold(true)
  for (let index = 100; index < 100 + count; index++) polls.add(instrument(index), [RULE])
  await time.turn(2.5 * INTERVAL_MS)
  assert.equal(asked.length, 0, 'held')
  polls.hold(false)
  await time.turn(POLL_DEFAULTS.firstWithinMs)
  assert.equal(asked.length, new Set(asked.map(({ symbol }) => symbol)).size, 'nobody twice')
  assert.equal(asked.length, count)
  assert.ok(new Set(asked.map(({ atMs }) => Math.floor(atMs / 1_000))).size >= 8, 'spread')
  polls.hold(true)
  polls.hold(false) // nothing was due meanwhile
  await time.turn(POLL_DEFAULTS.firstWithinMs)
  assert.equal(asked.length, count)
  await time.turn(4 * INTERVAL_MS - POLL_DEFAULTS.firstWithinMs)
  for (let index = 100; index < 100 + count; index++) {
    const mine = asked.filter(({ symbol }) => symbol === `S${index}`).length
    assert.ok(mine >= 4 && mine <= 6, `S${index} was asked ${mine} times`)
  }
  polls.close()
})
