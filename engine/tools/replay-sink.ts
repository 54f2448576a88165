import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { SinkSeat } from '../../workers/loop.ts'
import { workerUrl } from '../../workers/pool.ts'
import { SINK_COUNTERS, type SinkWorkerMessage, type SinkWorkerSettings } from '../../workers/sink-worker.ts'
import { takeAnchorNs } from '../base/clock.ts'
import { EXIT_FAULT, Fault } from '../base/fault.ts'
import type { Run } from '../base/run.ts'
import { startEmbeddedClickHouse } from '../embedded/clickhouse.ts'
import { startEmbeddedNats } from '../embedded/nats.ts'
import { STREAM_DEFAULTS, storeConsumer } from '../record/streams.ts'
import { STORAGE_DEFAULTS } from '../record/tables.ts'
import { Counters } from '../ring/counters.ts'
import { BLOCK } from '../ring/frame.ts'
import { createHeartbeats } from '../ring/heartbeat.ts'
import { HISTOGRAM_BYTES } from '../ring/histogram.ts'
import { IDLE_DEFAULT } from '../ring/idle.ts'
import { createRing, RingWriter } from '../ring/ring.ts'
import { CLICKHOUSE_DEFAULT, createClickHouseClient } from '../sinks/clickhouse.ts'
import { DELIVERY_DEFAULT } from '../sinks/delivery.ts'
import { connectNats, NATS_DEFAULT } from '../sinks/nats.ts'
import { provisionTables } from '../sinks/provision.ts'
import { provisionStreams } from '../sinks/provision-streams.ts'
import { SPOOL_DEFAULT } from '../spool/spool.ts'

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

interface Target {
  readonly blocks: SinkWorkerSettings['blocks']
  readonly nats: SinkWorkerSettings['nats']
  readonly place: string
  stop(): Promise<void>
}

const RING_BYTES = 16 << 20
const FULL_LOOK_MS = 2
const STOP_MS_MAX = 120_000
const ACK_WAIT_SECONDS = 30

export async function openRowSink(to: 'embedded' | 'nats', run: Run): Promise<RowSink> {
  const target = to === 'embedded' ? await clickhouseTarget(run) : await natsTarget(run)
  try {
    return await Conveyor.start(target, run)
  } catch (error) {
    await target.stop()
    throw error
  }
}

/** The ring to the sink worker, and the worker. */
class Conveyor implements RowSink {
  readonly #target: Target
  readonly #worker: Worker
  readonly #writer: RingWriter
  readonly #counters: Counters<(typeof SINK_COUNTERS)[number]>
  #stopped: Extract<SinkWorkerMessage, { type: 'stopped' }> | undefined
  #fault: Fault | undefined
  #isOver = false

  constructor(target: Target, worker: Worker, writer: RingWriter, counters: SharedArrayBuffer) {
    this.#target = target
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

  static async start(target: Target, run: Run): Promise<Conveyor> {
    const counters = new SharedArrayBuffer(SINK_COUNTERS.length * 8)
    const memory = createRing(RING_BYTES)
    const settings: SinkWorkerSettings = {
      spoolDirectory: join(run.config.data.directory, 'replay', 'spool'),
      spool: SPOOL_DEFAULT,
      delivery: DELIVERY_DEFAULT,
      blocks: target.blocks,
      ...(target.nats === undefined ? {} : { nats: target.nats }),
      liveLatency: new SharedArrayBuffer(HISTOGRAM_BYTES),
      fsyncLatency: new SharedArrayBuffer(HISTOGRAM_BYTES),
      stopMsMax: STOP_MS_MAX,
      logLevel: run.config.log.level,
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
    const conveyor = new Conveyor(target, worker, new RingWriter(memory), counters)
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
    this.#writer.stop()
    while (!this.#isOver) await sleep(FULL_LOOK_MS)
    this.#check()
    const undelivered = this.#stopped?.undelivered ?? 0
    if (undelivered > 0)
      throw new Fault(
        'UNDELIVERED',
        `${undelivered} blocks of the replay are still in the spool: run it again to deliver them`,
      )
    return `${this.#counters.read('delivered')} blocks into ${this.#target.place}`
  }

  async close(): Promise<void> {
    this.#writer.stop()
    while (!this.#isOver) await sleep(FULL_LOOK_MS)
    await this.#target.stop()
  }

  #check(): void {
    if (this.#fault !== undefined) throw this.#fault
    if (this.#isOver && this.#stopped === undefined) throw new Fault('WORKER', 'the sink worker ended before its time')
  }
}

async function clickhouseTarget({ config, log }: Run): Promise<Target> {
  const directory = join(config.data.directory, 'clickhouse')
  const server = await startEmbeddedClickHouse({ dataDirectory: directory, port: 0, log })
  const { database } = config.clickhouse
  const options = { ...CLICKHOUSE_DEFAULT, url: server.url, database }
  const client = createClickHouseClient({ ...options, database: 'default' }) // ours may not be there yet
  try {
    await provisionTables(client, { storage: { ...STORAGE_DEFAULTS, database }, mayChange: true })
  } catch (error) {
    await server.stop()
    throw error
  } finally {
    await client.close()
  }
  return {
    blocks: { to: 'clickhouse', clickhouse: options },
    nats: undefined,
    place: `the embedded ClickHouse in ${directory}, database ${database}`,
    stop: () => server.stop(),
  }
}

/** A configured server, else one of our own. */
async function natsTarget({ config, log }: Run): Promise<Target> {
  const directory = join(config.data.directory, 'nats')
  const own =
    config.nats.url === ''
      ? await startEmbeddedNats({
          storeDirectory: directory,
          cacheDirectory: config.cache.directory,
          port: 0,
          mayFetch: true,
          log,
        })
      : undefined
  if (own !== undefined && 'reason' in own) throw new Fault('NATS', own.reason, EXIT_FAULT)
  const { user, password, token, ackTimeoutMs } = config.nats
  const options = {
    ...NATS_DEFAULT,
    url: own?.url ?? config.nats.url,
    ackTimeoutMs,
    ...(user === '' ? {} : { user, password }),
    ...(token === '' ? {} : { token }),
  }
  const stop = async () => own?.stop()
  try {
    const connection = await connectNats(options, 'marketprism replay')
    const manager = await connection.jetstreamManager()
    await provisionStreams(manager, STREAM_DEFAULTS, storeConsumer(DELIVERY_DEFAULT.inFlightCountMax, ACK_WAIT_SECONDS))
    await connection.close()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    blocks: { to: 'jetstream' },
    nats: options,
    place: own === undefined ? options.url : `the nats-server in ${directory}`,
    stop,
  }
}
