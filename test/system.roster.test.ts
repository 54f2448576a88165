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
  const venue = await rigVenue(t, { markets: ['spot'], instruments: 3, rate: 800 })
  const [goes, stays, returns] = (await listedSymbols(venue.flags)) as [string, string, string]
  const directory = temporaryDirectory(t)
  const choose = (...names: string[]) =>
    writeFileSync(
      path.join(directory, 'base.yaml'),
      `exchanges:\n  binance:\n    spot:\n      instruments: [${names.join(', ')}]\n`,
    )
  choose(goes, stays, returns)
  const data = temporaryDirectory(t)
  const flags = venue.flags.filter((flag, index, all) => {
    const own = flag === '--set' ? all[index + 1] : flag
    return !own?.includes('.spot.instruments=')
  })
  const engine = await rigEngine(t, data, [
    ...flags,
    ...['--config', directory, '--workers', '1', '--delivery', 'direct', '--port', '0'],
  ])
  const changes = (change: string, count: number) =>
    until(
      async () => (await engine.metric('marketprism_instrument_changes_total', { change })) === count,
      10_000,
      `${count} instruments ${change}`,
    )
  await engine.booksLive(3, 20_000)
  choose(stays)
  process.kill(engine.pid, 'SIGHUP')
  await changes('removed', 2)
  await engine.booksLive(1, 5_000)
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  choose(stays, returns, `${returns}X`)
  process.kill(engine.pid, 'SIGHUP') // at run time a symbol that is not listed is waited for
  await changes('added', 1)
  await engine.booksLive(2, 10_000)
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  choose('not yaml: [')
  process.kill(engine.pid, 'SIGHUP') // a mistake changes nothing
  await new Promise((resolve) => setTimeout(resolve, 500))
  assert.equal(await engine.metric('marketprism_instruments'), 2)
  assert.equal(await engine.metric('marketprism_connects_total'), 1, 'one socket all along')
  await arrived(engine, venue)
  engine.kill('SIGTERM')
  assert.equal((await engine.ended).code, 0)
  const after = await afterRun(t, data, venue)
  assert.deepEqual([after.doubled, after.wrong], [0, 0])
  const one = async (query: string) => Number(Object.values((await after.sql(query))[0] ?? {})[0])
  const count = (table: string, symbol: string, also = '1') =>
    one(`SELECT count() FROM ${table} WHERE symbol = '${symbol}' AND ${also}`)
  const holes = (symbol: string) =>
    one(`SELECT max(trade_id) - min(trade_id) + 1 - uniqExact(trade_id) FROM trades WHERE symbol = '${symbol}'`)
  assert.ok((await count('trades', stays)) > 100)
  assert.equal(await holes(stays), 0)
  assert.deepEqual(await after.sql(`SELECT * FROM gaps WHERE symbol = '${stays}'`), [])
  assert.equal(await count('book_snapshots', stays, "kind = 'anchor'"), 1)
  assert.equal(await count('book_snapshots', returns, "kind = 'anchor'"), 2, 'a new chain when it comes back')
  assert.ok((await holes(returns)) > 0, 'it was away')
  const last = (symbol: string) => one(`SELECT max(trade_ns)::Float64 FROM trades WHERE symbol = '${symbol}'`)
  assert.ok((await last(stays)) - (await last(goes)) > 2, 'who went is not heard any more, s')
  assert.ok((await last(stays)) - (await last(returns)) < 1, 'who returned is heard to the end')
  t.diagnostic(
    JSON.stringify(await after.sql('SELECT symbol, channel, cause, status, from_seq, to_seq, detail FROM gaps')),
  )
})
