/**
 * The store worker: from JetStream into ClickHouse, in a thread of its own, so that encoding and inserting blocks never
 * delay a live message. It reads no ring and ends on a message.
 */
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { Clock } from '../engine/base/clock.ts'
import { createLog, type LogLevel } from '../engine/base/log.ts'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { Counters } from '../engine/ring/counters.ts'
import { Heartbeat } from '../engine/ring/heartbeat.ts'
import { setAside } from '../engine/sinks/aside.ts'
import { type ClickHouseOptions, ClickHouseSink } from '../engine/sinks/clickhouse.ts'
import { Intake, type IntakeOptions } from '../engine/sinks/intake.ts'
import { NatsLink, type NatsOptions } from '../engine/sinks/nats.ts'
import type { StoreSeat } from './loop.ts'

export interface StoreWorkerSettings {
  readonly nats: NatsOptions
  readonly clickhouse: ClickHouseOptions
  readonly intake: IntakeOptions
  /** blocks that can never be stored are kept here */
  readonly poisonDirectory: string
  readonly stopMsMax: number
  readonly logLevel: LogLevel
}

export const STORE_COUNTERS = [
  'received',
  'stored',
  'storedRows',
  'poisoned',
  'retries',
  'inFlight',
  'pending',
  'inserts',
  'marks',
  'up',
] as const

const BEAT_MS = 100

async function main(seat: StoreSeat<StoreWorkerSettings>): Promise<void> {
  const { settings } = seat
  const port = parentPort as NonNullable<typeof parentPort>
  const log = createLog(settings.logLevel, 'store')
  const clock = new Clock(seat.anchorNs)
  const random = seededRandom(freshSeed())
  const heartbeat = new Heartbeat(seat.heartbeats, seat.workerIndex)
  const counters = new Counters(STORE_COUNTERS, seat.counters)
  const link = new NatsLink(settings.nats, 'marketprism store', random, log)
  const sink = new ClickHouseSink(settings.clickhouse, () => clock.nowNs(), log)
  const intake = new Intake(link, sink, settings.intake, random, log, (block, payload, name) =>
    setAside(settings.poisonDirectory, block, payload, name),
  )
  const writeCounters = () => {
    for (const name of ['received', 'stored', 'storedRows', 'poisoned', 'retries', 'inFlight', 'pending'] as const)
      counters.set(name, intake.stats[name])
    counters.set('inserts', sink.stats.inserts)
    counters.set('marks', sink.stats.marks)
    counters.set('up', intake.trouble() === undefined ? 1 : 0)
  }
  const beating = setInterval(() => {
    heartbeat.beat()
    writeCounters()
  }, BEAT_MS)
  link.start()
  intake.start()
  await new Promise((resolve) => port.once('message', resolve))
  await intake.stop(settings.stopMsMax)
  await sink.close()
  await link.close()
  clearInterval(beating)
  writeCounters()
}

if (!isMainThread && (workerData as StoreSeat | null)?.role === 'store')
  await main(workerData as StoreSeat<StoreWorkerSettings>)
