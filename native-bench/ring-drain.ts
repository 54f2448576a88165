/** The reading thread of the socket bench: takes what comes and sleeps when there is nothing, as a book worker does. */
import { parentPort, workerData } from 'node:worker_threads'
import { DATA, LOSS, extra } from '../engine/ring/frame.ts'
import { RingReader } from '../engine/ring/ring.ts'

const { memory, frameCount } = workerData as { memory: SharedArrayBuffer; frameCount: number }
const RECORDS_A_DRAIN_MAX = 256
const PARK_MS = 50

const reader = new RingReader(memory)
let seen = 0
let lost = 0
parentPort?.postMessage('ready')
while (seen + lost < frameCount) {
  const count = reader.drain((kind, bytes, offset) => {
    if (kind === DATA) seen++
    else if (kind === LOSS) lost += extra(bytes, offset)
  }, RECORDS_A_DRAIN_MAX)
  if (count === 0) reader.park(PARK_MS)
}
parentPort?.postMessage(seen)
