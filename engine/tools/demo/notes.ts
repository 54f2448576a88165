/** What a run has left behind beside its rows: the venue's notes of faults and closes, and the rows of `gaps`. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ClickHouseClient } from '@clickhouse/client'

/** One line of a venue's `faults.ndjson`. */
export type VenueNote = Readonly<Record<string, unknown>>

/** A socket that ended: by the venue for a reason, by a fault, or by the client. */
export interface CloseNote extends VenueNote {
  readonly closed: number
  readonly market: string
  readonly by: string
  readonly timeMs: number
}

/** @param directories of the truth, one a venue */
export function readNotes(directories: readonly string[]): VenueNote[] {
  return directories
    .map((directory) => join(directory, 'faults.ndjson'))
    .filter(existsSync)
    .flatMap((file) => readFileSync(file, 'utf8').trim().split('\n'))
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as VenueNote)
}

/** Sockets that the venues closed; those of the end do not count. */
export function closesByVenue(notes: readonly VenueNote[]): CloseNote[] {
  return notes.filter(
    (note): note is CloseNote => note.closed !== undefined && note.by !== 'client' && note.by !== 'simulator stopped',
  )
}

export interface GapRow {
  readonly exchange: string
  readonly market: string
  readonly symbol: string
  readonly channel: string
  readonly cause: string
  readonly status: string
  readonly detail: string
  readonly from_seq: string
  readonly to_seq: string
  readonly from_ms: string
  readonly to_ms: string
}

/** As they stand at the end, the oldest first. */
export async function readGaps(client: ClickHouseClient, database: string): Promise<GapRow[]> {
  const answer = await client.query({
    query: `SELECT exchange, market, symbol, toString(channel) AS channel, toString(cause) AS cause,
        toString(status) AS status, detail, from_seq, to_seq, toUnixTimestamp64Milli(from_ns) AS from_ms,
        toUnixTimestamp64Milli(to_ns) AS to_ms
      FROM ${database}.gaps FINAL ORDER BY from_ns`,
    format: 'JSONEachRow',
  })
  return answer.json<GapRow>()
}
