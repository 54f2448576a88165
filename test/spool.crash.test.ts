import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { freshSeed, type Random, seededRandom } from '../engine/base/random.ts'
import type { Disk, DiskFile } from '../engine/spool/disk.ts'
import { Spool, SPOOL_DEFAULT, type SpoolOptions } from '../engine/spool/spool.ts'

/**
 * The spool on a simulated disk that loses power (or the process) between any two calls. The harness holds the truth: what
 * `flush()` promised must be there after every crash, byte for byte; nothing may come that was never appended; what is
 * missing in the middle must be reported.
 */
const OPTIONS: SpoolOptions = {
  ...SPOOL_DEFAULT,
  fsync: { kind: 'group', delayMsMax: 0 },
  segmentBytesMax: 2048,
  bytesMax: 1 << 30,
  freeBytesMin: 0,
  pendingBytesMax: 1500,
  residentBytesMax: 1500,
  retainAckedMs: Number.POSITIVE_INFINITY,
}

class PowerCut extends Error {}

interface Content {
  data: Buffer
  /** what the platters hold: a crash of the machine may change everything behind it */
  syncedBytes: number
  /** is the name in the directory on the platters? */
  named: boolean
}

class SimulatedDisk implements Disk {
  readonly directory = '/simulated'
  files = new Map<string, Content>()
  callsLeft = Number.POSITIVE_INFINITY
  boot = 'boot-0'
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  /** Every call may be the last one. */
  async tick(): Promise<void> {
    if (this.callsLeft-- <= 0) await new Promise(() => {}) // the process is gone: nobody hears the answer
  }

  of(name: string): Content {
    const content = this.files.get(name)
    if (content === undefined) throw Object.assign(new Error(`no file ${name}`), { code: 'ENOENT' })
    return content
  }

  async list() {
    return [...this.files.keys()]
  }

  async bytesOf(name: string) {
    return this.of(name).data.length
  }

  async read(name: string, offset: number, length: number) {
    return Buffer.from(this.of(name).data.subarray(offset, offset + length))
  }

  async create(name: string): Promise<DiskFile> {
    await this.tick()
    assert.ok(!this.files.has(name), `${name} exists`)
    this.files.set(name, { data: Buffer.alloc(0), syncedBytes: 0, named: false })
    return this.#file(name)
  }

  async open(name: string): Promise<DiskFile> {
    this.of(name)
    return this.#file(name)
  }

  async rename(source: string, target: string) {
    await this.tick()
    this.files.set(target, { ...this.of(source), named: this.files.get(target)?.named ?? false })
    this.files.delete(source)
  }

  async remove(name: string) {
    await this.tick()
    this.files.delete(name)
  }

  async syncDirectory() {
    await this.tick()
    for (const content of this.files.values()) content.named = true
  }

  async freeBytes() {
    return Number.MAX_SAFE_INTEGER
  }

  bootId() {
    return this.boot
  }

