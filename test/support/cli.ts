import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The command line as a user runs it, in a process of its own. */
const MAIN = fileURLToPath(new URL('../../engine/main.js', import.meta.url))
const CACHE = fileURLToPath(new URL('../../../.cache', import.meta.url))

/** No MARKETPRISM_ variable of the machine reaches these runs. */
const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MARKETPRISM_')))

export interface CliResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  readonly ms: number
}

export interface RunningCli {
  readonly pid: number
  readonly ended: Promise<CliResult>
  kill(signal: NodeJS.Signals): void
  /** resolves when a line of stdout or stderr matches */
  line(pattern: RegExp): Promise<string>
}

export function startCli(words: readonly string[], variables: Record<string, string> = {}): RunningCli {
  const startedMs = performance.now()
  const child = spawn(process.execPath, [MAIN, ...words], {
    env: {
      ...clean,
      MARKETPRISM_OBSERVE_PORT: '0',
      MARKETPRISM_SERVE_PORT: '0',
      MARKETPRISM_CACHE_DIRECTORY: CACHE,
      ...variables,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  let waiting: { pattern: RegExp; resolve: (line: string) => void }[] = []
  const look = (): void => {
    const lines = `${stdout}\n${stderr}`.split('\n')
    waiting = waiting.filter(({ pattern, resolve }) => {
      const found = lines.find((line) => pattern.test(line))
      if (found !== undefined) resolve(found)
      return found === undefined
    })
  }
  child.stdout.on('data', (text: Buffer) => {
    stdout += text.toString()
    look()
  })
  child.stderr.on('data', (text: Buffer) => {
    stderr += text.toString()
    look()
  })
  const ended = new Promise<CliResult>((resolve) => {
    child.once('close', (code) => resolve({ code, stdout, stderr, ms: performance.now() - startedMs }))
  })
  const line = (pattern: RegExp): Promise<string> =>
    Promise.race([
      new Promise<string>((resolve) => {
        waiting.push({ pattern, resolve })
        look()
      }),
      ended.then(({ code }) => {
        throw new Error(`ended with ${code} before ${pattern}\n${stdout}\n${stderr}`)
      }),
    ])
  return { pid: child.pid as number, ended, kill: (signal) => void child.kill(signal), line }
}

export function runCli(words: readonly string[], variables: Record<string, string> = {}): Promise<CliResult> {
  return startCli(words, variables).ended
}

/** The object that a command prints as the last line of stdout. */
export function lastJson<T>(result: CliResult): T {
  const last = result.stdout.trimEnd().split('\n').at(-1) ?? ''
  try {
    return JSON.parse(last) as T
  } catch {
    throw new Error(`no JSON at the end of stdout (exit ${result.code}):\n${result.stdout}\n${result.stderr}`)
  }
}
