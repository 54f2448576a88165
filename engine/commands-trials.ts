/** The trials: long runs that try to make the engine lose something. See commands.ts. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { CommandKit } from './commands-delivery.ts'
import { FAULT_KINDS, type FaultKind } from './simulate/faults.ts'
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

export function addTrials(program: Command, kit: CommandKit): void {
  addRotation(program, kit)
  addFaults(program, kit)
  addScale(program, kit)
  addFanout(program, kit)
  addFlood(program, kit)
  addConservation(program, kit)
  addOutages(program, kit)
}

function addRotation(program: Command, kit: CommandKit): void {
  const command = kit
    .tool(
      program,
      'rotation',
      "trial: the venues' 24 h cut compressed to seconds; every socket is replaced while it delivers, and nothing is lost",
      ['rotation --json', 'rotation --seconds 90 --life 30 --venues okx,bybit', 'rotation --rate 20000 --workers 2'],
    )
    .option('--seconds <count>', 'how long the market runs', wholeNumber(10, 86_400), 600)
    .option('--life <seconds>', 'the venues close every connection at this age', wholeNumber(20, 86_400), 30)
    .option('--rate <events>', 'events a second of all venues together', wholeNumber(1, 1_000_000), 5_000)
    .option('--instruments <count>', 'of all venues together', wholeNumber(1, 1_000), 27)
    .option('--venues <list>', 'of binance, okx, deribit, bybit', venueList, [...EXCHANGE_NAMES])
    .option('--seed <number>', 'same seed, same market', wholeNumber(0, 0x7fffffff), 1)
    .option('--json', 'last line of stdout: one JSON object of figures')
  kit.withConfigFlags(command).action(async (values: Values) => {
    const { runRotation } = await import('./tools/rotation.ts')
    await runRotation(
      {
        seconds: values.seconds as number,
        lifeSeconds: values.life as number,
        rate: values.rate as number,
        instruments: values.instruments as number,
        venues: values.venues as ExchangeName[],
        seed: values.seed as number,
        json: values.json === true,
      },
      kit.runOf('rotation', values),
    )
  })
}

function addScale(program: Command, kit: CommandKit): void {
  const command = kit
    .tool(
      program,
      'scale',
      'trial: many instruments over four venues within their limits; all LIVE, in the time that plan says',
      ['scale --json', 'scale --instruments 100 --rate 5000 --seconds 10', 'scale --venues binance --instruments 200'],
    )
    .option('--instruments <count>', 'with a book, of all venues together', wholeNumber(1, 4_000), 500)
    .option('--rate <events>', 'events a second of all venues together', wholeNumber(1, 1_000_000), 20_000)
    .option('--seconds <count>', 'how long the market goes on when all are LIVE', wholeNumber(0, 86_400), 60)
    .option('--venues <list>', 'of binance, okx, deribit, bybit', venueList, [...EXCHANGE_NAMES])
    .option('--seed <number>', 'same seed, same market', wholeNumber(0, 0x7fffffff), 1)
    .option('--json', 'last line of stdout: one JSON object of figures')
  kit.withConfigFlags(command).action(async (values: Values) => {
    const { runScale } = await import('./tools/scale.ts')
    await runScale(
      {
        instruments: values.instruments as number,
        rate: values.rate as number,
        seconds: values.seconds as number,
        venues: values.venues as ExchangeName[],
        seed: values.seed as number,
        json: values.json === true,
      },
      kit.runOf('scale', values),
    )
  })
}

function addFanout(program: Command, kit: CommandKit): void {
  const command = kit
    .tool(
      program,
      'fanout',
      'trial: many WebSocket clients at the gateway, some of them never read; how old is what they get, does the feed notice',
      ['fanout --json', 'fanout --instruments 40 --clients 50 --each 10 --rate 2000 --seconds 10'],
    )
    .option('--clients <count>', 'that read', wholeNumber(1, 2_000), 500)
    .option('--each <count>', 'instruments of each client', wholeNumber(1, 1_000), 20)
    .option('--stalled <count>', 'clients that never read', wholeNumber(0, 500), 20)
    .option('--instruments <count>', 'with a book, of all venues together', wholeNumber(1, 4_000), 500)
    .option('--rate <events>', 'events a second of all venues together', wholeNumber(1, 1_000_000), 10_000)
    .option('--seconds <count>', 'how long each phase is measured', wholeNumber(1, 3_600), 20)
    .option('--processes <count>', 'that the clients are spread over', wholeNumber(1, 16), 2)
    .addOption(new Option('--format <name>', 'what clients ask for').choices(['json', 'msgpack']).default('json'))
    .option('--venues <list>', 'of binance, okx, deribit, bybit', venueList, [...EXCHANGE_NAMES])
    .option('--seed <number>', 'same seed, same market and same clients', wholeNumber(0, 0x7fffffff))
    .option('--json', 'last line of stdout: one JSON object of figures')
  kit.withConfigFlags(command).action(async (values: Values) => {
    const { runFanout } = await import('./tools/fanout.ts')
    await runFanout(
      {
        clients: values.clients as number,
        each: values.each as number,
        stalled: values.stalled as number,
        instruments: values.instruments as number,
        rate: values.rate as number,
        seconds: values.seconds as number,
        processes: values.processes as number,
        format: values.format as 'json' | 'msgpack',
        venues: values.venues as ExchangeName[],
        seed: values.seed as number | undefined,
        json: values.json === true,
      },
      kit.runOf('fanout', values),
    )
  })
}

function addFlood(program: Command, kit: CommandKit): void {
  const command = kit
    .tool(
      program,
      'flood',
      'trial: one client asks for more than it may; is every request answered or told when to come again, does the feed notice',
      ['flood --json', 'flood --requests 500 --instruments 20 --rate 2000 --seconds 10'],
    )
    .option('--requests <count>', 'a second, whatever comes back', wholeNumber(1, 100_000), 2_000)
    .option('--connections <count>', 'that stay open', wholeNumber(1, 1_000), 256)
    .option('--instruments <count>', 'with a book, of all venues together', wholeNumber(1, 4_000), 100)
    .option('--rate <events>', 'events a second of all venues together', wholeNumber(1, 1_000_000), 10_000)
    .option('--seconds <count>', 'how long each phase is measured', wholeNumber(1, 3_600), 20)
    .option('--venues <list>', 'of binance, okx, deribit, bybit', venueList, [...EXCHANGE_NAMES])
    .option('--seed <number>', 'same seed, same market and same questions', wholeNumber(0, 0x7fffffff))
    .option('--json', 'last line of stdout: one JSON object of figures')
  kit.withConfigFlags(command).action(async (values: Values) => {
    const { runFlood } = await import('./tools/flood.ts')
    await runFlood(
      {
        requests: values.requests as number,
        connections: values.connections as number,
        instruments: values.instruments as number,
        rate: values.rate as number,
        seconds: values.seconds as number,
        venues: values.venues as ExchangeName[],
        seed: values.seed as number | undefined,
        json: values.json === true,
      },
      kit.runOf('flood', values),
    )
  })
}

function addFaults(program: Command, kit: CommandKit): void {
  const command = kit
    .tool(
      program,
      'faults',
      'trial: every fault of the simulator at every venue; each loss a row of gaps, each row caused, every book equal',
      ['faults --json', 'faults --seed 2', 'faults --venues okx --only close,gap,silent'],
    )
    .option('--rate <events>', 'events a second of all venues together', wholeNumber(1, 1_000_000), 4_000)
    .option('--instruments <count>', 'of all venues together', wholeNumber(1, 1_000), 18)
    .option('--venues <list>', 'of binance, okx, deribit, bybit', venueList, [...EXCHANGE_NAMES])
    .option(
      '--only <kinds>',
      'of the fault script, e.g. gap,close; all',
      listOf(Object.keys(FAULT_KINDS) as FaultKind[]),
      [],
    )
    .option('--seed <number>', 'same seed, same market and the same choice of victims', wholeNumber(0, 0x7fffffff), 1)
    .option('--json', 'last line of stdout: one JSON object of figures')
  kit.withConfigFlags(command).action(async (values: Values) => {
    const { runFaults } = await import('./tools/faults.ts')
    await runFaults(
      {
        rate: values.rate as number,
        instruments: values.instruments as number,
        venues: values.venues as ExchangeName[],
        kinds: values.only as FaultKind[],
        seed: values.seed as number,
        json: values.json === true,
      },
      kit.runOf('faults', values),
    )
  })
}

function addConservation(program: Command, kit: CommandKit): void {
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

function addOutages(program: Command, kit: CommandKit): void {
  const command = kit
    .tool(
      program,
      'outages',
      'trial: NATS away for minutes and back, the engine killed and stopped under load; nothing is lost, each in its time',
      ['outages --json', 'outages --seconds 30 --rate 2000'],
    )
    .option('--seconds <count>', 'how long NATS is away', wholeNumber(1, 86_400), 300)
    .option('--times <count>', 'how often, one outage after the other', wholeNumber(1, 100), 1)
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
        times: values.times as number,
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
