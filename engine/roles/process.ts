/**
 * A process of the engine: one or more roles over one set of servers, started in order and stopped in order.
 *
 *   start   servers → pages, gateway → workers → sockets
 *   stop    pages say "not ready" → sockets → workers (seal, sync, deliver) → servers → pages
 */
import { Clock } from '../base/clock.ts'
import type { Fault } from '../base/fault.ts'
import { createLog, type Log } from '../base/log.ts'
import { freshSeed, seededRandom } from '../base/random.ts'
import type { Run } from '../base/run.ts'
import { type ObserveServer, startObserveServer } from '../observe/server.ts'
import { Counters } from '../ring/counters.ts'
import { createHopMemories } from '../sinks/hop-histograms.ts'
import { NatsLink } from '../sinks/nats.ts'
import { STREAM_LOOK_MS, StreamWatch } from '../sinks/stream-watch.ts'
import { openStore, STORE_COUNTERS } from '../../workers/store-worker.ts'
import { Collector, storeSettings } from './collector.ts'
import { EngineAnswers } from './engine-answers.ts'
import { findServers } from './found-servers.ts'
import { checkServable } from './gateway-settings.ts'
import { watchGateway } from './gateway-telemetry.ts'
import { Presence } from './presence.ts'
import { Revival, REVIVAL_DEFAULT } from './revival.ts'
import { Serving } from './serving.ts'
import { consumerShapes, streamOptions } from './settings.ts'
import { type Servers, startServers } from './servers.ts'
import { StatusReading } from './status.ts'
import { Telemetry } from './telemetry.ts'

export interface EngineProcess {
  readonly servers: Servers
  readonly collector: Collector | undefined
  /** the pages, where they are on */
  readonly observe: ObserveServer | undefined
  /** the gateway, where this process serves */
  readonly serving: Serving | undefined
  /** rejects when the process cannot go on */
  readonly failed: Promise<never>
  /** Ends the roles; the servers stay for questions. */
  stopRoles(): Promise<void>
  /** Ends all. @returns one line a thing that did not end well */
  stop(): Promise<string[]>
}

export async function startProcess(run: Run): Promise<EngineProcess> {
  const { config, roles, log } = run
  const clock = new Clock()
  let fail: (fault: Fault) => void = () => {}
  const failed = new Promise<never>((_, reject) => {
    fail = reject
  })
  failed.catch(() => {}) // whoever waits hears it; until then it is no unhandled rejection
  const undo: (() => Promise<unknown>)[] = []
  const unwind = async (to: number): Promise<void> => {
    while (undo.length > to) await undo.pop()?.()
  }
  try {
    if (roles.includes('serve')) checkServable(config)
    const telemetry = new Telemetry(run, clock)
    undo.push(async () => telemetry.close())
    const { observe: pages } = config
    const observe = pages.enabled ? await startObserveServer(pages, telemetry.metrics, telemetry.health) : undefined
    if (observe !== undefined) undo.push(() => observe.close())
    const servesAlone = roles.every((role) => role === 'serve')
    const servers = await (servesAlone ? findServers(config, log) : startServers(config, roles, log, 'wait'))
    undo.push(() => servers.stop())
    telemetry.watchServers(servers, roles)
    const problems: string[] = []
    const rolesFrom = undo.length
    let collector: Collector | undefined
    if (roles.includes('collect')) {
      collector = await Collector.create(config, servers, roles, clock, log, { onFault: fail })
      const started = collector
      undo.push(async () => problems.push(...stopLines(await started.stop())))
      telemetry.watchCollector(started)
    } else if (roles.includes('store')) {
      const counters = new Counters(STORE_COUNTERS)
      const hops = createHopMemories()
      const store = openStore(storeSettings(config, servers, hops), counters, clock, log)
      undo.push(() => store.stop(false))
      telemetry.watchStore(counters)
      telemetry.watchHops(hops)
    }
    const answers = new EngineAnswers(
      run,
      collector,
      new StatusReading(run, servers, collector, telemetry.health, clock),
    )
    let serving: Serving | undefined
    if (roles.includes('serve')) {
      serving = await Serving.start(run, servers, collector, answers, clock)
      const started = serving
      undo.push(() => started.stop())
      watchGateway(telemetry.metrics, () => started.counts)
      telemetry.watchServing(started, collector)
    }
    // behind the gateway, whose modules take seconds to load on a busy machine: no socket shall wait for that
    await collector?.start()
    const revival = collector === undefined ? undefined : startRevival(collector, servers, log)
    undo.push(async () => revival?.stop())
    undo.push(startStreamWatch(run, servers, log))
    const presence = new Presence(run, { nats: servers.nats, observe, serving, answers, clock })
    presence.start()
    undo.push(() => presence.stop())
    const stopRoles = async (): Promise<void> => {
      telemetry.stopping()
      await unwind(rolesFrom)
    }
    const stop = async (): Promise<string[]> => {
      await stopRoles()
      await unwind(0)
      return problems
    }
    return { servers, collector, observe, serving, failed, stopRoles, stop }
  } catch (error) {
    await unwind(0)
    throw error
  }
}

