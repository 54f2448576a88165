import assert from 'node:assert/strict'
import test from 'node:test'
import { scanStatement, StatementError } from '../engine/embedded/statement.ts'

/** [text, where INFILE goes, format, rows] */
const INSERTS: readonly (readonly [string, string, string, string])[] = [
  ['INSERT INTO t FORMAT TSV\na\n\nDROP TABLE t', 'INSERT INTO t ', 'TSV', 'a\n\nDROP TABLE t'],
  [
    'insert into db.t (a, b) settings x = 1 format Native \r\n\x00\n\n',
    'insert into db.t (a, b)',
    'Native',
    '\x00\n\n',
  ],
  ["INSERT INTO t VALUES ('a;b')\n\n;DROP", 'INSERT INTO t ', 'Values', " ('a;b')\n\n;DROP"],
  [
    '/* format TSV */ INSERT INTO `format` -- values\n FORMAT CSV\n1',
    '/* format TSV */ INSERT INTO `format` -- values\n ',
    'CSV',
    '1',
  ],
  ['INSERT INTO values FORMAT CSV\n1', 'INSERT INTO values ', 'CSV', '1'],
  [
    'INSERT INTO format.format (format, values) FORMAT CSV 1',
    'INSERT INTO format.format (format, values) ',
    'CSV',
    '1',
  ],
  [
    "INSERT INTO FUNCTION file('x; FORMAT y', CSV) FORMAT CSV\n1",
    "INSERT INTO FUNCTION file('x; FORMAT y', CSV) ",
    'CSV',
    '1',
  ],
  ['INSERT INTO t FORMAT RowBinary', 'INSERT INTO t ', 'RowBinary', ''],
]

test('statement should cut the rows from the head of an INSERT', () => {
  for (const [text, target, format, rows] of INSERTS) {
    const found = scanStatement(text)
    assert.equal(found.kind, 'rows', text)
    if (found.kind !== 'rows') continue
    assert.deepEqual(
      [text.slice(0, found.targetEnd), found.format, text.slice(found.dataOffset)],
      [target, format, rows],
      text,
    )
  }
})

test('statement should find the settings of an INSERT', () => {
  const text = "INSERT INTO t SETTINGS insert_deduplication_token = 'a b', async_insert = 0 FORMAT TSV\n1"
  const found = scanStatement(text)
  assert.ok(found.kind === 'rows' && found.settings !== null)
  assert.equal(
    text.slice(found.settings.start, found.settings.end).trim(),
    "insert_deduplication_token = 'a b', async_insert = 0",
  )
})

test('statement should refuse a second statement, also behind comments and strings', () => {
  for (const text of [
    'SELECT 1; DROP TABLE t',
    "SELECT ';' /* ; */ ; DROP TABLE t",
    'INSERT INTO t SELECT 1; SELECT 2',
  ]) {
    assert.throws(() => scanStatement(text), StatementError, text)
  }
  for (const text of ['SELECT 1;', "SELECT ';x', `a;b` -- ; c\n ; \n -- end", "SELECT 'it''s \\'; x'"]) {
    assert.equal(scanStatement(text).kind, 'plain', text)
  }
})

test('statement should refuse inserts whose rows it cannot tell from SQL', () => {
  for (const text of [
    "INSERT INTO t SELECT * FROM input('a Int') FORMAT TSV\n1\n\nDROP TABLE t",
    'INSERT INTO t (a)',
    'INSERT INTO t (a) {"x":1}\n\nDROP TABLE t',
    '',
    ' ; ',
  ]) {
    assert.throws(() => scanStatement(text), StatementError, JSON.stringify(text))
  }
})

test('statement should know what reads, what sticks and which format is asked for', () => {
  const facts = (text: string) => {
    const found = scanStatement(text)
    return found.kind === 'plain' ? [found.reads, found.sticky, found.format] : null
  }
  assert.deepEqual(facts('SELECT format FROM t FORMAT JSONEachRow'), [true, false, 'JSONEachRow'])
  assert.deepEqual(facts('WITH 1 AS x SELECT x FORMAT CSV SETTINGS max_threads = 1'), [true, false, 'CSV'])
  assert.deepEqual(facts("SELECT * FROM format(CSV, '1')"), [true, false, null])
  assert.deepEqual(facts('WITH 1 AS x INSERT INTO t SELECT x'), [false, false, null])
  assert.deepEqual(facts('SET max_threads = 1'), [false, true, null])
  assert.deepEqual(facts('CREATE TEMPORARY TABLE t (a Int8)'), [false, true, null])
  assert.deepEqual(facts('ALTER TABLE t DROP COLUMN a'), [false, false, null])
})
