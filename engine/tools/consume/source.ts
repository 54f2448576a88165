/** Where `marketprism consume` reads from: a gateway, live subjects of NATS, or blocks of JetStream. */

/** A row as users see it, whatever its type. */
export type AnyRow = Readonly<Record<string, unknown>>

/** Rows of one instrument that came together. */
export interface Consumed {
  readonly type: string
  readonly exchange: string
  readonly market: string
  readonly symbol: string
  readonly rows: readonly AnyRow[]
  /** on the wire; of a block its share */
  readonly bytes: number
  /** the message as it was sent, decoded and nothing else */
  readonly raw: () => unknown
}

export interface ConsumeSink {
  /** Everything that is sent from now on will come. */
  onReading(): void
  /** The source waits for what this returns, as far as it can wait. */
  onMessage(message: Consumed): void | Promise<void>
  /** messages that were sent and did not come */
  onLost(count: number): void
  /** something could not be read */
  onError(line: string): void
  /** one line about the connection */
  onNotice(line: string): void
}

export interface ConsumeSource {
  /** for people: what is read, and where */
  readonly name: string
  /** Resolves when it has ended. @throws Fault with the remedy when it cannot go on */
  run(sink: ConsumeSink): Promise<void>
  stop(): Promise<void>
}

/** Their types say which columns they have; here all are alike. */
export const anyRows = (rows: readonly object[]): readonly AnyRow[] => rows as readonly AnyRow[]
