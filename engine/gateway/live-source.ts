/** Where live messages come from: a ring of this process, or NATS. */
export interface LiveSource {
  /**
   * @param onMessage each message in the order of its subject; `bytes` are the receiver's to keep
   * @param onBreak messages may be missing from here on (ring overrun, NATS reconnected): what is held is to be asked anew
   */
  start(onMessage: (subject: string, bytes: Uint8Array) => void, onBreak: (reason: string) => void): void
  /** messages that the source itself knows to be lost */
  readonly lost: number
  close(): Promise<void>
}
