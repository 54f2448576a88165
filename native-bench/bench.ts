import type { Measured } from './measure.ts'
import type { BenchMessages } from './messages.ts'
import type { BenchVenue } from './venues.ts'

/** What every bench is given. */
export interface BenchContext {
  messagesOf(venue: BenchVenue): Promise<BenchMessages>
  readonly runCount: number
  /** of benches that store some; undefined: as many as they are for */
  readonly rows: number | undefined
  /** where such a bench keeps its rows for the next run; undefined: nowhere */
  readonly directory: string | undefined
  /** for progress and sentences; stdout belongs to the result */
  readonly say: (line: string) => void
}

/** One line of the table. A ratio is null when its other side could not run; `notes` say why. */
export interface BenchResult extends Measured {
  readonly unit: string
  readonly ratios: Readonly<Record<string, number | null>>
  readonly notes: readonly string[]
  /** rates of the other sides, by name */
  readonly others: Readonly<Record<string, Measured>>
}

/** Each checks its answer before it returns a rate. */
export type Bench = (context: BenchContext) => Promise<BenchResult>

export class WrongAnswer extends Error {
  override readonly name = 'WrongAnswer'
}

/** A rate with a wrong answer is worth nothing: the bench ends here. */
export function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new WrongAnswer(what)
}

export function ratio(of: Measured, to: Measured | null): number | null {
  return to === null ? null : of.rate / to.rate
}
