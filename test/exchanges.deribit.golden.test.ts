import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { decodeBlock, rowsOf } from '../engine/record/decode.ts'
import { DATA } from '../engine/ring/frame.ts'
import { shardRig } from './support/shard-rig.ts'

/** Frames in the venue's form, written by hand, and by hand what the row of the last must say; old formats stay. */
const GOLDEN = readFileSync('test/golden/deribit.ndjson', 'utf8').trim().split('\n')

for (const [index, line] of GOLDEN.entries()) {
  const { market, frames, row } = JSON.parse(line) as {
    market: string
    frames: string[]
    row: Record<string, unknown>
  }
  test(`golden frame ${index + 1} (deribit.${market} ${row['table']}) should give its row`, () => {
    const rig = shardRig({ exchange: 'deribit', market, learnUnknown: true, live: false })
    for (const frame of frames) rig.frame(DATA, frame)
    rig.finish()
    assert.equal(rig.count('rejected'), 0)
    const rows = rig.blocks.flatMap((block) => [...rowsOf(decodeBlock(block))])
    const [got, ...more] = rows.filter(({ table, kind }) => table === row['table'] && (row['kind'] ?? kind) === kind)
    assert.deepEqual(more, [])
    assert.deepEqual(Object.fromEntries(Object.keys(row).map((key) => [key, got?.[key]])), row)
  })
}
