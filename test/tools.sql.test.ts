import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type CliResult, runCli } from './support/cli.ts'
import { temporaryDirectory } from './support/embedded.ts'

/** One line, no stack, nothing on stdout: what a person or a script can act on. */
function assertRefused({ code, stdout, stderr }: CliResult, line: RegExp): void {
  assert.deepEqual([code, stdout], [70, ''], stderr)
  assert.equal(stderr.trimEnd().split('\n').length, 1, stderr)
  assert.match(stderr, line)
}

test('sql should say that there is no data, and not make any', async (t) => {
  const data = join(temporaryDirectory(t), 'nowhere')
  const refused = await runCli(['sql', 'SELECT 1', '--data', data])
  assertRefused(refused, /^marketprism: .*nowhere\/clickhouse does not exist: name the data directory with --data/)
  assert.equal(existsSync(data), false)
})

test('sql should name a server that does not answer', async () => {
  const refused = await runCli(['sql', 'SELECT 1', '--set', 'clickhouse.url=http://127.0.0.1:1'])
  assertRefused(refused, /^marketprism: ClickHouse at http:\/\/127\.0\.0\.1:1\/? cannot be reached \(ECONNREFUSED\)/)
})

test('sql should answer each statement in the format asked for, and wrong SQL with one line', async (t) => {
  const data = temporaryDirectory(t)
  await mkdir(join(data, 'clickhouse'))
  const here = ['--data', data, '--set', 'clickhouse.database=default']
  const answered = await runCli(['sql', 'SELECT 1 AS a;', 'SELECT 2 AS a', '--format', 'JSONEachRow', ...here])
  assert.deepEqual([answered.code, answered.stderr, answered.stdout], [0, '', '{"a":1}\n{"a":2}\n'])
  assertRefused(await runCli(['sql', 'SELEC 1', ...here]), /^marketprism: ClickHouse refuses: .*Syntax error/)
  assertRefused(await runCli(['sql', 'SELECT 1 FROM nowhere', ...here]), /refuses: .*nowhere/)
  assertRefused(await runCli(['sql', 'SELECT 1', '--format', 'Nonsense', ...here]), /refuses: .*Nonsense/)
})
