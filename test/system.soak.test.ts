import assert from 'node:assert/strict'
import { test } from 'node:test'
import { soak } from './system/soak.ts'

test('soak should leak no socket, bring every book back, and have a gap row for every close', async () => {
  const result = await soak({ seconds: 15, sockets: 30, closeEverySeconds: 0.7, rate: 3_000 })
  const said = JSON.stringify(result)
  assert.equal(result.sockets, 30)
  assert.ok(result.closes >= 15, said)
  assert.ok(result.socketsMax <= 30, said)
  assert.equal(result.socketsAtEnd, 30, said)
  assert.ok(result.liveMsMax <= 5_000, said)
  assert.deepEqual([result.closesWithoutGap, result.unexplained], [0, 0], said)
  assert.ok(result.unexplainedWithoutGaps > 0, `the check could not fail: ${said}`)
  for (const table of Object.values(result.check))
    assert.deepEqual([table.missing, table.doubled, table.wrong], [0, 0, 0], said)
})
