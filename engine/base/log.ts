import type { Logger } from 'pino'
import pino from 'pino'

export type Log = Logger

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'

/**
 * Structured logs go to stderr: stdout belongs to the output of commands.
 * @param level silent when all is well means `warn`; `info` tells of starts, stops and state changes.
 */
export function createLog(level: LogLevel, name: string): Log {
  return pino(
    { level, name, base: { name, pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: true }),
  )
}
