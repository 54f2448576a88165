import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { corpusItems, outcomeOf } from './support/corpus.ts'
import { projectRoot, RECORDINGS } from './support/recordings.ts'

/**
 * Every message of the corpus (one example of each public message, WebSocket and REST, of several collections) through
 * the shard or the rules of its venue: rows by table, or why there is none. What the rows say is compared in the tests of
 * the venues; this one makes sure that no message is forgotten. The table is written by hand where a line is new.
 *
 * What may surprise in it:
 *  - `missed trades: refused: missing_key`: the recorder of those four answers lost the name of the key `m`;
 *  - `refused: type` of okx/ws_opt_summary: a list without its frame; of AssetIndex: a list of a stream that is not ours;
 *  - `1 gaps` beside a book of OKX: an example with made-up levels, which the venue's sum does not fit;
 *  - 24hr tickers of one symbol are refused as turnovers: those are asked for as a list.
 */
const TABLE = join(projectRoot(dirname(fileURLToPath(import.meta.url))), 'test', 'golden', 'corpus.json')

test('corpus: every message should become the rows of its table, or give the reason why not', (t) => {
  if (!existsSync(join(RECORDINGS, 'messages')))
    return t.skip(`no messages under ${RECORDINGS}: set MARKETPRISM_RECORDINGS to the folder that has them`)
  const expected = JSON.parse(readFileSync(TABLE, 'utf8')) as Record<string, string>
  const items = corpusItems(RECORDINGS)
  assert.equal(new Set(items.map(({ name }) => name)).size, items.length, 'a name for each message')
  const forgotten = items.map(({ name }) => name).filter((name) => expected[name] === undefined)
  assert.deepEqual(forgotten, [], 'messages without a line in the table')
  const found = Object.fromEntries(items.map((item) => [item.name, outcomeOf(item)]))
  assert.deepEqual(found, expected)
})
