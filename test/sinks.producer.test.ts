import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { Fault } from '../engine/base/fault.ts'
import { seededRandom } from '../engine/base/random.ts'
import { NATS_DEFAULT, NatsLink } from '../engine/sinks/nats.ts'
import { ProducerClaim } from '../engine/sinks/producer-claim.ts'
import { lockProducer } from '../engine/spool/lock.ts'
import { cleanUp } from './support/clean-up.ts'
import { SILENT, startNats, until } from './support/embedded.ts'

const SINCE = '2026-11-21T12:00:00.000Z'
const OPTIONS = { connectMsMax: 5_000, answerMsMax: 300 }

test('producer should be held once a machine for the same servers, and be free when its process ends', async () => {
  const name = `lock-${process.pid}`
  const held = await lockProducer(name, 'nats://here', SINCE)
  await assert.rejects(lockProducer(name, 'nats://here', SINCE), (error: Error) => {
    assert.match(
      error.message,
      new RegExp(`^producer ${name} is in use by process ${process.pid} \\(.*\\) on \\S+ since `),
    )
    return error instanceof Fault && error.code === 'PRODUCER_IN_USE' && !error.message.includes('\n')
  })
  await (await lockProducer(name, 'nats://elsewhere', SINCE)).release()
  const module = new URL('../engine/spool/lock.js', import.meta.url).href
  const script = `import { lockProducer } from ${JSON.stringify(module)}; lockProducer(${JSON.stringify(name)}, 'nats://here', 'now').then(() => { console.log('held'); process.exit() }, (error) => console.log(error.code))`
  const run = () =>
    spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }).stdout.trim()
  assert.equal(run(), 'PRODUCER_IN_USE')
  await held.release()
  assert.equal(run(), 'held')
  await (await lockProducer(name, 'nats://here', SINCE)).release() // that process died with it in its hand
})

test('producer should be refused where another machine runs it on the same nats, the younger of two that start at once', async (t) => {
  const nats = await startNats(t)
  if (nats === null) return
  const claim = (name: string, instance: string, since = SINCE) => {
    const link = new NatsLink({ ...NATS_DEFAULT, url: nats.url, retryMsMin: 20 }, instance, seededRandom(1), SILENT)
    link.start()
    cleanUp(t, () => link.close())
    return new ProducerClaim(link, name, instance, since, OPTIONS)
  }
  await claim('a', 'first').settle()
  await claim('b', 'other').settle()
  await assert.rejects(claim('a', 'second', '2026-11-21T11:00:00.000Z').settle(), { code: 'PRODUCER_IN_USE' })
  const two = [claim('c', 'old', '2026-11-21T11:00:00.000Z'), claim('c', 'young', '2026-11-21T11:00:01.000Z')]
  const [old, young] = await Promise.allSettled(two.map((each) => each.settle()))
  assert.deepEqual([old?.status, young?.status], ['fulfilled', 'rejected'])
  // the younger one asked before the older one could be heard
  const first = claim('d', 'young', '2026-11-21T11:00:01.000Z').settle()
  const refused = assert.rejects(first, { code: 'PRODUCER_IN_USE' })
  await new Promise((resolve) => setTimeout(resolve, OPTIONS.answerMsMax / 2))
  await claim('d', 'old', '2026-11-21T11:00:00.000Z').settle()
  await refused
})

test('producer should hear of another one when the server that both had lost is back', async (t) => {
  const nats = await startNats(t)
  if (nats === null) return
  const link = () => {
    const made = new NatsLink({ ...NATS_DEFAULT, url: nats.url, retryMsMin: 20 }, 'test', seededRandom(1), SILENT)
    cleanUp(t, () => made.close())
    return made
  }
  const links = [link(), link()]
  const claims = links.map(
    (each, index) => new ProducerClaim(each, 'cut', `${index}`, SINCE, { ...OPTIONS, connectMsMax: 0 }),
  )
  const taken: string[] = []
  for (const [index, each] of claims.entries()) {
    each.onTaken = (fault) => taken.push(`${index} ${fault.code}`)
    await each.settle() // there is no server yet
  }
  for (const each of links) each.start()
  await until(() => taken.length > 0, 20_000, 'one of the two gives way')
  assert.deepEqual(taken, ['1 PRODUCER_IN_USE'])
})
