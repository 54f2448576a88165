/**
 * A venue reduced to its bytes, in a process of its own: answers one SUBSCRIBE, then sends the recording's frames `rounds`
 * times as fast as the socket takes them. Frames are made before, and go out in big writes, so that this side costs little.
 *
 *   socket-server TEXT_FILE ROUNDS   prints {"port":N,"frames":N} when it listens; ends when stdin ends
 */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'

const WRITE_BYTES = 256 << 10
const FIN_TEXT = 0x81
const LENGTH_16 = 126
const LENGTH_64 = 127
const NEWLINE = 10
const SPACE = 32
const STREAM_BYTE = 0x73 // the `s` of {"stream":…}: frames of sockets; REST bodies of the recording stay out

const [textFile = '', roundsText = '1'] = process.argv.slice(2)
const { wire, frames } = wireOf(readFileSync(textFile))
const rounds = Number(roundsText)

/** The recording as the bytes of unmasked WebSocket text frames. */
function wireOf(text: Buffer): { wire: Buffer; frames: number } {
  const wire = Buffer.allocUnsafe(text.length)
  let at = 0
  let frames = 0
  for (let from = 0; from < text.length; ) {
    const to = text.indexOf(NEWLINE, from)
    const body = text.indexOf(SPACE, from) + 1
    if (text[body + 2] === STREAM_BYTE) {
      at = frameInto(wire, at, text.subarray(body, to))
      frames++
    }
    from = to + 1
  }
  return { wire: wire.subarray(0, at), frames }
}

/** The head is at most 10 bytes, shorter than the local time and the newline of the line, so `wire` has room. */
function frameInto(wire: Buffer, start: number, body: Buffer): number {
  let at = start
  wire[at++] = FIN_TEXT
  if (body.length < LENGTH_16) wire[at++] = body.length
  else if (body.length < 65_536) {
    wire[at++] = LENGTH_16
    at = wire.writeUInt16BE(body.length, at)
  } else {
    wire[at++] = LENGTH_64
    at = wire.writeBigUInt64BE(BigInt(body.length), at)
  }
  return at + body.copy(wire, at)
}

const http = createServer()
const sockets = new WebSocketServer({ server: http, perMessageDeflate: false })
sockets.on('connection', (client, request) => {
  client.on('message', (text) => {
    const { id } = JSON.parse(String(text)) as { id: number }
    client.send(JSON.stringify({ result: null, id }), () => void send())
  })
  const closed = new Promise((resolve) => request.socket.once('close', resolve))
  const drained = () => new Promise((resolve) => request.socket.once('drain', resolve))
  async function send(): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      for (let at = 0; at < wire.length && !request.socket.destroyed; at += WRITE_BYTES) {
        const more = request.socket.write(wire.subarray(at, at + WRITE_BYTES))
        if (!more) await Promise.race([drained(), closed])
      }
    }
  }
})
http.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ port: (http.address() as AddressInfo).port, frames: frames * rounds }))
})
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
