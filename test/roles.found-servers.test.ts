import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { loadConfig } from '../engine/base/config.ts'
import type { Log } from '../engine/base/log.ts'
import { findServers } from '../engine/roles/found-servers.ts'
import { storageOptions } from '../engine/roles/settings.ts'
import { CLICKHOUSE_DEFAULT, createClickHouseClient } from '../engine/sinks/clickhouse.ts'
import { provisionTables } from '../engine/sinks/provision.ts'
import { cleanUp } from './support/clean-up.ts'
import { SILENT, startClickHouse, temporaryDirectory } from './support/embedded.ts'

/** What a gateway alone says of the ClickHouse that it is to ask, each line with its level. */
function gatewayOf(t: TestContext, url: string) {
  const keys = [`data.directory=${temporaryDirectory(t)}`, `clickhouse.url=${url}`]
  const { config } = loadConfig({ variables: {}, flags: keys.map((text) => ({ text, label: '--set' })) })
  const saidAtStart = async (): Promise<string[]> => {
    const said: string[] = []
    const tell = (level: string) => (line: string) => said.push(`${level}: ${line}`)
    const log = { ...SILENT, info: tell('info'), warn: tell('warn'), error: tell('error') } as unknown as Log
    const servers = await findServers(config, log)
    await servers.stop()
    return said
  }
  return { storage: storageOptions(config), saidAtStart }
}

test('gateway alone should say that the store makes the tables where they are not there yet, and nothing once they are', async (t) => {
  const { url } = await startClickHouse(t)
  const { storage, saidAtStart } = gatewayOf(t, url)
  const client = createClickHouseClient({ ...CLICKHOUSE_DEFAULT, url, database: 'default' })
  cleanUp(t, () => client.close())
  const notYet = (tables: string) =>
    new RegExp(
      `^info: .*database marketprism: ${tables} tables are not there yet; the role store makes them when it starts`,
    )
  const assertSaid = async (...patterns: RegExp[]) => {
    const said = await saidAtStart()
    assert.equal(said.length, patterns.length, said.join('\n'))
    for (const [index, pattern] of patterns.entries()) assert.match(said[index] ?? '', pattern)
  }
  await assertSaid(notYet('\\d{2}')) // no database
  await client.command({ query: 'CREATE DATABASE marketprism' })
  await assertSaid(notYet('\\d{2}'))
  await provisionTables(client, { storage, mayChange: true })
  await assertSaid()
  await client.command({ query: 'DROP TABLE marketprism.trade_hours' }) // of a version before this one
  await assertSaid(notYet('1'))
})

test('gateway alone should warn where ClickHouse does not answer', async (t) => {
  const { saidAtStart } = gatewayOf(t, 'http://127.0.0.1:1')
  const said = await saidAtStart()
  assert.equal(said.length, 1)
  assert.match(said[0] ?? '', /^warn: .*127\.0\.0\.1:1.* cannot be reached .*until it answers$/)
})
