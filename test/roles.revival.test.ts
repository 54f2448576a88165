import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { freshSeed, seededRandom } from '../engine/base/random.ts'
import { BLOCK_STREAM, storeConsumer } from '../engine/record/streams.ts'
import { Revival, REVIVAL_DEFAULT } from '../engine/roles/revival.ts'
import { connectNats, NATS_DEFAULT, NatsLink, NatsSink } from '../engine/sinks/nats.ts'
import { provisionStreams } from '../engine/sinks/provision-streams.ts'
import { sealedBlock } from '../engine/sinks/sink.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { cleanUp } from './support/clean-up.ts'
import { SILENT, startNats, temporaryDirectory, until } from './support/embedded.ts'
import { STREAMS } from './support/settings.ts'

const DISK_BYTES = 48 * 1024 * 1024

function block(seq: number) {
  const rows = tradeRows(3000, seq * 3000)
  return sealedBlock(buildBlock({ table: 'trades', rows, instruments: TRADE_INSTRUMENTS, blockSeq: BigInt(seq) }))
}

test('revival should start a nats-server anew that hangs on a disk that was full, and lose nothing that was acknowledged', async (t) => {
  const disk = temporaryDirectory(t)
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', disk]).status !== 0)
    return t.skip('no right to mount a small disk')
  cleanUp(t, () => spawnSync('umount', [disk]))
  const server = await startNats(t, { storeDirectory: path.join(disk, 'nats'), streamBytesMax: DISK_BYTES * 4 })
  if (server === null) return
  const options = { ...NATS_DEFAULT, url: server.url, ackTimeoutMs: 300 }
  const provisioning = await connectNats(options, 'provision')
  const streams = { ...STREAMS, bytesMax: DISK_BYTES * 2, deadLetterBytesMax: 1024 * 1024 }
  await provisionStreams(await provisioning.jetstreamManager(), streams, storeConsumer(8, 30))
  await provisioning.close()
  const link = new NatsLink(options, 'test', seededRandom(freshSeed()), SILENT)
  const sink = new NatsSink(link, SILENT)
  cleanUp(t, () => link.close())
  link.start()
  await until(() => link.up() !== undefined, 5_000, 'connected')
  const ballast = path.join(disk, 'ballast')
  const { bavail, bsize } = statfsSync(disk)
  writeFileSync(ballast, Buffer.alloc(bavail * bsize - 2 * 1024 * 1024))
  const revival = new Revival(
    server,
    () => ({ ...sink.stats }),
    { ...REVIVAL_DEFAULT, lookMs: 200, looksMin: 2, restMs: 3_000 },
    SILENT,
  )
  cleanUp(t, () => revival.stop())
  revival.start()
  const acknowledged: string[] = []
  let seq = 0
  const send = async (): Promise<boolean> => {
    const one = block(seq)
    const isTaken = (await sink.send(one)) === 'acknowledged'
    if (isTaken) acknowledged.push(`${seq++}`)
    return isTaken
  }
  await until(async () => !(await send()), 20_000, 'the disk is full')
  const before = sink.stats.timeouts
  await until(async () => !(await send()) && sink.stats.timeouts > before + 3, 20_000, 'it hangs')
  assert.equal(revival.renewals, 0, 'no use while the disk is full')
  rmSync(ballast)
  await until(send, 30_000, 'it acknowledges again')
  assert.ok(revival.renewals > 0)
  const connection = await connectNats(options, 'look')
  cleanUp(t, () => connection.close())
  const stream = await (await connection.jetstreamManager()).streams.info(BLOCK_STREAM)
  assert.ok(stream.state.messages >= acknowledged.length, `${stream.state.messages} of ${acknowledged.length}`)
})
