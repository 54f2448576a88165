import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Whether servers may be given blocks yet: one that was away at the start is looked at, provisioned and proven when it comes,
 * as at any start, and only then its gate is opened, for all threads at once. It is never closed again.
 */
export type GateMemories = readonly SharedArrayBuffer[]

const GATE_BYTES = 4
const LOOK_MS = 50

export function createGate(): SharedArrayBuffer {
  return new SharedArrayBuffer(GATE_BYTES)
}

export function openGate(memory: SharedArrayBuffer): void {
  Atomics.store(new Int32Array(memory), 0, 1)
}

export function isOpen(gates: GateMemories): boolean {
  return gates.every((memory) => Atomics.load(new Int32Array(memory), 0) === 1)
}

/** Resolves when all are open, or at the signal. */
export async function whenOpen(gates: GateMemories, signal: AbortSignal): Promise<void> {
  while (!isOpen(gates) && !signal.aborted) await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined)
}
