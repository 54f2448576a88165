import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { startCli } from './support/cli.ts'
import { temporaryDirectory } from './support/embedded.ts'
import { served } from './support/gateway.ts'

async function marketprism(words: readonly string[]) {
  const { code: status, stdout, stderr } = await startCli(words).ended
  return { status, stdout, stderr }
}

test('keys create should tell a key once, and put its hash into the file alone', async (t) => {
  const file = join(temporaryDirectory(t), 'keys.ndjson')
  const set = ['--set', `serve.keysFile=${file}`]
  const dry = await marketprism(['keys', 'create', '--json'])
  assert.equal(dry.status, 0, dry.stderr)
  assert.equal(existsSync(file), false)
  const made = await marketprism([
    'keys',
    'create',
    '--id',
    'desk',
    '--days',
    '2',
    '--scopes',
    'read',
    '--add',
    '--json',
    ...set,
  ])
  assert.equal(made.status, 0, made.stderr)
  const { key, line } = JSON.parse(made.stdout)
  assert.match(key, /^marketprism_desk_[A-Za-z0-9_-]{43}$/)
  const text = readFileSync(file, 'utf8')
  assert.equal(text, `${line}\n`)
  assert.equal(statSync(file).mode & 0o077, 0, 'for its owner alone')
  const { sha256, scopes, expires } = JSON.parse(line)
  assert.equal(sha256, createHash('sha256').update(key).digest('hex'))
  assert.deepEqual(scopes, ['read'])
  assert.ok(Math.abs(Date.parse(expires) - Date.now() - 2 * 86_400_000) < 60_000)
  assert.ok(!text.includes(key.slice(17)))
  const again = await marketprism(['keys', 'create', '--id', 'desk', '--add', ...set])
  assert.equal(again.status, 2)
  assert.match(again.stderr, /has a key desk: choose another --id/)
  const list = await marketprism(['keys', 'list', '--json', ...set])
  assert.deepEqual(JSON.parse(list.stdout).keys, [
    { id: 'desk', scopes: ['read'], state: 'good', expires, requestsPerSecond: null },
  ])
  const { get } = await served(t, { security: { keys: { file, single: undefined } } })
  assert.equal((await get('/v1/status')).status, 401)
  assert.equal((await get('/v1/status', { headers: { authorization: `Bearer ${key}` } })).status, 200)
})

test('keys should refuse scopes that there are not', async () => {
  const { status, stderr } = await marketprism(['keys', 'create', '--scopes', 'write'])
  assert.equal(status, 2)
  assert.match(stderr, /Allowed is a list of read, stream, admin/)
})
