import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { decodeBlock, rowsOf } from '../engine/record/decode.ts'
import { DATA } from '../engine/ring/frame.ts'
import { shardRig } from './support/shard-rig.ts'

/** One frame a line and what its row must say: the wire formats as they were seen, old ones stay. */
const GOLDEN = readFileSync('test/golden/bybit.ndjson', 'utf8').trim().split('\n')

for (const [index, line] of GOLDEN.entries()) {
  const { market, frame, row } = JSON.parse(line) as { market: string; frame: string; row: Record<string, unknown> }
  test(`golden frame ${index + 1} (bybit.${market} ${row['table']}) should give its row`, () => {
    const rig = shardRig({ exchange: 'bybit', market, learnUnknown: true, live: false })
    rig.frame(DATA, frame)
    rig.finish()
    assert.equal(rig.count('rejected'), 0)
    const rows = rig.blocks.flatMap((block) => [...rowsOf(decodeBlock(block))])
    const [got, ...more] = rows.filter(({ table, kind }) => table === row['table'] && (row['kind'] ?? kind) === kind)
    assert.deepEqual(more, [])
    assert.deepEqual(Object.fromEntries(Object.keys(row).map((key) => [key, got?.[key]])), row)
  })
}
