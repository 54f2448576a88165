/**
 * `marketprism conservation`: what the venues sent is in the store once and as it was sent, or a row of `gaps` tells that
 * it is not; whatever is killed, paused or cut off in between. The judge stands outside: the venues' own account of what
 * they sent, an outsider's reading of the spool, and ClickHouse to compare them.
 *
 *   accepted      rows of all blocks in the spool
 *   missing       of these, not in the store
 *   doubled       rows of the store beyond the first of their place or event
 *   wrong         rows that the venues did not send so, or that no accepted block holds
 *   unexplained   events that the venues made, that are not in the store, and of which no row of `gaps` tells
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freshSeed } from '../base/random.ts'
import type { Run } from '../base/run.ts'
import type { ExchangeName } from '../simulate/venue.ts'
import { type Hole, readHoles, unexplained } from './conservation/holes.ts'
import { countMarked, countRows, forgetInserts, stopMerges } from './conservation/ledger.ts'
import { type Act, type Actor, actText, planNemesis } from './conservation/nemesis.ts'
import { Scene } from './conservation/scene.ts'
import { compareTables, withTruth } from './demo/check.ts'
import { spreadOverMarkets } from './demo/markets.ts'
import { readGaps, readNotes } from './demo/notes.ts'
import { sums } from './demo/report.ts'
import { emptyDirectory, stageDirectory } from './demo/stage.ts'
import { startVenue } from './demo/venue.ts'
import { tellVerdict } from './demo/verdict.ts'
import { lossesOf } from './faults/judge.ts'

/** What is taken away, so that the trial has to miss: the memory of ClickHouse for inserts, the rows of gaps. */
export type Control = 'dedupe' | 'gaps'

export interface ConservationOptions {
  readonly seed: number | undefined
  /** how long things go wrong */
  readonly seconds: number
  readonly rate: number
  readonly instruments: number
  readonly venues: readonly ExchangeName[]
  /** once each */
  readonly killed: readonly Actor[]
  /** none: an honest run */
  readonly controls: readonly Control[]
  readonly json: boolean
}

const WARM_UP_MS = 3_000
const CALM_MS = 3_000
const ACK_WAIT_SECONDS = 5
const READY_MS_MAX = 60_000
const ARRIVAL_MS_MAX = 60_000
const STORING_MS_MAX = 180_000
const LOOK_MS = 250
/** Nothing new from the sockets at so many looks: all has arrived. */
const QUIET_LOOKS = 6
const SHOWN_MAX = 12

const say = (line: string): void => void process.stderr.write(`${line}\n`)

export async function runConservation(options: ConservationOptions, run: Run): Promise<void> {
  const { seed = freshSeed(), venues, rate, controls, killed } = options
  const directory = stageDirectory(run, 'conservation')
  const markets = spreadOverMarkets(options.instruments, venues)
  emptyDirectory(directory)
  const truthDirectory = join(directory, 'truth')
  const venue = await startVenue({ seconds: null, rate, seed, recordings: [], speed: 1, truthDirectory, markets })
  const startedMs = performance.now()
  try {
    const scene: Scene = await Scene.open(venue, run, {
      directory,
      markets,
      ackWaitSeconds: ACK_WAIT_SECONDS,
      onStoreReady: async () => {
        await stopMerges(scene.client, scene.database)
        if (controls.includes('dedupe')) await forgetInserts(scene.client, scene.database)
      },
    })
    try {
      say(`seed ${seed}, all in ${directory}`)
      await scene.start()
      await until(async () => ((await scene.engine.metric('marketprism_messages_total')) ?? 0) > 0, READY_MS_MAX)
      const acts = planNemesis(seed, options.seconds, killed)
      await torment(scene, acts, run.stop)
      await settle(scene)
      const figures = {
        ...(await judged(scene, !controls.includes('gaps'))),
        kills: scene.restarts(),
        pauses: acts.filter(({ what }) => what === 'pause').length,
        linkFaults: acts.filter(({ what }) => what === 'reset' || what === 'toxic').length,
        seconds: Math.round((performance.now() - startedMs) / 1_000),
        seed,
      }
      tellVerdict(figures, missedOf(figures, options), options.json)
    } finally {
      await scene.close()
    }
  } finally {
    await venue.kill()
  }
}

async function until(isDone: () => Promise<boolean> | boolean, msMax: number): Promise<boolean> {
  for (const deadline = performance.now() + msMax; performance.now() < deadline; await sleep(LOOK_MS))
    if (await isDone()) return true
  return false
}

