/**
 * An answer that is no: status, a stable word for programs, one line for people (thing, value, remedy). Every part of the
 * gateway throws this and nothing else on purpose; what else is thrown is our mistake and becomes a 500 without its text.
 */
export class HttpFault extends Error {
  override readonly name = 'HttpFault'
  readonly status: number
  readonly code: string
  readonly details: Readonly<Record<string, unknown>>
  readonly retryAfterSeconds: number | undefined

  /**
   * @param code lower snake, e.g. `book_not_live`
   * @param details stand beside code and message in the answer
   * @param retryAfterSeconds also as the header Retry-After
   */
  constructor(
    status: number,
    code: string,
    message: string,
    details: Readonly<Record<string, unknown>> = {},
    retryAfterSeconds?: number,
  ) {
    super(message)
    this.status = status
    this.code = code
    this.details = details
    this.retryAfterSeconds = retryAfterSeconds
  }

  /** What the answer's body is. */
  get body(): { readonly error: Readonly<Record<string, unknown>> } {
    const { code, message, details, retryAfterSeconds } = this
    const later = retryAfterSeconds === undefined ? {} : { retry_after_s: retryAfterSeconds }
    return { error: { code, message, ...details, ...later } }
  }
}
