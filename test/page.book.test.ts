import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { type Random, seededRandom } from '../engine/base/random.ts'
import { projectRoot } from './support/project.ts'

/** The page's own arithmetic, in Node: its modules are plain JavaScript. The oracles are whole numbers and a plain map. */

// biome-ignore lint/suspicious/noExplicitAny: the modules of the page have no types here
const pageModule = (name: string): Promise<any> =>
  import(pathToFileURL(join(projectRoot, 'engine/gateway/page', name)).href)

const decimal = await pageModule('decimal.js')
const { Book } = await pageModule('book.js')
const { rowsOf } = await pageModule('levels.js')
const { compact, durationText, msOf, tickTexts } = await pageModule('format.js')
const { fit } = await pageModule('instruments.js')

const SEED = Number(process.env.TEST_SEED ?? 20_261_121)
const RUNS = 300
const TICK_DIGITS = 2

const upTo = (random: Random, most: number): number => Math.floor(random() * most)
/** 12345 with 2 digits → 123.45, as the gateway writes it. */
function decimalOf(mantissa: number, digits: number): string {
  const text = String(mantissa).padStart(digits + 1, '0')
  return `${text.slice(0, -digits)}.${text.slice(-digits)}`.replace(/\.?0+$/, '')
}

test('page decimals should be exact beyond what a float holds, and read back as they were', () => {
  for (const text of [
    '0',
    '1',
    '-1.5',
    '0.000000000000000001',
    '123456789012345678901.123456789012345678',
    '-0.00000001',
  ])
    assert.equal(decimal.textOf(decimal.units(text)), text)
  assert.equal(decimal.textOf(decimal.units('0.1') + decimal.units('0.2')), '0.3')
  assert.equal(decimal.textOf(decimal.floorTo(decimal.units('-0.3'), decimal.units('0.5'))), '-0.5')
  assert.equal(decimal.textOf(decimal.ceilTo(decimal.units('61807.01'), decimal.units('10'))), '61810')
  assert.equal(decimal.textOf(decimal.commonStep([decimal.units('61807.5'), decimal.units('61810')])), '2.5')
  assert.equal(decimal.grouped(decimal.padded('1234567.5', 3)), '1,234,567.500')
  assert.equal(decimal.padded('0.123456', 2), '0.123456', 'digits are never cut')
  for (const text of ['', '1e5', 'NaN', '1.2.3', '0.1234567890123456789', ' 1'])
    assert.throws(() => decimal.units(text), /not a decimal/)
})

test('page book should be what the updates make of the snapshot, grouped without losing a unit', () => {
  const random = seededRandom(SEED)
  for (let run = 0; run < RUNS; run++) {
    const [bids, asks] = [new Map<number, number>(), new Map<number, number>()]
    for (let index = 0; index < upTo(random, 40); index++) {
      bids.set(5_000 - upTo(random, 300), 1 + upTo(random, 1e9))
      asks.set(5_001 + upTo(random, 300), 1 + upTo(random, 1e9))
    }
    const book = new Book()
    book.anchor({ book_epoch: 1, last_seq: 0, state: 'LIVE', bids: pairs(bids, -1), asks: pairs(asks, 1) })
    for (let seq = 1; seq <= 20; seq++) {
      const changes = { bids: change(random, bids, 4_700), asks: change(random, asks, 5_001) }
      assert.ok(book.tryApply({ book_epoch: 1, last_seq: seq, ...changes }))
    }
    const step = [1, 5, 50][upTo(random, 3)] as number
    for (const [side, levels, sign] of [
      ['bids', bids, -1],
      ['asks', asks, 1],
    ] as const) {
      const kept = book[side].levels.map(({ price, quantity }: Record<string, string>) => [price, quantity])
      assert.deepEqual(kept, pairs(levels, sign), `seed ${SEED}, run ${run}`)
      const round = sign === 1 ? decimal.ceilTo : decimal.floorTo
      const rows = rowsOf(book[side].levels, decimal.units(decimalOf(step, TICK_DIGITS)), round, 1_000)
      const shown = rows.map(({ price, size }: { price: string; size: bigint }) => [price, decimal.textOf(size)])
      assert.deepEqual(shown, groupedPairs(levels, step, sign), `seed ${SEED}, run ${run}, step ${step}`)
    }
  }
})

