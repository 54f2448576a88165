import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import test from 'node:test'
import { connect } from 'nats'
import { cleanUp } from './support/clean-up.ts'
import { Fault } from '../engine/base/fault.ts'
import { configOf, startEmbeddedNats } from '../engine/embedded/nats.ts'
import { findNatsServer } from '../engine/embedded/nats-install.ts'
import { CACHE, groupOf, SILENT, startNats, temporaryDirectory, until } from './support/embedded.ts'

test('embedded nats should keep streams and its port through kill -9', async (t) => {
  const server = await startNats(t)
  if (server === null) return
  const connection = await connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 })
  cleanUp(t, () => connection.close())
  const manager = await connection.jetstreamManager({ timeout: 500 }) // a request of the time without server is lost
  await manager.streams.add({ name: 'S', subjects: ['s.>'] })
  const jetstream = connection.jetstream()
  for (let n = 0; n < 100; n++) await jetstream.publish('s.x', Buffer.alloc(1000, n))
  const { url, pid } = server
  process.kill(pid, 'SIGKILL')
  await until(() => server.restarts === 1, 5000, 'the server runs again')
  assert.equal(server.url, url)
  assert.notEqual(server.pid, pid)
  await until(
    async () => (await manager.streams.info('S').catch(() => null))?.state.messages === 100,
    10_000,
    'the stream is back',
  )
})

test('embedded nats should take messages of 8 MiB', async (t) => {
  const server = await startNats(t)
  if (server === null) return
  const connection = await connect({ servers: server.url })
  cleanUp(t, () => connection.close())
  assert.equal(connection.info?.max_payload, 8 * 1024 ** 2)
  assert.equal(connection.info?.version, server.version)
})

test('embedded nats should not be reached by Ctrl-C in our terminal', async (t) => {
  const server = await startNats(t)
  if (server !== null) assert.equal(groupOf(server.pid), server.pid)
})

test('embedded nats should refuse a second owner of a store directory in one line', async (t) => {
  const storeDirectory = temporaryDirectory(t)
  const first = await startNats(t, { storeDirectory })
  if (first === null) return
  await assert.rejects(startNats(t, { storeDirectory }), (error: unknown) => {
    assert.ok(error instanceof Fault && error.code === 'NATS_DIRECTORY_IN_USE', String(error))
    assert.ok(
      error.message.includes(storeDirectory) &&
        error.message.includes(String(first.pid)) &&
        !error.message.includes('\n'),
    )
    return true
  })
  await first.stop()
  assert.ok((await startNats(t, { storeDirectory })) !== null) // after a stop it is free again
})

test('embedded nats should end with its parent', async (t) => {
  const storeDirectory = temporaryDirectory(t)
  if ((await startNats(t, { storeDirectory: temporaryDirectory(t) })) === null) return
  const script = `
    import { startEmbeddedNats } from ${JSON.stringify(new URL(`../engine/embedded/nats${path.extname(import.meta.url)}`, import.meta.url).href)}
    import pino from ${JSON.stringify(import.meta.resolve('pino'))}
    const server = await startEmbeddedNats({ storeDirectory: ${JSON.stringify(storeDirectory)}, cacheDirectory: ${JSON.stringify(CACHE)}, port: 0, mayFetch: false, log: pino({ level: 'silent' }) })
    process.stdout.write(JSON.stringify({ pid: server.pid }) + '\\n')
    setInterval(() => {}, 1000)`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const { pid } = JSON.parse(
    await new Promise<string>((resolve) => parent.stdout.once('data', (line) => resolve(String(line)))),
  ) as { pid: number }
  parent.kill('SIGKILL')
  // a container without an init may keep the dead as zombies: their state is Z, or they are gone
  const state = () =>
    spawnSync('ps', ['-o', 'stat=', '-p', String(pid)])
      .stdout.toString()
      .trim()
  await until(() => state() === '' || state().startsWith('Z'), 5000, `nats-server ${pid} is gone`)
})

test('embedded nats should say why there can be none', async (t) => {
  const cacheDirectory = temporaryDirectory(t)
  const found = await findNatsServer({ cacheDirectory, mayFetch: false, log: SILENT, command: 'no-such-nats-server' })
  assert.ok('reason' in found)
  assert.match(found.reason, /^nats-server is (neither|not) on PATH/)
  const options = {
    storeDirectory: temporaryDirectory(t),
    cacheDirectory,
    port: 0,
    mayFetch: false,
    log: SILENT,
    command: 'no-such-nats-server',
  }
  assert.ok('reason' in (await startEmbeddedNats(options)))
})

test('embedded nats should say in one line why a server did not start', async (t) => {
  const storeDirectory = temporaryDirectory(t)
  const command = path.join(temporaryDirectory(t), 'nats-server')
  writeFileSync(
    command,
    '#!/bin/sh\n[ "$1" = --version ] && { echo "nats-server: v2.9.10"; exit; }\necho "nats-server: broken on purpose" >&2; exit 1\n',
    { mode: 0o755 },
  )
  const options = { storeDirectory, cacheDirectory: storeDirectory, port: 0, mayFetch: false, log: SILENT, command }
  await assert.rejects(
    startEmbeddedNats(options),
    (error: unknown) =>
      error instanceof Fault &&
      error.code === 'NATS_FAILED' &&
      /broken on purpose/.test(error.message) &&
      !error.message.includes('\n'),
  )
})

test('embedded nats should write only settings that the version knows', async (t) => {
  assert.doesNotMatch(configOf('2.9.10', '/s', 0, {}), /sync_interval/)
  assert.match(configOf('2.10.27', '/s', 0, {}), /sync_interval: "10s"/)
  assert.match(
    configOf('3.0.0', '/s', 4222, { streamBytesMax: 5 }),
    /listen: "127\.0\.0\.1:4222"[\s\S]*max_file_store: 5/,
  )
  const server = await startNats(t)
  if (server === null) return
  const file = path.join(temporaryDirectory(t), 'nats.conf')
  writeFileSync(file, configOf(server.version, '/tmp', 0, { streamBytesMax: 1e9 }))
  const checked = spawnSync(server.command, ['-t', '-c', file], { encoding: 'utf8' })
  assert.equal(checked.status, 0, checked.stderr) // the server's own test of its configuration
})

test('embedded nats should be fetched without root, with package lists of its own where the system has none', async (t) => {
  const cacheDirectory = temporaryDirectory(t)
  const emptyLists = temporaryDirectory(t)
  const apt = spawnSync('apt-get', ['--version'])
  if (apt.status !== 0) return t.skip('this system has no apt-get')
  const configFile = path.join(emptyLists, 'apt.conf')
  writeFileSync(configFile, `Dir::State::Lists "${emptyLists}";\n`)
  const before = process.env.APT_CONFIG
  process.env.APT_CONFIG = configFile
  cleanUp(t, () => {
    if (before === undefined) delete process.env.APT_CONFIG
    else process.env.APT_CONFIG = before
  })
  const found = await findNatsServer({ cacheDirectory, mayFetch: true, log: SILENT, command: 'no-such-nats-server' })
  if ('reason' in found) {
    assert.match(found.reason, /could not be fetched \([^)]+\): install nats-server/)
    assert.equal(process.env.CI, undefined, found.reason)
    return t.skip(found.reason)
  }
  assert.equal(found.source, 'fetched')
  assert.ok(existsSync(found.command) && readFileSync(found.command).length > 1e6)
  const again = await findNatsServer({ cacheDirectory, mayFetch: true, log: SILENT, command: 'no-such-nats-server' })
  assert.ok(!('reason' in again) && again.source === 'cache')
})
