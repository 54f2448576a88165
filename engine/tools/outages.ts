/**
 * `marketprism outages`: NATS away for minutes while the market goes on, then back; the engine killed under load; the
 * engine asked to stop under load. Nothing may be lost by any of it, and each has its time.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { freshSeed } from '../base/random.ts'
import type { Run } from '../base/run.ts'
import type { ExchangeName } from '../simulate/venue.ts'
import { type Judgement, judged, missedRows, settle } from './conservation/judge.ts'
import { countMarked, countMarkedRows, countOfLaterEpochs, lastEpoch } from './conservation/ledger.ts'
import { until } from './conservation/role-process.ts'
import { onScene, type Scene } from './conservation/scene.ts'
import { spreadOverMarkets } from './demo/markets.ts'
import { stageDirectory } from './demo/stage.ts'
import { tellVerdict } from './demo/verdict.ts'

export interface OutagesOptions {
  /** how long NATS is away */
  readonly seconds: number
  readonly rate: number
  readonly instruments: number
  readonly venues: readonly ExchangeName[]
  readonly seed: number | undefined
  readonly json: boolean
}

const WARM_UP_MS = 10_000
const MEASURE_MS = 15_000
const SAMPLE_MS = 2_000
const CALM_MS = 5_000
const MIB = 2 ** 20
/** The store is behind by its gathering and its marks even when all is well. */
const LAG_SECONDS = 3
const DRAIN_MS_MAX = 900_000
const FIRST_ROW_MS_MAX = 60_000
const LOOK_MS = 100

const DRAIN_TIMES_LIVE_MIN = 5
/** of the memory before; the garbage collector has its own mind */
const RSS_GROWTH_MAX = 1.25
const STOP_SECONDS_MAX = 10
const FIRST_ROW_SECONDS_MAX = 10

const say = (line: string): void => void process.stderr.write(`${line}\n`)
const tenths = (value: number): number => Math.round(value * 10) / 10
const secondsSince = (ms: number): number => tenths((performance.now() - ms) / 1_000)

export async function runOutages(options: OutagesOptions, run: Run): Promise<void> {
  const { seed = freshSeed(), venues, rate } = options
  const directory = stageDirectory(run, 'outages')
  const markets = spreadOverMarkets(options.instruments, venues)
  const startedMs = performance.now()
  await onScene({ directory, markets, rate, seed, forgetsInserts: false }, run, async (scene) => {
    say(`seed ${seed}, all in ${directory}`)
    await scene.start()
    const away = await natsAway(scene, options.seconds)
    const killed = await killedUnderLoad(scene)
    const stopped = await stoppedUnderLoad(scene)
    await settle(scene)
    const figures = {
      ...(await judged(scene, true)),
      ...{ away, killed, stopped },
      seconds: Math.round((performance.now() - startedMs) / 1_000),
      seed,
    }
    tellVerdict(figures, missedOf(figures), options.json)
  })
}

async function natsAway(scene: Scene, seconds: number) {
  const { engine } = scene
  await sleep(WARM_UP_MS)
  const rows = async (): Promise<number> => (await engine.metric('marketprism_rows_total')) ?? 0
  const [rowsBefore, fromMs] = [await rows(), performance.now()]
  const before = await memoryOver(scene, MEASURE_MS)
  const liveRowsPerSecond = ((await rows()) - rowsBefore) / ((performance.now() - fromMs) / 1_000)
  say(`${Math.round(liveRowsPerSecond)} rows/s live; NATS goes for ${seconds} s`)
  const during = await scene.withoutNats(() => memoryOver(scene, seconds * 1_000))
  const [storedBefore, backMs] = [await storedRows(scene), performance.now()]
  const waiting = (await rows()) - storedBefore
  say(`NATS is back; ${waiting} rows wait`)
  const isDrained = await until(
    async () => (await rows()) - (await storedRows(scene)) <= LAG_SECONDS * liveRowsPerSecond,
    DRAIN_MS_MAX,
  )
  const drainSeconds = secondsSince(backMs)
  const drained = ((await storedRows(scene)) - storedBefore) / ((performance.now() - backMs) / 1_000)
  say(`drained after ${drainSeconds} s`)
  const after = await memoryOver(scene, MEASURE_MS)
  return {
    seconds,
    liveRowsPerSecond: Math.round(liveRowsPerSecond),
    waitingRows: waiting,
    isDrained,
    drainSeconds,
    drainRowsPerSecond: Math.round(drained),
    drainTimesLive: tenths(drained / liveRowsPerSecond),
    rssMiB: { before: Math.max(...before), during: quarters(during), after: Math.max(...after) },
  }
}