function startRevival({ sinkCounters: sink }: Collector, { natsServer }: Servers, log: Log): Revival | undefined {
  if (natsServer === undefined) return undefined
  const read = () => ({ acks: sink.read('acks'), timeouts: sink.read('ackTimeouts') })
  const revival = new Revival(natsServer, read, REVIVAL_DEFAULT, log)
  revival.start()
  return revival
}

/** @returns what ends it */
function startStreamWatch({ config, roles }: Run, { nats, delivery, gates }: Servers, log: Log): () => Promise<void> {
  const isStoring = roles.includes('store')
  if (nats === undefined || delivery !== 'jetstream' || !(isStoring || roles.includes('collect'))) return async () => {}
  // who delivers says already when NATS is away
  const silent = createLog('silent', 'streams')
  const link = new NatsLink(nats, 'marketprism streams', seededRandom(freshSeed()), silent)
  const options = { streams: streamOptions(config), consumers: consumerShapes(config), isStoring }
  const watch = new StreamWatch(link, { ...options, lookMs: STREAM_LOOK_MS }, log)
  link.start(gates.nats)
  watch.start()
  return async () => {
    await watch.stop()
    await link.close()
  }
}

function stopLines({ undelivered, givenUp, forced }: Awaited<ReturnType<Collector['stop']>>): string[] {
  const lines: string[] = []
  if (undelivered > 0) lines.push(`${undelivered} blocks stay in the spool and go out at the next start`)
  if (givenUp > 0) lines.push(`${givenUp} blocks could not be made durable and are lost`)
  if (forced.length > 0) lines.push(`ended by force: ${forced.join(', ')}; what they held is lost`)
  return lines
}

/** Runs the roles until the signal, or until the process cannot go on. */
export async function runProcess(run: Run): Promise<void> {
  const engine = await startProcess(run)
  for (const line of startLines(engine)) process.stderr.write(`marketprism: ${line}\n`)
  const stopped = new Promise<void>((resolve) => {
    if (run.stop.aborted) resolve()
    run.stop.addEventListener('abort', () => resolve(), { once: true })
  })
  const forgetHangups = onHangup(() => rereadInstruments(run, engine))
  try {
    await Promise.race([stopped, engine.failed])
  } finally {
    forgetHangups()
    for (const line of await engine.stop()) process.stderr.write(`marketprism: ${line}\n`)
  }
}

/** SIGHUP is an old word for: read your configuration again. @returns a function that stops listening */
function onHangup(reread: () => Promise<void>): () => void {
  const listener = (): void => void reread()
  process.on('SIGHUP', listener)
  return () => process.off('SIGHUP', listener)
}

/** Instruments alone are taken over; a mistake in the files leaves all as it is. */
async function rereadInstruments({ effective, log }: Run, { collector }: EngineProcess): Promise<void> {
  try {
    await collector?.reload(effective.reread().config)
    log.warn({ instruments: collector?.instrumentCount ?? 0 }, 'instruments read again (SIGHUP)')
  } catch (error) {
    log.error({ reason: (error as Error).message }, 'the configuration was not taken over (SIGHUP)')
  }
}

function startLines({ servers, collector, observe, serving }: EngineProcess): string[] {
  const plan = collector?.plan
  return [
    ...servers.lines,
    ...(observe === undefined ? [] : [`pages: ${observe.url}/metrics and ${observe.url}/health`]),
    ...(serving === undefined ? [] : [`gateway: ${serving.url}`]),
    ...(collector === undefined || plan === undefined
      ? []
      : [
          `collecting ${collector.instrumentCount} instruments over ${plan.connections.length} sockets in ${plan.shards.length} shards`,
        ]),
  ]
}
