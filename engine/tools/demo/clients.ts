import { type ChildProcess, fork } from 'node:child_process'

/**
 * A process of clients of a trial. Clients are elsewhere, and so it has a session of its own: with no part in the processor
 * time of the engine's (base/priority.ts). It ends itself when the trial does.
 */
export function forkClients(program: URL): ChildProcess {
  return fork(program, { detached: true, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
}
