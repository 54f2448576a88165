/** The reading thread of the ring bench. Spins: wake-ups are not what is measured. */
import { parentPort, workerData } from 'node:worker_threads'
import { RingReader } from '../engine/ring/ring.ts'

const { memory, count } = workerData as { memory: SharedArrayBuffer; count: number }
const RECORDS_A_DRAIN_MAX = 256

const reader = new RingReader(memory)
let seen = 0
let checksum = 0
parentPort?.postMessage('ready')
while (seen < count) {
  seen += reader.drain((_kind, bytes, offset, length) => {
    checksum = (checksum + length + (bytes[offset + length - 2] as number)) | 0
  }, RECORDS_A_DRAIN_MAX)
}
parentPort?.postMessage(checksum)
