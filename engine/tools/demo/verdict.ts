/** The end of a trial: its figures, and whether they are those that were wanted. */
import { EXIT_MISSED, Fault } from '../../base/fault.ts'

export type Figures = Readonly<Record<string, unknown>>

export const tenths = (value: number): number => Math.round(value * 10) / 10
export const hundredths = (value: number): number => Math.round(value * 100) / 100

/** @param missed what is not as wanted, in words; the command leaves with EXIT_MISSED then */
export function tellVerdict(figures: Figures, missed: readonly string[], isJson: boolean): void {
  process.stdout.write(isJson ? `${JSON.stringify(figures)}\n` : `${forPeople(figures)}\n`)
  if (missed.length > 0) throw new Fault('MISSED', `not as wanted: ${missed.join('; ')}`, EXIT_MISSED)
}

function forPeople(figures: Figures): string {
  const width = Math.max(...Object.keys(figures).map((name) => name.length))
  return Object.entries(figures)
    .map(([name, value]) => `${name.padEnd(width)}  ${typeof value === 'object' ? JSON.stringify(value) : value}`)
    .join('\n')
}
