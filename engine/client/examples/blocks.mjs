/*
 * Every row once, from the blocks of JetStream: rows and volume a table, over as many runs as you like.
 *
 *   node engine/client/examples/blocks.mjs nats://127.0.0.1:4222 [state file] [seconds]
 *
 * The state file holds where to go on, which blocks were counted and the counts, written as one. So a run that is killed
 * counts again what it had not written, and nothing twice. A block may stand in the stream twice (it is sent again when an
 * acknowledgement was lost for longer than the duplicate window): its identity says so.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { connect } from 'nats'
import { decodeBlock } from 'marketprism/client'

const [servers = 'nats://127.0.0.1:4222', file = 'blocks-state.json', seconds = '10'] = process.argv.slice(2)
const STREAM = 'MARKETPRISM_BLOCKS'
const SAVE_EVERY_MS = 1000

/** boots: `producer/epoch` → all blocks up to `floor`, and those of `above`, are counted */
const state = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { sequence: 0, boots: {}, tables: {}, twice: 0 }

/** @returns false when it was counted before */
function isNew({ producer, epoch, blockSeq }) {
  const boot = (state.boots[`${producer}/${epoch}`] ??= { floor: 0, above: [] })
  const number = Number(blockSeq)
  if (number <= boot.floor || boot.above.includes(number)) return false
  boot.above.push(number)
  boot.above.sort((a, b) => a - b)
  while (boot.above[0] === boot.floor + 1) boot.floor = boot.above.shift()
  return true
}

function count(block) {
  const table = (state.tables[block.table] ??= { blocks: 0, rows: 0, volume: 0 })
  table.blocks++
  table.rows += block.rowCount
  if (block.table === 'trades') for (const quantity of block.doubles('quantity')) table.volume += quantity
}

/** A new file takes the place of the old one, whole. */
function save() {
  writeFileSync(`${file}.new`, JSON.stringify(state))
  renameSync(`${file}.new`, file)
}

const connection = await connect({ servers, name: 'blocks example' })
const jetstream = connection.jetstream()
// an ordered consumer: in order, and nothing stays on the server
const consumer = await jetstream.consumers.get(STREAM, { filterSubjects: 'block.>', opt_start_seq: state.sequence + 1 })
const messages = await consumer.consume({ max_messages: 64 })
const end = () => void messages.close()
const timer = setTimeout(end, seconds * 1000)
process.once('SIGINT', end)
process.once('SIGTERM', end)

let savedMs = performance.now()
for await (const message of messages) {
  const block = decodeBlock(await bytesOf(message))
  if (isNew(block)) count(block)
  else state.twice++
  state.sequence = message.seq
  if (performance.now() - savedMs > SAVE_EVERY_MS) {
    save()
    savedMs = performance.now()
  }
}
clearTimeout(timer)
save()
await connection.close()
console.log(JSON.stringify({ sequence: state.sequence, tables: state.tables, twice: state.twice }))

/** A block that is longer than a message may be stands in an object store, and the message names it. */
async function bytesOf(message) {
  const name = message.headers?.get('Marketprism-Large')
  if (!name) return message.data
  const bucket = await jetstream.views.os('MARKETPRISM_LARGE')
  return await bucket.getBlob(name)
}
