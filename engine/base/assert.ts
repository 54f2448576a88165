/** Programmer errors crash at once, in production too: a wrong book or a lost trade costs more than a restart. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionFault(message)
}

/** Closes a switch over every value of a union; reaching it is a programmer error. */
export function unreachable(value: never): never {
  throw new AssertionFault(`unreachable: ${String(value)}`)
}

/** An invariant of ours does not hold. Never caught for control flow. */
export class AssertionFault extends Error {
  override readonly name = 'AssertionFault'
}
