/**
 * Every command, its options and examples. Modules are imported when their command runs, so that `--help` is fast and
 * one broken part does not take the others with it.
 */
import { Argument, Command, InvalidArgumentError, Option } from 'commander'
import type { ConfigSources, Effective, KeyPath } from './base/config.ts'
import { loadConfig } from './base/config.ts'
import { EXIT_FAULT, Fault } from './base/fault.ts'
import { KEYS } from './base/keys.ts'
import { createLog } from './base/log.ts'
import type { Run } from './base/run.ts'
import { addDeliveryTools, type CommandKit } from './commands-delivery.ts'
import { addGatewayTools } from './commands-gateway.ts'
import { addReadingTools } from './commands-reading.ts'
import { addTrials, venueList, wholeNumber } from './commands-trials.ts'
import { EXCHANGE_NAMES, type ExchangeName } from './simulate/venue.ts'
import type { ReplayOptions } from './tools/replay.ts'

/** `all` is not a role: it is the list of those that are built. */
const ROLES: Readonly<Record<string, { readonly about: string; readonly isBuilt: boolean }>> = {
  collect: { about: 'exchange sockets → books → spool → NATS, or ClickHouse directly', isBuilt: true },
  store: { about: 'NATS JetStream → ClickHouse', isBuilt: true },
  serve: { about: 'REST, WebSocket and a web page over what is stored', isBuilt: true },
  archive: { about: 'closed days → cold files, verified', isBuilt: false },
  schedule: { about: 'periodic jobs', isBuilt: false },
}

/** Flags of their own for the keys that people change most; every other key is reached by --set. */
const CONFIG_FLAGS: readonly (readonly [flags: string, name: string, key: KeyPath])[] = [
  ['--workers <count>', 'workers', 'workers.count'],
  ['--data <directory>', 'data', 'data.directory'],
  ['--delivery <way>', 'delivery', 'delivery'],
  ['--log-level <level>', 'logLevel', 'log.level'],
  ['--port <port>', 'port', 'observe.port'],
]

/** What every command shares. */
interface Shell {
  readonly version: string
  readonly stop: AbortController
}

type Values = Readonly<Record<string, unknown>>

const collectText = (value: string, before: string[] = []): string[] => [...before, value]

function speed(text: string): number {
  if (text === 'max') return Number.POSITIVE_INFINITY
  const value = Number(text)
  if (!(value > 0)) throw new InvalidArgumentError('Allowed is a number above 0 (1 = as recorded), or max.')
  return value
}

function withConfigFlags(command: Command): Command {
  for (const [flags, , key] of CONFIG_FLAGS) command.option(flags, `${KEYS[key].why} [${key}]`)
  return command
    .option('--set <key=value>', 'set any configuration key; may be repeated', collectText)
    .option('--config <directory>', 'directory of the YAML files (base, development, production, local)')
}

function effectiveOf(values: Values): Effective {
  const flags: { text: string; label: string }[] = []
  for (const [, name, key] of CONFIG_FLAGS) {
    if (values[name] !== undefined)
      flags.push({ text: `${key}=${values[name]}`, label: `--${name === 'logLevel' ? 'log-level' : name}` })
  }
  for (const text of (values.set as string[] | undefined) ?? []) flags.push({ text, label: '--set' })
  const sources: ConfigSources = values.config === undefined ? { flags } : { flags, directory: values.config as string }
  return loadConfig(sources)
}

function runOf(name: string, values: Values, shell: Shell, roles: readonly string[] = []): Run {
  const effective = effectiveOf(values)
  return {
    config: effective.config,
    effective,
    log: createLog(effective.config.log.level, name),
    version: shell.version,
    roles,
    stop: shell.stop.signal,
  }
}

/** Roles side by side in one process, over one set of servers. */
async function runRoles(names: readonly string[], command: Command, shell: Shell): Promise<void> {
  const unknown = names.find((name) => ROLES[name] === undefined && name !== 'all')
  if (unknown !== undefined)
    command.error(`error: unknown role '${unknown}'; allowed are ${Object.keys(ROLES).join(', ')}, all`)
  const built = Object.keys(ROLES).filter((name) => ROLES[name]?.isBuilt)
  const roles = [...new Set(names.flatMap((name) => (name === 'all' ? built : [name])))]
  const missing = roles.filter((name) => !ROLES[name]?.isBuilt)
  if (missing.length > 0)
    throw new Fault('NOT_BUILT', `${missing.join(', ')}: not built yet; built are ${built.join(', ')}`, EXIT_FAULT)
  const run = runOf(roles.join('+'), command.opts(), shell, roles)
  const { runProcess } = await import('./roles/process.ts')
  await runProcess(run)
}

