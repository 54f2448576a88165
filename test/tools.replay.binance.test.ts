import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertTruth, recordingFiles, replayed, truthOf } from './support/recordings.ts'

const WITH_LOCAL_TIMES: readonly (readonly [string, string])[] = [
  ['usdm_btcusdt_20240808', 'binance.usdm'],
  ['usdm_ethusdt_20240808', 'binance.usdm'],
  ['usdm_btcusdt_20230404', 'binance.usdm'],
  ['spot_btcusdt_20240808', 'binance.spot'],
  ['spot_ethusdt_20240808', 'binance.spot'],
  ['cm_btcusd_perp_20240808', 'binance.coinm'],
  ['cm_ethusd_perp_20240808', 'binance.coinm'],
]

for (const [name, market] of WITH_LOCAL_TIMES) {
  test(`replay of ${name} should give the true book, counts, sums and rows`, async (t) => {
    const files = recordingFiles(t, `hftbacktest/${name}.gz`)
    if (files === undefined) return
    const truth = truthOf(name)
    const result = await replayed(...files, '--market', market)
    assert.equal(result.answer.messages, truth.recording.lines)
    assert.equal(result.answer.rejected, 0)
    const symbols = Object.keys(truth.symbols)
    assert.deepEqual(
      Object.keys(result.answer.instruments),
      symbols.map((symbol) => `${market}.${symbol}`),
    )
    for (const symbol of symbols) assertTruth(result, `${market}.${symbol}`, truth.symbols[symbol] as never)
  })
}

const CAPTURES: readonly (readonly [string, string])[] = [
  ['BINANCE', 'binance.spot'],
  ['BINANCE_FUTURES', 'binance.usdm'],
  ['BINANCE_DELIVERY', 'binance.coinm'],
]

for (const [name, market] of CAPTURES) {
  test(`replay of the capture ${name} of 2021 should anchor every book from the answers of REST`, async (t) => {
    const files = recordingFiles(t, ...['ws.1.0', 'http.0.0', '0'].map((part) => `cryptofeed/${name}.${part}.gz`))
    if (files === undefined) return
    const truth = truthOf(`cryptofeed_${name}`)
    const result = await replayed(...files, '--market', market, '--format', 'cryptofeed')
    const symbols = Object.keys(truth.symbols)
    // frames, depth answers, and the list of instruments
    const answers = truth.message_counts['REST'] as number
    assert.equal(result.answer.messages, (truth.recording.ws_messages as number) + answers + 1)
    assert.equal(result.answer.rejected, 0)
    assert.deepEqual(
      Object.keys(result.answer.instruments).sort(),
      symbols.map((symbol) => `${market}.${symbol}`),
    )
    for (const symbol of symbols) {
      assertTruth(result, `${market}.${symbol}`, truth.symbols[symbol] as never)
      assert.equal(result.answer.instruments[`${market}.${symbol}`]?.kinds['instruments'], 1, symbol)
    }
  })
}
