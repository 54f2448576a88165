import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fault } from '../engine/base/fault.ts'
import { createLog } from '../engine/base/log.ts'
import type { FeedRules, Instrument, PollRule, RestRequest } from '../engine/exchanges/exchange.ts'
import { feedRules } from '../engine/exchanges/index.ts'
import { Roster, type RosterEvents } from '../engine/roles/roster.ts'
import type { MarketNetwork } from '../engine/roles/network.ts'
import { chosenMarkets, type MarketChoice, planSettings } from '../engine/roles/settings.ts'
import { Placement } from '../engine/route/placement.ts'
import { plan } from '../engine/route/plan.ts'
import { settle, TurnedTime } from './support/feed-time.ts'
import { CONFIG } from './support/settings.ts'

const KEY = 'binance.spot'
const BINANCE = feedRules().get('binance') as FeedRules
const POLL: PollRule = {
  name: 'open_interest',
  channel: 'book',
  intervalMs: 60_000,
  request: ({ symbol }) => ({ path: `/poll/${symbol}`, weight: 1 }),
}
/** Binance spot, but its list is plain JSON of ours, and it has something to poll. */
const RULES: FeedRules = {
  ...BINANCE,
  markets: { spot: { ...(BINANCE.markets['spot'] as FeedRules['markets'][string]), polls: [POLL] } },
  readInstruments: (_market, body) => JSON.parse(body) as Instrument[],
  readVolumes: (_market, body) => new Map(Object.entries(JSON.parse(body) as Record<string, number>)),
}

function instrument(symbol: string, change: Partial<Instrument> = {}): Instrument {
  return {
    id: `${KEY}.${symbol}`,
    exchange: 'binance',
    market: 'spot',
    symbol,
    priceScale: 2,
    quantityScale: 5,
    status: 'TRADING',
    ...change,
  }
}

function rig(entries: readonly string[], first: readonly string[]) {
  const choice = {
    ...(chosenMarkets(CONFIG).find(({ key }) => key === KEY) as MarketChoice),
    instruments: entries,
    universeSeconds: 60,
  }
  const rules = new Map([['binance', RULES]])
  const settings = { ...planSettings(CONFIG), shardCount: 2, markets: { [KEY]: choice } }
  const made = plan(
    rules,
    first.map((symbol) => instrument(symbol)),
    settings,
  )
  const placement = new Placement(rules, settings, made)
  const time = new TurnedTime(1_700_000_000_000)
  const venue = {
    listed: first.map((symbol) => instrument(symbol)),
    volumes: {} as Record<string, number>,
    isDown: false,
  }
  const asked: string[] = []
  const answer = async ({ path }: RestRequest): Promise<string> => {
    asked.push(path)
    if (venue.isDown) throw new Fault('REST_UNREACHABLE', 'down')
    return JSON.stringify(path.includes('24hr') ? venue.volumes : venue.listed)
  }
  const rest = { text: answer, get: async (request: RestRequest) => Buffer.from(await answer(request)) }
  const log: string[] = []
  const name = ({ id }: Instrument): string => id.slice(KEY.length + 1)
  const names = (list: readonly { instrument: Instrument }[]): string =>
    list.map((each) => name(each.instrument)).join()
  const events: RosterEvents = {
    onInstrument: (place) =>
      log.push(`instrument ${place.shard}/${place.index} ${name(place.instrument)} ${place.instrument.status}`),
    onJoin: ({ connection, streams, instruments }) =>
      log.push(`join ${connection} ${names(instruments)} ${streams.join()}`),
    onOpened: ({ index, streams }) => log.push(`opened ${index} ${streams.join()}`),
    onPart: ({ connection, streams, instruments }) =>
      log.push(`part ${connection} ${names(instruments)} ${streams.join()}`),
    onClosed: (connection) => log.push(`closed ${connection}`),
    onRemoved: (place, reason) => log.push(`removed ${place.shard}/${place.index} ${name(place.instrument)} ${reason}`),
    onPoll: (place, poll) => log.push(`poll ${poll} ${name(place.instrument)}`),
  }
  const network = { choice, rest } as unknown as MarketNetwork
  const roster = new Roster(
    { rules, markets: new Map([[KEY, network]]), placement, time, random: () => 0.5, log: createLog('silent', 'test') },
    events,
  )
  const symbols = () => placement.collected().map(name).sort()
  const taken = () => log.splice(0).filter((line) => !line.startsWith('poll'))
  return { roster, placement, time, venue, asked, log, symbols, taken }
}

