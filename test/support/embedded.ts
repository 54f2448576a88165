import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type ClickHouseClient, ClickHouseLogLevel, createClient } from '@clickhouse/client'
import { cleanUp } from './clean-up.ts'
import { createLog } from '../../engine/base/log.ts'
import {
  type EmbeddedClickHouse,
  type EmbeddedClickHouseOptions,
  startEmbeddedClickHouse,
} from '../../engine/embedded/clickhouse.ts'
import { type EmbeddedNats, type EmbeddedNatsOptions, startEmbeddedNats } from '../../engine/embedded/nats.ts'

/** The real engines for tests, each on a directory of its own that goes with the test. */

export const SILENT = createLog('silent', 'test')

/** The project's cache directory, as setup fills it: this file runs from `<root>/<out dir>/test/support`. */
export const CACHE = fileURLToPath(new URL('../../../.cache', import.meta.url))

const REMOVALS_MAX = 50
const REMOVAL_PAUSE_MS = 100

export function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'marketprism-test-'))
  cleanUp(t, () => removeWhole(directory))
  return directory
}

/** Node tries again by itself where a file is busy, not where one appeared meanwhile: a server may just be writing its last. */
async function removeWhole(directory: string): Promise<void> {
  for (let triesLeft = REMOVALS_MAX; ; triesLeft--) {
    try {
      rmSync(directory, { recursive: true, force: true })
      return
    } catch (error) {
      if (triesLeft === 1) throw error
      await new Promise((resolve) => setTimeout(resolve, REMOVAL_PAUSE_MS))
    }
  }
}

export async function startClickHouse(
  t: TestContext,
  options: Partial<EmbeddedClickHouseOptions> = {},
): Promise<EmbeddedClickHouse> {
  const dataDirectory = options.dataDirectory ?? temporaryDirectory(t)
  const server = await startEmbeddedClickHouse({ port: 0, log: SILENT, ...options, dataDirectory })
  cleanUp(t, () => server.stop())
  return server
}

export function clientOf(t: TestContext, url: string): ClickHouseClient {
  const client = createClient({ url, log: { level: ClickHouseLogLevel.OFF }, keep_alive: { enabled: true } })
  cleanUp(t, () => client.close())
  return client
}

/** The answer as text without its last line end. */
export async function ask(
  client: ClickHouseClient,
  query: string,
  params: Record<string, unknown> = {},
): Promise<string> {
  const answer = await client.query({ query, query_params: params, format: 'TabSeparated' })
  return (await answer.text()).trimEnd()
}

/** Sends rows in a format of the engine as raw bytes. */
export async function insertBytes(
  client: ClickHouseClient,
  query: string,
  bytes: Uint8Array,
  settings: Record<string, string | number> = {},
): Promise<void> {
  const answer = await client.exec({
    query,
    values: Readable.from([Buffer.from(bytes)]),
    clickhouse_settings: settings,
  })
  for await (const _ of answer.stream);
}

/** @returns null after skipping the test when there can be no nats-server; in CI that is a failure. */
export async function startNats(
  t: TestContext,
  options: Partial<EmbeddedNatsOptions> = {},
): Promise<EmbeddedNats | null> {
  const server = await startEmbeddedNats({
    storeDirectory: temporaryDirectory(t),
    cacheDirectory: CACHE,
    port: 0,
    mayFetch: true,
    log: SILENT,
    ...options,
  })
  if ('reason' in server) {
    assert.equal(process.env.CI, undefined, server.reason)
    t.skip(server.reason)
    return null
  }
  cleanUp(t, () => server.stop())
  return server
}

export async function until(condition: () => Promise<boolean> | boolean, msMax: number, what: string): Promise<void> {
  for (const deadline = performance.now() + msMax; performance.now() < deadline; ) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  assert.fail(`not within ${msMax} ms: ${what}`)
}

/** Group of a process: Ctrl-C in a terminal reaches every process of the group in front. */
export function groupOf(pid: number): number {
  return Number(spawnSync('ps', ['-o', 'pgid=', '-p', String(pid)]).stdout.toString())
}
