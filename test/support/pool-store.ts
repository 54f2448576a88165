/** A store worker that beats its heart until it is told to stop. */
import { parentPort, workerData } from 'node:worker_threads'
import { Heartbeat } from '../../engine/ring/heartbeat.ts'
import type { StoreSeat } from '../../workers/loop.ts'
import { STOP_MESSAGE } from '../../workers/pool.ts'

const seat = workerData as StoreSeat
const heartbeat = new Heartbeat(seat.heartbeats, seat.workerIndex)
const timer = setInterval(() => heartbeat.beat(), 20)
parentPort?.on('message', (message) => {
  if (message !== STOP_MESSAGE) return
  clearInterval(timer)
  parentPort?.postMessage('stopped')
  parentPort?.close()
})
