/** The commands that look after delivery: dead letters, spool, audit. See commands.ts. */
import { Argument, type Command } from 'commander'
import type { Run } from './base/run.ts'

type Values = Readonly<Record<string, unknown>>

/** What commands.ts gives to all commands. */
export interface CommandKit {
  tool(program: Command, name: string, about: string, examples: readonly string[]): Command
  withConfigFlags(command: Command): Command
  runOf(name: string, values: Values): Run
}

const text = (value: unknown): string | undefined => value as string | undefined

export function addDeliveryTools(program: Command, kit: CommandKit): void {
  addDlq(program, kit)
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
