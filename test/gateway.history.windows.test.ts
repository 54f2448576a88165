import assert from 'node:assert/strict'
import { test } from 'node:test'
import { History } from '../engine/gateway/history/facts.ts'
import type { Params, Store } from '../engine/gateway/store.ts'

const NEWEST_NS = 1_700_000_000_000_000_000n
const LIMIT = 100
const SECOND_NS = 1_000_000_000n

/** As the engine writes a time. */
const secondsOf = (ns: bigint): string => `${ns / SECOND_NS}.${String(ns % SECOND_NS).padStart(9, '0')}`

/** A store that has a trade every `everyNs` and notes how far back each question reached. */
function storeOf(everyNs: bigint) {
  const widths: bigint[] = []
  const rows = async (_sql: string, params: Params = {}): Promise<unknown[]> => {
    if (params['limit'] === undefined) return [{ oldest: '0', newest: String(NEWEST_NS) }]
    const low = params['low'] as bigint
    widths.push(NEWEST_NS - low)
    const count = Math.min(Number(params['limit']), Number((NEWEST_NS - low) / everyNs))
    return Array.from({ length: count }, (_, index) => {
      const at = secondsOf(NEWEST_NS - BigInt(index) * everyNs)
      return { received_ns: at, event_ns: at, trade_ns: at }
    })
  }
  return { store: { rows } as unknown as Store, widths }
}

test('history should look as far back as the rows of the last page took, every time', async () => {
  for (const everyNs of [SECOND_NS / 1_000n, SECOND_NS / 10n, SECOND_NS, 30n * SECOND_NS]) {
    const { store, widths } = storeOf(everyNs)
    const history = new History(store, () => 0)
    const instrument = { exchange: 'binance', market: 'usdm', symbol: 'BTCUSDT' }
    const page = () =>
      history.page('trades', {
        instrument,
        order: 'desc',
        limit: LIMIT,
        equal: {},
        range: { fromNs: undefined, toNs: undefined },
        cursor: undefined,
        signal: new AbortController().signal,
      })
    await page()
    const first = widths.length
    for (let again = 0; again < 10; again++) assert.equal((await page()).rows.length, LIMIT)
    assert.equal(widths.length - first, 10, 'one question each')
    const rowsNs = everyNs * BigInt(LIMIT + 1)
    for (const width of widths.slice(first))
      assert.ok(width >= rowsNs && width <= 3n * rowsNs + SECOND_NS, `${width} ns for ${rowsNs} ns of rows`)
  }
})
