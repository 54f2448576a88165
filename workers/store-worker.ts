/**
 * The store worker: from JetStream into ClickHouse, in a thread of its own, so that encoding and inserting blocks never
 * delay a live message. It reads no ring and ends on a message.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { Clock } from '../engine/base/clock.ts'
import { createLog, type Log, type LogLevel } from '../engine/base/log.ts'
import { STORE_GIVES_WAY, threadGivesWay } from '../engine/base/priority.ts'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { Counters } from '../engine/ring/counters.ts'
import { Heartbeat } from '../engine/ring/heartbeat.ts'
import { type ClickHouseOptions, ClickHouseSink } from '../engine/sinks/clickhouse.ts'
import { CommitAnswers } from '../engine/sinks/commit-answers.ts'
import { StreamLetters } from '../engine/sinks/dead-letters.ts'
import { Crew, type CrewOptions } from '../engine/sinks/crew.ts'
import type { GateMemories } from '../engine/sinks/gate.ts'
import { GuardedLetters } from '../engine/sinks/guarded-letters.ts'
import { type HopMemories, recordHops } from '../engine/sinks/hop-histograms.ts'
import { NatsLink, type NatsOptions } from '../engine/sinks/nats.ts'
import { Trim, TRIM_DEFAULT } from '../engine/sinks/trim.ts'
import { breakerCounts } from './block-sink.ts'
import type { StoreSeat } from './loop.ts'

export interface StoreWorkerSettings {
  readonly nats: NatsOptions
  readonly clickhouse: ClickHouseOptions
  readonly crew: CrewOptions
  /** of both servers: nothing is read before they are open */
  readonly gates?: GateMemories
  /** memory of the histograms of each hop */
  readonly hops: HopMemories
  readonly stopMsMax: number
  readonly logLevel: LogLevel
}

const CREW_COUNTERS = [
  'received',
  'stored',
  'storedRows',
  'poisoned',
  'retries',
  'inFlight',
  'pending',
  'workers',
  'started',
  'ended',
] as const

export const STORE_COUNTERS = [
  ...CREW_COUNTERS,
  'inserts',
  'blocks',
  'found',
  'marks',
  'breaker',
  'breakerOpened',
  'letterBreaker',
  'letterBreakerOpened',
  'up',
] as const

export type StoreCounter = (typeof STORE_COUNTERS)[number]

const COUNT_MS = 100

/** The store itself, in whatever thread; `stop` finishes what is in hand, at most `stopMsMax`. */
export function openStore(settings: StoreWorkerSettings, counters: Counters<StoreCounter>, clock: Clock, log: Log) {
  const random = seededRandom(freshSeed())
  const link = new NatsLink(settings.nats, 'marketprism store', random, log)
  const sink = new ClickHouseSink(settings.clickhouse, () => clock.nowNs(), log)
  recordHops(sink, settings.hops)
  const letters = new GuardedLetters(
    new StreamLetters(link),
    'the stream of dead letters',
    settings.clickhouse.breaker,
    log,
  )
  const crew = new Crew(link, sink, settings.crew, random, log, letters)
  const writeCounters = () => {
    const stats = crew.stats()
    for (const name of CREW_COUNTERS) counters.set(name, stats[name])
    for (const name of ['inserts', 'blocks', 'found', 'marks'] as const) counters.set(name, sink.stats[name])
    for (const [name, value] of Object.entries(breakerCounts(sink, letters))) counters.set(name as StoreCounter, value)
    counters.set('up', crew.trouble() === undefined ? 1 : 0)
  }
  const counting = setInterval(writeCounters, COUNT_MS)
  const trim = new Trim(
    link,
    { ...TRIM_DEFAULT, stream: settings.crew.intake.stream, consumers: settings.crew.consumers },
    log,
  )
  const answers = new CommitAnswers(link, settings.clickhouse, log)
  answers.start()
  link.start(settings.gates)
  crew.start()
  void trim.run()
  /** @param isLast nothing is published any more: what the stream holds is stored first. */
  const stop = async (isLast: boolean): Promise<void> => {
    const endMs = clock.monotonicMs() + settings.stopMsMax
    const left = () => Math.max(0, endMs - clock.monotonicMs())
    trim.stop()
    sink.hurry()
    if (isLast) await crew.drained(left())
    await crew.stop(left())
    const closed = Promise.all([sink.close(), link.close(), answers.close()]).catch(() => undefined)
    await Promise.race([closed, sleep(left(), undefined, { ref: false })]) // a server that hangs does not hold us
    clearInterval(counting)
    writeCounters()
  }
  return { stop }
}

async function main(seat: StoreSeat<StoreWorkerSettings>): Promise<void> {
  threadGivesWay(STORE_GIVES_WAY)
  const { settings } = seat
  const port = parentPort as NonNullable<typeof parentPort>
  const heartbeat = new Heartbeat(seat.heartbeats, seat.workerIndex)
  const beating = setInterval(() => heartbeat.beat(), COUNT_MS)
  const counters = new Counters(STORE_COUNTERS, seat.counters)
  const store = openStore(settings, counters, new Clock(seat.anchorNs), createLog(settings.logLevel, 'store'))
  await new Promise((resolve) => port.once('message', resolve))
  await store.stop(true)
  clearInterval(beating)
  process.exit() // requests to a server that hangs would keep this thread
}

if (!isMainThread && (workerData as StoreSeat | null)?.role === 'store')
  await main(workerData as StoreSeat<StoreWorkerSettings>)
