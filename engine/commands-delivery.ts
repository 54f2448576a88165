/** The commands that look after delivery: dead letters, spool, audit. See commands.ts. */
import { Argument, type Command, InvalidArgumentError, Option } from 'commander'
import type { Run } from './base/run.ts'

type Values = Readonly<Record<string, unknown>>

/** What commands.ts gives to all commands. */
export interface CommandKit {
  tool(program: Command, name: string, about: string, examples: readonly string[]): Command
  withConfigFlags(command: Command): Command
  runOf(name: string, values: Values): Run
}

function seconds(value: string): number {
  if (!/^\d{1,6}$/.test(value)) throw new InvalidArgumentError('Allowed is a whole number of seconds.')
  return Number(value)
}

const text = (value: unknown): string | undefined => value as string | undefined

export function addDeliveryTools(program: Command, kit: CommandKit): void {
  addDlq(program, kit)
  addSpool(program, kit)
  addAudit(program, kit)
}

function addSpool(program: Command, kit: CommandKit): void {
  const command = kit
    .tool(program, 'spool', 'what is in the spool, whether it is whole, and ways to get it out', [
      'spool ls --blocks --table gaps',
      'spool verify --json',
      'spool export --from 1795253359/17 --to 1795253359/20 --format native --out rows',
      'spool replay --from 1795253359/17 --new-token   # after its rows were deleted',
    ])
    .addArgument(new Argument('<action>', 'what to do').choices(['ls', 'verify', 'export', 'replay']))
    .option('--from <block>', 'export, replay: first block, epoch/number, or an epoch')
    .option('--to <block>', 'export, replay: last block')
    .option('--table <name>', 'blocks of this table')
    .option('--blocks', 'ls: a line a block')
    .addOption(
      new Option('--format <format>', 'export: rows as lines of JSON or as Native of ClickHouse, or blocks as they are')
        .choices(['ndjson', 'native', 'block'])
        .default('ndjson'),
    )
    .option('--out <directory>', 'export: where the files go', 'export')
    .option('--new-token', 'replay: blocks whose rows were deleted are stored anew, though the store remembers them')
    .option('--json', 'one JSON object')
  kit.withConfigFlags(command).action(async (action: string, values: Values) => {
    const { runSpool } = await import('./tools/spool.ts')
    await runSpool(
      {
        action: action as 'ls' | 'verify' | 'export' | 'replay',
        from: text(values.from),
        to: text(values.to),
        table: text(values.table),
        blocks: values.blocks === true,
        format: values.format as 'ndjson' | 'native' | 'block',
        out: values.out as string,
        newToken: values.newToken === true,
        json: values.json === true,
      },
      kit.runOf('spool', values),
    )
  })
}

function addAudit(program: Command, kit: CommandKit): void {
  const command = kit
    .tool(program, 'audit', 'is everything in the store, once, and every hole told? exit code 1 when not', [
      'audit',
      'audit --since 24h --json',
      'audit --since 2026-11-21T10:00:00Z',
      'audit trace collector/1795253359/17   # each station of one block, with its time',
    ])
    .addArgument(new Argument('[what]', 'trace follows one block').choices(['trace']))
    .argument('[block]', 'trace: producer/epoch/number')
    .option('--since <time>', 'rows received from then on: a time, or how long ago (90m, 12h, 7d)')
    .option(
      '--settle <seconds>',
      'rows younger than this may be on their way (default: 60 beside a running engine, else 0)',
      seconds,
    )
    .option('--json', 'one JSON object')
  kit.withConfigFlags(command).action(async (what: string | undefined, block: string | undefined, values: Values) => {
    if (what === 'trace') {
      if (block === undefined) return command.error("error: missing argument 'block': producer/epoch/number")
      const { runTrace } = await import('./tools/audit/trace.ts')
      return await runTrace(block, values.json === true, kit.runOf('audit', values))
    }
    const { runAudit } = await import('./tools/audit.ts')
    await runAudit(
      {
        since: text(values.since),
        settleSeconds: values.settle as number | undefined,
        json: values.json === true,
      },
      kit.runOf('audit', values),
    )
  })
}

function addDlq(program: Command, kit: CommandKit): void {
  const command = kit
    .tool(program, 'dlq', 'dead letters: blocks that could not be stored, with the reason', [
      'dlq list',
      'dlq show 3 --out block.bin',
      'dlq replay --reason VIOLATED_CONSTRAINT   # after the cause is mended',
      'dlq drop 3 7-9 --yes',
    ])
    .addArgument(new Argument('<action>', 'what to do').choices(['list', 'show', 'replay', 'drop']))
    .argument('[numbers...]', 'of letters, 3 or 7-9; default: those that the filters leave')
    .option('--all', 'every letter')
    .option('--table <name>', 'letters of this table')
    .option('--exchange <name>', 'of this exchange')
    .option('--producer <name>', 'of this collector')
    .option('--reason <text>', 'whose reason contains this')
    .option('--out <file>', 'show: write the bytes of the block into this file')
    .option('--yes', 'drop: they are gone for good')
    .option('--json', 'one JSON object (show: one a letter)')
  kit.withConfigFlags(command).action(async (action: string, numbers: string[], values: Values) => {
    const { runDlq } = await import('./tools/dlq.ts')
    await runDlq(
      {
        action: action as 'list' | 'show' | 'replay' | 'drop',
        numbers,
        all: values.all === true,
        table: text(values.table),
        exchange: text(values.exchange),
        producer: text(values.producer),
        reason: text(values.reason),
        out: text(values.out),
        yes: values.yes === true,
        json: values.json === true,
      },
      kit.runOf('dlq', values),
    )
  })
}