/** Warm up, then one act after the other (they overlap), then calm. */
async function torment(scene: Scene, acts: readonly Act[], stop: AbortSignal): Promise<void> {
  await sleep(WARM_UP_MS)
  const startedMs = performance.now()
  const running: Promise<void>[] = []
  for (const act of acts) {
    const waitMs = startedMs + act.atMs - performance.now()
    if (waitMs > 0) await sleep(waitMs, undefined, { signal: stop }).catch(() => undefined)
    if (stop.aborted) break
    say(`${(act.atMs / 1_000).toFixed(1).padStart(5)} s  ${actText(act)}`)
    running.push(scene.suffer(act))
  }
  await Promise.all(running)
  scene.heal()
  await sleep(CALM_MS)
}

/** The market ends, what is on its way arrives, the engine ends in order, and the store takes the rest. */
async function settle({ venue, engine, accepted, spoolDirectory, client, database }: Scene): Promise<void> {
  venue.finish()
  await venue.over
  let seen: number | undefined
  let quietLooks = 0
  await until(async () => {
    const messages = await engine.metric('marketprism_messages_total')
    quietLooks = messages !== undefined && messages === seen ? quietLooks + 1 : 0
    seen = messages
    return quietLooks >= QUIET_LOOKS
  }, ARRIVAL_MS_MAX)
  const isDelivered = await until(
    async () => (await engine.metric('marketprism_spool_undelivered_blocks')) === 0,
    STORING_MS_MAX,
  )
  if (!isDelivered) say('not all that is in the spool was delivered')
  await engine.stop()
  accepted.look(spoolDirectory)
  const isStored = await until(
    async () => (await countMarked(client, database).catch(() => 0)) >= accepted.all().length,
    STORING_MS_MAX,
  )
  if (!isStored) say(`${await countMarked(client, database)} of ${accepted.all().length} accepted blocks are stored`)
}

async function judged({ store, venue, client, database, accepted }: Scene, showsGaps: boolean) {
  await store.stop()
  const sent = await venue.stop()
  const ledger = await countRows(client, database, accepted.all())
  const losses = venue.exchanges.flatMap((exchange, index) =>
    lossesOf(exchange, readNotes([venue.truthDirectories[index] as string])),
  )
  const gaps = await readGaps(client, database)
  const { check, holes } = await withTruth(client, venue.truthDirectories, async () => ({
    check: await compareTables(client, database),
    holes: await readHoles(client, database, losses),
  }))
  const silent = unexplained(holes, showsGaps ? gaps : [])
  for (const hole of silent.slice(0, SHOWN_MAX)) say(`in no gap: ${JSON.stringify(hole)}`)
  const events = sums(check)
  return {
    accepted: ledger.accepted,
    rows: ledger.rows,
    missing: ledger.missing,
    doubled: Math.max(ledger.doubled, events.doubled),
    wrong: ledger.wrong + events.wrong,
    unexplained: eventsIn(silent),
    sent: sent.events,
    eventRows: Object.values(check).reduce((sum, { rows }) => sum + rows, 0),
    lostInGaps: eventsIn(holes) - eventsIn(silent),
    gapRows: gaps.length,
    blocks: accepted.all().length,
    /** what the judge says when it is shown no rows of gaps: it can say no */
    unexplainedWithoutGapRows: eventsIn(unexplained(holes, [])),
  }
}

const eventsIn = (holes: readonly Hole[]): number => holes.reduce((sum, { events }) => sum + Number(events), 0)

type Figures = Awaited<ReturnType<typeof judged>> & { readonly kills: Readonly<Record<Actor, number>> }

function missedOf(figures: Figures, { killed }: ConservationOptions): string[] {
  const { accepted, rows, kills, unexplainedWithoutGapRows } = figures
  const zeros = ['missing', 'doubled', 'wrong', 'unexplained'] as const
  return [
    ...zeros.flatMap((name) => (figures[name] === 0 ? [] : [`${figures[name]} ${name}`])),
    ...(rows === accepted ? [] : [`${rows} rows of ${accepted} accepted`]),
    ...(accepted > 0 ? [] : ['nothing was accepted']),
    ...killed.filter((actor) => kills[actor] === 0).map((actor) => `${actor} was not killed`),
    ...(unexplainedWithoutGapRows > 0 ? [] : ['nothing was lost, so that the judge of gaps had nothing to say']),
  ]
}
