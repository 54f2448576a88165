/**
 * Who gives way to whom when there is not enough processor time for all:
 *
 *   sockets, book workers, sink worker, nats-server     0    the feed
 *   gateway (thread)                                   +5    answers and frames to clients
 *   store worker (thread), embedded ClickHouse        +10    what waits in JetStream loses nothing by waiting
 *
 * Only who waits first is decided here: on a machine with time to spare everybody gets what he needs.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'

/** added to the nice value, as by nice(1) */
export const GATEWAY_GIVES_WAY = 5
export const STORE_GIVES_WAY = 10

const NICE_MAX = 19
const AUTOGROUP = '/proc/self/autogroup'

/**
 * This process and all that it starts gives way. A kernel that groups processes by session shares the processor out among
 * the groups first, whatever the nice values inside them: a child with a session of its own is a group of its own, which
 * has a nice value, too. Where there are no such groups the first is enough.
 * Source: https://man7.org/linux/man-pages/man7/sched.7.html ("The autogroup feature").
 */
export function giveWay(by: number): void {
  os.setPriority(nicer(os.getPriority(), by))
  try {
    const [, nice = '0'] = /nice (-?\d+)/.exec(readFileSync(AUTOGROUP, 'utf8')) ?? []
    writeFileSync(AUTOGROUP, String(nicer(Number(nice), by)))
  } catch {}
}

/**
 * The calling thread alone gives way. On Linux threads have nice values of their own; elsewhere this would be said of the
 * whole process, so there it is not said.
 * Source: https://man7.org/linux/man-pages/man2/setpriority.2.html ("C library/kernel differences").
 */
export function threadGivesWay(by: number): void {
  if (os.platform() === 'linux') os.setPriority(nicer(os.getPriority(), by))
}

const nicer = (nice: number, by: number): number => Math.min(NICE_MAX, nice + by)
