import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { ConnectBudget } from '../engine/feed/connects.ts'
import {
  CEILING_SHARE,
  GUARD_MS,
  type Priority,
  PRIORITIES,
  WEIGHT_DEFAULTS,
  WeightLedger,
} from '../engine/feed/weight.ts'
import { settle, TurnedTime } from './support/feed-time.ts'

const MINUTE_MS = 60_000
/** The middle of a minute, far from its turn. */
const MIDDLE_MS = 1_732_000_000_000 - (1_732_000_000_000 % MINUTE_MS) + 30_000

function ledgerOf(limit: number, share: number, time: TurnedTime): WeightLedger {
  return new WeightLedger(
    { ...WEIGHT_DEFAULTS, exchange: 'binance', weightPerMinute: { spot: limit, usdm: limit }, share },
    time,
  )
}

/** Asks and writes down when it was granted. */
function ask(
  ledger: WeightLedger,
  time: TurnedTime,
  log: string[],
  name: string,
  weight: number,
  priority: Priority,
): void {
  ledger.acquire('spot', weight, priority).then(
    () => log.push(`${name} ${time.nowMs() - MIDDLE_MS}`),
    (fault: Error & { code: string }) => log.push(`${name} ${fault.code}`),
  )
}

test('weight ledger should grant at once what fits and the rest in the next minute', async () => {
  const time = new TurnedTime(MIDDLE_MS)
  const ledger = ledgerOf(100, 0.5, time)
  const log: string[] = []
  for (const name of ['a', 'b', 'c']) ask(ledger, time, log, name, 20, 'start')
  await settle()
  assert.deepEqual(log, ['a 0', 'b 0'])
  assert.deepEqual(ledger.stats('spot').queued, { gap: 0, start: 1, audit: 0 })
  assert.equal(ledger.stats('spot').etaMs, 30_000 + GUARD_MS)
  await time.turn(2 * MINUTE_MS)
  assert.deepEqual(log, ['a 0', 'b 0', `c ${30_000 + GUARD_MS}`])
  ledger.close()
})

test('weight ledger should serve gaps before starts before audits, and no small request before a large one', async () => {
  const time = new TurnedTime(MIDDLE_MS)
  const ledger = ledgerOf(100, 0.5, time)
  const log: string[] = []
  ask(ledger, time, log, 'fill', 45, 'start')
  ask(ledger, time, log, 'audit', 5, 'audit')
  ask(ledger, time, log, 'start', 10, 'start')
  ask(ledger, time, log, 'gap', 30, 'gap')
  ask(ledger, time, log, 'late audit', 1, 'audit')
  await time.turn(MINUTE_MS)
  const order = log.map((line) => line.replace(/ \d+$/, ''))
  assert.deepEqual(order, ['fill', 'audit', 'gap', 'start', 'late audit'])
  ledger.close()
})

test('weight ledger should stop when the venue counts more than we do, and go on in the next minute', async () => {
  const time = new TurnedTime(MIDDLE_MS)
  const ledger = ledgerOf(100, 0.5, time)
  const log: string[] = []
  const grant = await ledger.acquire('spot', 1, 'start')
  ledger.observe(grant, 95)
  ask(ledger, time, log, 'a', 5, 'gap')
  await time.turn(30_000 + GUARD_MS - 1)
  assert.deepEqual(log, [])
  await time.turn(1)
  assert.equal(log.length, 1)
  ledger.close()
})

test('weight ledger should hold every market of the venue during a ban', async () => {
  const time = new TurnedTime(MIDDLE_MS)
  const ledger = ledgerOf(100, 0.5, time)
  ledger.ban(125_000)
  const log: string[] = []
  ask(ledger, time, log, 'spot', 1, 'gap')
  ledger.acquire('usdm', 1, 'audit').then(() => log.push(`usdm ${time.nowMs() - MIDDLE_MS}`))
  await time.turn(124_999)
  assert.deepEqual(log, [])
  assert.equal(ledger.stats('spot').etaMs, 1)
  await time.turn(1)
  assert.deepEqual(log.sort(), ['spot 125000', 'usdm 125000'])
  ledger.close()
})

