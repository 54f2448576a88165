import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import pino from 'pino'
import { BanFile } from '../engine/feed/ban-file.ts'
import { REST_DEFAULTS, RestClient } from '../engine/feed/rest.ts'
import { WEIGHT_DEFAULTS, WeightLedger } from '../engine/feed/weight.ts'
import { settle, TurnedTime } from './support/feed-time.ts'

const LOG = pino({ level: 'silent' })
const NOW_MS = 1_793_280_000_000
const HOUR_MS = 3_600_000

function inDirectory(run: (path: string) => void | Promise<void>): () => Promise<void> {
  return async () => {
    const directory = mkdtempSync(join(tmpdir(), 'marketprism-bans-'))
    try {
      await run(join(directory, 'deeper', 'rest-bans.json'))
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  }
}

test(
  'ban file should remember each venue over a restart and forget what is over',
  inDirectory((path) => {
    const first = new BanFile(path, LOG)
    assert.equal(first.untilMs('binance', NOW_MS), 0)
    first.remember('binance', NOW_MS + HOUR_MS, NOW_MS)
    first.remember('okx', NOW_MS + 60_000, NOW_MS)
    const second = new BanFile(path, LOG)
    assert.equal(second.untilMs('binance', NOW_MS + 1_000), NOW_MS + HOUR_MS)
    assert.equal(second.untilMs('okx', NOW_MS + 1_000), NOW_MS + 60_000)
    assert.equal(second.untilMs('okx', NOW_MS + 60_000), 0)
    assert.equal(second.untilMs('deribit', NOW_MS), 0)
    second.remember('okx', NOW_MS + 3 * HOUR_MS, NOW_MS + 2 * HOUR_MS)
    assert.deepEqual(Object.keys(JSON.parse(readFileSync(path, 'utf8'))), ['okx'])
    assert.deepEqual(readdirSync(join(path, '..')), ['rest-bans.json'], 'nothing is left beside it')
  }),
)

test(
  'ban file should not make a ban longer than it was when the clock was set back, nor longer than any venue bans',
  inDirectory((path) => {
    new BanFile(path, LOG).remember('binance', NOW_MS + HOUR_MS, NOW_MS)
    const back = NOW_MS - 1_000 * HOUR_MS
    assert.equal(new BanFile(path, LOG).untilMs('binance', back), back + HOUR_MS)
    new BanFile(path, LOG).remember('binance', NOW_MS + 1e12, NOW_MS)
    assert.equal(new BanFile(path, LOG).untilMs('binance', NOW_MS), NOW_MS + 3 * 24 * HOUR_MS)
  }),
)

test(
  'ban file should take what it cannot read for no ban',
  inDirectory((path) => {
    new BanFile(path, LOG).remember('binance', NOW_MS + HOUR_MS, NOW_MS)
    for (const text of ['', '{', 'null', '[1]', '{"binance":7}', '{"binance":{"untilMs":"x","writtenMs":1}}', '\0\0']) {
      writeFileSync(path, text)
      const file = new BanFile(path, LOG)
      assert.equal(file.untilMs('binance', NOW_MS), 0, text)
      file.remember('okx', NOW_MS + 1, NOW_MS)
      assert.equal(new BanFile(path, LOG).untilMs('okx', NOW_MS), NOW_MS + 1, text)
    }
  }),
)

test(
  'ban file should let the feed go on when it cannot be written',
  inDirectory((path) => {
    const plain = join(path, '..', '..', 'plain')
    writeFileSync(plain, '') // a file where a directory should be
    const file = new BanFile(join(plain, 'rest-bans.json'), LOG)
    file.remember('binance', NOW_MS + HOUR_MS, NOW_MS)
    assert.equal(file.untilMs('binance', NOW_MS), NOW_MS + HOUR_MS)
  }),
)

test(
  'a 418 of one life should keep the next from asking until it is over',
  inDirectory(async (path) => {
    let asked = 0
    const server = createServer((_, answer) => {
      asked++
      answer.writeHead(418, { 'retry-after': '120', 'content-type': 'application/json' }).end('{}')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const time = new TurnedTime(NOW_MS)
    const life = () => {
      const file = new BanFile(path, LOG)
      const bannedUntilMs = file.untilMs('binance', time.nowMs())
      const options = { ...WEIGHT_DEFAULTS, exchange: 'binance', weightPerMinute: { spot: 6000 }, bannedUntilMs }
      const ledger = new WeightLedger(options, time, (untilMs) => file.remember('binance', untilMs, time.nowMs()))
      const restOptions = { ...REST_DEFAULTS, market: 'spot', base, usedWeightHeader: '' }
      return { ledger, rest: new RestClient(restOptions, { ledger, time, random: () => 0.5 }) }
    }
    const first = life()
    await assert.rejects(first.rest.get({ path: '/x', weight: 1 }, 'gap'), { code: 'REST_LIMITED' })
    assert.equal(asked, 1)
    await first.rest.close()
    first.ledger.close()
    await time.turn(10_000)
    const second = life()
    assert.equal(second.ledger.bannedUntilMs, NOW_MS + 120_000)
    const answer = second.rest.get({ path: '/x', weight: 1 }, 'gap').catch((fault: { code: string }) => fault.code)
    await time.turn(109_000)
    assert.equal(asked, 1, 'still banned')
    await time.turn(2_000)
    assert.equal(await answer, 'REST_LIMITED', 'asked again after the ban, and banned again')
    assert.equal(asked, 2)
    await settle()
    await second.rest.close()
    second.ledger.close()
    server.closeAllConnections()
    server.close()
  }),
)
