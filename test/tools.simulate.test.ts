import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseSimulateFlags, runSimulate } from '../engine/tools/simulate.ts'
import { openClient } from './support/venue-client.ts'

test('tools simulate: the first line should say where it serves, the last what it sent', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'marketprism-simulate-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const lines: string[] = []
  let client: Awaited<ReturnType<typeof openClient>> | undefined
  const report = await runSimulate({
    ...parseSimulateFlags({ markets: 'usdm', rate: '2000', seconds: '0.5', truth: directory }),
    print: (line) => {
      lines.push(line)
      const { ready, usdm } = JSON.parse(line)
      if (ready)
        void openClient(`${usdm.ws}/public/stream?streams=btcusdt@bookTicker`).then((opened) => (client = opened))
    },
  })
  await client?.closed
  assert.equal(lines.length, 2)
  const [ready, last] = lines.map((line) => JSON.parse(line))
  assert.deepEqual(Object.keys(ready), ['ready', 'usdm', 'pid'])
  assert.deepEqual(last.sent, { trades: 0, agg_trades: 0, book_deltas: 0, book_tickers: client?.frames.length })
  assert.deepEqual(report.sent, last.sent)
  assert.deepEqual(JSON.parse(await readFile(join(directory, 'totals.json'), 'utf8')).totals, last.sent)
})

test('tools simulate: a signal should end it with its totals', async () => {
  const stop = new AbortController()
  const lines: string[] = []
  await runSimulate({
    ...parseSimulateFlags({ markets: 'spot' }),
    signal: stop.signal,
    print: (line) => {
      lines.push(line)
      stop.abort()
    },
  })
  assert.equal(JSON.parse(lines[1] as string).done, true)
})

test('tools simulate: flags should become options, wrong ones be named with what is allowed', () => {
  const { simulator, stay } = parseSimulateFlags({
    seed: '7',
    markets: 'spot,coinm',
    mix: '1,2,3',
    port: '4000',
    recording: ['usdm:a.gz', 'b.gz'],
    market: 'binance.spot',
    speed: 'max',
    limits: false,
    faults: '[{"at":2,"kind":"close"},{"at":1,"kind":"gap"}]',
    stay: true,
  })
  assert.deepEqual(simulator, {
    seed: 7,
    markets: ['spot', 'coinm'],
    mix: { bookTicker: 1, trade: 2, depth: 3 },
    ports: { spot: 4000, coinm: 4001 },
    faults: [
      { at: 1, kind: 'gap' },
      { at: 2, kind: 'close' },
    ],
    limitsEnforced: false,
    recordings: [
      { path: 'a.gz', market: 'usdm' },
      { path: 'b.gz', market: 'spot' },
    ],
    speed: null,
  })
  assert.equal(stay, true)
  assert.throws(() => parseSimulateFlags({ rate: 'fast' }), /--rate is "fast"; give a number, 1 to 2000000/)
  assert.throws(
    () => parseSimulateFlags({ markets: 'margin' }),
    /"margin" is no market of binance; give spot, usdm, coinm/,
  )
  assert.throws(() => parseSimulateFlags({ faults: '/nowhere.json' }), /\/nowhere\.json can not be read/)
})
