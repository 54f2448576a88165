/**
 * Simulated venues in a process of their own → the whole engine → ClickHouse, on this machine: set up in order, taken down
 * in order. The demo and the trials (faults, rotation, scale) all play on it and differ in what they look at.
 */
import { rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ClickHouseClient } from '@clickhouse/client'
import type { Config } from '../../base/config.ts'
import { Fault } from '../../base/fault.ts'
import type { Run } from '../../base/run.ts'
import type { Collector } from '../../roles/collector.ts'
import { type EngineProcess, startProcess } from '../../roles/process.ts'
import { createClickHouseClient } from '../../sinks/clickhouse.ts'
import { type Check, checkAgainstTruth } from './check.ts'
import { demoConfig } from './config.ts'
import { takeDirectory } from './directory.ts'
import { StatusLine } from './status.ts'
import { startVenue, type Venue, type VenueOptions, type VenueReport } from './venue.ts'

export interface Stage {
  readonly engine: EngineProcess
  readonly collector: Collector
  readonly venue: Venue
  readonly config: Config
  readonly client: ClickHouseClient
  readonly status: StatusLine
}

export type StageOptions = Omit<VenueOptions, 'truthDirectory'> & {
  readonly directory: string
  /** whether there is a gateway, too */
  readonly serves?: boolean
}

const LOOK_MS = 500
/** Nothing new from the sockets at so many looks after the venue said that all is sent: all has arrived. */
const QUIET_LOOKS = 3
const ARRIVAL_MS_MAX = 60_000
const STORING_MS_MAX = 300_000

/** @param act what is done with all of it running; whatever it does, all of it is ended afterwards */
export async function onStage<T>(options: StageOptions, run: Run, act: (stage: Stage) => Promise<T>): Promise<T> {
  const { directory } = options
  const taken = await takeDirectory(directory)
  try {
    return await playOn(options, run, act)
  } finally {
    await taken.release()
  }
}

async function playOn<T>(options: StageOptions, run: Run, act: (stage: Stage) => Promise<T>): Promise<T> {
  const { directory, markets } = options
  const truthDirectory = join(directory, 'truth')
  const venue = await startVenue({ ...options, truthDirectory })
  try {
    const config = demoConfig(run, directory, venue.urls, markets)
    const roles = ['collect', 'store', ...(options.serves === true ? ['serve'] : [])]
    const engine = await startProcess({ ...run, config, roles })
    try {
      const { collector, servers } = engine
      if (collector === undefined || servers.clickhouse === undefined)
        throw new Fault('NO_CLICKHOUSE', 'a demo needs ClickHouse and there is none')
      const client = createClickHouseClient(servers.clickhouse)
      const status = new StatusLine(engine)
      try {
        return await act({ engine, collector, venue, config, client, status })
      } finally {
        status.close()
        await client.close()
      }
    } finally {
      for (const line of await engine.stop()) process.stderr.write(`${line}\n`)
    }
  } finally {
    await venue.kill()
    rmSync(truthDirectory, { recursive: true, force: true })
  }
}

/** Where a demo or trial of this name has its data: the directory that was named, or one below the configured. */
export function stageDirectory({ config, effective }: Run, name: string): string {
  const isOwn = effective.origins.get('data.directory')?.layer === 'flag'
  return isOwn ? resolve(config.data.directory) : resolve(config.data.directory, name)
}

/**
 * Until the venue has sent all, all of it has arrived and is stored; or the signal. Sockets end before the storing: it may
 * take minutes, in which the silent venue would be told as a gap.
 */
export async function playToEnd({ engine, collector, venue, status }: Stage, stop: AbortSignal): Promise<void> {
  const stopped = new Promise<void>((done) => {
    if (stop.aborted) done()
    stop.addEventListener('abort', () => done(), { once: true })
  })
  try {
    await Promise.race([venue.over, stopped, engine.failed])
    venue.finish()
    await venue.over
    await until(hasAllArrived(collector), ARRIVAL_MS_MAX)
    collector.network.disconnect()
    await until(() => isAllStored(collector), STORING_MS_MAX)
  } finally {
    status.close()
  }
}

/** Ends the roles and the venue, and holds every row against what the venue says it sent. */
export async function compareWithTruth(stage: Stage): Promise<{ check: Check; sent: VenueReport }> {
  const { engine, venue, client, config } = stage
  await engine.stopRoles()
  const sent = await venue.stop()
  return { sent, check: await checkAgainstTruth(client, config.clickhouse.database, ...venue.truthDirectories) }
}

async function until(isDone: () => boolean, msMax: number): Promise<void> {
  const deadlineAt = performance.now() + msMax
  while (!isDone() && performance.now() < deadlineAt) await sleep(LOOK_MS)
}

/** True when nothing waits and nothing new has come for some looks. */
function hasAllArrived(collector: Collector): () => boolean {
  let seen = -1
  let quietLooks = 0
  return () => {
    const before = seen
    seen = collector.total('messages')
    quietLooks = seen === before && !collector.router.isOverflowing ? quietLooks + 1 : 0
    return quietLooks >= QUIET_LOOKS
  }
}

/** True when no block waits in the spool, and none in JetStream. */
function isAllStored({ sinkCounters: sink, storeCounters: store }: Collector): boolean {
  const isDelivered = sink.read('spoolUnacked') === 0
  return isDelivered && (store === undefined || (store.read('pending') === 0 && store.read('inFlight') === 0))
}
