/**
 * One word a worker thread, counted up by its duty loop, watched by the main thread. A line each, so that workers do
 * not pull each other's cache lines.
 */
import { LINE_BYTES } from './layout.ts'

const LINE_WORDS = LINE_BYTES >> 2

export function createHeartbeats(workerCount: number): SharedArrayBuffer {
  return new SharedArrayBuffer(workerCount * LINE_BYTES)
}

export class Heartbeat {
  readonly #words: Int32Array
  readonly #word: number

  constructor(memory: SharedArrayBuffer, workerIndex: number) {
    this.#words = new Int32Array(memory)
    this.#word = workerIndex * LINE_WORDS
  }

  /** Called by the worker, once a cycle. */
  beat(): void {
    Atomics.add(this.#words, this.#word, 1)
  }

  /** Beats so far (mod 2^32); 0 means that the worker's loop has not begun. */
  count(): number {
    return Atomics.load(this.#words, this.#word) >>> 0
  }

  /** Called by the main thread between two lives of a worker. */
  reset(): void {
    Atomics.store(this.#words, this.#word, 0)
  }
}
