import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertTruth, recordingFiles, replayed, truthOf } from './support/recordings.ts'

/** What each ticker of an option says, by the table it belongs to. */
const TICKER_TABLES = ['tickers', 'mark_prices', 'index_prices', 'open_interests']

test('replay of the Deribit capture should give the true books, and every ticker in each table it speaks of', async (t) => {
  const files = recordingFiles(t, 'cryptofeed/DERIBIT.ws.1.0.gz', 'cryptofeed/DERIBIT.0.gz')
  if (files === undefined) return
  const truth = truthOf('cryptofeed_DERIBIT')
  const result = await replayed(...files, '--market', 'deribit', '--format', 'cryptofeed')
  const listsOfInstruments = 4
  assert.equal(result.answer.messages, (truth.recording.ws_messages as number) + listsOfInstruments)
  assert.equal(result.answer.rejected, 0)
  const symbols = Object.keys(truth.symbols)
  assert.deepEqual(
    Object.keys(result.answer.instruments).sort(),
    symbols.map((symbol) => `deribit.option.${symbol}`),
  )
  for (const [symbol, one] of Object.entries(truth.symbols)) {
    const id = `deribit.option.${symbol}`
    assertTruth(result, id, one)
    for (const table of TICKER_TABLES) {
      const rows = result.rows.filter((row) => row['instrument'] === id && row['table'] === table)
      assert.equal(rows.length, one.ticker?.count, `${id} ${table}`)
      assert.equal(rows.at(-1)?.['event_ns'], `${one.ticker?.last['timestamp']}000000`, `${id} ${table}`)
    }
    const last = (table: string) => result.rows.findLast((row) => row['instrument'] === id && row['table'] === table)
    const said = one.ticker?.last ?? {}
    assert.equal(last('mark_prices')?.['mark_price'], said['mark_price'], id)
    assert.equal(last('index_prices')?.['index_price'], said['index_price'], id)
    assert.equal(last('open_interests')?.['open_interest'], said['open_interest'], id)
    assert.equal(last('tickers')?.['bid_price'], said['best_bid_price'], id)
    assert.equal(last('tickers')?.['ask_quantity'], said['best_ask_amount'], id)
  }
})

test('replay of the Deribit capture as one market should know the same instruments', async (t) => {
  const files = recordingFiles(t, 'cryptofeed/DERIBIT.ws.1.0.gz')
  if (files === undefined) return
  const whole = await replayed(...files, '--market', 'deribit')
  const one = await replayed(...files, '--market', 'deribit.option')
  assert.deepEqual(one.answer, whole.answer)
})
