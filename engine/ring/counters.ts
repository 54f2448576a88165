import { assert } from '../base/assert.ts'

/**
 * Named counters in shared memory: one writer thread adds, any thread reads. Each is a double that holds an exact
 * integer (2^53 is enough for 100,000 a second for 2,800 years); aligned 8-byte stores do not tear.
 */
export class Counters<Name extends string> {
  readonly names: readonly Name[]
  readonly memory: SharedArrayBuffer
  readonly #values: Float64Array
  readonly #slots: Map<Name, number>

  constructor(names: readonly Name[], memory: SharedArrayBuffer = new SharedArrayBuffer(names.length * 8)) {
    assert(
      memory.byteLength >= names.length * 8,
      `counter memory of ${memory.byteLength} bytes for ${names.length} names`,
    )
    this.names = names
    this.memory = memory
    this.#values = new Float64Array(memory)
    this.#slots = new Map(names.map((name, index) => [name, index]))
  }

  /** Look the slot up once, outside the loop; then `addAt`. */
  slot(name: Name): number {
    const slot = this.#slots.get(name)
    assert(slot !== undefined, `no counter ${name}`)
    return slot
  }

  addAt(slot: number, count: number): void {
    this.#values[slot] = (this.#values[slot] as number) + count
  }

  add(name: Name, count = 1): void {
    this.addAt(this.slot(name), count)
  }

  set(name: Name, value: number): void {
    this.#values[this.slot(name)] = value
  }

  read(name: Name): number {
    return this.#values[this.slot(name)] as number
  }

  /** All values now, by name. */
  snapshot(): Record<Name, number> {
    return Object.fromEntries(this.names.map((name) => [name, this.read(name)])) as Record<Name, number>
  }
}
