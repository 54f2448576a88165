/** The commands that look after the gateway. See commands.ts. */
import { Argument, type Command, InvalidArgumentError } from 'commander'
import type { CommandKit } from './commands-delivery.ts'
import { SCOPES, type Scope } from './gateway/security/principal.ts'

type Values = Readonly<Record<string, unknown>>

function scopeList(value: string): Scope[] {
  const words = value.split(',').map((word) => word.trim())
  if (words.length > 0 && words.every((word) => (SCOPES as readonly string[]).includes(word))) return words as Scope[]
  throw new InvalidArgumentError(`Allowed is a list of ${SCOPES.join(', ')}.`)
}

const wholeNumberTo =
  (max: number) =>
  (value: string): number => {
    const number = Number(value)
    if (/^\d+$/.test(value) && number >= 1 && number <= max) return number
    throw new InvalidArgumentError(`Allowed is a whole number, 1 … ${max}.`)
  }

const DAYS_MAX = 3_650
const REQUESTS_MAX = 100_000

export function addGatewayTools(program: Command, kit: CommandKit): void {
  const command = kit
    .tool(program, 'keys', 'API keys of the gateway: makes one, lists those of serve.keysFile', [
      'keys create --scopes read,stream --days 90',
      'keys create --scopes admin --id ops --add --set serve.keysFile=keys.ndjson',
      'keys list --set serve.keysFile=keys.ndjson',
    ])
    .addArgument(new Argument('<action>', 'what to do').choices(['create', 'list']))
    .option('--scopes <list>', `create: what it is good for, of ${SCOPES.join(', ')}`, scopeList, ['read', 'stream'])
    .option(
      '--days <days>',
      'create: how long it is good (default: until its line is taken out)',
      wholeNumberTo(DAYS_MAX),
    )
    .option('--id <name>', 'create: its name in logs and lists, A-Z a-z 0-9 - (default: made up)')
    .option(
      '--requests <n>',
      'create: requests a second (default: as serve.requestsPerSecond)',
      wholeNumberTo(REQUESTS_MAX),
    )
    .option('--add', 'create: put the line into serve.keysFile; a running gateway takes it within a second or two')
    .option('--json', 'one JSON object')
  kit.withConfigFlags(command).action(async (action: string, values: Values) => {
    const { runKeys } = await import('./tools/keys.ts')
    runKeys(
      {
        action: action as 'create' | 'list',
        scopes: values.scopes as Scope[],
        days: values.days as number | undefined,
        id: values.id as string | undefined,
        requestsPerSecond: values.requests as number | undefined,
        add: values.add === true,
        json: values.json === true,
      },
      kit.runOf('keys', values),
    )
  })
}