  #file(name: string): DiskFile {
    return {
      append: async (chunks) => {
        const content = this.of(name)
        const bytes = Buffer.concat(chunks)
        if (this.callsLeft <= 0)
          content.data = Buffer.concat([content.data, bytes.subarray(0, Math.floor(this.#random() * bytes.length))])
        await this.tick()
        content.data = Buffer.concat([content.data, bytes])
      },
      sync: async () => {
        await this.tick()
        const content = this.of(name)
        content.syncedBytes = content.data.length
      },
      truncate: async (bytes) => {
        await this.tick()
        const content = this.of(name)
        content.data = content.data.subarray(0, bytes)
        content.syncedBytes = Math.min(content.syncedBytes, bytes)
      },
      close: async () => {},
    }
  }

  /** A process crash keeps what the system has in memory; a power cut mangles all that was not synced. */
  crash(kind: 'process' | 'power'): void {
    this.callsLeft = Number.POSITIVE_INFINITY
    if (kind === 'process') return
    this.boot = `boot-${this.#random()}`
    for (const [name, content] of [...this.files]) {
      if (!content.named && this.#random() < 0.5) this.files.delete(name)
      else this.#mangle(content)
    }
  }

  #mangle(content: Content): void {
    const random = this.#random
    const { data, syncedBytes } = content
    const cut = syncedBytes + Math.floor(random() * (data.length - syncedBytes + 1))
    const kind = random()
    const mangled = Buffer.from(data)
    if (kind < 0.35) content.data = mangled.subarray(0, cut)
    else if (kind < 0.6)
      content.data = mangled.fill(0, cut) // length written, content not
    else if (kind < 0.8) {
      for (let at = syncedBytes; at < data.length; at += 512)
        if (random() < 0.5) mangled.fill(0, at, Math.min(data.length, at + 512))
      content.data = mangled // sectors out of order
    } else {
      for (let at = syncedBytes; at < data.length; at++) if (random() < 0.02) mangled[at] = Math.floor(random() * 256)
      content.data = mangled
    }
    content.syncedBytes = content.data.length
    content.named = true
  }
}

interface Tally {
  violations: string[]
  durableChecks: number
  crashes: number
  torn: number
}

const LIVES = 4

/** One history of a spool: four lives, each ended by a crash at a random call. */
async function runHistory(seed: number, syncRecovered: boolean, tally: Tally): Promise<void> {
  const random = seededRandom(seed)
  const disk = new SimulatedDisk(random)
  const appended = new Map<string, Buffer>()
  const durable = new Set<string>()
  let nowMs = 1_790_000_000_000
  for (let life = 0; life <= LIVES; life++) {
    const spool = await Spool.open(disk, OPTIONS, () => ++nowMs, undefined, undefined, syncRecovered)
    if (life > 0) await check(spool, appended, durable, tally, `seed ${seed} life ${life}`)
    if (life === LIVES) return
    if (!disk.files.has('EPOCH')) tally.violations.push(`seed ${seed}: no EPOCH`)
    await live(spool, disk, random, appended, durable)
    disk.crash(random() < 0.3 ? 'process' : 'power')
    tally.crashes++
  }
}

async function live(
  spool: Spool,
  disk: SimulatedDisk,
  random: Random,
  appended: Map<string, Buffer>,
  durable: Set<string>,
): Promise<void> {
  disk.callsLeft = Math.floor(random() * 60)
  spool.onFault = () => {}
  const gone = async () => {
    while (disk.callsLeft > 0) await new Promise((resolve) => setImmediate(resolve))
    throw new PowerCut()
  }
  const work = async () => {
    for (;;) {
      for (let count = 1 + Math.floor(random() * 8); count > 0; count--) {
        const payload = Buffer.from(
          Array.from({ length: Math.floor(random() * 300) }, (_, at) =>
            random() < 0.1 ? (Buffer.from('MPSR')[at & 3] as number) : random() * 256,
          ),
        )
        appended.set(`${spool.epoch}/${spool.nextSeq}`, payload)
        spool.append(payload)
      }
      const flushed = [...appended.keys()].filter((id) => id.startsWith(`${spool.epoch}/`))
      await spool.flush()
      for (const id of flushed) durable.add(id)
    }
  }
  try {
    await Promise.race([work(), gone()])
  } catch (error) {
    if (!(error instanceof PowerCut)) throw error
  }
}

async function check(
  spool: Spool,
  appended: Map<string, Buffer>,
  durable: Set<string>,
  tally: Tally,
  at: string,
): Promise<void> {
  const got = new Set<string>()
  let previous = ''
  for (let record = await spool.next(); record !== undefined; record = await spool.next()) {
    const id = `${record.epoch}/${record.blockSeq}`
    const order = `${String(record.epoch).padStart(12, '0')}/${String(record.blockSeq).padStart(12, '0')}`
    if (order <= previous) tally.violations.push(`${at}: ${id} out of order`)
    previous = order
    got.add(id)
    if (appended.get(id)?.equals(record.payload) !== true)
      tally.violations.push(`${at}: ${id} was never appended like this`)
  }
  for (const id of durable) {
    tally.durableChecks++
    if (!got.has(id)) tally.violations.push(`${at}: durable ${id} is gone`)
  }
  const reported = new Set(
    spool.recovery.lost.flatMap(({ epoch, firstSeq, lastSeq }) =>
      Array.from({ length: lastSeq - firstSeq + 1 }, (_, index) => `${epoch}/${firstSeq + index}`),
    ),
  )
  const lastOf = new Map<string, number>()
  for (const id of got) lastOf.set(id.split('/')[0] as string, Number(id.split('/')[1]))
  for (const id of appended.keys()) {
    const [epoch, seq] = id.split('/') as [string, string]
    if (!got.has(id) && Number(seq) < (lastOf.get(epoch) ?? 0) && !reported.has(id))
      tally.violations.push(`${at}: the hole at ${id} is not reported`)
    if (!got.has(id)) appended.delete(id)
  }
  for (const id of got) durable.add(id) // opening has synced whatever it found
  tally.torn += spool.stats.tornBytes > 0 ? 1 : 0
}

function newTally(): Tally {
  return { violations: [], durableChecks: 0, crashes: 0, torn: 0 }
}

const RUNS = Number(process.env.TEST_RUNS ?? 750)
const seed = Number(process.env.TEST_SEED ?? freshSeed())

describe('spool', () => {
  it(`spool should keep every durable block through crashes of process and machine (TEST_SEED=${seed})`, async (t) => {
    const tally = newTally()
    for (let run = 0; run < RUNS; run++) await runHistory(seed + run, true, tally)
    t.diagnostic(JSON.stringify({ ...tally, violations: tally.violations.length }))
    assert.deepEqual(tally.violations.slice(0, 5), [])
    assert.ok(tally.crashes === RUNS * LIVES && tally.durableChecks > RUNS * 10 && tally.torn > RUNS >> 2)
  })

  it('spool should be found out by the checker when recovery does not sync what it found', async (t) => {
    const tally = newTally()
    for (let run = 0; run < RUNS >> 2; run++) await runHistory(seed + run, false, tally)
    t.diagnostic(`${tally.violations.length} violations`)
    assert.ok(tally.violations.length > 0)
  })

  it(`spool should report every flipped bit in what it had synced (TEST_SEED=${seed})`, async () => {
    for (let run = 0; run < Math.max(500, RUNS); run++) {
      const random = seededRandom(seed + run)
      const disk = new SimulatedDisk(random)
      let nowMs = 1_790_000_000_000
      const spool = await Spool.open(disk, OPTIONS, () => ++nowMs)
      const count = 5 + Math.floor(random() * 20)
      for (let block = 0; block < count; block++) spool.append(Buffer.alloc(Math.floor(random() * 300), block))
      await spool.flush()
      await spool.close()
      const names = [...disk.files.keys()].filter((name) => name.endsWith('.seg'))
      const content = disk.of(names[Math.floor(random() * names.length)] as string)
      const bit = Math.floor(random() * content.data.length * 8)
      content.data[bit >> 3] = (content.data[bit >> 3] as number) ^ (1 << (bit & 7))
      await disk.remove('ACKED')
      const { recovery } = await Spool.open(disk, OPTIONS, () => ++nowMs)
      const lost = recovery.lost.reduce((sum, range) => sum + range.lastSeq - range.firstSeq + 1, 0)
      assert.ok(
        recovery.blocks < count && (lost > 0 || recovery.tornBytes > 0),
        `seed ${seed + run}: ${recovery.blocks} of ${count} blocks, ${lost} reported`,
      )
      if (recovery.tornBytes === 0) assert.equal(recovery.blocks + lost, count, `seed ${seed + run}`)
    }
  })
})