test('roster should collect a listing and end a delisting by schedule, and touch nobody else', async () => {
  const { roster, time, venue, symbols, taken, placement } = rig(['*USDT'], ['BTCUSDT', 'ETHUSDT'])
  const others = new Map(placement.collected().map(({ id }) => [id, JSON.stringify(placement.find(id))]))
  roster.start()
  venue.listed = [
    instrument('BTCUSDT'),
    instrument('ETHUSDT'),
    instrument('NEWUSDT', { status: 'PRE', isTrading: false, isPreOpen: true }),
  ]
  await time.turn(70_000)
  const [told, joined, ...rest] = taken()
  assert.match(told ?? '', /^instrument \d\/1 NEWUSDT PRE$/, 'the shard hears of it first')
  assert.match(joined ?? '', /^join \d NEWUSDT newusdt@depth@100ms,newusdt@trade,newusdt@bookTicker$/)
  assert.deepEqual(rest, [])
  for (const [id, before] of others) assert.equal(JSON.stringify(placement.find(id)), before)
  venue.listed = [instrument('BTCUSDT'), instrument('NEWUSDT')]
  await time.turn(70_000)
  const lines = taken()
  assert.equal(lines.length, 4, lines.join('\n'))
  assert.match(lines[0] ?? '', /^part \d ETHUSDT ethusdt@depth@100ms,ethusdt@trade,ethusdt@bookTicker$/)
  assert.match(lines[1] ?? '', /^removed \d\/0 ETHUSDT DELISTED$/)
  assert.ok(
    lines.some((line) => /^instrument \d\/1 NEWUSDT TRADING$/.test(line)),
    'it trades now',
  )
  assert.deepEqual(symbols(), ['BTCUSDT', 'NEWUSDT'])
  assert.deepEqual(
    { ...roster.stats(KEY), polls: undefined },
    { added: 1, removed: 1, changed: 1, refreshes: 2, refreshFailures: 0, polls: undefined },
  )
  roster.close()
  await time.turn(10 * 60_000)
  assert.equal(time.timerCount, 0)
})

test('roster should keep what halts, tell new steps, and outlive a venue that is down', async () => {
  const { roster, time, venue, symbols, taken } = rig(['*USDT', 'GONEUSDT'], ['BTCUSDT', 'ETHUSDT'])
  roster.start()
  venue.isDown = true
  await time.turn(70_000)
  assert.deepEqual([taken(), roster.stats(KEY).refreshFailures], [[], 1])
  venue.isDown = false
  venue.listed = [
    instrument('BTCUSDT', { status: 'BREAK' }),
    instrument('ETHUSDT', { tickSize: '0.001', priceScale: 3 }),
  ]
  await time.turn(70_000)
  assert.deepEqual(
    taken().map((line) => line.replace(/\d\/\d/, '')),
    ['instrument  BTCUSDT BREAK', 'instrument  ETHUSDT TRADING'],
  )
  assert.deepEqual(symbols(), ['BTCUSDT', 'ETHUSDT'])
  await time.turn(70_000)
  assert.deepEqual(taken(), [], 'nothing new, nothing said')
  roster.close()
})

