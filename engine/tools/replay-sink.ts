import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { SinkSeat } from '../../workers/loop.ts'
import { workerUrl } from '../../workers/pool.ts'
import { SINK_COUNTERS, type SinkWorkerMessage, type SinkWorkerSettings } from '../../workers/sink-worker.ts'
import { takeAnchorNs } from '../base/clock.ts'
import type { Config } from '../base/config.ts'
import { Fault } from '../base/fault.ts'
import type { Run } from '../base/run.ts'
import { Counters } from '../ring/counters.ts'
import { BLOCK } from '../ring/frame.ts'
import { createHeartbeats } from '../ring/heartbeat.ts'
import { HISTOGRAM_BYTES } from '../ring/histogram.ts'
import { IDLE_DEFAULT } from '../ring/idle.ts'
import { createRing, RingWriter } from '../ring/ring.ts'
import { type Servers, startServers } from '../roles/servers.ts'
import { dataDirectory, deliveryOptions, spoolOptions } from '../roles/settings.ts'

/**
 * Where the rows of a replay go: through the sink worker as in production (spool, identity, delivery), into a ClickHouse
 * or a JetStream that runs for as long as the replay does.
 */
export interface RowSink {
  take(block: Uint8Array): Promise<void>
  /** Everything delivered. @returns where it is, for people. */
  finish(): Promise<string>
  close(): Promise<void>
}

const FULL_LOOK_MS = 2
const STOP_MS_MAX = 120_000
const END_GRACE_MS = 10_000

export async function openRowSink(to: 'embedded' | 'nats', run: Run): Promise<RowSink> {
  const servers = await startTarget(to, run)
  try {
    return await Conveyor.start(servers, run)
  } catch (error) {
    await servers.stop()
    throw error
  }
}

/** The ring to the sink worker, and the worker. */
class Conveyor implements RowSink {
  readonly #servers: Servers
  readonly #worker: Worker
  readonly #writer: RingWriter
  readonly #counters: Counters<(typeof SINK_COUNTERS)[number]>
  #stopped: Extract<SinkWorkerMessage, { type: 'stopped' }> | undefined
  #fault: Fault | undefined
  #isOver = false

  constructor(servers: Servers, worker: Worker, writer: RingWriter, counters: SharedArrayBuffer) {
    this.#servers = servers
    this.#worker = worker
    this.#writer = writer
    this.#counters = new Counters(SINK_COUNTERS, counters)
    worker.on('message', (message: SinkWorkerMessage) => {
      if (message.type === 'stopped') this.#stopped = message
      else if (message.type === 'fault') this.#fault = new Fault(message.code, message.message)
    })
    worker.on('error', (error) => {
      this.#fault = error instanceof Fault ? error : new Fault('WORKER', `the sink worker failed: ${error.message}`)
    })
    worker.on('exit', () => {
      this.#isOver = true
    })
  }

  static async start(servers: Servers, { config }: Run): Promise<Conveyor> {
    const { delivery, nats, clickhouse } = servers
    const counters = new SharedArrayBuffer(SINK_COUNTERS.length * 8)
    const memory = createRing(config.rings.batchesBytes)
    const settings: SinkWorkerSettings = {
      producer: config.producer,
      batchAgeMs: config.batch.ageMs,
      spoolDirectory: join(dataDirectory(config, 'replay'), 'spool'),
      spool: spoolOptions(config),
      delivery: deliveryOptions(config, delivery),
      blocks: clickhouse === undefined ? { to: 'jetstream' } : { to: 'clickhouse', clickhouse },
      ...(nats === undefined ? {} : { nats }),
      live: { isPublished: false, latencies: [new SharedArrayBuffer(HISTOGRAM_BYTES)] },
      fsyncLatency: new SharedArrayBuffer(HISTOGRAM_BYTES),
      stopMsMax: STOP_MS_MAX,
      logLevel: config.log.level,
    }
    const seat: SinkSeat<SinkWorkerSettings> = {
      role: 'sink',
      workerIndex: 0,
      anchorNs: takeAnchorNs(),
      idle: IDLE_DEFAULT,
      heartbeats: createHeartbeats(1),
      batches: [memory],
      counters,
      settings,
    }
    const worker = new Worker(workerUrl('sink-worker'), { workerData: seat })
    const conveyor = new Conveyor(servers, worker, new RingWriter(memory), counters)
    await Promise.race([once(worker, 'message'), once(worker, 'exit')])
    conveyor.#check()
    return conveyor
  }

  async take(block: Uint8Array): Promise<void> {
    while (!this.#writer.tryWrite(BLOCK, 0, 0, 0, 0, 0, block)) {
      this.#writer.publish()
      this.#check()
      await sleep(FULL_LOOK_MS)
    }
    this.#writer.publish()
  }

  async finish(): Promise<string> {
    await this.#end()
    this.#check()
    const undelivered = this.#stopped?.undelivered ?? 0
    if (undelivered > 0)
      throw new Fault(
        'UNDELIVERED',
        `${undelivered} blocks of the replay are still in the spool: run it again to deliver them`,
      )
    return `${this.#counters.read('delivered')} blocks delivered: ${this.#servers.lines.at(-1)}`
  }

  async close(): Promise<void> {
    await this.#end()
    await this.#servers.stop()
  }

  /** The worker delivers, or gives up by its own deadline; one that does neither is ended. */
  async #end(): Promise<void> {
    this.#writer.stop()
    const lateAtMs = performance.now() + STOP_MS_MAX + END_GRACE_MS
    while (!this.#isOver && performance.now() < lateAtMs) await sleep(FULL_LOOK_MS)
    if (!this.#isOver) await this.#worker.terminate()
  }

  #check(): void {
    if (this.#fault !== undefined) throw this.#fault
    if (this.#isOver && this.#stopped === undefined) throw new Fault('WORKER', 'the sink worker ended before its time')
  }
}

/** The servers of a collector that delivers to one place only. `embedded` means what it says, whatever is configured. */
function startTarget(to: 'embedded' | 'nats', { config, log }: Run): Promise<Servers> {
  const { clickhouse, nats } = config
  const only: Config =
    to === 'embedded'
      ? { ...config, delivery: 'direct', clickhouse: { ...clickhouse, url: '', embedded: true } }
      : { ...config, delivery: 'jetstream', nats: { ...nats, embedded: true } }
  return startServers(only, ['collect'], log)
}
