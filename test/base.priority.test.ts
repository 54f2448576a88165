import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import os from 'node:os'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'

const MODULE = new URL('../engine/base/priority.js', import.meta.url).href

test('a process that gives way should do so with its session, too', async () => {
  const code = `
    const { giveWay } = await import('${MODULE}')
    giveWay(4)
    giveWay(3)
    const os = await import('node:os')
    const { existsSync, readFileSync } = await import('node:fs')
    const group = existsSync('/proc/self/autogroup') ? readFileSync('/proc/self/autogroup', 'utf8') : 'none nice 7'
    console.log(JSON.stringify({ nice: os.getPriority(), group }))`
  // a session of its own: ours is that of all other tests
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { detached: true })
  const { nice, group } = JSON.parse(await text(child.stdout))
  assert.equal(nice, os.getPriority() + 7)
  assert.match(group, / nice 7\s*$/)
})

test('a thread that gives way should do so alone', async (t) => {
  if (!existsSync('/proc/self/task')) return t.skip('no /proc: nice values of threads are known on Linux only')
  const before = os.getPriority()
  const code = `
    import('${MODULE}').then(({ threadGivesWay }) => {
      threadGivesWay(6)
      require('node:worker_threads').parentPort.postMessage(require('node:os').getPriority())
    })`
  const worker = new Worker(code, { eval: true })
  const nice = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  await worker.terminate()
  assert.equal(nice, before + 6)
  assert.equal(os.getPriority(), before)
  assert.match(readFileSync('/proc/self/stat', 'utf8'), new RegExp(String.raw`\) . (-?\d+ ){15}${before} `))
})
