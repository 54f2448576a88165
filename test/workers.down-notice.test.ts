import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { Clock } from '../engine/base/clock.ts'
import { openSpool, SPOOL_DEFAULT } from '../engine/spool/spool.ts'
import { downNotice, timesOf } from '../workers/down-notice.ts'
import { temporaryDirectory } from './support/embedded.ts'

const HOUR_NS = 3_600_000_000_000n

/** What the next run says of the one that ended at `untilNs`; its own clock is this much ahead of that run's. */
async function sinceAfter(t: TestContext, untilNs: bigint, aheadNs: bigint, hasBooted = false): Promise<bigint> {
  const directory = temporaryDirectory(t)
  const open = () => openSpool(directory, SPOOL_DEFAULT, () => Date.now(), timesOf)
  const [clock, before] = [new Clock(), await open()]
  before.kept.untilNs = untilNs
  before.kept.anchorNs = clock.anchorNs
  await before.close()
  if (hasBooted) {
    const file = path.join(directory, 'EPOCH')
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), bootId: 'that of another day' }))
  }
  const after = await open()
  const { sinceNs } = downNotice(after, 1_000, new Clock(clock.anchorNs + aheadNs))
  await after.close()
  return BigInt(sinceNs as string)
}

test('the end of the last run should be told by the clock of today, wherever that was set', async (t) => {
  const nowNs = new Clock().nowNs()
  const untilNs = nowNs - 60_000_000_000n
  assert.equal(await sinceAfter(t, untilNs, 0n), untilNs)
  assert.equal(await sinceAfter(t, untilNs, 1_000_000n), untilNs, 'two readings of one clock')
  assert.equal(await sinceAfter(t, untilNs, -HOUR_NS), untilNs - HOUR_NS)
  assert.equal(await sinceAfter(t, untilNs, HOUR_NS), untilNs + HOUR_NS)
})

test('the end of the last run should never be later than now, also when the machine has started since', async (t) => {
  const nowNs = new Clock().nowNs()
  const sinceNs = await sinceAfter(t, nowNs + HOUR_NS, 0n, true)
  assert.ok(sinceNs >= nowNs && sinceNs < nowNs + HOUR_NS)
  assert.equal(await sinceAfter(t, nowNs - HOUR_NS, -60_000_000_000n, true), nowNs - HOUR_NS)
})
