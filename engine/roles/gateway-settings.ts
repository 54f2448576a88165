import { join } from 'node:path'
import type { Config } from '../base/config.ts'
import { EXIT_CONFIG, Fault } from '../base/fault.ts'
import { assertServable } from '../gateway/security/exposure.ts'
import { hashOfKey, idOfKey, type KeySources } from '../gateway/security/keys.ts'
import type { GatewaySettings, LiveSettings, SecuritySettings } from '../gateway/settings.ts'
import type { Servers } from './servers.ts'
import { dataDirectory } from './settings.ts'

const HEADERS_TIMEOUT_MS = 5_000

export function gatewaySettings(
  config: Config,
  version: string,
  { clickhouse, nats }: Pick<Servers, 'clickhouse' | 'nats'>,
  hasCollector: boolean,
): GatewaySettings {
  const { host, port } = config.serve
  const spool = dataDirectory(config, 'spool', config.spool.directory)
  const letterDirectory = hasCollector && nats === undefined ? join(spool, 'poison') : undefined
  return {
    host,
    port,
    version,
    clickhouse,
    nats,
    letterDirectory,
    candles: config.serve.candles,
    security: securitySettings(config),
    live: liveSettings(config),
  }
}

function liveSettings({ serve }: Config): LiveSettings {
  const { resumeBytes, subscriptionsMax, messagesPerSecond } = serve
  const [queueBytesMax, stallMsMax] = [serve.queueBytes, serve.stallSeconds * 1_000]
  return { resumeBytes, queueBytesMax, stallMsMax, subscriptionsMax, messagesPerSecond }
}

function securitySettings(config: Config): SecuritySettings {
  const { serve } = config
  return {
    exposed: serve.exposed,
    keys: keySources(config),
    localAdmin: serve.localAdmin,
    tls: serve.tlsCertFile === '' ? undefined : { certFile: serve.tlsCertFile, keyFile: serve.tlsKeyFile },
    behindTlsProxy: serve.behindTlsProxy,
    origins: serve.origins,
    hosts: serve.hosts,
    requestsPerSecond: serve.requestsPerSecond,
    inFlightMax: serve.inFlightMax,
    connectionsMax: serve.connectionsMax,
    connectionsPerClientMax: serve.connectionsPerClient,
    headersTimeoutMs: HEADERS_TIMEOUT_MS,
    auditFile: join(dataDirectory(config, 'gateway'), 'audit.ndjson'),
  }
}

/** The key of the environment goes no further than this: the gateway gets its hash. */
function keySources({ serve }: Config): KeySources {
  if (serve.key === '') return { file: serve.keysFile, single: undefined }
  const id = idOfKey(serve.key)
  if (id === undefined)
    throw new Fault('KEYS', 'serve.key is no key: make one with `marketprism keys create`', EXIT_CONFIG)
  return { file: serve.keysFile, single: { id, sha256: hashOfKey(serve.key), scopes: serve.keyScopes } }
}

/** Before anything is started. @throws Fault (exit 78) when the gateway must not listen where it shall */
export function checkServable(config: Config): void {
  const { exposed, keys, tls, behindTlsProxy } = securitySettings(config)
  const hasKeys = keys.file !== '' || keys.single !== undefined
  assertServable({ host: config.serve.host, exposed, hasKeys, hasTls: tls !== undefined, behindTlsProxy })
}
