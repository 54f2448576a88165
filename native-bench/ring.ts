import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { DATA } from '../engine/ring/frame.ts'
import { createRing, RingWriter } from '../engine/ring/ring.ts'
import { type BenchContext, type BenchResult, check } from './bench.ts'
import { measured, repeat } from './measure.ts'
import { siblingUrl } from './paths.ts'
import { BINANCE } from './venues.ts'

const RING_BYTES = 8 << 20
const BURST_RECORDS = 64

/**
 * main ─► ring ─► reader thread: real messages, published a burst at a time; the reader reads a byte of each and adds up
 * what it saw, which must be what was sent. The writer waits in a loop when the ring is full, so this is the slower of both.
 */
export async function ring({ messagesOf, runCount }: BenchContext): Promise<BenchResult> {
  const { messages } = await messagesOf(BINANCE)
  const checksum = messages.reduce((sum, { bytes }) => (sum + bytes.length + (bytes.at(-2) ?? 0)) | 0, 0)
  const seconds = await repeat(runCount, async () => {
    const memory = createRing(RING_BYTES)
    const writer = new RingWriter(memory)
    const reader = new Worker(siblingUrl(import.meta.url, 'ring-reader'), {
      workerData: { memory, count: messages.length },
    })
    await once(reader, 'message') // it runs
    const answer = once(reader, 'message')
    const start = performance.now()
    let unpublished = 0
    for (const { receivedHi, receivedLo, bytes } of messages) {
      while (!writer.tryWrite(DATA, 0, 1, 0, receivedHi, receivedLo, bytes)) writer.publish()
      if (++unpublished === BURST_RECORDS) {
        writer.publish()
        unpublished = 0
      }
    }
    writer.publish()
    const [seen] = (await answer) as [number]
    const took = (performance.now() - start) / 1000
    check(seen === checksum, `ring: the reader added up ${seen}, sent was ${checksum}`)
    await reader.terminate()
    return took
  })
  return { ...measured(messages.length, seconds), unit: 'records/s', ratios: {}, others: {}, notes: [] }
}
