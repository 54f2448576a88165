/** The commands that look and change nothing: verify. See commands.ts. */
import type { Command } from 'commander'
import type { CommandKit } from './commands-delivery.ts'

type Values = Readonly<Record<string, unknown>>

export function addReadingTools(program: Command, kit: CommandKit): void {
  addVerify(program, kit)
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
