/** The trials of delivery. See commands.ts. */
import { type Command, InvalidArgumentError } from 'commander'
import type { CommandKit } from './commands-delivery.ts'
import { EXCHANGE_NAMES, type ExchangeName } from './simulate/venue.ts'
import type { Control } from './tools/conservation.ts'
import { ACTORS, type Actor } from './tools/conservation/nemesis.ts'

type Values = Readonly<Record<string, unknown>>

export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`Allowed is a whole number, ${min} to ${max}.`)
    return value
  }
}

const listOf =
  <T extends string>(known: readonly T[]) =>
  (text: string): T[] => {
    const names = text.split(',').map((name) => known.find((each) => each === name.trim()))
    if (names.includes(undefined)) throw new InvalidArgumentError(`Allowed is a list of ${known.join(', ')}.`)
    return [...new Set(names)] as T[]
  }

export const venueList = listOf<ExchangeName>(EXCHANGE_NAMES)

export function addConservation(program: Command, kit: CommandKit): void {
  const command = kit
    .tool(
      program,
      'conservation',
      'trial: engine, NATS, store and ClickHouse are killed, paused and cut off; what was accepted is stored once, what was not is in gaps',
      ['conservation --seed 1 --json', 'conservation --seconds 60 --rate 5000', 'conservation --control dedupe'],
    )
    .option('--seed <number>', 'same seed, same market and the same faults', wholeNumber(0, 0x7fffffff))
    .option('--seconds <count>', 'how long things go wrong', wholeNumber(5, 86_400), 35)
    .option('--rate <events>', 'events a second of all venues together', wholeNumber(1, 1_000_000), 2_000)
    .option('--instruments <count>', 'of all venues together', wholeNumber(1, 1_000), 6)
    .option('--venues <list>', 'of binance, okx, deribit, bybit', venueList, ['binance'])
    .option('--kill <list>', 'who is killed, once each', listOf(ACTORS), [...ACTORS])
    .option(
      '--control <list>',
      'negative control, of dedupe, gaps: what is taken away, so that the trial has to miss',
      listOf<Control>(['dedupe', 'gaps']),
      [],
    )
    .option('--json', 'last line of stdout: one JSON object of figures')
  kit.withConfigFlags(command).action(async (values: Values) => {
    const { runConservation } = await import('./tools/conservation.ts')
    await runConservation(
      {
        seed: values.seed as number | undefined,
        seconds: values.seconds as number,
        rate: values.rate as number,
        instruments: values.instruments as number,
        venues: values.venues as ExchangeName[],
        killed: values.kill as Actor[],
        controls: values.control as Control[],
        json: values.json === true,
      },
      kit.runOf('conservation', values),
    )
  })
}

export function addOutages(program: Command, kit: CommandKit): void {
  const command = kit
    .tool(
      program,
      'outages',
      'trial: NATS away for minutes and back, the engine killed and stopped under load; nothing is lost, each in its time',
      ['outages --json', 'outages --seconds 30 --rate 2000'],
    )
    .option('--seconds <count>', 'how long NATS is away', wholeNumber(1, 86_400), 300)
    .option('--rate <events>', 'events a second of all venues together', wholeNumber(1, 1_000_000), 10_000)
    .option('--instruments <count>', 'of all venues together', wholeNumber(1, 1_000), 6)
    .option('--venues <list>', 'of binance, okx, deribit, bybit', venueList, ['binance'])
    .option('--seed <number>', 'same seed, same market', wholeNumber(0, 0x7fffffff))
    .option('--json', 'last line of stdout: one JSON object of figures')
  kit.withConfigFlags(command).action(async (values: Values) => {
    const { runOutages } = await import('./tools/outages.ts')
    await runOutages(
      {
        seconds: values.seconds as number,
        rate: values.rate as number,
        instruments: values.instruments as number,
        venues: values.venues as ExchangeName[],
        seed: values.seed as number | undefined,
        json: values.json === true,
      },
      kit.runOf('outages', values),
    )
  })
}
