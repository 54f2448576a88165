/**
 * What the peers share: the messages in memory, runs, and one line of JSON as the answer.
 * `messages` are objects {receivedMs, bytes}: what a socket would have handed over.
 */
import { readFileSync } from 'node:fs'

export function readMessages(file) {
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

/** @param warmRuns passes before the watch counts; @param once a function of the messages that starts from nothing and returns {bid, ask, trades, tickers}. */
export async function measure(name, version, once, warmRuns = 10) {
  const [file, runCount] = process.argv.slice(2)
  const messages = readMessages(file)
  const seconds = []
  let answer
  for (let run = 0; run < warmRuns + Number(runCount); run++) {
    const startNs = process.hrtime.bigint()
    answer = await once(messages)
    const took = Number(process.hrtime.bigint() - startNs) / 1e9
    if (run >= warmRuns) seconds.push(took)
  }
  process.stdout.write(`${JSON.stringify({ peer: name, version, messages: messages.length, seconds, ...answer })}\n`)
}