test('roster should add and remove by hand, and remember it at the next reading', async () => {
  const { roster, time, venue, symbols, taken } = rig(['BTCUSDT'], ['BTCUSDT'])
  venue.listed.push(instrument('ETHUSDT'), instrument('SOLUSDT'))
  roster.start()
  await roster.addInstruments([`${KEY}.ethusdt`])
  assert.deepEqual(symbols(), ['BTCUSDT', 'ETHUSDT'])
  await assert.rejects(roster.addInstruments([`${KEY}.ETHUSTD`]), {
    code: 'UNKNOWN_SYMBOL',
    message: /did you mean ETHUSDT/,
  })
  await assert.rejects(roster.addInstruments(['okx.swap.X']), {
    code: 'UNKNOWN_MARKET',
    message: /enabled are binance\.spot/,
  })
  await time.turn(70_000)
  assert.deepEqual(symbols(), ['BTCUSDT', 'ETHUSDT'], 'the mistake is forgotten, the rest is not')
  taken()
  await roster.removeInstruments([`${KEY}.BTCUSDT`])
  assert.deepEqual(symbols(), ['ETHUSDT'])
  assert.ok(taken().some((line) => /^removed \d\/0 BTCUSDT REMOVED$/.test(line)))
  await time.turn(70_000)
  assert.deepEqual(symbols(), ['ETHUSDT'])
  await roster.addInstruments([`${KEY}.BTCUSDT`])
  assert.ok(
    taken().some((line) => /^instrument \d\/0 BTCUSDT TRADING$/.test(line)),
    'it comes back to its place',
  )
  roster.close()
})

test('roster should take over what was said by hand before a restart, and leave out markets of another time', async () => {
  const first = rig(['BTCUSDT'], ['BTCUSDT'])
  first.venue.listed.push(instrument('ETHUSDT'))
  await first.roster.addInstruments([`${KEY}.ETHUSDT`])
  await first.roster.removeInstruments([`${KEY}.BTCUSDT`])
  assert.deepEqual(first.roster.byHand, { [KEY]: ['ETHUSDT', '!BTCUSDT'] })
  first.roster.close()
  const { roster, venue, symbols } = rig(['BTCUSDT'], ['BTCUSDT'])
  venue.listed.push(instrument('ETHUSDT'))
  await roster.restore({ ...first.roster.byHand, [`${KEY}2`]: ['X'] })
  assert.deepEqual(symbols(), ['ETHUSDT'])
  assert.deepEqual([roster.isCollected(`${KEY}.ETHUSDT`), roster.isCollected(`${KEY}.BTCUSDT`)], [true, false])
  await roster.restore({ [KEY]: ['ETHUSDT', 'GONEUSDT'] }) // delisted meanwhile: waited for, no mistake
  assert.deepEqual(symbols(), ['BTCUSDT', 'ETHUSDT'])
  roster.close()
})

test('roster should take over the instruments of a configuration that was read again', async () => {
  const { roster, venue, symbols, asked } = rig(['BTCUSDT'], ['BTCUSDT'])
  venue.listed.push(instrument('ETHUSDT'), instrument('SOLUSDT'))
  venue.volumes = { SOLUSDT: 9, ETHUSDT: 5, BTCUSDT: 1 }
  const choice = chosenMarkets(CONFIG).find(({ key }) => key === KEY) as MarketChoice
  await roster.reload([{ ...choice, instruments: ['top:2'] }])
  assert.deepEqual(symbols(), ['ETHUSDT', 'SOLUSDT'])
  assert.ok(asked.some((path) => path.includes('24hr')))
  roster.close()
})

test('roster should poll what it collects, from the beginning and to the end', async () => {
  const { roster, time, venue, log } = rig(['*'], ['BTCUSDT'])
  roster.start()
  venue.listed.push(instrument('ETHUSDT'))
  await time.turn(180_000)
  const polled = (symbol: string) => log.filter((line) => line === `poll open_interest ${symbol}`).length
  assert.ok(polled('BTCUSDT') >= 3, `${polled('BTCUSDT')}`)
  assert.ok(polled('ETHUSDT') >= 1)
  venue.listed.shift()
  await roster.refresh(KEY)
  await settle()
  const before = polled('BTCUSDT')
  await time.turn(180_000)
  assert.equal(polled('BTCUSDT'), before)
  roster.close()
})
