/**
 * `marketprism scale`: many instruments over four venues, whose limits of connects, messages and REST weight are enforced.
 * All books have to become LIVE, and that in the time that `plan` says, while the market runs at its rate from the moment
 * that a venue's streams are subscribed.
 */
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { Clock } from '../base/clock.ts'
import type { Run } from '../base/run.ts'
import type { Collector } from '../roles/collector.ts'
import type { ExchangeName } from '../simulate/venue.ts'
import { halfAtBinance } from './demo/markets.ts'
import { readGaps } from './demo/notes.ts'
import { sums } from './demo/report.ts'
import { compareWithTruth, onStage, playToEnd, type Stage, stageDirectory } from './demo/stage.ts'
import { hundredths, tellVerdict, tenths } from './demo/verdict.ts'

export interface ScaleOptions {
  /** with a book; an index of OKX and one of Deribit come on top */
  readonly instruments: number
  readonly rate: number
  /** how long the market goes on when all books are LIVE */
  readonly seconds: number
  readonly venues: readonly ExchangeName[]
  readonly seed: number
  readonly json: boolean
}

const LOOK_MS = 20
/** Of the predicted time: who is not LIVE by then will not be. */
const START_SHARE_MAX = 3
const START_MS_MIN = 30_000
/** The measured time may differ so much from the predicted. */
const DEVIATION_MAX = 0.2
/** Of the rate that was asked for: the simulator counts from its first event, and its last tick is a part of one. */
const RATE_SHARE_MIN = 0.97
const GAPS_SHOWN_MAX = 20

export async function runScale(options: ScaleOptions, run: Run): Promise<void> {
  const markets = halfAtBinance(options.instruments, options.venues)
  const directory = stageDirectory(run, 'scale')
  const play = { ...options, seconds: null, recordings: [], speed: 1, markets, directory }
  await onStage(play, run, async (stage) => {
    const { client, config, collector, status } = stage
    process.stderr.write(`${collector.bookCount} books; ${startText(collector)}\n`)
    const start = await untilLive(stage, run.stop)
    process.stderr.write(`${start.live} books LIVE after ${start.measuredSeconds} s\n`)
    await playToEnd(stage, endAfter(options.seconds, run.stop))
    const { check, sent } = await compareWithTruth(stage)
    const gaps = await readGaps(client, config.clickhouse.database)
    for (const gap of gaps.slice(0, GAPS_SHOWN_MAX)) process.stderr.write(`gap ${JSON.stringify(gap)}\n`)
    const figures = {
      instruments: collector.bookCount,
      ...start,
      eventsPerSecond: sent.eventsPerSecond,
      seconds: Math.round(sent.runSeconds),
      ...sums(check),
      gapRows: gaps.length,
      sockets: collector.plan.connections.length,
      events: sent.events,
      lateMsMax: sent.lateMsMax,
      rejected: collector.total('rejected'),
      rssMiB: status.rssMiB,
      cpu: { cores: availableParallelism(), engineSeconds: status.cpuSeconds, simulatorSeconds: sent.cpuSeconds },
      seed: options.seed,
    }
    tellVerdict(figures, missedOf(figures, options), options.json)
  })
}

/** Not AbortSignal.any of a timeout: what nobody holds is collected, and then never fires. */
function endAfter(seconds: number, stop: AbortSignal): AbortSignal {
  const end = new AbortController()
  const timer = setTimeout(() => end.abort(), seconds * 1_000)
  stop.addEventListener('abort', () => end.abort(), { once: true })
  end.signal.addEventListener('abort', () => clearTimeout(timer), { once: true })
  return end.signal
}

function startText({ plan: { estimate, connections } }: Collector): string {
  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`
  return `plan: all LIVE after ${seconds(estimate.startupMs)} (${connections.length} sockets ${seconds(estimate.connectMs)}, subscribing ${seconds(estimate.subscribeMs)}, snapshots ${seconds(estimate.snapshotMs)})`
}

/** From the moment that the plan was made for, as the plan counts. */
async function untilLive({ collector, engine }: Stage, stop: AbortSignal) {
  const clock = new Clock()
  const { estimate } = collector.plan
  const { startMs } = estimate
  const deadlineMs = startMs + Math.max(START_MS_MIN, estimate.startupMs * START_SHARE_MAX)
  const isLive = (): boolean => collector.total('books_LIVE') >= collector.bookCount
  while (!isLive() && !stop.aborted && clock.nowMs() < deadlineMs) {
    await Promise.race([sleep(LOOK_MS), engine.failed])
  }
  const measuredMs = clock.nowMs() - startMs
  return {
    live: collector.total('books_LIVE'),
    predictedSeconds: tenths(estimate.startupMs / 1_000),
    measuredSeconds: tenths(measuredMs / 1_000),
    ratio: hundredths(measuredMs / estimate.startupMs),
    intoMinuteSeconds: tenths((startMs % 60_000) / 1_000),
  }
}

type ScaleFigures = Awaited<ReturnType<typeof untilLive>> &
  ReturnType<typeof sums> & { readonly instruments: number; readonly gapRows: number; readonly eventsPerSecond: number }

function missedOf(figures: ScaleFigures, { rate }: ScaleOptions): string[] {
  const { instruments, live, ratio, missing, doubled, wrong, gapRows, eventsPerSecond } = figures
  return [
    ...(live === instruments ? [] : [`${live} of ${instruments} books LIVE`]),
    ...(Math.abs(ratio - 1) <= DEVIATION_MAX ? [] : [`the start took ${ratio} of the predicted time`]),
    ...(eventsPerSecond >= rate * RATE_SHARE_MIN ? [] : [`${eventsPerSecond} events/s of ${rate}`]),
    ...Object.entries({ missing, doubled, wrong, gapRows }).flatMap(([name, count]) =>
      count === 0 ? [] : [`${count} ${name}`],
    ),
  ]
}