const storedRows = ({ client, database }: Scene): Promise<number> => countMarkedRows(client, database)

/** RSS of the engine, in MiB. */
async function memoryOver({ engine }: Scene, ms: number): Promise<number[]> {
  const samples: number[] = []
  for (const endMs = performance.now() + ms; performance.now() < endMs; await sleep(SAMPLE_MS)) {
    const bytes = await engine.metric('marketprism_resident_memory_bytes')
    if (bytes !== undefined) samples.push(Math.round(bytes / MIB))
  }
  return samples
}

/** The most of each quarter of the time. */
function quarters(samples: readonly number[]): number[] {
  const length = Math.max(1, Math.ceil(samples.length / 4))
  return [0, 1, 2, 3].map((index) => Math.max(...samples.slice(index * length, (index + 1) * length), 0))
}

async function killedUnderLoad(scene: Scene) {
  const { client, database, engine } = scene
  await sleep(CALM_MS)
  const epoch = await lastEpoch(client, database)
  process.kill(engine.pid, 'SIGKILL')
  const killedMs = performance.now()
  for (const endMs = killedMs + FIRST_ROW_MS_MAX; performance.now() < endMs; await sleep(LOOK_MS))
    if ((await countOfLaterEpochs(client, database, epoch)) > 0) break
  const firstRowSeconds = secondsSince(killedMs)
  say(`killed: first row again after ${firstRowSeconds} s`)
  return { firstRowSeconds }
}

/** What it accepted is in the store without its help, or at least waits in its spool for the next start. */
async function stoppedUnderLoad(scene: Scene) {
  const { client, database, engine, accepted, spoolDirectory } = scene
  await sleep(2 * CALM_MS)
  const fromMs = performance.now()
  await engine.stop()
  const stopSeconds = secondsSince(fromMs)
  await sleep(2 * CALM_MS)
  accepted.look(spoolDirectory)
  const leftBlocks = accepted.all().length - (await countMarked(client, database))
  say(`stopped after ${stopSeconds} s, ${leftBlocks} blocks left for the next start`)
  await engine.start()
  await sleep(2 * CALM_MS)
  return { stopSeconds, leftBlocks }
}

type Figures = Judgement & {
  readonly away: Awaited<ReturnType<typeof natsAway>>
  readonly killed: Awaited<ReturnType<typeof killedUnderLoad>>
  readonly stopped: Awaited<ReturnType<typeof stoppedUnderLoad>>
}

function missedOf(figures: Figures): string[] {
  const { away, killed, stopped } = figures
  const rssMax = Math.max(...away.rssMiB.during, away.rssMiB.after)
  return [
    ...missedRows(figures),
    ...(away.isDrained ? [] : [`not drained after ${away.drainSeconds} s`]),
    ...(away.drainTimesLive >= DRAIN_TIMES_LIVE_MIN ? [] : [`drained at ${away.drainTimesLive} times the live rate`]),
    ...(rssMax <= away.rssMiB.before * RSS_GROWTH_MAX ? [] : [`memory grew to ${rssMax} MiB`]),
    ...(killed.firstRowSeconds <= FIRST_ROW_SECONDS_MAX ? [] : [`first row after ${killed.firstRowSeconds} s`]),
    ...(stopped.stopSeconds <= STOP_SECONDS_MAX ? [] : [`stopped after ${stopped.stopSeconds} s`]),
  ]
}
