import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { decodeBlock, rowsOf } from '../engine/record/decode.ts'
import { DATA } from '../engine/ring/frame.ts'
import { shardRig } from './support/shard-rig.ts'

/** Frames in the venue's form, written by hand, and by hand what the row of the last must say; old formats stay. */
interface Golden {
  readonly market: string
  readonly frame?: string
  readonly frames?: readonly string[]
  readonly row: Readonly<Record<string, unknown>>
}

for (const exchange of ['binance', 'okx', 'deribit', 'bybit']) {
  const lines = readFileSync(`test/golden/${exchange}.ndjson`, 'utf8').trim().split('\n')
  for (const [index, line] of lines.entries()) {
    const { market, frame = '', frames = [frame], row } = JSON.parse(line) as Golden
    test(`golden frame ${index + 1} (${exchange}.${market} ${row['table']}) should give its row`, () => {
      const rig = shardRig({ exchange, market, learnUnknown: true, live: false })
      for (const each of frames) rig.frame(DATA, each)
      rig.finish()
      assert.equal(rig.count('rejected'), 0)
      const rows = rig.blocks.flatMap((block) => [...rowsOf(decodeBlock(block))])
      const [got, ...more] = rows.filter(({ table, kind }) => table === row['table'] && (row['kind'] ?? kind) === kind)
      assert.deepEqual(more, [])
      assert.deepEqual(Object.fromEntries(Object.keys(row).map((key) => [key, got?.[key]])), row)
    })
  }
}
