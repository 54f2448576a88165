import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { DATA } from '../engine/ring/frame.ts'
import { shardRig } from './support/shard-rig.ts'
import { summarise } from '../workers/shard-summary.ts'

/**
 * Real recordings against the truth that a separate slow script computed from them: final book level for level, applied
 * and stale counts, trade totals and ids.
 */
const RECORDINGS = process.env['MARKETPRISM_RECORDINGS'] ?? '../shared/data'
const FILES = [
  ['usdm_btcusdt_20230404', 'usdm'],
  ['usdm_btcusdt_20240808', 'usdm'],
  ['usdm_ethusdt_20240808', 'usdm'],
  ['spot_btcusdt_20240808', 'spot'],
  ['spot_ethusdt_20240808', 'spot'],
  ['cm_btcusd_perp_20240808', 'coinm'],
  ['cm_ethusd_perp_20240808', 'coinm'],
] as const

for (const [name, market] of FILES) {
  test(`shard should turn ${name} into the book and the trades of the truth`, (t) => {
    const file = join(RECORDINGS, 'recordings/hftbacktest', `${name}.gz`)
    if (!existsSync(file)) return t.skip(`no recording at ${file}: set MARKETPRISM_RECORDINGS`)
    const truth = JSON.parse(readFileSync(join(RECORDINGS, 'truth', `${name}.json`), 'utf8'))
    const rig = shardRig({ market, learnUnknown: true, live: false })
    let messages = 0
    for (const line of gunzipSync(readFileSync(file)).toString('utf8').split('\n')) {
      if (line === '') continue
      const space = line.indexOf(' ')
      const ns = BigInt(line.slice(0, space)) * (space > 16 ? 1n : 1000n)
      rig.frame(DATA, line.slice(space + 1), { ns })
      messages++
    }
    rig.finish()
    const { instruments } = summarise(rig.shard)
    const [symbol] = Object.keys(truth.symbols) as [string]
    const expected = truth.symbols[symbol]
    const got = instruments[`binance.${market}.${symbol}`]
    assert.ok(got)
    assert.equal(messages, truth.recording.lines)
    assert.equal(rig.count('messages'), messages)
    assert.equal(rig.count('rejected'), 0)
    assert.equal(got.state, 'LIVE')
    assert.equal(got.lastSeq, String(expected.last_applied.u))
    assert.equal(got.applied, expected.applied)
    assert.equal(got.stale, expected.dropped_stale)
    assert.equal(got.gaps, 0)
    assert.deepEqual(got.bids, expected.final.bids)
    assert.deepEqual(got.asks, expected.final.asks)
    assert.equal(got.bookTickers.count, expected.bookTicker.count)
    const trades = expected.trades.trade
    assert.deepEqual(got.trades, {
      count: trades.count,
      quantity: trades.sum_qty,
      notional: trades.sum_price_x_qty,
      firstId: String(trades.first_id),
      lastId: String(trades.last_id),
    })
    // a message is a mark price, an index price and a funding rate
    assert.equal(rig.count('kind_rows'), 3 * (truth.message_counts['markPrice@1s'] ?? 0))
  })
}
