/** A role of the engine as a process of its own, as a supervisor runs it: whenever it ends unasked, it is started again. */
import { type ChildProcess, spawn } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Fault } from '../../base/fault.ts'
import { createLog } from '../../base/log.ts'
import { freshSeed, seededRandom } from '../../base/random.ts'
import { type ChildExit, endChild, KeptChild } from '../../embedded/kept-child.ts'

const MAIN = fileURLToPath(new URL('../../main.js', import.meta.url))
const READY_MS_MAX = 60_000
const STOP_MS_MAX = 20_000
const PAGE_MS_MAX = 2_000
const LOOK_MS = 250

export class RoleProcess {
  readonly name: string
  readonly #words: readonly string[]
  readonly #logFile: string
  readonly #onReady: () => Promise<void>
  #kept: KeptChild | undefined
  #pagesUrl = ''

  /** @param logFile takes all that it says on stderr, over all its lives. @param onReady at each start */
  constructor(name: string, words: readonly string[], logFile: string, onReady = async (): Promise<void> => {}) {
    this.name = name
    this.#words = words
    this.#logFile = logFile
    this.#onReady = onReady
  }

  /** @param onExit called at each unwanted end, before it is started again */
  async start(onExit: (exit: ChildExit) => void = () => {}): Promise<void> {
    this.#kept = await KeptChild.start({
      name: this.name,
      launch: () => this.#launch(),
      stopMsMax: STOP_MS_MAX,
      random: seededRandom(freshSeed()),
      log: createLog('silent', this.name),
    })
    this.#kept.onExit(onExit)
  }

  get pid(): number {
    return this.#kept?.pid ?? 0
  }

  get restarts(): number {
    return this.#kept?.restarts ?? 0
  }

  /** SIGTERM; resolves when it is gone. */
  async stop(): Promise<void> {
    await this.#kept?.stop()
  }

  /** Sum of a metric over its labels; undefined while nobody answers. */
  async metric(name: string): Promise<number | undefined> {
    try {
      const answer = await fetch(`${this.#pagesUrl}/metrics`, { signal: AbortSignal.timeout(PAGE_MS_MAX) })
      return sumOfMetric(await answer.text(), name)
    } catch {
      return undefined
    }
  }

  async #launch(): Promise<ChildProcess> {
    const child = spawn(process.execPath, [MAIN, ...this.#words], {
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true, // Ctrl-C is for the trial, which ends this one in order
    })
    const killed = (): void => void child.kill('SIGKILL')
    process.once('exit', killed)
    child.once('exit', () => process.off('exit', killed))
    let lastLine = ''
    const ready = new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stderr as NonNullable<ChildProcess['stderr']> }).on('line', (line) => {
        appendFileSync(this.#logFile, `${line}\n`)
        lastLine = line
        const [, url] = /^marketprism: pages: (\S+)\/metrics/.exec(line) ?? []
        if (url !== undefined) resolve(url)
      })
      child.once('error', reject)
      child.once('exit', () => reject(new Fault('ROLE', `the ${this.name} ended while it started: ${lastLine}`)))
      setTimeout(() => reject(new Fault('ROLE', `the ${this.name} did not start: ${lastLine}`)), READY_MS_MAX).unref()
    })
    try {
      this.#pagesUrl = await ready
      await this.#onReady()
      return child
    } catch (error) {
      await endChild(child, STOP_MS_MAX)
      throw error
    }
  }
}

/** @returns false when the time was over first */
export async function until(isDone: () => Promise<boolean> | boolean, msMax: number): Promise<boolean> {
  for (const deadline = performance.now() + msMax; performance.now() < deadline; await sleep(LOOK_MS))
    if (await isDone()) return true
  return false
}

/** @param labels those that a line must have */
export function sumOfMetric(text: string, name: string, labels: Readonly<Record<string, string>> = {}): number {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`)
  let sum = 0
  for (const line of text.split('\n')) {
    const [, found, inner = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
    if (found === name && wanted.every((part) => inner.includes(part))) sum += Number(value)
  }
  return sum
}
