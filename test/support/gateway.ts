import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Clock } from '../../engine/base/clock.ts'
import { Fault } from '../../engine/base/fault.ts'
import type { Log } from '../../engine/base/log.ts'
import { seededRandom } from '../../engine/base/random.ts'
import type { EngineLink, EngineStatus } from '../../engine/gateway/engine-link.ts'
import { startGateway } from '../../engine/gateway/gateway.ts'
import type { LiveSource } from '../../engine/gateway/live-source.ts'
import type { GatewaySettings, SecuritySettings } from '../../engine/gateway/settings.ts'
import { cleanUp } from './clean-up.ts'
import { SILENT } from './embedded.ts'

/** An engine that says what a test wants. */
export class ToldEngine implements EngineLink {
  fail: 'no' | 'fault' | 'bug' = 'no'
  level = 0
  readonly wanted: string[] = []
  readonly changes: unknown[] = []
  readonly processes: EngineStatus[] = [
    {
      name: 'collector',
      roles: ['collect', 'serve'],
      version: '1.2.3',
      pid: 1,
      startedMs: 1_700_000_000_000,
      health: 'healthy',
      problems: {},
    },
  ]

  status: EngineLink['status'] = async () => {
    if (this.fail === 'fault') throw new Fault('ENGINE', 'no collector answers: start one')
    if (this.fail === 'bug') throw new TypeError('secret inside')
    return this.processes
  }
  wantBook: EngineLink['wantBook'] = ({ exchange, market, symbol }) => {
    this.wanted.push(`${exchange}.${market}.${symbol}`)
  }
  change: EngineLink['change'] = async (change) => {
    this.changes.push(change)
    return { added: change.add, removed: change.remove, refused: [] }
  }
  collected: EngineLink['collected'] = async () => [
    { producer: 'collector', instruments: [{ exchange: 'binance', market: 'usdm', symbol: 'BTCUSDT' }] },
  ]
  plan: EngineLink['plan'] = async () => []
  config: EngineLink['config'] = async () => ({ producer: { value: 'collector', source: 'default' } })
  pressure: EngineLink['pressure'] = () => this.level
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** of a body that is JSON */
  // biome-ignore lint/suspicious/noExplicitAny: each test knows its answer
  readonly json: any
}

export const GATEWAY_SETTINGS: GatewaySettings = {
  host: '127.0.0.1',
  port: 0,
  version: '1.2.3',
  clickhouse: undefined,
  nats: undefined,
  letterDirectory: undefined,
  candles: false,
  security: {
    exposed: false,
    keys: { file: '', single: undefined },
    localAdmin: false,
    tls: undefined,
    behindTlsProxy: false,
    origins: [],
    hosts: [],
    requestsPerSecond: 10_000,
    inFlightMax: 128,
    connectionsMax: 2_000,
    connectionsPerClientMax: 1_000,
    headersTimeoutMs: 5_000,
    auditFile: join(tmpdir(), `marketprism-audit-${process.pid}.ndjson`),
  },
  live: {
    resumeBytes: 1 << 20,
    queueBytesMax: 1 << 20,
    stallMsMax: 10_000,
    subscriptionsMax: 1_000,
    messagesPerSecond: 1_000,
  },
}

/** A gateway of its own on a free port. */
export async function served(
  t: TestContext,
  {
    security = {},
    ...settings
  }: Partial<Omit<GatewaySettings, 'security'>> & { security?: Partial<SecuritySettings> } = {},
  log: Log = SILENT,
  live?: LiveSource,
  clock = new Clock(),
) {
  const engine = new ToldEngine()
  const gateway = await startGateway(
    {
      settings: { ...GATEWAY_SETTINGS, ...settings, security: { ...GATEWAY_SETTINGS.security, ...security } },
      clock,
      random: seededRandom(1),
      log,
      engine,
    },
    live,
  )
  cleanUp(t, () => gateway.close())
  return { gateway, engine, get: askerOf(gateway.url) }
}

export type Ask = (path: string, init?: RequestInit) => Promise<Answer>

export function askerOf(url: string): Ask {
  return async (path, init = {}) => {
    const response = await fetch(`${url}${path}`, init)
    const text = await response.text()
    const isJson = response.headers.get('content-type')?.startsWith('application/json') === true
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: isJson && text !== '' ? JSON.parse(text) : undefined,
    }
  }
}