test('weight ledger should refuse what can never be granted, and everything that waits when it closes', async () => {
  const time = new TurnedTime(MIDDLE_MS)
  const ledger = ledgerOf(100, 0.5, time)
  await assert.rejects(ledger.acquire('spot', 51, 'gap'), {
    code: 'WEIGHT_OVER_BUDGET',
    message: /weight 51 .* 50 a minute for binance\.spot/,
  })
  const log: string[] = []
  ask(ledger, time, log, 'a', 50, 'gap')
  ask(ledger, time, log, 'b', 50, 'gap')
  ledger.close()
  await settle()
  assert.deepEqual(log, ['a 0', 'b WEIGHT_CLOSED'])
  assert.equal(time.timerCount, 0)
})

test('weight ledger should never exceed its budget in any minute a venue within the guard could mean, and never idle', async () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  const random = seededRandom(seed)
  for (let round = 0; round < 60; round++) {
    const limit = 20 + Math.floor(random() * 200)
    const share = 0.2 + random() * 0.8
    const budget = Math.floor(limit * Math.min(share, CEILING_SHARE))
    const time = new TurnedTime(MIDDLE_MS + Math.floor(random() * MINUTE_MS))
    const ledger = ledgerOf(limit, share, time)
    const grants: { atMs: number; weight: number }[] = []
    let askedWeight = 0
    for (let step = 0; step < 60; step++) {
      const weight = 1 + Math.floor(random() * (budget / 2))
      const priority = PRIORITIES[Math.floor(random() * 3)] as Priority
      askedWeight += weight
      void ledger.acquire('spot', weight, priority).then((grant) => grants.push({ atMs: grant.grantedMs, weight }))
      if (random() < 0.5) await time.turn(Math.floor(random() * 8_000))
    }
    const startMs = time.nowMs()
    // the model of "never idle": two requests of half a budget fit every minute, so the queue is gone in due time
    await time.turn(62 * MINUTE_MS)
    assert.equal(
      grants.reduce((sum, grant) => sum + grant.weight, 0),
      askedWeight,
      `all granted after ${time.nowMs() - startMs} ms`,
    )
    for (let shiftMs = -GUARD_MS; shiftMs <= GUARD_MS; shiftMs += 250) {
      const minutes = new Map<number, number>()
      for (const { atMs, weight } of grants) {
        const minute = Math.floor((atMs + shiftMs) / MINUTE_MS)
        minutes.set(minute, (minutes.get(minute) ?? 0) + weight)
      }
      for (const [minute, weight] of minutes)
        assert.ok(weight <= budget, `seed ${seed}: ${weight} of ${budget} in minute ${minute}, clock off by ${shiftMs}`)
    }
    ledger.close()
  }
})

test('weight ledger should grant each request at the very moment that a slow model grants it', async () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  const random = seededRandom(seed)
  for (let round = 0; round < 40; round++) {
    const budget = 20 + Math.floor(random() * 100)
    const time = new TurnedTime(MIDDLE_MS + Math.floor(random() * MINUTE_MS))
    const ledger = ledgerOf(budget * 2, 0.5, time)
    const grantedMs: number[] = []
    const asked: { atMs: number; weight: number }[] = []
    for (let step = 0; step < 40; step++) {
      const weight = 1 + Math.floor(random() * budget)
      asked.push({ atMs: time.nowMs(), weight })
      void ledger.acquire('spot', weight, 'gap').then((grant) => grantedMs.push(grant.grantedMs))
      if (random() < 0.4) await time.turn(Math.floor(random() * 20_000))
    }
    await time.turn(90 * MINUTE_MS)
    assert.deepEqual(grantedMs, modelGrants(asked, budget), `seed ${seed}, round ${round}`)
    ledger.close()
  }
})

/** First come, first served: the first moment at which a request fits, whichever way the venue's clock is off. */
function modelGrants(asked: readonly { atMs: number; weight: number }[], budget: number): number[] {
  const granted: { atMs: number; weight: number }[] = []
  const minute = (atMs: number, shiftMs: number) => Math.floor((atMs + shiftMs) / MINUTE_MS)
  const weightIn = (each: number) =>
    granted
      .filter(({ atMs }) => [-GUARD_MS, GUARD_MS].some((shift) => minute(atMs, shift) === each))
      .reduce((sum, { weight }) => sum + weight, 0)
  for (const { atMs, weight } of asked) {
    let candidateMs = Math.max(atMs, granted.at(-1)?.atMs ?? 0)
    const fits = () => [-GUARD_MS, GUARD_MS].every((shift) => weightIn(minute(candidateMs, shift)) + weight <= budget)
    while (!fits()) candidateMs = Math.floor(candidateMs / GUARD_MS + 1) * GUARD_MS // minutes and guards turn on whole seconds
    granted.push({ atMs: candidateMs, weight })
  }
  return granted.map(({ atMs: grantMs }) => grantMs)
}

