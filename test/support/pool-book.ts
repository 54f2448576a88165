/** A book worker that does what its frames say: echo, ask, crash, hang, run out of memory. */
import { workerData } from 'node:worker_threads'
import { BLOCK, DATA, DRAIN, DRAINED, WANT_SNAPSHOT } from '../../engine/ring/frame.ts'
import { Heartbeat } from '../../engine/ring/heartbeat.ts'
import { RingReader, RingWriter } from '../../engine/ring/ring.ts'
import { type BookSeat, runLoop } from '../../workers/loop.ts'

const seat = workerData as BookSeat<{ word: string; crashAtStart?: boolean; muteAtStart?: boolean }>
const frames = new RingReader(seat.frames)
const batches = new RingWriter(seat.batches)
const requests = new RingWriter(seat.requests)

if (seat.settings.crashAtStart === true) throw new Error('crashed at start')
while (seat.settings.muteAtStart === true);

function say(text: string): void {
  batches.tryWrite(BLOCK, 0, 0, 0, 0, 0, Buffer.from(text))
}

function obey(word: string): void {
  if (word === 'crash') throw new Error('as told')
  if (word === 'exit') process.exit(3)
  if (word === 'hang') for (;;);
  if (word === 'oom') for (const hoard: unknown[] = []; ; ) hoard.push(new Array(10_000).fill(hoard.length))
  if (word === 'ask') {
    requests.tryWrite(WANT_SNAPSHOT, 5, 6, 7, 0, 0, Buffer.alloc(0))
    requests.publish()
    return
  }
  say(`${seat.settings.word} ${word}`)
  if (word === 'unpublished') throw new Error('before publish')
}

if (seat.restart !== undefined) {
  const { reason, framesLost } = seat.restart
  say(`restarted ${reason} ${framesLost}`)
  batches.publish()
}

runLoop(frames, new Heartbeat(seat.heartbeats, seat.workerIndex), seat.idle, () => {
  const count = frames.drain((kind, bytes, offset, length) => {
    if (kind === DATA) obey(Buffer.from(bytes.subarray(offset, offset + length)).toString())
    if (kind === DRAIN) batches.tryWrite(DRAINED, 0, 0, 0, 0, 0, Buffer.alloc(0))
  }, 1)
  batches.publish()
  return count
})
