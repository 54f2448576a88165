import type { JetStreamClient, NatsConnection, ObjectStore } from 'nats'

/**
 * Blocks that are longer than a message of the server may be: they were sealed, with their identity, before somebody
 * lowered `max_payload`. Such a block goes into an object store of JetStream (the client's own: pieces, one digest), and
 * then a message without bytes into the block stream, in the place that the block would have, under its name:
 *
 *   MARKETPRISM_LARGE   {producer}/{epoch}/{block_seq}:{crc32}  ◄── Marketprism-Large: {name}, Marketprism-Large-Bytes: {n}
 *
 * So the block stays one message: identity, duplicate window, acknowledgement and redelivery are those of any other. The
 * store reads the object and checks the bytes against the name like those of every message. Objects live as long as the
 * messages of the stream and are not deleted before: a message may be delivered again after its block is stored. The bucket
 * is made when it is needed for the first time.
 */
export interface LargeBlocksOptions {
  readonly ageMs: number
  readonly bytesMax: number
  readonly replicas: number
}

export const LARGE_BLOCKS_DEFAULT: LargeBlocksOptions = {
  ageMs: 24 * 3_600_000,
  bytesMax: 1024 ** 3,
  replicas: 1,
}

const BUCKET = 'MARKETPRISM_LARGE'
const LARGE_HEADER = 'Marketprism-Large'
const LARGE_BYTES_HEADER = 'Marketprism-Large-Bytes'
/** Of what a message may have; the rest is for subjects and headers. */
const PIECE_SHARE = 0.75
/** With shorter messages not even what the server says of a stream fits into one. */
export const LARGE_PAYLOAD_BYTES_MIN = 16 * 1024
/** A piece that does not come in this time does not come. */
const PIECE_MS_MAX = 10_000
const NS_PER_MS = 1_000_000

/** What a message says of the object that it stands for. */
export interface LargeNote {
  readonly name: string
  readonly bytes: number
}

export function largeHeaders({ name, bytes }: LargeNote): Readonly<Record<string, readonly string[]>> {
  return { [LARGE_HEADER]: [name], [LARGE_BYTES_HEADER]: [String(bytes)] }
}

/** @param header of the message, '' when there is none */
export function readLargeNote(header: (name: string) => string): LargeNote | undefined {
  const name = header(LARGE_HEADER)
  const bytes = Number(header(LARGE_BYTES_HEADER))
  return name === '' || !Number.isSafeInteger(bytes) || bytes <= 0 ? undefined : { name, bytes }
}

/** Puts a block there, once under one name. @param isAgain what is there is not trusted: it was lost or could not be read */
export async function putLargeBlock(
  connection: NatsConnection,
  options: LargeBlocksOptions,
  { name, payload, isAgain, timeoutMs }: { name: string; payload: Uint8Array; isAgain: boolean; timeoutMs: number },
): Promise<void> {
  const { max_payload: payloadBytesMax = 0 } = connection.info ?? {}
  const bucket = await bucketOf(connection.jetstream(), options)
  if (!isAgain && (await bucket.info(name))?.size === payload.length) return
  const pieceBytes = Math.floor(payloadBytesMax * PIECE_SHARE)
  await bucket.put({ name, options: { max_chunk_size: pieceBytes } }, piecesOf(payload, pieceBytes), {
    timeout: timeoutMs,
  })
}

/** @throws Error when it is not there, or not whole */
export async function getLargeBlock(
  connection: NatsConnection,
  options: LargeBlocksOptions,
  { name, bytes }: LargeNote,
): Promise<Uint8Array> {
  const bucket = await bucketOf(connection.jetstream(), options)
  const found = await bucket.get(name)
  if (found === null) throw new Error(`${name} is not in the bucket ${BUCKET}`)
  const reader = found.data.getReader()
  const payload = new Uint8Array(bytes)
  let filled = 0
  try {
    for (;;) {
      const { done, value } = await inTime(reader.read(), `${name} has ${filled} of ${bytes} bytes in ${BUCKET}`)
      if (done) break
      if (filled + value.length > bytes) throw new Error(`${name} has more than ${bytes} bytes in ${BUCKET}`)
      payload.set(value, filled)
      filled += value.length
    }
  } finally {
    await reader.cancel().catch(() => undefined)
  }
  if (filled !== bytes) throw new Error(`${name} has ${filled} of ${bytes} bytes in ${BUCKET}`)
  return payload
}

function bucketOf(client: JetStreamClient, { ageMs, bytesMax, replicas }: LargeBlocksOptions): Promise<ObjectStore> {
  return client.views.os(BUCKET, {
    description: 'Blocks longer than a message may be',
    ttl: ageMs * NS_PER_MS,
    max_bytes: bytesMax,
    replicas,
  })
}

function piecesOf(payload: Uint8Array, pieceBytes: number): ReadableStream<Uint8Array> {
  let offset = 0
  return new ReadableStream({
    pull(controller) {
      controller.enqueue(payload.subarray(offset, offset + pieceBytes))
      offset += pieceBytes
      if (offset >= payload.length) controller.close()
    },
  })
}

async function inTime<T>(work: Promise<T>, problem: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(problem)), PIECE_MS_MAX)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
