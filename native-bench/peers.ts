import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { check } from './bench.ts'
import { type Measured, measured } from './measure.ts'
import { NATIVE_FOLDER, PEERS_FOLDER, PROJECT_ROOT } from './paths.ts'

const run = promisify(execFile)
const OUTPUT_BYTES_MAX = 1 << 20

/** What a peer prints: its times and what it found, to be compared with what we found. */
export interface PeerAnswer {
  readonly peer: string
  readonly version: string
  readonly messages: number
  readonly seconds: readonly number[]
  readonly bid: readonly [number, number]
  readonly ask: readonly [number, number]
  readonly trades: number
  readonly tickers: number
}

/** What all sides must have found. */
export interface Answer {
  readonly bid: readonly [string, string]
  readonly ask: readonly [string, string]
  readonly trades: number
  readonly tickers: number
}

export interface PeerInput {
  readonly file: string
  readonly symbol: string
  readonly runCount: number
}

/** Settings that decide how often the pipeline seals blocks; the ceiling gets the same. */
export interface CeilingSettings {
  readonly priceScale: number
  readonly quantityScale: number
  readonly rowsMax: number
  readonly bytesMax: number
  readonly ageMs: number
  readonly snapshotMs: number
  readonly snapshotDepth: number
}

/** Installs the peers' own packages, once. @throws with npm's words when it can not. */
export async function installPeers(say: (line: string) => void): Promise<void> {
  if (existsSync(join(PEERS_FOLDER, 'node_modules', '.package-lock.json'))) return
  say('installing tardis-dev and ccxt for comparison (native-bench/peers only) …')
  await run('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], {
    cwd: PEERS_FOLDER,
    maxBuffer: OUTPUT_BYTES_MAX,
  })
}

/** Runs native-bench/peers/{name}.mjs in a process of its own. */
export async function runPeer(name: string, input: PeerInput, more: readonly string[] = []): Promise<PeerAnswer> {
  const script = join(PEERS_FOLDER, `${name}.mjs`)
  const { stdout } = await run(process.execPath, [script, input.file, String(input.runCount), input.symbol, ...more], {
    maxBuffer: OUTPUT_BYTES_MAX,
  })
  return JSON.parse(stdout) as PeerAnswer
}

/** Builds the C++ ceiling. @returns the program, or why there is none. */
export async function buildCeiling(): Promise<{ program: string } | { reason: string }> {
  const folder = join(PROJECT_ROOT, '.cache', 'native-bench')
  const program = join(folder, 'ceiling')
  try {
    await run('g++', ['--version'])
  } catch {
    return { reason: 'no g++ on this machine: the ratio to the C++ ceiling is null' }
  }
  await run('mkdir', ['-p', folder])
  await run('g++', ['-O3', '-march=native', '-std=c++17', '-o', program, join(NATIVE_FOLDER, 'ceiling.cpp')])
  return { program }
}

export async function runCeiling(program: string, input: PeerInput, settings: CeilingSettings): Promise<PeerAnswer> {
  const { priceScale, quantityScale, rowsMax, bytesMax, ageMs, snapshotMs, snapshotDepth } = settings
  const numbers = [priceScale, quantityScale, rowsMax, bytesMax, ageMs, snapshotMs, snapshotDepth].map(String)
  const { stdout } = await run(program, [input.file, String(input.runCount), input.symbol, ...numbers])
  return JSON.parse(stdout) as PeerAnswer
}

/** A peer's rate counts only when it found what we found. */
export function peerRate(answer: PeerAnswer, ours: Answer, messageCount: number): Measured {
  const same = (theirs: readonly [number, number], mine: readonly [string, string]) =>
    theirs[0] === Number(mine[0]) && theirs[1] === Number(mine[1])
  check(answer.messages === messageCount, `${answer.peer} read ${answer.messages} messages of ${messageCount}`)
  check(same(answer.bid, ours.bid), `${answer.peer} ends with bid ${answer.bid}, we with ${ours.bid}`)
  check(same(answer.ask, ours.ask), `${answer.peer} ends with ask ${answer.ask}, we with ${ours.ask}`)
  check(answer.trades === ours.trades, `${answer.peer} found ${answer.trades} trades, we ${ours.trades}`)
  check(answer.tickers === ours.tickers, `${answer.peer} found ${answer.tickers} book tickers, we ${ours.tickers}`)
  return measured(answer.messages, answer.seconds)
}
