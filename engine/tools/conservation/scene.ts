/**
 * Every part a process of its own, and between any two that speak a link that can be made ill:
 *
 *   simulated venues ═► engine (collect) ═► nats-server ═► store ═► ClickHouse engine
 *
 * The venues are the oracle: nothing is ever done to them. All that is killed comes back by itself, with the same data
 * directory and port.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ClickHouseClient } from '@clickhouse/client'
import type { Config } from '../../base/config.ts'
import { Fault } from '../../base/fault.ts'
import { createLog } from '../../base/log.ts'
import type { Run } from '../../base/run.ts'
import { type EmbeddedClickHouse, startEmbeddedClickHouse } from '../../embedded/clickhouse.ts'
import { isAlive } from '../../embedded/kept-child.ts'
import { type EmbeddedNats, type EmbeddedNatsOptions, startEmbeddedNats } from '../../embedded/nats.ts'
import { dataDirectory } from '../../roles/settings.ts'
import { CLICKHOUSE_DEFAULT, createClickHouseClient } from '../../sinks/clickhouse.ts'
import { takeDirectory } from '../demo/directory.ts'
import { type MarketPlans, startVenue, type Venue } from '../demo/venue.ts'
import { AcceptedBlocks } from './accepted.ts'
import { FaultLink } from './fault-link.ts'
import { forgetInserts, stopMerges } from './ledger.ts'
import { type Act, type Actor, LINKS, type LinkName } from './nemesis.ts'
import { RoleProcess, until } from './role-process.ts'

export interface SceneOptions {
  readonly directory: string
  readonly markets: MarketPlans
  readonly rate: number
  readonly seed: number
  /** absent: as configured */
  readonly batchAgeMs?: number
  /** negative control: ClickHouse forgets at once which inserts it has seen */
  readonly forgetsInserts: boolean
}

/** Less than usual: a run must not wait a minute for what a killed store held. */
const ACK_WAIT_SECONDS = 5
const READY_MS_MAX = 60_000
/** A question over millions of rows, on a busy machine. */
const JUDGE_MS_MAX = 600_000
/** Nothing is deleted from the spool in the run, so that all that was accepted can be read from it. */
const RETAIN_SECONDS = 86_400
const ALIVE_MS_MAX = 15_000
const LOOK_MS = 20

type Undo = () => Promise<unknown>

/** @param act what is done with all of it there and nothing started but the venues; all of it is ended afterwards */
export async function onScene<T>(options: SceneOptions, run: Run, act: (scene: Scene) => Promise<T>): Promise<T> {
  const taken = await takeDirectory(options.directory)
  try {
    return await playOn(options, run, act)
  } finally {
    await taken.release()
  }
}

async function playOn<T>(options: SceneOptions, run: Run, act: (scene: Scene) => Promise<T>): Promise<T> {
  const { directory, markets, rate, seed } = options
  const truthDirectory = join(directory, 'truth')
  const venue = await startVenue({ seconds: null, rate, seed, recordings: [], speed: 1, truthDirectory, markets })
  try {
    const scene = await Scene.open(venue, run, options)
    try {
      return await act(scene)
    } finally {
      await scene.close()
    }
  } finally {
    await venue.kill()
  }
}

export class Scene {
  readonly venue: Venue
  readonly engine: RoleProcess
  readonly store: RoleProcess
  readonly client: ClickHouseClient
  readonly database: string
  readonly accepted = new AcceptedBlocks()
  readonly spoolDirectory: string
  readonly #natsOptions: EmbeddedNatsOptions
  #nats: EmbeddedNats
  readonly #clickhouse: EmbeddedClickHouse
  readonly #links: ReadonlyMap<LinkName, FaultLink>
  readonly #undo: Undo[]

  static async open(venue: Venue, run: Run, options: SceneOptions): Promise<Scene> {
    const undo: Undo[] = []
    try {
      return await Scene.#open(venue, run, options, undo)
    } catch (error) {
      for (const step of undo.reverse()) await step()
      throw error
    }
  }

