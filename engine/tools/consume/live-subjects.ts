/** Live subjects of NATS: plain subscriptions, as anybody may have them. */
import type { NatsConnection } from 'nats'
import { decodeLive } from '../../client/live.ts'
import { EXIT_USAGE, Fault } from '../../base/fault.ts'
import { matchesGlob, parseSubject, type Pattern } from '../../gateway/live/subject.ts'
import { liveTypes, ORDERBOOK } from '../../record/streams.ts'
import { Unpackr } from 'msgpackr'
import { anyRows, type ConsumeSink, type ConsumeSource } from './source.ts'

const RAW = new Unpackr({ useRecords: false, int64AsType: 'string' })
const TYPES = [...liveTypes(), ORDERBOOK]

export class LiveSubjects implements ConsumeSource {
  readonly name: string
  readonly #connection: NatsConnection
  readonly #patterns: readonly Pattern[]
  /** by subject: what came last */
  readonly #numbers = new Map<string, { run: string; number: number }>()

  constructor(connection: NatsConnection, patterns: readonly Pattern[]) {
    this.#connection = connection
    this.#patterns = patterns
    this.name = `NATS ${connection.getServer()}`
    for (const pattern of patterns) subjectsOf(pattern)
  }

  async run(sink: ConsumeSink): Promise<void> {
    for (const [index, pattern] of this.#patterns.entries()) {
      for (const subject of subjectsOf(pattern)) {
        this.#connection.subscribe(subject, {
          callback: (error, message) => {
            if (error !== null) sink.onError(`${subject}: ${error.message}`)
            else if (this.#isFirst(index, message.subject)) this.#take(message.subject, message.data, sink)
          },
        })
      }
    }
    void this.#watch(sink)
    await this.#connection.flush()
    sink.onReading()
    const error = await this.#connection.closed()
    if (error instanceof Error) throw new Fault('NATS', `${this.name} is gone (${error.message}): start it again`)
  }

  async stop(): Promise<void> {
    await this.#connection.close()
  }

  /** A message that several patterns want comes once for each of them; the first takes it. */
  #isFirst(index: number, text: string): boolean {
    const subject = parseSubject(text)
    return subject !== undefined && this.#patterns.findIndex((pattern) => pattern.matches(subject)) === index
  }

  #take(text: string, bytes: Uint8Array, sink: ConsumeSink): void {
    const subject = parseSubject(text)
    if (subject === undefined) return
    try {
      const message = decodeLive(bytes)
      if ('run' in message && 'number' in message) this.#count(text, message, sink)
      const rows = anyRows('rows' in message ? message.rows : [message])
      const raw = (): unknown => (bytes[0] === 0x7b ? message : RAW.unpack(bytes))
      void sink.onMessage({ ...subject, rows, bytes: bytes.length, raw })
    } catch (error) {
      sink.onError(`${text}: ${(error as Error).message}`)
    }
  }

  #count(subject: string, { run, number }: { readonly run: string; readonly number: number }, sink: ConsumeSink): void {
    const last = this.#numbers.get(subject)
    if (last === undefined) {
      this.#numbers.set(subject, { run, number })
      return
    }
    if (last.run === run && number > last.number + 1) sink.onLost(number - last.number - 1)
    last.run = run
    last.number = number
  }

  async #watch(sink: ConsumeSink): Promise<void> {
    for await (const { type } of this.#connection.status()) {
      if (type === 'disconnect') sink.onNotice('the connection to NATS is gone: waiting for it')
      if (type === 'reconnect') sink.onNotice('connected again: messages of the time between are lost')
    }
  }
}

/** NATS knows `*` for a whole word only; the rest is looked at here. A symbol may have dots, so it is `>`. */
function subjectsOf(pattern: Pattern): string[] {
  const [type = '', exchange = '>', market = '>', ...symbol] = pattern.text.split('.')
  const types = type === '>' ? TYPES : TYPES.filter((word) => matchesGlob(type, word))
  if (types.length === 0)
    throw new Fault(
      'UNKNOWN_TYPE',
      type === 'book'
        ? 'book.… is a verified book, which the gateway makes: use --from gateway, or read book_delta and book_snapshot'
        : `${pattern.text}: there is no live type ${type}; there are ${TYPES.join(', ')}`,
      EXIT_USAGE,
    )
  const words = [exchange, market, symbol.join('.')].map((word) => (word.includes('*') ? '*' : word))
  const end = words.findIndex((word, index) => word === '>' || word === '' || (index === 2 && word === '*'))
  const rest = end < 0 ? words.join('.') : [...words.slice(0, end), '>'].join('.')
  return types.map((word) => `${word}.${rest}`)
}
