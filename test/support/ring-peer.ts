/** The other thread of the ring tests: writes records of random length with a checksum, or echoes what it reads. */
import { parentPort, workerData } from 'node:worker_threads'
import { crc32 } from 'node:zlib'
import { seededRandom } from '../../engine/base/random.ts'
import { awaitRoom } from '../../engine/ring/idle.ts'
import { TAIL_OFFSET } from '../../engine/ring/layout.ts'
import { NO_ROOM, RingReader, RingWriter, recordBytes } from '../../engine/ring/ring.ts'

export interface PeerTask {
  readonly task: 'write' | 'write too early' | 'echo'
  readonly memory: SharedArrayBuffer
  readonly back?: SharedArrayBuffer
  readonly count: number
  readonly seed: number
}

const { task, memory, back, count, seed } = workerData as PeerTask

function write(isTooEarly: boolean): void {
  const random = seededRandom(seed)
  const writer = new RingWriter(memory)
  const tail = new Int32Array(memory)
  for (let index = 0; index < count; index++) {
    const length = Math.floor(random() * 300)
    const payload = Buffer.alloc(length, index & 255)
    const reserve = () => writer.tryReserve(1 + (index % 9), index & 0xffff, crc32(payload), index, 0, length, length)
    let at = reserve()
    for (; at === NO_ROOM; at = reserve()) awaitRoom(writer, () => {})
    if (isTooEarly) Atomics.add(tail, TAIL_OFFSET >> 2, recordBytes(length)) // the broken order: visible, then complete
    for (let byte = 0; byte < length; byte++) writer.bytes[at + byte] = payload[byte] as number
    if (random() < 0.3) writer.publish()
  }
  writer.publish()
}

function echo(): void {
  const reader = new RingReader(memory)
  const writer = new RingWriter(back as SharedArrayBuffer)
  for (let seen = 0; seen < count; ) {
    const given = reader.drain((kind, bytes, offset, length) => {
      writer.tryWrite(kind, 0, 0, 0, 0, 0, bytes, offset, length)
    }, 64)
    seen += given
    writer.publish()
    if (given === 0) reader.park(60_000)
  }
}

if (task === 'echo') echo()
else write(task === 'write too early')
parentPort?.postMessage('done')
