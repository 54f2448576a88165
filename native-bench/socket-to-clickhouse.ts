import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BenchContext, type BenchResult, check } from './bench.ts'
import { measured } from './measure.ts'

const SECONDS = 15
const RATE = 100_000
const INSTRUMENTS = 20

interface DemoAnswer {
  readonly sent: Readonly<Record<string, number>>
  readonly missing: number
  readonly doubled: number
  readonly wrong: number
  readonly delivery: string
}

/**
 * The whole way on this machine: simulated venue → sockets → rings → books → spool → ClickHouse, as `marketprism demo`
 * does it. One run; the demo counts what arrived against the simulator's own truth, and a difference is a wrong answer.
 */
export async function socketToClickHouse({ say }: BenchContext): Promise<BenchResult> {
  const here = fileURLToPath(import.meta.url)
  const main = join(dirname(here), '..', 'engine', `main${extname(here)}`)
  check(existsSync(main), `socket → ClickHouse: no ${main}`)
  say(`socketToClickHouse: ${SECONDS} s at ${RATE} events/s …`)
  const options = { seconds: SECONDS, rate: RATE, instruments: INSTRUMENTS }
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
  const answer = await demo([main, 'demo', ...args, '--json'])
  const sent = Object.values(answer.sent).reduce((sum, count) => sum + count, 0)
  const { missing, doubled, wrong, delivery } = answer
  check(missing + doubled + wrong === 0, `socket → ClickHouse: ${missing} missing, ${doubled} doubled, ${wrong} wrong`)
  return {
    ...measured(sent, [SECONDS]),
    unit: 'events/s',
    ratios: {},
    others: {},
    notes: [
      `${sent} events in ${SECONDS} s as asked for (${RATE} events/s), all in ClickHouse once; delivery ${delivery}`,
    ],
  }
}

async function demo(args: readonly string[]): Promise<DemoAnswer> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => {
    text += String(chunk)
  })
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  check(code === 0, `socket → ClickHouse: the demo ended with ${code}`)
  return JSON.parse(text.trimEnd().split('\n').at(-1) ?? '') as DemoAnswer
}