function addRoles(program: Command, shell: Shell): void {
  const all = { about: 'all of the above that are built, in one process' }
  for (const [name, role] of [...Object.entries(ROLES), ['all', all] as const]) {
    const command = program
      .command(name)
      .helpGroup('Roles (several may be named: marketprism collect store):')
      .description(!('isBuilt' in role) || role.isBuilt ? role.about : `${role.about} (not built yet)`)
      .argument('[roles...]', 'more roles to run in this process')
      .action((more: string[], _values: Values, self: Command) => runRoles([name, ...more], self, shell))
    withConfigFlags(command)
    command.addHelpText(
      'after',
      exampleText([name, `${name} --log-level info`, `${name} --set workers.idlePolicy=spin`]),
    )
  }
}

const exampleText = (lines: readonly string[]): string =>
  `\nExamples:\n${lines.map((line) => `  marketprism ${line}`).join('\n')}`

const SIMULATE_EXAMPLES = [
  'simulate binance --rate 5000 --instruments 4',
  'simulate binance --markets usdm --close-every 5 --truth ./truth',
  'simulate binance --recording usdm:btcusdt.gz --speed 10',
  'simulate okx --markets swap,index --faults \'[{"at":5,"kind":"reset"}]\'',
  'simulate all --instruments binance.spot=3,okx.swap=2,deribit.perpetual=2,bybit.linear=2',
]

function tool(program: Command, name: string, about: string, examples: readonly string[]): Command {
  return program.command(name).helpGroup('Tools:').description(about).addHelpText('after', exampleText(examples))
}

function addDemo(program: Command, shell: Shell): void {
  const command = tool(
    program,
    'demo',
    'simulated exchanges → the whole engine → embedded ClickHouse, on this machine',
    [
      'demo',
      'demo --seconds 60 --rate 100000 --instruments 20 --json',
      'demo --venues binance,okx,deribit,bybit',
      'demo --recording usdm_btcusdt.gz --speed 10',
    ],
  )
    .option(
      '--seconds <count>',
      'how long the market runs (default: 20, a recording to its end)',
      wholeNumber(1, 86_400),
    )
    .option('--rate <events>', 'events a second that the market sends', wholeNumber(1, 10_000_000), 10_000)
    .option(
      '--instruments <count>',
      'how many instruments the venues have together, at least one a market',
      wholeNumber(1, 1_000),
      6,
    )
    .option('--venues <list>', 'of binance, okx, deribit, bybit', venueList, ['binance'])
    .option('--seed <number>', 'same seed, same market', wholeNumber(0, 0x7fffffff))
    .option(
      '--recording <file...>',
      'serve recordings instead of the own market; usdm:FILE names the market, several files in a row are one recording',
    )
    .option('--speed <factor>', 'speed of a recording: 1 = as recorded, or max', speed, 1)
    .option('--json', 'last line of stdout: one JSON object that counts sent, stored, missing, doubled, wrong')
  withConfigFlags(command).action(async (values: Values) => {
    const { runDemo } = await import('./tools/demo.ts')
    const recordings = (values.recording as string[] | undefined) ?? []
    await runDemo(
      {
        seconds: (values.seconds as number | undefined) ?? (recordings.length > 0 ? null : 20),
        rate: values.rate as number,
        instruments: values.instruments as number,
        venues: values.venues as ExchangeName[],
        seed: values.seed as number | undefined,
        recordings,
        speed: values.speed as number,
        json: values.json === true,
      },
      runOf('demo', values, shell),
    )
  })
}

/** Its options are listed beside its code, so they are read when the command runs. */
function addSimulate(program: Command, shell: Shell): void {
  const about =
    "a simulated exchange on this machine: the venue's own WebSocket and REST protocols over a seeded market"
  program
    .command('simulate')
    .helpGroup('Tools:')
    .description(about)
    .usage('binance|okx|deribit|bybit|all [options]')
    .argument('[words...]')
    .allowUnknownOption()
    .helpOption(false)
    .action(async (words: string[]) => {
      const { SIMULATE_FLAGS, parseSimulateAllFlags, parseSimulateFlags, runSimulate, runSimulateAll } = await import(
        './tools/simulate.ts'
      )
      const command = new Command('marketprism simulate')
        .description(about)
        .exitOverride()
        .showHelpAfterError('(marketprism simulate --help shows what is there)')
        .addArgument(new Argument('<exchange>', 'which one').choices([...EXCHANGE_NAMES, 'all']))
        .addHelpText('after', exampleText(SIMULATE_EXAMPLES))
        .action(async (word: string, flags: Values) => {
          const print = (line: string): void => void process.stdout.write(`${line}\n`)
          const finish = new AbortController()
          process.once('SIGUSR2', () => finish.abort())
          const signals = { signal: shell.stop.signal, finish: finish.signal }
          const exchange = EXCHANGE_NAMES.find((name) => name === word)
          if (exchange === undefined) await runSimulateAll({ ...parseSimulateAllFlags(flags), print, ...signals })
          else await runSimulate({ ...parseSimulateFlags(flags, exchange), print, ...signals })
        })
      for (const [flags, text] of SIMULATE_FLAGS) command.option(flags, text)
      await command.parseAsync(words, { from: 'user' })
    })
}

