/**
 * `marketprism outages`: NATS away for minutes while the market goes on, then back, once or more; the engine killed under
 * load; the engine asked to stop under load. Nothing may be lost by any of it, and each has its time.
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
  /** outages one after the other: what memory takes for the first has to be enough for all */
  readonly times: number
  readonly rate: number
  readonly instruments: number
  readonly venues: readonly ExchangeName[]
  readonly seed: number | undefined
  readonly json: boolean
}

/** Before, between and after what happens; none lasts longer than the outage, so that a short trial is short. */
const PHASES_MS = { warmUp: 10_000, measure: 15_000, calm: 5_000 } as const
const SAMPLE_MS = 1_000
const MIB = 2 ** 20
/** The store is behind by its gathering and its marks even when all is well. */
const LAG_SECONDS = 3
const DRAIN_MS_MAX = 900_000
const FIRST_ROW_MS_MAX = 60_000
const LOOK_MS = 100

const DRAIN_TIMES_LIVE_MIN = 5
/**
 * What an outage may add to memory, however long it is: 8 MiB of the newest blocks that the spool keeps at hand
 * (residentBytesMax), 16 for the window of the delivery and the copy that the NATS client makes of it, 64 of buffers that
 * are done with and not collected (V8 lets so much pile up outside its heap), 8 for heaps that grew.
 */
const RSS_GROWTH_MIB_MAX = 96
/** What the first outage has taken is used again by the others. */
const RSS_AGAIN_MAX = 1.05
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
    const phase = (name: keyof typeof PHASES_MS): number => Math.min(PHASES_MS[name], options.seconds * 1_000)
    await sleep(phase('warmUp'))
    const away = await natsAway(scene, options.seconds, phase('measure'))
    const again: Away[] = []
    while (again.length + 1 < options.times) again.push(await natsAway(scene, options.seconds, phase('measure')))
    const killed = await killedUnderLoad(scene, phase('calm'))
    const stopped = await stoppedUnderLoad(scene, 2 * phase('calm'))
    await settle(scene)
    const figures = {
      ...(await judged(scene, true)),
      ...{ away, again, killed, stopped },
      seconds: Math.round((performance.now() - startedMs) / 1_000),
      seed,
    }
    tellVerdict(figures, missedOf(figures), options.json)
  })
}

async function natsAway(scene: Scene, seconds: number, measureMs: number) {
  const { engine } = scene
  const rows = async (): Promise<number> => (await engine.metric('marketprism_rows_total')) ?? 0
  const [rowsBefore, fromMs] = [await rows(), performance.now()]
  const before = await memoryOver(scene, measureMs)
  const liveRowsPerSecond = ((await rows()) - rowsBefore) / ((performance.now() - fromMs) / 1_000)
  say(`${Math.round(liveRowsPerSecond)} rows/s live; NATS goes for ${seconds} s`)
  const during = await scene.withoutNats(() => memoryOver(scene, seconds * 1_000))
  const [storedBefore, backMs] = [await storedRows(scene), performance.now()]
  const waiting = (await rows()) - storedBefore
  say(`NATS is back; ${waiting} rows wait`)
  const drain: number[] = []
  const isDrained = await until(async () => {
    drain.push(...(await memoryOver(scene, SAMPLE_MS)))
    return (await rows()) - (await storedRows(scene)) <= LAG_SECONDS * liveRowsPerSecond
  }, DRAIN_MS_MAX)
  const drainSeconds = secondsSince(backMs)
  const drained = ((await storedRows(scene)) - storedBefore) / ((performance.now() - backMs) / 1_000)
  say(`drained after ${drainSeconds} s`)
  const after = await memoryOver(scene, measureMs)
  return {
    seconds,
    liveRowsPerSecond: Math.round(liveRowsPerSecond),
    waitingRows: waiting,
    isDrained,
    drainSeconds,
    drainRowsPerSecond: Math.round(drained),
    drainTimesLive: tenths(drained / liveRowsPerSecond),
    rssMiB: {
      before: Math.max(...before),
      during: quarters(during),
      drain: Math.max(...drain, 0),
      after: Math.max(...after),
    },
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

async function killedUnderLoad(scene: Scene, calmMs: number) {
  const { client, database, engine } = scene
  await sleep(calmMs)
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
async function stoppedUnderLoad(scene: Scene, calmMs: number) {
  const { client, database, engine, accepted, spoolDirectory } = scene
  await sleep(calmMs)
  const fromMs = performance.now()
  await engine.stop()
  const stopSeconds = secondsSince(fromMs)
  await sleep(calmMs)
  accepted.look(spoolDirectory)
  const leftBlocks = accepted.all().length - (await countMarked(client, database))
  say(`stopped after ${stopSeconds} s, ${leftBlocks} blocks left for the next start`)
  await engine.start()
  await sleep(calmMs)
  return { stopSeconds, leftBlocks }
}

type Away = Awaited<ReturnType<typeof natsAway>>
type Figures = Judgement & {
  readonly away: Away
  readonly again: readonly Away[]
  readonly killed: Awaited<ReturnType<typeof killedUnderLoad>>
  readonly stopped: Awaited<ReturnType<typeof stoppedUnderLoad>>
}

function missedOf(figures: Figures): string[] {
  const { away, again, killed, stopped } = figures
  const rssMax = rssMaxOf(away)
  return [
    ...missedRows(figures),
    ...[away, ...again].flatMap(({ isDrained, drainSeconds, drainTimesLive }) => [
      ...(isDrained ? [] : [`not drained after ${drainSeconds} s`]),
      ...(drainTimesLive >= DRAIN_TIMES_LIVE_MIN ? [] : [`drained at ${drainTimesLive} times the live rate`]),
    ]),
    ...(rssMax <= away.rssMiB.before + RSS_GROWTH_MIB_MAX ? [] : [`memory grew to ${rssMax} MiB`]),
    ...again
      .filter((later) => rssMaxOf(later) > rssMax * RSS_AGAIN_MAX)
      .map((later) => `memory grew to ${rssMaxOf(later)} MiB in a later outage`),
    ...(killed.firstRowSeconds <= FIRST_ROW_SECONDS_MAX ? [] : [`first row after ${killed.firstRowSeconds} s`]),
    ...(stopped.stopSeconds <= STOP_SECONDS_MAX ? [] : [`stopped after ${stopped.stopSeconds} s`]),
  ]
}

function rssMaxOf({ rssMiB }: Away): number {
  return Math.max(...rssMiB.during, rssMiB.drain, rssMiB.after)
}
