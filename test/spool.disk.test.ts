import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { crc32 } from 'node:zlib'
import { type Disk, openNodeDisk } from '../engine/spool/disk.ts'
import { openSpool, Spool, SPOOL_DEFAULT, type SpoolOptions, type SpoolRecord } from '../engine/spool/spool.ts'

const OPTIONS: SpoolOptions = {
  ...SPOOL_DEFAULT,
  fsync: { kind: 'group', delayMsMax: 1 },
  segmentBytesMax: 4096,
  bytesMax: 32 * 1024,
  freeBytesMin: 0,
  pendingBytesMax: 4096,
  residentBytesMax: 4096,
  retainAckedMs: 0,
  fullRetryMs: 5,
}
const nowMs = () => Date.now()

async function takeAll(spool: Spool): Promise<SpoolRecord[]> {
  const records: SpoolRecord[] = []
  for (let record = await spool.next(); record !== undefined; record = await spool.next()) records.push(record)
  return records
}

describe('spool', () => {
  let root: string
  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'marketprism-spool-'))
  })
  after(async () => {
    await rm(root, { recursive: true, force: true })
  })

  it('spool should write the record that the drawing shows', async () => {
    const directory = join(root, 'layout')
    const spool = await openSpool(directory, OPTIONS, nowMs)
    const payload = Buffer.from('a block')
    spool.append(payload)
    await spool.flush()
    await spool.close()
    const [name] = (await readdir(directory)).filter((file) => file.endsWith('.seg'))
    assert.equal(name, `${String(spool.epoch).padStart(10, '0')}-0000000001.seg`)
    const bytes = await readFile(join(directory, name as string))
    assert.equal(bytes.length, 32 + payload.length)
    assert.equal(bytes.toString('latin1', 0, 4), 'MPSR')
    assert.equal(bytes.readUInt32LE(4), payload.length)
    assert.equal(bytes.readBigUInt64LE(8), 1n)
    assert.equal(bytes.readBigUInt64LE(16), (BigInt(spool.epoch) << 32n) | 1n)
    assert.equal(bytes.readUInt32LE(24), crc32(Buffer.concat([bytes.subarray(0, 24), payload])))
    assert.equal(bytes.readUInt32LE(28), crc32(bytes.subarray(0, 28)))
    assert.deepEqual(bytes.subarray(32), payload)
  })

  it('spool should name the holder when its directory is in use, also to another process', async () => {
    const directory = join(root, 'locked')
    const spool = await openSpool(directory, OPTIONS, nowMs)
    await assert.rejects(openSpool(directory, OPTIONS, nowMs), (error: Error) => {
      assert.match(
        error.message,
        new RegExp(`^spool directory \\S+locked is in use by process ${process.pid} .*: stop it`),
      )
      return !error.message.includes('\n')
    })
    const module = new URL('../engine/spool/spool.js', import.meta.url).href
    const script = `import { openSpool, SPOOL_DEFAULT } from ${JSON.stringify(module)}; openSpool(${JSON.stringify(directory)}, SPOOL_DEFAULT, Date.now).then(() => console.log('open'), (error) => console.log(error.code))`
    const run = () =>
      spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }).stdout.trim()
    assert.equal(run(), 'SPOOL_IN_USE')
    await spool.close()
    assert.equal(run(), 'open')
    await (await openSpool(directory, OPTIONS, nowMs)).close() // that process died with the lock in its hand
  })

  it('spool should cut a torn tail and keep a damaged middle out, with the numbers that are lost', async () => {
    const directory = join(root, 'damage')
    const first = await openSpool(directory, { ...OPTIONS, segmentBytesMax: 16_000 }, nowMs)
    for (let block = 0; block < 5; block++) first.append(Buffer.alloc(100, block))
    await first.flush()
    await first.close()
    const [name] = (await readdir(directory)).filter((file) => file.endsWith('.seg'))
    const path = join(directory, name as string)
    const bytes = await readFile(path)
    bytes[132 + 40] = 0xff // inside the payload of block 2
    await writeFile(path, bytes)
    await truncate(path, bytes.length - 10) // block 5 is torn
    await rm(join(directory, 'ACKED'))
    const second = await openSpool(directory, OPTIONS, nowMs)
    assert.deepEqual(second.recovery.lost, [
      { epoch: first.epoch, firstSeq: 2, lastSeq: 2, segment: name, bytes: 132, firstNs: 0n, lastNs: 0n },
    ])
    assert.equal(second.stats.tornBytes, 122)
    assert.equal((await stat(path)).size, 4 * 132)
    const records = await takeAll(second)
    assert.deepEqual(
      records.map((record) => record.blockSeq),
      [1, 3, 4],
    )
    for (const record of records) second.ack(record)
    assert.equal(second.stats.unacked, 0)
    await second.close()
  })

  it('spool should say that it is full, wait, and go on when blocks are delivered', async () => {
    const spool = await openSpool(join(root, 'full'), OPTIONS, nowMs)
    let appended = 0
    while (spool.hasRoom(1000)) {
      spool.append(Buffer.alloc(1000, appended++))
      await spool.flush()
    }
    assert.ok(spool.stats.bytes <= OPTIONS.bytesMax && appended > 20)
    await spool.tend()
    assert.equal(spool.hasRoom(1000), false, 'nothing is deleted that was not delivered')
    assert.equal(spool.stats.fullEvents, 1)
    const records = await takeAll(spool)
    assert.equal(records.length, appended)
    for (const record of records)
      spool.commit({ epoch: record.epoch, firstSeq: record.blockSeq, lastSeq: record.blockSeq })
    await spool.tend()
    assert.equal(spool.hasRoom(1000), true)
    assert.ok(spool.stats.segments <= 1)
    await spool.close()
  })

  it('spool should drop the oldest when told so, and count what it dropped', async () => {
    const spool = await openSpool(join(root, 'drop'), { ...OPTIONS, onFull: 'dropOldest' }, nowMs)
    const [told, startMs] = [new Set<number>(), nowMs()]
    spool.onDropped = ({ epoch, firstSeq, lastSeq }, fromMs, toMs) => {
      assert.ok(epoch === spool.epoch && startMs <= fromMs && fromMs <= toMs && toMs <= nowMs())
      for (let seq = firstSeq; seq <= lastSeq; seq++) told.add(seq)
    }
    for (let block = 0; block < 100; block++) {
      while (!spool.hasRoom(1000)) await spool.tend()
      spool.append(Buffer.alloc(1000, block))
      await spool.flush()
      await spool.tend()
    }
    const records = await takeAll(spool)
    assert.equal(records.at(-1)?.blockSeq, 100)
    assert.equal(records.length + spool.stats.droppedBlocks, 100)
    assert.deepEqual(
      [...told],
      Array.from({ length: spool.stats.droppedBlocks }, (_, index) => index + 1),
    )
    assert.ok(spool.stats.droppedBlocks > 0 && spool.stats.bytes <= OPTIONS.bytesMax)
    await spool.close()
  })

  it('spool should keep segments until they are stored, and for the trailing time', async () => {
    let now = Date.now()
    const spool = await openSpool(join(root, 'retain'), { ...OPTIONS, retainAckedMs: 60_000 }, () => now)
    for (let block = 0; block < 12; block++) spool.append(Buffer.alloc(1000, block))
    await spool.flush()
    for (const record of await takeAll(spool)) spool.ack(record)
    now += 120_000
    await spool.tend()
    assert.ok(spool.stats.segments >= 3, 'delivered is not stored')
    spool.commit({ epoch: spool.epoch, firstSeq: 1, lastSeq: 12 })
    await spool.tend()
    const { segments } = spool.stats
    assert.ok(segments >= 3)
    now += 59_000
    await spool.tend()
    assert.equal(spool.stats.segments, segments)
    now += 2_000
    await spool.tend()
    assert.equal(spool.stats.segments, 1)
    await spool.close()
  })

  it('spool should make all the room that its user waits for, of what is stored, and of no more', async () => {
    const spool = await openSpool(join(root, 'room'), { ...OPTIONS, retainAckedMs: 3_600_000 }, nowMs)
    const wantedBytes = OPTIONS.bytesMax / 4
    while (spool.hasRoom(wantedBytes)) {
      spool.append(Buffer.alloc(1000))
      await spool.flush()
    }
    assert.ok(spool.hasRoom(OPTIONS.segmentBytesMax >> 1), 'for itself it has enough')
    await spool.tend(wantedBytes)
    assert.ok(!spool.hasRoom(wantedBytes), 'nothing is stored yet')
    for (const record of await takeAll(spool))
      spool.commit({ epoch: spool.epoch, firstSeq: 1, lastSeq: record.blockSeq })
    const { bytes } = spool.stats
    await spool.tend()
    assert.equal(spool.stats.bytes, bytes, 'what is stored stays')
    await spool.tend(wantedBytes)
    assert.ok(spool.hasRoom(wantedBytes) && spool.stats.bytes > 0)
    await spool.close()
  })

  it('spool should give out again, once, what was lost behind it, and nothing that is stored or under way', async () => {
    const spool = await openSpool(join(root, 'again'), { ...OPTIONS, bytesMax: 1 << 20 }, nowMs)
    const { epoch } = spool
    for (let block = 1; block <= 20; block++) spool.append(Buffer.alloc(1000, block))
    await spool.flush()
    const out = await takeAll(spool)
    assert.deepEqual([...new Set(out.map(({ againMs }) => againMs))], [0])
    for (const record of out) if (record.blockSeq !== 9) spool.ack(record) // 9 is still under way
    spool.commit({ epoch, firstSeq: 1, lastSeq: 4 })
    spool.commit({ epoch, firstSeq: 7, lastSeq: 7 })
    assert.deepEqual([spool.stats.unacked, spool.stats.uncommitted], [1, 15])
    assert.deepEqual(spool.uncommitted(2, 4), [
      { epoch, firstSeq: 5, lastSeq: 6 },
      { epoch, firstSeq: 8, lastSeq: 9 },
      { epoch, firstSeq: 10, lastSeq: 11 },
      { epoch, firstSeq: 12, lastSeq: 12 }, // a span does not leave its segment
    ])
    let told = 0
    spool.onDurable = () => told++
    assert.equal(spool.again({ epoch, firstSeq: 3, lastSeq: 12 }), 6)
    assert.equal(spool.again({ epoch, firstSeq: 3, lastSeq: 12 }), 0, 'they are on their way already')
    assert.equal(told, 1)
    assert.deepEqual([spool.stats.unacked, spool.stats.resent], [7, 6])
    const again = await takeAll(spool)
    assert.deepEqual(
      again.map(({ blockSeq, payload }) => [blockSeq, payload[999]]),
      [5, 6, 8, 10, 11, 12].map((seq) => [seq, seq]),
    )
    assert.ok(again.every(({ againMs }) => againMs > 0))
    for (const record of again) spool.ack(record)
    spool.commit({ epoch, firstSeq: 1, lastSeq: 20 })
    assert.deepEqual([spool.stats.unacked, spool.stats.uncommitted, spool.uncommittedSinceMs()], [0, 0, undefined])
    spool.ack(out.find(({ blockSeq }) => blockSeq === 9) as SpoolRecord) // its acknowledgement comes late: nothing changes
    assert.deepEqual([spool.stats.unacked, spool.stats.uncommitted], [0, 0])
    await spool.close()
  })

  it('spool should know after a restart what is delivered and what is stored, and give out in its usual turn what is lost before that', async () => {
    const directory = join(root, 'again-later')
    const first = await openSpool(directory, { ...OPTIONS, bytesMax: 1 << 20 }, nowMs)
    for (let block = 1; block <= 12; block++) first.append(Buffer.alloc(1000, block))
    await first.flush()
    for (const record of await takeAll(first)) if (record.blockSeq <= 10) first.ack(record)
    first.commit({ epoch: first.epoch, firstSeq: 1, lastSeq: 5 })
    await first.close()
    const second = await openSpool(directory, { ...OPTIONS, bytesMax: 1 << 20 }, nowMs)
    assert.deepEqual([second.stats.unacked, second.stats.uncommitted], [2, 7])
    assert.equal(second.again({ epoch: first.epoch, firstSeq: 1, lastSeq: 12 }), 5)
    const out = await takeAll(second)
    assert.deepEqual(
      out.map(({ blockSeq }) => blockSeq),
      [6, 7, 8, 9, 10, 11, 12],
    )
    await second.close()
  })

  it('spool should make room by blocks that others have when nobody says what is stored, and count them', async () => {
    const spool = await openSpool(join(root, 'no-store'), OPTIONS, nowMs)
    for (let block = 0; block < 100; block++) {
      while (!spool.hasRoom(1000)) await spool.tend()
      spool.append(Buffer.alloc(1000, block))
      await spool.flush()
      for (const record of await takeAll(spool)) spool.ack(record)
    }
    assert.equal(spool.stats.droppedBlocks, 0)
    assert.ok(spool.stats.forgottenBlocks > 60, String(spool.stats.forgottenBlocks))
    assert.equal(spool.stats.uncommitted + spool.stats.forgottenBlocks, 100)
    await spool.close()
  })

  it('spool should survive a full disk without losing what it accepted', async () => {
    const { disk, faults } = await faultyDisk(join(root, 'enospc'))
    const spool = await Spool.open(disk, OPTIONS, nowMs)
    spool.append(Buffer.alloc(500, 1))
    await spool.flush()
    faults.append = 'ENOSPC'
    spool.append(Buffer.alloc(500, 2))
    await new Promise((resolve) => setTimeout(resolve, 30))
    assert.equal(spool.hasRoom(1), false)
    faults.append = ''
    await spool.flush()
    assert.equal(spool.hasRoom(1), true)
    assert.deepEqual(
      (await takeAll(spool)).map((record) => [record.blockSeq, record.payload[0]]),
      [
        [1, 1],
        [2, 2],
      ],
    )
    await spool.close()
    const again = await Spool.open(disk, OPTIONS, nowMs)
    assert.deepEqual([again.recovery.blocks, again.recovery.tornBytes, again.recovery.lost.length], [2, 0, 0])
    await again.close()
  })

  it('spool should stop for good at the first failed fsync', async () => {
    const { disk, faults } = await faultyDisk(join(root, 'eio'))
    const spool = await Spool.open(disk, OPTIONS, nowMs)
    const told: string[] = []
    spool.onFault = (fault) => told.push(fault.message)
    faults.sync = 'EIO'
    spool.append(Buffer.alloc(10))
    await assert.rejects(spool.flush(), { name: 'Fault', code: 'SPOOL_IO' })
    faults.sync = ''
    assert.throws(() => spool.append(Buffer.alloc(10)), { code: 'SPOOL_IO' })
    assert.equal((await takeAll(spool)).length, 0, 'what may not be on disk is not shown')
    assert.match(told.join(), /^spool in \S+eio cannot be written \(EIO/)
  })
})

/** A real disk whose writes and syncs fail when told; a failing write leaves half of itself behind. */
async function faultyDisk(directory: string): Promise<{ disk: Disk; faults: { append: string; sync: string } }> {
  const real = await openNodeDisk(directory)
  const faults = { append: '', sync: '' }
  const fail = (code: string) => Object.assign(new Error(code), { code })
  const disk = Object.create(real, {
    create: {
      value: async (name: string) => {
        const file = await real.create(name)
        return {
          append: async (chunks: Uint8Array[]) => {
            const { append: code } = faults // the test may mend the disk while a part is being written
            if (code === '') return file.append(chunks)
            await file.append([(chunks[0] as Uint8Array).subarray(0, 16)])
            throw fail(code)
          },
          sync: async () => {
            if (faults.sync !== '') throw fail(faults.sync)
            await file.sync()
          },
          truncate: (bytes: number) => file.truncate(bytes),
          close: () => file.close(),
        }
      },
    },
  }) as Disk
  return { disk, faults }
}
