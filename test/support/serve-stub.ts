/** A gateway's thread that does as it is told: settings.version says how it begins, `answer` orders how it goes on. */
import { parentPort, workerData } from 'node:worker_threads'
import { Heartbeat } from '../../engine/ring/heartbeat.ts'
import type { ServeMessage, ServeOrder, ServeSeat } from '../../workers/serve-worker.ts'

const seat = workerData as ServeSeat
const port = parentPort as NonNullable<typeof parentPort>
const say = (message: ServeMessage): void => port.postMessage(message)
const heartbeat = new Heartbeat(seat.heartbeats, 0)
heartbeat.beat() // before any order: a heart that never beat is given the time of a start
setInterval(() => heartbeat.beat(), 10).unref()
const { port: wanted, version: behaviour } = seat.settings

if (behaviour === 'refuses') {
  say({ type: 'fault', code: 'PORT', message: 'the port is taken', exitCode: 78 })
  process.exit(1)
}
if (behaviour === 'dies') throw new Error('dead on arrival')

port.on('message', (order: ServeOrder) => {
  if (order.type === 'stop') {
    if (behaviour !== 'deaf') port.close()
  } else if (order.type !== 'answer') return
  else if (order.body === 'crash') throw new Error('told to crash')
  else if (order.body === 'exit') process.exit(0)
  else if (order.body === 'hang') for (;;);
})
const resumed = seat.live?.from === 'ring' && seat.live.isResumed ? 'resumed' : 'first'
say({ type: 'ready', port: wanted === 0 ? 4711 : wanted, url: `http://${resumed}:${wanted}` })
