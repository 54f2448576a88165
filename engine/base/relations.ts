import type { Config, KeyPath } from './keys.ts'
import * as limits from './limits.ts'
import { MARKET_PATHS, type MarketPath } from './market-keys.ts'

/** What must hold between keys. */
export interface Relation {
  readonly keys: readonly KeyPath[]
  readonly holds: (config: Config) => boolean
  readonly allowed: string
}

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/

interface AnyMarket {
  readonly enabled: boolean
  readonly maxPayloadBytes: number
}

function marketAt(config: Config, path: MarketPath): AnyMarket {
  const [, exchange, market] = path.split('.') as [string, string, string]
  const markets: Readonly<Record<string, Readonly<Record<string, AnyMarket>>>> = config.exchanges
  return markets[exchange]?.[market] as AnyMarket
}

export const RELATIONS: readonly Relation[] = [
  ...MARKET_PATHS.map(
    (path): Relation => ({
      keys: [`${path}.maxPayloadBytes`, 'rings.framesBytes'],
      holds: (config) => {
        const { enabled, maxPayloadBytes } = marketAt(config, path)
        return !enabled || maxPayloadBytes <= limits.RING_RECORD_BYTES_MAX(config.rings.framesBytes)
      },
      allowed: 'a message fits into half of the frame ring',
    }),
  ),
  {
    keys: ['batch.bytesMax', 'rings.batchesBytes'],
    holds: (config) => config.batch.bytesMax <= limits.RING_RECORD_BYTES_MAX(config.rings.batchesBytes) / 2,
    allowed: 'a block fits into a quarter of the batch ring',
  },
  {
    keys: ['spool.segmentBytes', 'spool.maxBytes'],
    holds: (config) => config.spool.segmentBytes * 2 <= config.spool.maxBytes,
    allowed: 'the spool holds at least two segments',
  },
  {
    keys: ['batch.bytesMax', 'spool.maxBytes'],
    holds: (config) => config.batch.bytesMax * 2 <= config.spool.maxBytes,
    allowed: 'the spool holds at least two blocks',
  },
  {
    keys: ['publisher.minDepthLevels', 'publisher.depth'],
    holds: (config) => config.publisher.minDepthLevels <= config.publisher.depth,
    allowed: 'no more levels are asked for than are published',
  },
  {
    keys: ['nats.ackTimeoutMs', 'nats.duplicateWindowSeconds'],
    holds: (config) => config.nats.ackTimeoutMs * 2 <= config.nats.duplicateWindowSeconds * 1000,
    allowed: 'the duplicate window lasts at least two ack timeouts, else a repeated publish is stored twice',
  },
  {
    keys: ['store.workersMin', 'store.workersMax'],
    holds: (config) => config.store.workersMin <= config.store.workersMax,
    allowed: 'no fewer workers at most than always',
  },
  {
    keys: ['store.stopBelowPending', 'store.startAbovePending'],
    holds: (config) => config.store.stopBelowPending * 2 <= config.store.startAbovePending,
    allowed: 'a worker ends at half the backlog that starts one, or less',
  },
  {
    keys: ['delivery', 'nats.url', 'nats.embedded'],
    holds: (config) => config.delivery !== 'jetstream' || config.nats.url !== '' || config.nats.embedded,
    allowed: 'delivery jetstream needs nats.url or nats.embedded',
  },
  {
    keys: ['nats.password', 'nats.user'],
    holds: (config) => config.nats.password === '' || config.nats.user !== '',
    allowed: 'nats.password goes with nats.user',
  },
  {
    keys: ['serve.tlsCertFile', 'serve.tlsKeyFile'],
    holds: ({ serve }) => (serve.tlsCertFile === '') === (serve.tlsKeyFile === ''),
    allowed: 'a certificate goes with its key',
  },
  {
    keys: ['serve.connectionsPerClient', 'serve.connectionsMax'],
    holds: ({ serve }) => serve.connectionsPerClient <= serve.connectionsMax,
    allowed: 'one client gets no more connections than there are',
  },
  {
    keys: ['observe.host', 'observe.exposed'],
    holds: (config) => !config.observe.enabled || config.observe.exposed || LOOPBACK.test(config.observe.host),
    allowed: 'a host other than loopback needs observe.exposed = true; the pages ask for no password',
  },
]
