import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { temporaryDirectory, until } from './support/embedded.ts'
import { afterRun, arrived, rigEngine, rigVenue } from './support/rig.ts'

/** Instruments that come and go while the engine runs, seen from outside: by SIGHUP and by the tables it leaves. */

async function listedSymbols(flags: readonly string[]): Promise<string[]> {
  const restUrl = flags.find((flag) => flag.includes('.spot.restUrl='))?.split('=')[1]
  const answer = await fetch(`${restUrl}/api/v3/exchangeInfo`)
  const { symbols } = (await answer.json()) as { symbols: { symbol: string }[] }
  return symbols.map(({ symbol }) => symbol)
}

test('engine should take instruments in and out at a SIGHUP, on the same socket, and lose nothing of the one that stays', async (t) => {
  const venue = await rigVenue(t, {
    markets: ['spot'],
    instruments: 4,
    rate: 800,
    moreFlags: ['--start-after-streams', 'binance=6'],
  })
  const symbols = await listedSymbols(venue.flags)
  assert.ok(symbols.length >= 3, `${symbols}`)
  const [goes, stays, comes] = symbols as [string, string, string]
  const directory = temporaryDirectory(t)
  const choose = (...names: string[]) =>
    writeFileSync(
      path.join(directory, 'base.yaml'),
      `exchanges:\n  binance:\n    spot:\n      instruments: [${names.join(', ')}]\n`,
    )
  choose(goes, stays)
  const data = temporaryDirectory(t)
  const flags = venue.flags.filter((flag, index, all) => {
    const own = flag === '--set' ? all[index + 1] : flag
    return !own?.includes('.spot.instruments=')
  })
  const engine = await rigEngine(t, data, [
    ...flags,
    ...['--config', directory, '--workers', '1', '--delivery', 'direct', '--port', '0'],
  ])
  await engine.booksLive(2, 20_000)
  choose(stays, comes)
  process.kill(engine.pid, 'SIGHUP')
  await until(
    async () => (await engine.metric('marketprism_instrument_changes_total', { change: 'added' })) === 1,
    10_000,
    'the newcomer is added',
  )
  await engine.booksLive(2, 20_000)
  assert.equal(await engine.metric('marketprism_instrument_changes_total', { change: 'removed' }), 1)
  choose(stays, `${comes}X`)
  process.kill(engine.pid, 'SIGHUP') // a symbol that is not listed goes, or never comes; nothing else happens
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  assert.equal(await engine.metric('marketprism_instruments'), 1)
  assert.equal(await engine.metric('marketprism_connects_total'), 1, 'one socket all along')
  await arrived(engine, venue)
  engine.kill('SIGTERM')
  assert.equal((await engine.ended).code, 0)
  const after = await afterRun(t, data, venue)
  assert.deepEqual([after.doubled, after.wrong], [0, 0])
  t.diagnostic(
    JSON.stringify(await after.sql(`SELECT symbol,channel,cause,status,from_seq,to_seq,detail FROM gaps`)) +
      JSON.stringify(await after.sql(`SELECT symbol, count() FROM trades GROUP BY symbol`)) +
      JSON.stringify(after.check),
  )
  const one = async (query: string) => Number(Object.values((await after.sql(query))[0] ?? {})[0])
  assert.equal(await one(`SELECT count() FROM gaps WHERE symbol = '${stays}'`), 0)
  assert.equal(await one(`SELECT countIf(kind = 'anchor') FROM book_snapshots WHERE symbol = '${stays}'`), 1)
  assert.equal(
    await one(`SELECT max(trade_id) - min(trade_id) + 1 - uniqExact(trade_id) FROM trades WHERE symbol = '${stays}'`),
    0,
  )
  assert.ok((await one(`SELECT count() FROM trades WHERE symbol = '${comes}'`)) > 0)
  assert.ok((await one(`SELECT countIf(kind = 'anchor') FROM book_snapshots WHERE symbol = '${comes}'`)) === 1)
  const lastOf = (symbol: string) =>
    one(`SELECT toUnixTimestamp(max(received_ns)) FROM trades WHERE symbol = '${symbol}'`)
  assert.ok((await lastOf(goes)) < (await lastOf(stays)), 'the one that went is not heard any more')
  assert.deepEqual(
    await after.sql(`SELECT symbol, count() AS rows FROM gaps WHERE symbol != '${stays}' GROUP BY symbol`),
    [],
    'coming and going is no gap',
  )
})
