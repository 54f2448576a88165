/**
 * The end of a trial of delivery: all comes to rest, then everything that was accepted and sent is held against the store.
 *
 *   accepted      rows of all blocks in the spool
 *   missing       of these, not in the store
 *   doubled       rows of the store beyond the first of their place or event
 *   wrong         rows that the venues did not send so, or that no accepted block holds
 *   unexplained   events that the venues made, that are not in the store, and of which no row of `gaps` tells
 */
import { compareTables, withTruth } from '../demo/check.ts'
import { readGaps, readNotes } from '../demo/notes.ts'
import { sums } from '../demo/report.ts'
import { lossesOf } from '../faults/judge.ts'
import { type Hole, readHoles, unexplained } from './holes.ts'
import { countMarked, countRows } from './ledger.ts'
import { until } from './role-process.ts'
import type { Scene } from './scene.ts'

const ARRIVAL_MS_MAX = 60_000
const STORING_MS_MAX = 180_000
/** Nothing new from the sockets at so many looks: all has arrived. */
const QUIET_LOOKS = 6
const SHOWN_MAX = 12

const say = (line: string): void => void process.stderr.write(`${line}\n`)

/** The market ends, what is on its way arrives, the engine ends in order, and the store takes the rest. */
export async function settle({ venue, engine, accepted, spoolDirectory, client, database }: Scene): Promise<void> {
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

export async function judged({ store, venue, client, database, accepted }: Scene, showsGaps: boolean) {
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

export type Judgement = Awaited<ReturnType<typeof judged>>

/** What is not as wanted of the rows, in words. */
export function missedRows(figures: Judgement): string[] {
  const { accepted, rows } = figures
  const zeros = ['missing', 'doubled', 'wrong', 'unexplained'] as const
  return [
    ...zeros.flatMap((name) => (figures[name] === 0 ? [] : [`${figures[name]} ${name}`])),
    ...(rows === accepted ? [] : [`${rows} rows of ${accepted} accepted`]),
    ...(accepted > 0 ? [] : ['nothing was accepted']),
  ]
}