test('page book should be empty as soon as it is not proven', () => {
  const book = new Book()
  const snapshot = { book_epoch: 3, last_seq: 10, state: 'LIVE', bids: [['1', '1']], asks: [['2', '1']] }
  book.anchor(snapshot)
  assert.ok(book.tryApply({ book_epoch: 3, last_seq: 9, bids: [['1', '7']], asks: [] }))
  assert.equal(book.bestBid.quantity, '1', 'what the snapshot has already changes nothing')
  assert.ok(!book.tryApply({ book_epoch: 4, last_seq: 11, bids: [['1', '7']], asks: [] }))
  assert.deepEqual([book.isLive, book.bids.levels, book.asks.levels], [false, [], []])
  assert.ok(book.tryApply({ book_epoch: 4, last_seq: 12, bids: [['1', '7']], asks: [] }))
  assert.deepEqual(book.bids.levels, [], 'nothing is applied before the next snapshot')
  book.anchor({ ...snapshot, state: 'STALE' })
  assert.deepEqual(book.bids.levels, [])
})

test('page numbers should be short and of the right size', () => {
  assert.deepEqual([0, 7, 999, 1_234, 45_678, 1_000_000, 2.5e9].map(compact), [
    '0',
    '7',
    '999',
    '1.23 k',
    '45.7 k',
    '1.00 M',
    '2.50 B',
  ])
  assert.deepEqual([0.25, 3.21, 450, 1_500, 90_000, 7_500_000].map(durationText), [
    '250 µs',
    '3.2 ms',
    '450 ms',
    '1.5 s',
    '1 min 30 s',
    '2 h 5 min',
  ])
  assert.deepEqual(tickTexts([995, 997.5, 1_000, 1_002.5]), ['0.9950 k', '0.9975 k', '1.0000 k', '1.0025 k'])
  assert.deepEqual(tickTexts([0, 20_000, 40_000], '/s'), ['0 k/s', '20 k/s', '40 k/s'])
  assert.equal(msOf('1723118400123456789'), 1_723_118_400_123.456)
  assert.ok(Number.isNaN(msOf('0')), 'no time is no time of 1970')
})

test('page search should find letters in their order, whole words before scattered letters', () => {
  const names = ['binance.usdm.BTCUSDT', 'binance.spot.TBTCUSDT', 'okx.swap.ETH-USDT-SWAP', 'bybit.linear.BCHUSDT']
  const score = (wanted: string, name: string): number =>
    fit(wanted, name.toLowerCase())?.score ?? Number.NEGATIVE_INFINITY
  const best = (wanted: string): string | undefined => [...names].sort((a, b) => score(wanted, b) - score(wanted, a))[0]
  assert.equal(best('btc'), 'binance.usdm.BTCUSDT')
  assert.equal(best('ethswap'), 'okx.swap.ETH-USDT-SWAP')
  assert.equal(fit('xyz', 'binance.usdm.btcusdt'), undefined)
})

/** As the gateway sends a side: best first. */
function pairs(levels: ReadonlyMap<number, number>, sign: 1 | -1): [string, string][] {
  return [...levels]
    .sort(([a], [b]) => (a - b) * sign)
    .map(([tick, size]) => [decimalOf(tick, TICK_DIGITS), decimalOf(size, 8)])
}

/** Some levels set, some deleted, some deleted that are not there; the map is changed with them. */
function change(random: Random, levels: Map<number, number>, lowest: number): [string, string][] {
  const changed: [string, string][] = []
  for (let index = 0; index < upTo(random, 8); index++) {
    const tick = lowest + upTo(random, 300)
    const size = random() < 0.4 ? 0 : 1 + upTo(random, 1e9)
    if (size === 0) levels.delete(tick)
    else levels.set(tick, size)
    changed.push([decimalOf(tick, TICK_DIGITS), size === 0 ? '0' : decimalOf(size, 8)])
  }
  return changed
}

function groupedPairs(levels: ReadonlyMap<number, number>, step: number, sign: 1 | -1): [string, string][] {
  const groups = new Map<number, number>()
  for (const [tick, size] of levels) {
    const group = sign === 1 ? Math.ceil(tick / step) * step : Math.floor(tick / step) * step
    groups.set(group, (groups.get(group) ?? 0) + size)
  }
  return pairs(groups, sign)
}
