// Preloaded into the engine (node --require): makes book worker 0 sick when a file says so. Threads load it, too.
const { existsSync, readFileSync, rmSync } = require('node:fs')
const { workerData } = require('node:worker_threads')

const order = process.env.SICK_WORKER_FILE
if (order && workerData?.role === 'book' && workerData.workerIndex === 0) {
  const wait = Atomics.wait
  // a book worker that has nothing to do waits here, some thousand times a second at most
  Atomics.wait = (...values) => {
    if (existsSync(order)) {
      const illness = readFileSync(order, 'utf8')
      rmSync(order)
      if (illness === 'crash') throw new Error('sick on order')
      for (;;);
    }
    return wait(...values)
  }
}
