/**
 * WebSocket frames of a server (RFC 6455, not masked), made once and sent to many:
 *
 *   byte 0         1          2 … 3               2 … 9
 *   +--------------+----------+-------------------+----------------------+---------
 *   | 0x80 | kind  | length,  | length, if byte 1 | length, if byte 1 is | payload
 *   |              | 126, 127 | is 126            | 127                  |
 *   +--------------+----------+-------------------+----------------------+---------
 */
const FINAL = 0x80
const TEXT = FINAL | 0x1
const BINARY = FINAL | 0x2
const SHORT_BYTES_MAX = 125
const WORD_BYTES_MAX = 65_535

function headBytes(length: number): number {
  if (length <= SHORT_BYTES_MAX) return 2
  return length <= WORD_BYTES_MAX ? 4 : 10
}

function framed(kind: number, length: number): { frame: Buffer; at: number } {
  const at = headBytes(length)
  const frame = Buffer.allocUnsafe(at + length)
  frame[0] = kind
  if (at === 2) frame[1] = length
  else if (at === 4) {
    frame[1] = 126
    frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = 127
    frame.writeUInt32BE(0, 2)
    frame.writeUInt32BE(length, 6)
  }
  return { frame, at }
}

export function textFrame(text: string): Buffer {
  const { frame, at } = framed(TEXT, Buffer.byteLength(text))
  frame.write(text, at)
  return frame
}

/** Of the first bytes of memory that is used again. */
export function textFrameOf(bytes: Buffer, length: number): Buffer {
  const { frame, at } = framed(TEXT, length)
  bytes.copy(frame, at, 0, length)
  return frame
}

export function binaryFrame(payload: Uint8Array): Buffer {
  const { frame, at } = framed(BINARY, payload.length)
  frame.set(payload, at)
  return frame
}
