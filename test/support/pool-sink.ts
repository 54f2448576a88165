/** A sink worker that tells the main thread what it reads. */
import { parentPort, workerData } from 'node:worker_threads'
import { DRAINED } from '../../engine/ring/frame.ts'
import { Heartbeat } from '../../engine/ring/heartbeat.ts'
import { EventIdle } from '../../engine/ring/idle.ts'
import { RingReader } from '../../engine/ring/ring.ts'
import { runEventLoop, type SinkSeat } from '../../workers/loop.ts'

const seat = workerData as SinkSeat<{ isStubborn: boolean }>
const inboxes = seat.batches.map((memory) => new RingReader(memory))
const idle = new EventIdle(seat.idle, inboxes)

await runEventLoop(inboxes, new Heartbeat(seat.heartbeats, seat.workerIndex), idle, () => {
  let count = 0
  for (const [workerIndex, inbox] of inboxes.entries()) {
    count += inbox.drain((kind, bytes, offset, length) => {
      const text = kind === DRAINED ? 'drained' : Buffer.from(bytes.subarray(offset, offset + length)).toString()
      if (text.endsWith('sink-crash')) throw new Error('as told')
      parentPort?.postMessage(`${workerIndex} ${text}`)
    }, 100)
  }
  return count
})
parentPort?.postMessage('end')
if (!seat.settings.isStubborn) idle.close()
