import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type BenchContext, type BenchResult, check } from './bench.ts'
import { measured, median } from './measure.ts'
import { siblingUrl } from './paths.ts'
import type { SocketAnswer, SocketTimes } from './socket-client.ts'
import { BINANCE } from './venues.ts'

const run = promisify(execFile)
const FRAMES_A_RUN_MIN = 400_000

/**
 * One socket, everything the main thread does with it: `ws`, connection, router, copy into the ring; against a bare `ws`
 * client that only counts, in turns in one process, from one server process.
 */
export async function socketToRing({ messagesOf, runCount }: BenchContext): Promise<BenchResult> {
  const recording = await messagesOf(BINANCE)
  const rounds = Math.ceil(FRAMES_A_RUN_MIN / recording.messages.length)
  const server = spawn(process.execPath, [path('socket-server'), recording.textFile, String(rounds)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  try {
    const { port, frames } = await readyOf(server)
    const { stdout } = await run(process.execPath, [path('socket-client'), port, frames, runCount].map(String))
    const answer = JSON.parse(stdout) as SocketAnswer
    check(answer.losses === 0, `socket → ring: ${answer.losses} frames were lost`)
    return result(answer, frames)
  } finally {
    server.kill()
  }
}

/** Pairs were measured one after the other, so the ratio is taken pair by pair: what disturbs hits both. */
function result(answer: SocketAnswer, frames: number): BenchResult {
  const walls = (times: readonly SocketTimes[]) => times.map(({ wall }) => wall)
  const pairs = (others: readonly SocketTimes[], key: keyof SocketTimes) => {
    const found = median(answer.ring.map((one, at) => (others[at]?.[key] ?? 0) / one[key]))
    return Number.isFinite(found) && found > 0 ? found : null
  }
  return {
    ...measured(frames, walls(answer.ring)),
    unit: 'messages/s',
    ratios: {
      vsBareWs: pairs(answer.bare, 'wall'),
      vsBareWsCpu: pairs(answer.bare, 'cpu'),
      vsTunedWs: pairs(answer.tuned, 'wall'),
      vsTunedWsCpu: pairs(answer.tuned, 'cpu'),
    },
    others: { bareWs: measured(frames, walls(answer.bare)), tunedWs: measured(frames, walls(answer.tuned)) },
    notes: [
      'bare: a ws client with its defaults; tuned: with the options that the product sets (no UTF-8 check); Cpu: time of the main thread on a core; median of pairs',
    ],
  }
}

const path = (name: string) => fileURLToPath(siblingUrl(import.meta.url, name))

async function readyOf(server: ChildProcess): Promise<{ port: number; frames: number }> {
  check(server.stdout !== null, 'server has a stdout')
  const [line] = (await once(server.stdout, 'data')) as [Buffer]
  return JSON.parse(String(line)) as { port: number; frames: number }
}
