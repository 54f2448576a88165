import type { Agent } from 'node:http'
import WebSocket from 'ws'

export interface SocketOptions {
  readonly url: string
  readonly frameBytesMax: number
  readonly timing: { readonly handshakeTimeoutMs: number }
  /** a proxy; undefined goes straight out */
  readonly agent?: Agent | undefined
}

/** After the venue's close frame its FIN is due; ws would wait 30 s for it. */
const CLOSE_TIMEOUT_MS = 500

/** The one place where a socket of the feed is born. Certificates are always verified. */
export function openSocket({ url, frameBytesMax, timing, agent }: SocketOptions): WebSocket {
  // the type package does not know closeTimeout yet
  const settings: WebSocket.ClientOptions & { closeTimeout: number } = {
    perMessageDeflate: false,
    maxPayload: frameBytesMax,
    handshakeTimeout: timing.handshakeTimeoutMs,
    followRedirects: false,
    skipUTF8Validation: true, // the scanner reads bytes and refuses what is not JSON
    allowSynchronousEvents: true, // all frames of a piece of socket data in one turn
    autoPong: true, // echoes the payload
    closeTimeout: CLOSE_TIMEOUT_MS,
    ...(agent === undefined ? {} : { agent }),
  }
  return new WebSocket(url, settings)
}
