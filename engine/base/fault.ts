/**
 * Exit codes of the process. 2 and 78 follow common practice (usage, EX_CONFIG), 70 is EX_SOFTWARE; 1 is a trial that ran to
 * its end with figures that are not as wanted.
 */
export const EXIT_OK = 0
export const EXIT_MISSED = 1
export const EXIT_USAGE = 2
export const EXIT_FAULT = 70
export const EXIT_CONFIG = 78

/**
 * An operating error that a person can act on: what is wrong, with which value, and the remedy, in one line.
 * The command line prints `message` alone (no stack) and leaves with `exitCode`.
 */
export class Fault extends Error {
  override readonly name = 'Fault'
  readonly code: string
  readonly exitCode: number

  /** @param code stable upper-snake word for logs and tests, e.g. `PORT_IN_USE`. @param message one line: thing, value, remedy. */
  constructor(code: string, message: string, exitCode: number = EXIT_FAULT, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.exitCode = exitCode
  }
}
