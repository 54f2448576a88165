import type { ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../base/backoff.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'

/** A child process that is started again whenever it ends without having been asked to. */
export interface KeptChildOptions {
  /** For log lines, e.g. `embedded ClickHouse`. */
  readonly name: string
  /** Starts the process and resolves when it serves; ends it and rejects with a Fault when it cannot. */
  readonly launch: () => Promise<ChildProcess>
  /** After SIGTERM the process has this long; then it is killed. */
  readonly stopMsMax: number
  readonly random: Random
  readonly log: Log
}

export interface ChildExit {
  readonly pid: number
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

const RESTART_FLOOR_MS = 100
const RESTART_CAP_MS = 5000
/** A child that lived this long was healthy: the next crash starts counting anew. */
const HEALTHY_MS = 60_000

export class KeptChild {
  readonly #options: KeptChildOptions
  readonly #listeners: ((exit: ChildExit) => void)[] = []
  #child: ChildProcess
  #startedMs = performance.now()
  #attempt = 0
  #stopping = new AbortController()
  #restarting: Promise<void> = Promise.resolve()
  /** Restarts since the start, for metrics. */
  restarts = 0

  private constructor(options: KeptChildOptions, child: ChildProcess) {
    this.#options = options
    this.#child = child
    this.#watch(child)
  }

  /** The first start is not repeated: its fault is the caller's to show. */
  static async start(options: KeptChildOptions): Promise<KeptChild> {
    return new KeptChild(options, await options.launch())
  }

  /** Process id of the present child (of the last one while a restart is under way). */
  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** @param listener told of every end that nobody asked for; a restart follows. */
  onExit(listener: (exit: ChildExit) => void): void {
    this.#listeners.push(listener)
  }

  /** Kills the process, which hangs; another follows as after any unexpected end. */
  renew(): void {
    this.#child.kill('SIGKILL')
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#restarting
    await endChild(this.#child, this.#options.stopMsMax)
  }

  #watch(child: ChildProcess): void {
    const ended = (code: number | null, signal: NodeJS.Signals | null) => {
      if (this.#stopping.signal.aborted) return
      if (performance.now() - this.#startedMs > HEALTHY_MS) this.#attempt = 0
      this.#options.log.error(
        { childPid: child.pid, code, signal },
        `${this.#options.name} ended unexpectedly, starting it again`,
      )
      for (const listener of this.#listeners) listener({ pid: child.pid ?? 0, code, signal })
      this.#restarting = this.#restart()
    }
    if (hasEnded(child)) ended(child.exitCode, child.signalCode)
    else child.once('exit', ended)
  }

  async #restart(): Promise<void> {
    const { name, launch, log, random } = this.#options
    while (!this.#stopping.signal.aborted) {
      await sleep(backoffMs(this.#attempt++, RESTART_FLOOR_MS, RESTART_CAP_MS, random), undefined, {
        signal: this.#stopping.signal,
      }).catch(() => undefined)
      if (this.#stopping.signal.aborted) return
      try {
        this.#child = await launch()
      } catch (error) {
        log.error({ attempt: this.#attempt }, `${name} did not start again: ${(error as Error).message}`)
        continue
      }
      this.restarts++
      this.#startedMs = performance.now()
      log.info({ childPid: this.#child.pid }, `${name} runs again`)
      this.#watch(this.#child)
      return
    }
  }
}

export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

/** SIGTERM, then SIGKILL after `stopMsMax`; resolves when the process is gone. */
export async function endChild(child: ChildProcess, stopMsMax: number): Promise<void> {
  if (child.pid === undefined || hasEnded(child)) return
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  child.kill('SIGTERM')
  const deadline = setTimeout(() => child.kill('SIGKILL'), stopMsMax)
  await gone
  clearTimeout(deadline)
}

export function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
