/**
 * `marketprism rotation`: the venues' cut of old connections compressed from a day to seconds, for minutes. Each socket
 * has to be replaced by another again and again while it delivers, and nothing may be missing, doubled or marked as a gap.
 * Planned stops are announced in between, by the venues that announce them.
 */
import type { Run } from '../base/run.ts'
import type { Collector } from '../roles/collector.ts'
import type { ExchangeName, MarketName } from '../simulate/venue.ts'
import { spreadOverMarkets } from './demo/markets.ts'
import { closesByVenue, readGaps, readNotes } from './demo/notes.ts'
import { sums } from './demo/report.ts'
import { compareWithTruth, onStage, playToEnd, stageDirectory } from './demo/stage.ts'
import type { FaultScripts, MarketPlans } from './demo/venue.ts'
import { tellVerdict } from './demo/verdict.ts'

export interface RotationOptions {
  readonly seconds: number
  /** the venues close every connection at this age */
  readonly lifeSeconds: number
  readonly rate: number
  readonly instruments: number
  readonly venues: readonly ExchangeName[]
  readonly seed: number
  readonly json: boolean
}

/** What announces its planned stops, and on which market. */
const ANNOUNCING: Readonly<Partial<Record<ExchangeName, { readonly market?: MarketName }>>> = {
  binance: { market: 'spot' },
  okx: {},
}
const ANNOUNCE_EVERY_SECONDS = 45
/** So long before it happens: enough for a socket to be replaced, by and large as the 60 s of OKX are against a day. */
const ANNOUNCED_SECONDS = 15
const GAPS_SHOWN_MAX = 20

export async function runRotation(options: RotationOptions, run: Run): Promise<void> {
  const { lifeSeconds, json } = options
  const markets = withLife(spreadOverMarkets(options.instruments, options.venues), lifeSeconds)
  const directory = stageDirectory(run, 'rotation')
  const moreFlags = ['--life', String(lifeSeconds)]
  const play = { ...options, recordings: [], speed: 1, markets, directory, faults: announcements(options), moreFlags }
  process.stderr.write(`seed ${options.seed}, every socket closed by its venue after ${lifeSeconds} s\n`)
  await onStage(play, run, async (stage) => {
    const { collector, client, config, venue, status } = stage
    await playToEnd(stage, run.stop)
    const { check, sent } = await compareWithTruth(stage)
    const gaps = await readGaps(client, config.clickhouse.database)
    for (const gap of gaps.slice(0, GAPS_SHOWN_MAX)) process.stderr.write(`gap ${JSON.stringify(gap)}\n`)
    const notes = readNotes(venue.truthDirectories)
    const figures = {
      seconds: Math.round(sent.runSeconds),
      ...rotationsOf(collector),
      gapRows: gaps.length,
      ...sums(check),
      cutByVenue: closesByVenue(notes).length,
      announced: notes.filter(({ fault }) => fault === 'server_shutdown').length,
      instruments: collector.instrumentCount,
      rejected: collector.total('rejected'),
      events: sent.events,
      eventsPerSecond: sent.eventsPerSecond,
      rssMiB: status.rssMiB,
      cpuSeconds: { engine: status.cpuSeconds, simulator: sent.cpuSeconds },
      seed: options.seed,
    }
    tellVerdict(figures, missedOf(figures, options), json)
  })
}

function withLife(markets: MarketPlans, lifeSeconds: number): MarketPlans {
  return Object.fromEntries(Object.entries(markets).map(([key, plan]) => [key, { ...plan, lifeSeconds }]))
}

function announcements({ seconds, venues }: RotationOptions): FaultScripts {
  const times: number[] = []
  for (let at = ANNOUNCED_SECONDS; at < seconds - ANNOUNCED_SECONDS; at += ANNOUNCE_EVERY_SECONDS) times.push(at)
  return Object.fromEntries(
    venues.flatMap((venue) => {
      const where = ANNOUNCING[venue]
      if (where === undefined) return []
      return [[venue, times.map((at) => ({ at, kind: 'server_shutdown', ...where, seconds: ANNOUNCED_SECONDS }))]]
    }),
  )
}

function rotationsOf({ network }: Collector) {
  const stats = [...network.markets.values()].map((market) => market.stats)
  const sum = (of: (each: (typeof stats)[number]) => number): number =>
    stats.reduce((total, each) => total + of(each), 0)
  return {
    rotations: sum(({ rotations }) => rotations),
    rotationFailures: sum(({ rotationFailures }) => rotationFailures),
    sockets: network.connections.length,
    /** of the connection with the fewest */
    generationsMin: Math.min(...network.connections.map(({ generation }) => generation)),
  }
}

type RotationFigures = ReturnType<typeof rotationsOf> & ReturnType<typeof sums> & { readonly gapRows: number }

/** A socket lives at most its life: less than a generation for each would be no rotation. */
function missedOf(figures: RotationFigures, { seconds, lifeSeconds }: RotationOptions): string[] {
  const { gapRows, missing, doubled, wrong, generationsMin } = figures
  const wanted = Math.floor(seconds / lifeSeconds)
  return [
    ...Object.entries({ gapRows, missing, doubled, wrong }).flatMap(([name, count]) =>
      count === 0 ? [] : [`${count} ${name}`],
    ),
    ...(generationsMin < wanted ? [`a socket had ${generationsMin} generations, ${wanted} at least are due`] : []),
  ]
}
