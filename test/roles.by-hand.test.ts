/** Instruments that are added and removed by hand: what is taken, what is refused, and what a restart knows. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Fault } from '../engine/base/fault.ts'
import { ByHand, type Entries, type Picked } from '../engine/roles/by-hand.ts'
import { SILENT, temporaryDirectory } from './support/embedded.ts'

const LISTED = ['BTCUSDT', 'ETHUSDT', 'SOLUSDT', 'BTC-27DEC24-100000-C']

/** A roster that knows two markets and what they list. */
class Roster implements Picked {
  byHand: Entries = {}
  readonly calls: string[] = []
  readonly collected: Set<string>

  constructor(...collected: string[]) {
    this.collected = new Set(collected)
  }

  isCollected(id: string): boolean {
    return this.collected.has(id)
  }

  async addInstruments(ids: readonly string[]): Promise<never[]> {
    this.calls.push(`add ${ids.join(' ')}`)
    for (const id of ids) {
      const symbol = id.split('.').slice(2).join('.')
      if (!id.startsWith('binance.')) throw new Fault('UNKNOWN_MARKET', `${id} is of no market that is collected`)
      if (!LISTED.includes(symbol))
        throw new Fault('UNKNOWN_SYMBOL', `binance lists no ${symbol}; did you mean ETHUSDT?`)
    }
    for (const id of ids) this.#say(id, '')
    return []
  }

  async removeInstruments(ids: readonly string[]): Promise<never[]> {
    this.calls.push(`remove ${ids.join(' ')}`)
    for (const id of ids) this.#say(id, '!')
    return []
  }

  async restore(entries: Entries): Promise<void> {
    this.byHand = entries
  }

  #say(id: string, sign: string): void {
    const [exchange, market, ...symbol] = id.split('.')
    const key = `${exchange}.${market}`
    this.byHand = { ...this.byHand, [key]: [...(this.byHand[key] ?? []), `${sign}${symbol.join('.')}`] }
    if (sign === '') this.collected.add(id)
    else this.collected.delete(id)
  }
}

const name = (id: string) => {
  const [exchange = '', market = '', ...symbol] = id.split('.')
  return { exchange, market, symbol: symbol.join('.') }
}

function rig(t: TestContext, roster: Roster) {
  const path = join(temporaryDirectory(t), 'data', 'by-hand.json')
  const byHand = new ByHand(path, roster, SILENT)
  const change = (add: string[], remove: string[]) => byHand.change({ add: add.map(name), remove: remove.map(name) })
  return { path, byHand, change }
}

test('a change by hand should ask each market once, and say what it took', async (t) => {
  const roster = new Roster('binance.usdm.BTCUSDT')
  const { change } = rig(t, roster)
  const add = ['binance.usdm.ETHUSDT', 'binance.usdm.SOLUSDT', 'binance.spot.ETHUSDT']
  assert.deepEqual(await change(add, ['binance.usdm.BTCUSDT']), {
    added: add.map(name),
    removed: [name('binance.usdm.BTCUSDT')],
    refused: [],
  })
  assert.deepEqual(roster.calls, [
    'add binance.usdm.ETHUSDT binance.usdm.SOLUSDT',
    'add binance.spot.ETHUSDT',
    'remove binance.usdm.BTCUSDT',
  ])
})

test('a change by hand should refuse each name with its own reason and take the others', async (t) => {
  const { change } = rig(t, new Roster())
  const { added, refused } = await change(
    ['binance.usdm.ETHUSD', 'binance.usdm.ETHUSDT', 'okx.swap.BTC-USDT-SWAP', 'binance.usdm.*', 'binance.usdm.top:20'],
    ['binance.usdm.SOLUSDT'],
  )
  assert.deepEqual(added, [name('binance.usdm.ETHUSDT')])
  assert.deepEqual(refused, [
    'binance.usdm.* names no single instrument: rules belong into the configuration',
    'binance.usdm.top:20 names no single instrument: rules belong into the configuration',
    'binance lists no ETHUSD; did you mean ETHUSDT?',
    'okx.swap.BTC-USDT-SWAP is of no market that is collected',
    'binance.usdm.SOLUSDT is not collected',
  ])
})

test('a change by hand should count after a restart, and a damaged file should be ignored', async (t) => {
  const first = rig(t, new Roster('binance.usdm.BTCUSDT'))
  await first.change(['binance.usdm.BTC-27DEC24-100000-C'], ['binance.usdm.BTCUSDT'])
  const entries = { 'binance.usdm': ['BTC-27DEC24-100000-C', '!BTCUSDT'] }
  assert.deepEqual(JSON.parse(readFileSync(first.path, 'utf8')), entries)
  const restarted = new Roster()
  await new ByHand(first.path, restarted, SILENT).restore()
  assert.deepEqual(restarted.byHand, entries)
  for (const damaged of ['{"binance.usdm":["ETH', '7', '[]', '{"binance.usdm":"ETHUSDT"}', 'x'.repeat(2_000_000)]) {
    writeFileSync(first.path, damaged)
    const other = new Roster()
    await new ByHand(first.path, other, SILENT).restore()
    assert.deepEqual(other.byHand, {})
  }
  const nothing = new Roster()
  await new ByHand(join(temporaryDirectory(t), 'none.json'), nothing, SILENT).restore()
  assert.deepEqual(nothing.byHand, {})
})

test('changes by hand should come one after the other, and one that fails should not stop the next', async (t) => {
  const roster = new Roster()
  const { change } = rig(t, roster)
  const names = Array.from({ length: 1_001 }, (_, index) => `binance.usdm.C${index}`)
  const [first, second] = await Promise.allSettled([change(names, []), change(['binance.usdm.ETHUSDT'], [])])
  assert.equal(first.status, 'rejected')
  assert.equal(second.status, 'fulfilled')
  assert.deepEqual(roster.calls, ['add binance.usdm.ETHUSDT'])
})