  /** @param undo takes what ends each thing that was started */
  static async #open(venue: Venue, { config }: Run, options: SceneOptions, undo: Undo[]) {
    const { directory } = options
    const log = createLog('silent', 'conservation')
    const at = (name: string): string => join(directory, name)
    for (const name of ['nats', 'clickhouse', 'engine', 'store']) mkdirSync(at(name), { recursive: true })
    const cacheDirectory = dataDirectory(config, '', config.cache.directory)
    const natsOptions = { storeDirectory: at('nats'), cacheDirectory, port: 0, mayFetch: true, log }
    const nats = await startNats(natsOptions)
    undo.push(() => nats.stop())
    const clickhouse = await startEmbeddedClickHouse({ dataDirectory: at('clickhouse'), port: 0, log })
    undo.push(() => clickhouse.stop())
    const { database } = config.clickhouse
    const client = createClickHouseClient({
      ...{ ...CLICKHOUSE_DEFAULT, url: clickhouse.url, database: 'default' },
      requestTimeoutMs: JUDGE_MS_MAX,
    })
    undo.push(() => client.close())
    const links = new Map(LINKS.map((name) => [name, new FaultLink(name)]))
    const link = (name: LinkName): FaultLink => links.get(name) as FaultLink
    undo.push(async () => {
      for (const each of links.values()) each.close()
    })
    const own = (name: string): string[] => [
      ...['--data', at(name), '--port', '0'],
      ...setFlags({ 'nats.ackWaitSeconds': ACK_WAIT_SECONDS, 'clickhouse.database': database }),
    ]
    const store = new RoleProcess(
      'store',
      [
        'store',
        ...own('store'),
        ...setFlags({
          'nats.url': await link('nats → store').through(nats.url),
          'clickhouse.url': await link('store → clickhouse').through(clickhouse.url),
        }),
      ],
      at('store.log'),
      async () => {
        await stopMerges(client, database)
        if (options.forgetsInserts) await forgetInserts(client, database)
      },
    )
    const engine = new RoleProcess(
      'engine',
      [
        ...['collect', ...own('engine'), '--delivery', 'jetstream'],
        ...setFlags({
          'nats.url': await link('engine → nats').through(nats.url),
          'spool.retainSeconds': RETAIN_SECONDS,
          'batch.ageMs': options.batchAgeMs ?? config.batch.ageMs,
        }),
        ...(await marketFlags(venue, options.markets, config, link('venue → engine'))),
      ],
      at('engine.log'),
    )
    return new Scene({
      venue,
      engine,
      store,
      client,
      database,
      nats,
      natsOptions,
      clickhouse,
      links,
      undo,
      spool: at('engine/spool'),
    })
  }

  private constructor(parts: {
    venue: Venue
    engine: RoleProcess
    store: RoleProcess
    client: ClickHouseClient
    database: string
    nats: EmbeddedNats
    clickhouse: EmbeddedClickHouse
    links: ReadonlyMap<LinkName, FaultLink>
    undo: Undo[]
    natsOptions: EmbeddedNatsOptions
    spool: string
  }) {
    this.venue = parts.venue
    this.engine = parts.engine
    this.store = parts.store
    this.client = parts.client
    this.database = parts.database
    this.spoolDirectory = parts.spool
    this.#nats = parts.nats
    this.#natsOptions = parts.natsOptions
    this.#clickhouse = parts.clickhouse
    this.#links = parts.links
    this.#undo = parts.undo
  }

  /** Store first: its tables and streams are there when the first block comes. @param onEngineExit see RoleProcess */
  async start(onEngineExit: () => void = () => {}): Promise<void> {
    await this.store.start()
    await this.engine.start(onEngineExit)
    await until(async () => ((await this.engine.metric('marketprism_messages_total')) ?? 0) > 0, READY_MS_MAX)
  }

  /** NATS ends, and comes again with all that it had. @param act what happens while it is away */
  async withoutNats<T>(act: () => Promise<T>): Promise<T> {
    await this.#nats.stop()
    try {
      return await act()
    } finally {
      this.#nats = await startNats({ ...this.#natsOptions, port: Number(new URL(this.#nats.url).port) })
      const server = this.#nats
      this.#undo.push(() => server.stop())
    }
  }

  /** Resolves when it is done, for a pause or a sick link when it is over. */
  async suffer(act: Act): Promise<void> {
    switch (act.what) {
      case 'kill':
        return void process.kill(await this.#alive(act.actor), 'SIGKILL')
      case 'pause': {
        const pid = await this.#alive(act.actor)
        process.kill(pid, 'SIGSTOP')
        await sleep(act.forMs)
        if (isAlive(pid)) process.kill(pid, 'SIGCONT')
        return
      }
      case 'reset':
        return this.#link(act.link).reset()
      case 'toxic':
        this.#link(act.link).strike(act.toxic)
        await sleep(act.forMs)
        return this.#link(act.link).heal()
    }
  }

  /** How often each was started again. */
  restarts(): Record<Actor, number> {
    const { engine, store } = this
    return {
      engine: engine.restarts,
      nats: this.#nats.restarts,
      store: store.restarts,
      clickhouse: this.#clickhouse.restarts,
    }
  }

  heal(): void {
    for (const link of this.#links.values()) link.heal()
  }

  async close(): Promise<void> {
    await this.engine.stop()
    await this.store.stop()
    for (const step of [...this.#undo].reverse()) await step()
  }

  #link(name: LinkName): FaultLink {
    return this.#links.get(name) as FaultLink
  }

  /** What was just killed is on its way back: it is waited for, else a kill would strike nobody. */
  async #alive(actor: Actor): Promise<number> {
    const pid = (): number =>
      ({ engine: this.engine, store: this.store, nats: this.#nats, clickhouse: this.#clickhouse })[actor].pid
    for (const deadline = performance.now() + ALIVE_MS_MAX; !isAlive(pid()); await sleep(LOOK_MS))
      if (performance.now() > deadline)
        throw new Fault('NOT_BACK', `${actor} did not come back within ${ALIVE_MS_MAX} ms`)
    return pid()
  }
}

async function startNats(options: EmbeddedNatsOptions): Promise<EmbeddedNats> {
  const server = await startEmbeddedNats(options)
  if ('reason' in server) throw new Fault('NATS', `this trial needs a NATS server: ${server.reason}`)
  return server
}

function setFlags(values: Readonly<Record<string, string | number | boolean>>): string[] {
  return Object.entries(values).flatMap(([key, value]) => ['--set', `${key}=${value}`])
}

/** The markets of the plan and no others, through the link. */
async function marketFlags(venue: Venue, markets: MarketPlans, config: Config, link: FaultLink): Promise<string[]> {
  const flags: string[] = []
  for (const [exchange, each] of Object.entries(config.exchanges))
    for (const market of Object.keys(each))
      if (markets[`${exchange}.${market}`] === undefined)
        flags.push(...setFlags({ [`exchanges.${exchange}.${market}.enabled`]: false }))
  for (const [key, bases] of Object.entries(venue.urls)) {
    const plan = markets[key]
    if (plan === undefined) continue
    flags.push(
      ...setFlags({
        [`exchanges.${key}.enabled`]: true,
        [`exchanges.${key}.instruments`]: '*',
        [`exchanges.${key}.channels`]: plan.channels.join(),
        [`exchanges.${key}.wsUrl`]: await link.through(bases.ws),
        [`exchanges.${key}.restUrl`]: await link.through(bases.rest),
      }),
    )
  }
  return flags
}
