/**
 * What the peers share: the messages in memory, and a pass over them whenever the parent process asks for one.
 * `messages` are objects {receivedMs, bytes}: what a socket would have handed over.
 */
import { readFileSync } from 'node:fs'

/** How many of the best levels of each side are compared. */
export const LEVELS_COMPARED = 20

function readMessages(file) {
  const whole = readFileSync(file)
  const messages = []
  for (let from = 0; from < whole.length; ) {
    let to = whole.indexOf(10, from)
    if (to < 0) to = whole.length
    const space = whole.indexOf(32, from)
    const digits = space - from
    const time = Number(whole.toString('latin1', from, space))
    if (to > space) messages.push({ receivedMs: time / (digits === 19 ? 1e6 : 1e3), bytes: whole.subarray(space + 1, to) })
    from = to + 1
  }
  return messages
}

/** Seconds of this thread on a core; 0 where the system does not tell. */
function cpuSeconds() {
  try {
    return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0]) / 1e9
  } catch {
    return 0
  }
}

/** @param once a function of the messages that starts from nothing and returns a function that tells what was found: that one is not timed. */
export function serve(name, version, once) {
  const messages = readMessages(process.argv[2])
  process.on('message', async () => {
    const startCpu = cpuSeconds()
    const startNs = process.hrtime.bigint()
    const tell = await once(messages)
    const seconds = Number(process.hrtime.bigint() - startNs) / 1e9
    const cpu = cpuSeconds() - startCpu
    process.send({ seconds, cpuSeconds: cpu, found: { messages: messages.length, ...tell() } })
  })
  process.on('disconnect', () => process.exit())
  process.send({ peer: name, version })
}
