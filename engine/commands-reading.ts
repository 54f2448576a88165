/** The commands that look and change nothing: consume, verify. See commands.ts. */
import { type Command, Option } from 'commander'
import type { CommandKit } from './commands-delivery.ts'
import { wholeNumber } from './commands-trials.ts'

type Values = Readonly<Record<string, unknown>>

export function addReadingTools(program: Command, kit: CommandKit): void {
  addConsume(program, kit)
  addVerify(program, kit)
}

function addConsume(program: Command, kit: CommandKit): void {
  const command = kit
    .tool(program, 'consume', 'what comes in, live: rows, rates, latency; from a gateway, from NATS, or from blocks', [
      "consume 'trade.binance.*.BTC*'",
      "consume --interactive '>'",
      "consume --demo --seconds 30 --json '>'     # last line: one JSON object of counts",
      "consume --json --count 100 'book.binance.usdm.BTCUSDT' --depth 10",
      "consume --from nats --data .data/demo 'book_ticker.>'",
      "consume --from blocks 'trade.>' | head",
    ])
    .argument('[pattern...]', 'type.exchange.market.symbol: * within a word, > for the rest; book is a verified book', [
      '>',
    ])
    .addOption(new Option('--from <source>', 'what is read').choices(['gateway', 'nats', 'blocks']).default('gateway'))
    .option('--url <url>', 'of the gateway or of NATS (default: the configured, else the one that runs here)')
    .addOption(new Option('--demo', 'run for --seconds (default 10) and print a summary').conflicts('interactive'))
    .option('-i, --interactive', 'a screen of subjects with rates; keys are shown on it')
    .option('--json', 'rows as lines of JSON; with --demo one object of counts')
    .option('--raw', 'messages as they were sent, decoded and nothing else')
    .option('--count <rows>', 'end after so many rows', wholeNumber(1, 1_000_000_000))
    .option('--seconds <count>', 'end after so many seconds', wholeNumber(1, 86_400))
    .option('--depth <levels>', 'levels a side of books (default: all)', wholeNumber(1, 5_000))
  kit.withConfigFlags(command).action(async (patterns: string[], values: Values) => {
    const { runConsume } = await import('./tools/consume.ts')
    await runConsume(
      {
        patterns,
        from: values.from as 'gateway' | 'nats' | 'blocks',
        url: values.url as string | undefined,
        mode: values.demo === true ? 'demo' : values.interactive === true ? 'interactive' : 'plain',
        json: values.json === true,
        raw: values.raw === true,
        count: values.count as number | undefined,
        seconds: values.seconds as number | undefined,
        depth: values.depth as number | undefined,
      },
      kit.runOf('consume', values),
    )
  })
}

function addVerify(program: Command, kit: CommandKit): void {
  const command = kit
    .tool(
      program,
      'verify',
      'is all there that the engine needs, and as it must be? remedies where not; exit code 1 then',
      ['verify', 'verify --json', 'verify --offline   # venues are not asked', 'verify --data .data/demo'],
    )
    .option('--offline', 'do not ask the venues')
    .option('--json', 'one JSON object: pass, checks [{what, verdict, detail, remedy}]')
  kit.withConfigFlags(command).action(async (values: Values) => {
    const { runVerify } = await import('./tools/verify.ts')
    await runVerify({ offline: values.offline === true, json: values.json === true }, () => kit.runOf('verify', values))
  })
}