test('connect budget should hold in every window and keep its distance', () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  const random = seededRandom(seed)
  const options = { connectsMax: 30, windowMs: 5_000, spacingMs: 20 }
  const budget = new ConnectBudget(options)
  const times: number[] = []
  let nowMs = 0
  for (let attempt = 0; attempt < 2_000; attempt++) {
    if (random() < 0.3) nowMs += random() * 1_000
    times.push(nowMs + budget.reserveMs(nowMs))
  }
  times.forEach((atMs, index) => {
    if (index > 0) assert.ok(atMs - (times[index - 1] as number) >= options.spacingMs - 1e-6)
    const first = times[index - options.connectsMax]
    if (first !== undefined) assert.ok(atMs - first >= options.windowMs - 1e-6, `seed ${seed}: attempt ${index}`)
  })
  const idle = new ConnectBudget(options)
  assert.equal(idle.reserveMs(1e9), 0, 'nobody waits without need')
})

test('weight ledger should keep a part of the budget back for gaps', async () => {
  const time = new TurnedTime(MIDDLE_MS)
  const ledger = new WeightLedger(
    { ...WEIGHT_DEFAULTS, exchange: 'binance', weightPerMinute: { spot: 100 }, share: 0.5, gapReserveShare: 0.4 },
    time,
  )
  const log: string[] = []
  for (const name of ['start1', 'start2']) ask(ledger, time, log, name, 20, 'start') // 30 of 50 are for starts
  await settle()
  assert.deepEqual(log, ['start1 0'])
  for (const name of ['gap1', 'gap2']) ask(ledger, time, log, name, 15, 'gap')
  await settle()
  assert.deepEqual(log, ['start1 0', 'gap1 0', 'gap2 0'])
  await time.turn(2 * MINUTE_MS)
  assert.deepEqual(log.at(-1), `start2 ${30_000 + GUARD_MS}`)
  ledger.close()
})

test('weight ledger should let markets of one host share one account, by the strictest of their limits', async () => {
  const time = new TurnedTime(MIDDLE_MS)
  const ledger = new WeightLedger(
    {
      ...WEIGHT_DEFAULTS,
      exchange: 'deribit',
      weightPerMinute: { option: 100, perpetual: 80, index: 100 },
      pools: { option: 'one', perpetual: 'one', index: 'other' },
      share: 0.5,
    },
    time,
  )
  const granted: string[] = []
  for (const [market, weight] of [
    ['option', 30],
    ['perpetual', 10],
    ['option', 1],
    ['index', 50],
  ] as const)
    void ledger.acquire(market, weight, 'start').then(() => granted.push(`${market} ${weight}`))
  await settle()
  assert.deepEqual(granted, ['option 30', 'perpetual 10', 'index 50'])
  assert.equal(ledger.stats('perpetual').used, 40)
  assert.equal(ledger.stats('option').budget, 40)
  await time.turn(2 * MINUTE_MS)
  assert.equal(granted.length, 4)
  ledger.close()
})

test('weight ledger should keep to its part of the weight in every short window, where the venue counts in these', async () => {
  const seed = freshSeed()
  console.log(`seed ${seed}`)
  const random = seededRandom(seed)
  const time = new TurnedTime(MIDDLE_MS)
  const windowMs = 2_000
  const ledger = new WeightLedger(
    { ...WEIGHT_DEFAULTS, exchange: 'okx', weightPerMinute: { swap: 600 }, windowMs: { swap: windowMs }, share: 0.9 },
    time,
  )
  const grants: { atMs: number; weight: number }[] = []
  let wanted = 0
  for (let request = 0; request < 400; request++) {
    const weight = 1 + Math.floor(random() * 4)
    wanted += weight
    void ledger.acquire('swap', weight, 'audit').then(({ grantedMs }) => grants.push({ atMs: grantedMs, weight }))
    if (random() < 0.1) await time.turn(Math.floor(random() * 3_000))
  }
  await time.turn(10 * MINUTE_MS)
  assert.equal(
    grants.reduce((sum, { weight }) => sum + weight, 0),
    wanted,
    'all of them',
  )
  for (const { atMs } of grants) {
    const inWindow = grants.filter((grant) => grant.atMs >= atMs && grant.atMs < atMs + windowMs)
    const used = inWindow.reduce((sum, { weight }) => sum + weight, 0)
    assert.ok(used <= 18, `${used} within ${windowMs} ms`)
  }
  ledger.close()
})
