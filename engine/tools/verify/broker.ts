/** NATS: is it there, is JetStream on, are streams and consumers as the schema wants them? Only looks. */
import { existsSync } from 'node:fs'
import type { JetStreamManager, NatsConnection } from 'nats'
import type { Run } from '../../base/run.ts'
import { findNatsServer } from '../../embedded/nats-install.ts'
import { BLOCK_STREAM, streamShapes } from '../../record/streams.ts'
import { consumerShapes, dataDirectory, streamOptions } from '../../roles/settings.ts'
import { PAYLOAD_BYTES_MIN } from '../../roles/provisioning.ts'
import { consumerChange, streamChange } from '../../sinks/provision-streams.ts'
import { readRegistry, REGISTRY_DEFAULT, type RoleEntry, ROLES_BUCKET, ROLES_STREAM } from '../../sinks/registry.ts'
import { reachNats } from '../reach.ts'
import { askJson, refusesName } from '../ask-json.ts'
import type { Findings } from './findings.ts'

/** Older ones lack what we ask of JetStream. */
const SERVER_MIN = [2, 9] as const
const NS_PER_MS = 1e6
const NOT_YET = 'not there yet: the engine makes it at its start'

export async function checkNats(findings: Findings, run: Run): Promise<void> {
  const { config } = run
  if (config.delivery === 'direct') return findings.skipped('NATS', 'delivery = direct: none is used')
  if (config.nats.url === '' && !config.nats.embedded)
    return findings.skipped('NATS', 'nats.url is empty and nats.embedded is false: blocks are delivered directly')
  if (config.nats.url === '' && !existsSync(dataDirectory(config, 'nats'))) return await checkProgram(findings, run)
  await findings.guard('NATS', async () => {
    const nats = await reachNats(run)
    if (nats === undefined) return findings.skipped('NATS', 'not used')
    try {
      await checkServer(findings, nats.connection, run)
    } finally {
      await nats.stop()
    }
  })
}

/** Nothing has run here yet: the engine would start a server of its own. */
async function checkProgram(findings: Findings, { config, log }: Run): Promise<void> {
  const cacheDirectory = dataDirectory(config, '', config.cache.directory)
  const found = await findNatsServer({ cacheDirectory, mayFetch: false, log })
  if (!('reason' in found)) findings.good('NATS', `nats-server ${found.version} (${found.source}) would be started`)
  else if (config.delivery === 'jetstream') findings.bad('NATS', found.reason, 'or set nats.url')
  else findings.skipped('NATS', `${found.reason}; the engine tries to fetch it, else it delivers directly`)
}

async function checkServer(findings: Findings, connection: NatsConnection, run: Run): Promise<void> {
  const { info } = connection
  const version = info?.version ?? '0'
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const detail = `${connection.getServer()}, nats-server ${version}`
  if (major > SERVER_MIN[0] || (major === SERVER_MIN[0] && minor >= SERVER_MIN[1])) findings.good('NATS', detail)
  else findings.bad('NATS', detail, `install nats-server ${SERVER_MIN.join('.')} or newer`)
  const payload = info?.max_payload ?? 0
  if (payload >= PAYLOAD_BYTES_MIN) findings.good('NATS messages', `up to ${payload} bytes`)
  else
    findings.bad(
      'NATS messages',
      `up to ${payload} bytes, the row of a whole book may need ${PAYLOAD_BYTES_MIN}`,
      'raise max_payload in nats.conf',
    )
  let manager: JetStreamManager
  try {
    manager = await connection.jetstreamManager() // asks the server
    const { storage, limits } = await manager.getAccountInfo()
    const room = limits.max_storage > 0 ? ` of ${limits.max_storage}` : ''
    findings.good('JetStream', `on, ${storage}${room} bytes used`)
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string }
    return findings.bad('JetStream', `is off or not for this user (${code ?? message})`, 'start nats-server with -js')
  }
  await checkStreams(findings, manager, run)
  await findings.guard(ROLES, () => checkRoles(findings, connection, manager))
}

const ROLES = 'list of roles'

/** The bucket where processes find each other, and whether who stands there answers. */
async function checkRoles(findings: Findings, connection: NatsConnection, manager: JetStreamManager): Promise<void> {
  const found = await manager.streams.info(ROLES_STREAM).catch(() => undefined)
  if (found === undefined) return findings.skipped(ROLES, NOT_YET)
  const ageMs = found.config.max_age / NS_PER_MS
  const entries = await readRegistry(connection)
  if (ageMs !== REGISTRY_DEFAULT.ttlMs)
    findings.bad(
      ROLES,
      `${ROLES_BUCKET} keeps entries ${ageMs === 0 ? 'for ever' : `${ageMs} ms`}: who is gone stays listed`,
      `delete the bucket (nats kv del ${ROLES_BUCKET}): the engine makes it anew`,
    )
  else findings.good(ROLES, entries.length === 0 ? 'nobody runs' : entries.map(shown).join('; '))
  for (const { name, gateway } of entries) if (gateway !== undefined) await checkGateway(findings, name, gateway)
}

async function checkGateway(findings: Findings, name: string, url: string): Promise<void> {
  const what = `gateway ${name}`
  const answer = await askJson(`${url}/v1/status`)
  if (answer === undefined)
    return findings.bad(what, `${url} does not answer`, 'look into its log; it is listed as running')
  if (!refusesName(answer)) return findings.good(what, `${url} answers ${answer.status} in ${answer.ms.toFixed(0)} ms`)
  findings.bad(
    what,
    `${url} is there and is listed so, but refuses this host name (${answer.status})`,
    `add ${bareHost(url)} to its serve.hosts`,
  )
}

/** Without the brackets of an IPv6 address. */
const bareHost = (url: string): string => new URL(url).hostname.replace(/^\[|\]$/g, '')

const shown = ({ name, roles, host, pid }: RoleEntry): string =>
  `${name}: ${roles.join(', ')} (${host}, process ${pid})`

async function checkStreams(findings: Findings, manager: JetStreamManager, { config }: Run): Promise<void> {
  const streams = new Map<string, Awaited<ReturnType<typeof manager.streams.info>>['config']>()
  for await (const { config: found } of manager.streams.list()) streams.set(found.name, found)
  const shapes = streamShapes(streamOptions(config))
  const isNew = !shapes.some(({ name }) => streams.has(name))
  for (const wanted of shapes) {
    const what = `stream ${wanted.name}`
    await findings.guard(what, async () => {
      const found = streams.get(wanted.name)
      if (found === undefined && isNew) return findings.skipped(what, NOT_YET)
      if (found === undefined) return findings.bad(what, 'is missing', 'start the engine again: it makes it')
      const { lines, notes } = streamChange(wanted, found)
      if (lines.length > 0) findings.bad(what, lines.join('; '), 'start the engine: it changes it')
      else findings.good(what, notes.length === 0 ? 'as the schema wants it' : notes.join('; '))
    })
  }
  if (!streams.has(BLOCK_STREAM)) return
  for (const wanted of consumerShapes(config)) {
    const what = `consumer ${wanted.durable_name}`
    await findings.guard(what, async () => {
      const found = await manager.consumers.info(BLOCK_STREAM, wanted.durable_name).catch(() => undefined)
      if (found === undefined) return findings.skipped(what, NOT_YET)
      const { lines } = consumerChange(wanted, found.config)
      if (lines.length > 0) findings.bad(what, lines.join('; '), 'start the store: it changes it')
      else findings.good(what, `${found.num_pending} blocks wait, ${found.num_ack_pending} are under way`)
    })
  }
}
