import type { ExportTally, Form } from './export-form.ts'

/**
 * Arrow's IPC stream of several slices. Each slice is a stream of its own:
 *
 *   schema | batch | batch | … | end          a message: FFFFFFFF, length of its head (0: end of the stream), head, body
 *
 * All together are one stream when the schema stays of the first and the end of the last. The engine writes no
 * dictionaries unless it is told to, so batches need nothing of the stream that they were in.
 *
 * A head is a flatbuffer: `Message {version, header_type, header, bodyLength}`, its header here `RecordBatch {length, …}`.
 */
export class ArrowForm implements Form {
  #isBegun = false

  head(): Iterable<Buffer> {
    return []
  }

  async *body(bytes: AsyncIterable<Uint8Array>, tally: ExportTally): AsyncGenerator<Buffer> {
    const chunks: Uint8Array[] = []
    for await (const chunk of bytes) chunks.push(chunk)
    for (const { head, isBatch, bytes: message } of messagesOf(Buffer.concat(chunks))) {
      if (isBatch) tally.rows += batchRows(head)
      if (isBatch || !this.#isBegun) yield message
    }
    this.#isBegun = true
  }

  tail(): Iterable<Buffer> {
    return [Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])]
  }
}

interface Message {
  readonly head: Buffer
  readonly isBatch: boolean
  readonly bytes: Buffer
}

const PREFIX_BYTES = 8
/** Fields of Message and RecordBatch by their places, as Arrow's Message.fbs has them. */
const HEADER_TYPE = 1
const HEADER = 2
const BODY_LENGTH = 3
const BATCH_LENGTH = 0
const RECORD_BATCH = 3

/** The messages of one stream, without its end. */
function* messagesOf(stream: Buffer): Generator<Message> {
  for (let at = 0; at < stream.length; ) {
    const headBytes = stream.readUInt32LE(at + 4)
    if (headBytes === 0) return
    const head = stream.subarray(at + PREFIX_BYTES, at + PREFIX_BYTES + headBytes)
    const root = head.readUInt32LE(0)
    const bodyAt = fieldAt(head, root, BODY_LENGTH)
    const bodyBytes = bodyAt === 0 ? 0 : Number(head.readBigInt64LE(bodyAt))
    const typeAt = fieldAt(head, root, HEADER_TYPE)
    const end = at + PREFIX_BYTES + headBytes + bodyBytes
    yield { head, isBatch: typeAt !== 0 && head[typeAt] === RECORD_BATCH, bytes: stream.subarray(at, end) }
    at = end
  }
}

function batchRows(head: Buffer): number {
  const headerAt = fieldAt(head, head.readUInt32LE(0), HEADER)
  const lengthAt = fieldAt(head, headerAt + head.readUInt32LE(headerAt), BATCH_LENGTH)
  return lengthAt === 0 ? 0 : Number(head.readBigInt64LE(lengthAt))
}

/** Where a field of a flatbuffer's table is; 0: it has its default. */
function fieldAt(bytes: Buffer, table: number, field: number): number {
  const fields = table - bytes.readInt32LE(table)
  const place = 4 + 2 * field
  const offset = place < bytes.readUInt16LE(fields) ? bytes.readUInt16LE(fields + place) : 0
  return offset === 0 ? 0 : table + offset
}