function addReplay(program: Command, shell: Shell): void {
  const command = tool(program, 'replay', 'recordings through the real ring, worker, scanner, book and encoder', [
    'replay usdm_btcusdt.gz --market binance.usdm --json',
    'replay day1.gz day2.gz --market binance.spot --rows rows.ndjson',
    'replay spot.gz --market binance.spot --to embedded',
    'replay BINANCE.ws.1.0.gz BINANCE.http.0.0.gz --market binance.spot --format cryptofeed --json',
    'replay OKX.ws.1.0.gz --market okx   # an exchange alone where the symbols tell their market',
  ])
    .argument(
      '<file...>',
      'recordings, plain, .gz or .zip; several in a row are one recording, captures are merged by time',
    )
    .addOption(
      new Option(
        '--market <market>',
        'whose messages these are: binance.usdm, okx.swap …, or okx alone',
      ).makeOptionMandatory(),
    )
    .addOption(
      new Option(
        '--format <format>',
        'lines of `<ns or µs> <json>`, of frames alone, or of raw captures (`<s>: <json>`, `<url> -> <s>: <json>`); auto looks',
      )
        .choices(['auto', 'hftbacktest', 'raw', 'cryptofeed'])
        .default('auto'),
    )
    .addOption(new Option('--to <sink>', 'where the rows go').choices(['embedded', 'nats', 'none']).default('none'))
    .option('--rows <file>', 'every row as NDJSON into this file, - is stdout')
    .option('--json', 'the summary as one JSON object on stdout')
  withConfigFlags(command).action(async (files: string[], values: Values) => {
    const { runReplay } = await import('./tools/replay.ts')
    await runReplay(
      {
        files,
        market: values.market as string,
        format: values.format as ReplayOptions['format'],
        to: values.to as 'embedded' | 'nats' | 'none',
        rows: values.rows as string | undefined,
        json: values.json === true,
      },
      runOf('replay', values, shell),
    )
  })
}

function addSql(program: Command, shell: Shell): void {
  const command = tool(program, 'sql', 'a question to the store, embedded or configured', [
    'sql --data .data/demo "SELECT symbol, count(), sum(notional) FROM trades GROUP BY symbol"',
    'sql --format CSVWithNames "SELECT * FROM book_tickers LIMIT 10" > tickers.csv',
  ])
    .argument('<query...>', 'statements; each is answered')
    .option('--format <name>', 'any output format of ClickHouse', 'PrettyCompactNoEscapes')
  withConfigFlags(command).action(async (queries: string[], values: Values) => {
    const { runSql } = await import('./tools/sql.ts')
    await runSql({ queries, format: values.format as string }, runOf('sql', values, shell))
  })
}

function addPlanAndConfig(program: Command, shell: Shell): void {
  const plan = tool(
    program,
    'plan',
    'connections, shards, REST weight, start-up time and disk a day of this configuration; refuses what breaks a venue limit',
    ['plan', 'plan --workers 4 --set exchanges.binance.usdm.instruments=BTCUSDT,ETHUSDT --json'],
  ).option('--json', 'as one JSON object')
  withConfigFlags(plan).action(async (values: Values) => {
    const { runPlan } = await import('./tools/plan.ts')
    await runPlan({ json: values.json === true }, runOf('plan', values, shell))
  })
  const config = tool(program, 'config', 'the effective configuration and where each value came from', [
    'config',
    'config --json --set workers.count=2',
    'config --markdown   # the table of all keys, as in the README',
  ])
    .option('--json', 'as one JSON object')
    .addOption(new Option('--markdown', 'the table of all keys in Markdown').conflicts('json'))
  withConfigFlags(config).action(async (values: Values) => {
    const { runConfig } = await import('./tools/config.ts')
    runConfig(values.markdown ? 'markdown' : values.json ? 'json' : 'table', () => effectiveOf(values))
  })
}

export function createProgram(version: string, stop: AbortController): Command {
  const shell: Shell = { version, stop }
  const program = new Command('marketprism')
    .description(
      'Collects public crypto market data, keeps verified order books, delivers to NATS JetStream and ClickHouse.',
    )
    .usage('<role…|tool> [options]')
    .version(version, '-V, --version')
    .addHelpText(
      'after',
      '\nExamples:\n  marketprism demo\n  marketprism collect store\n  marketprism config\n\nExit codes: 0 done, 1 a trial that missed, 2 wrong usage, 78 wrong configuration, 70 a fault.\nMore: marketprism <command> --help; every setting: marketprism config',
    )
    .exitOverride()
    .showHelpAfterError('(marketprism --help shows what is there)')
  addRoles(program, shell)
  addDemo(program, shell)
  addSimulate(program, shell)
  addReplay(program, shell)
  addSql(program, shell)
  const kit: CommandKit = { tool, withConfigFlags, runOf: (name, values) => runOf(name, values, shell) }
  addReadingTools(program, kit)
  addDeliveryTools(program, kit)
  addGatewayTools(program, kit)
  addTrials(program, kit)
  addPlanAndConfig(program, shell)
  return program
}
