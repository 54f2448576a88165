#!/usr/bin/env node
/**
 * The command line: `marketprism <role…|tool> [options]`.
 *
 * Exit codes: 0 done · 1 a trial that missed · 2 wrong usage · 78 wrong configuration · 70 anything else that failed. A
 * Fault is an answer for a person: one line a mistake, no stack. Anything else is a bug of ours and shows its stack.
 */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CommanderError } from 'commander'
import { EXIT_FAULT, EXIT_OK, EXIT_USAGE, Fault } from './base/fault.ts'
import { createProgram } from './commands.ts'

const EXIT_SIGNALLED = 130

/** package.json stands above this file, be it engine/main.ts or dist/engine/main.js. */
function readVersion(): string {
  let at = dirname(fileURLToPath(import.meta.url))
  for (;;) {
    try {
      const parsed = JSON.parse(readFileSync(join(at, 'package.json'), 'utf8')) as { name?: string; version?: string }
      if (parsed.name === 'marketprism' && parsed.version !== undefined) return parsed.version
    } catch {
      // not here: look one directory up
    }
    if (dirname(at) === at)
      throw new Fault('NO_VERSION', 'no package.json of marketprism above the program: install it again')
    at = dirname(at)
  }
}

/** The first signal asks for an orderly stop, the second ends at once. */
function stopOnSignals(): AbortController {
  const controller = new AbortController()
  const onSignal = (name: string): void => {
    if (controller.signal.aborted) process.exit(EXIT_SIGNALLED)
    // SIGTERM comes from a supervisor, which knows
    if (name === 'SIGINT') process.stderr.write('\nmarketprism: stopping in order (Ctrl-C again to stop at once)\n')
    controller.abort(name)
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return controller
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE // commander has printed it
  if (error instanceof Fault) {
    process.stderr.write(`marketprism: ${error.message.replaceAll('\n', '\nmarketprism: ')}\n`)
    return error.exitCode
  }
  process.stderr.write(
    `marketprism: unexpected error, please report it\n${error instanceof Error ? error.stack : String(error)}\n`,
  )
  return EXIT_FAULT
}

/** What was written is out before the process ends; threads and sockets that are still open do not keep it. */
async function leave(code: number): Promise<never> {
  for (const stream of [process.stdout, process.stderr]) await new Promise((done) => stream.write('', done))
  process.exit(code)
}

for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error) => void leave(report(error)))
}
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? EXIT_OK : EXIT_FAULT),
)

try {
  const program = createProgram(readVersion(), stopOnSignals())
  await program.parseAsync(process.argv)
  await leave(EXIT_OK)
} catch (error) {
  await leave(report(error))
}
