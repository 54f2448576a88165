/**
 * This process among others: it writes itself down where NATS is, answers what they ask, and tells its gateway whom it can
 * ask. Without NATS the configuration names them (serve.peers).
 */
import { hostname, networkInterfaces } from 'node:os'
import type { Clock } from '../base/clock.ts'
import { createLog } from '../base/log.ts'
import { freshSeed, seededRandom } from '../base/random.ts'
import type { Run } from '../base/run.ts'
import { isLoopback } from '../gateway/security/addresses.ts'
import type { ObserveServer } from '../observe/server.ts'
import { NatsLink, type NatsOptions } from '../sinks/nats.ts'
import { Registry, REGISTRY_DEFAULT, type RoleEntry } from '../sinks/registry.ts'
import type { EngineAnswers } from './engine-answers.ts'
import type { Serving } from './serving.ts'

export interface Surroundings {
  readonly nats: NatsOptions | undefined
  readonly observe: ObserveServer | undefined
  readonly serving: Serving | undefined
  readonly answers: EngineAnswers
  readonly clock: Clock
}

export class Presence {
  readonly #fixed: readonly string[]
  readonly #serving: Serving | undefined
  readonly #link: NatsLink | undefined
  readonly #registry: Registry | undefined

  constructor({ config, roles, version }: Run, { nats, observe, serving, answers, clock }: Surroundings) {
    this.#fixed = config.serve.peers
    this.#serving = serving
    observe?.offer({
      questions: {
        '/status': () => answers.status(),
        '/collected': () => answers.collected(),
        '/plan': () => answers.plan(),
      },
      change: (body) => answers.change(body),
      controlKey: config.observe.controlKey,
    })
    this.#tellGateway([])
    if (nats === undefined) return
    const entry: RoleEntry = {
      name: answers.status().name,
      roles,
      host: hostname(),
      pid: process.pid,
      version,
      startedMs: Math.floor(clock.nowMs()),
      ...(observe === undefined ? {} : { pages: reachable(observe.url) }),
      ...(serving === undefined ? {} : { gateway: reachable(serving.url) }),
    }
    // who delivers says already when NATS is away
    this.#link = new NatsLink(nats, 'marketprism roles', seededRandom(freshSeed()), createLog('silent', 'roles'))
    const options = { ...REGISTRY_DEFAULT, replicas: config.nats.replicas }
    this.#registry = new Registry(this.#link, entry, options, (others) => this.#tellGateway(others))
  }

  start(): void {
    this.#registry?.start()
    this.#link?.start()
  }

  async stop(): Promise<void> {
    await this.#registry?.close()
    await this.#link?.close()
  }

  #tellGateway(others: readonly RoleEntry[]): void {
    const found = others.flatMap(({ pages, host }) => (pages !== undefined && reaches(pages, host) ? [pages] : []))
    this.#serving?.setPeers([...new Set([...this.#fixed, ...found])])
  }
}

/** A loopback address is good for those of the same machine. */
function reaches(url: string, host: string): boolean {
  return host === hostname() || !isLoopback(new URL(url).hostname.replace(/^\[|\]$/g, ''))
}

/** Who listens on every address is reached by the first that others know. */
function reachable(url: string): string {
  const parsed = new URL(url)
  if (parsed.hostname !== '0.0.0.0' && parsed.hostname !== '[::]') return parsed.origin
  const addresses = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  const outside = addresses.find(({ internal, family }) => !internal && family === 'IPv4')?.address
  parsed.hostname = outside ?? '127.0.0.1'
  return parsed.origin
}
