/**
 * Every interleaving of one writer and one parking reader, step by step. A lost wake-up is a state in which the reader
 * sleeps, the writer has finished, and something is published that the reader has not seen. The model shows why PARKED
 * counts parks: the plain flag that anybody clears (the canary) loses wake-ups.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'

interface State {
  tail: number
  parked: number
  head: number
  /** next step of each thread, and its register */
  writer: number
  writerSaw: number
  reader: number
  readerSaw: number
  timeouts: number
}

const ASLEEP = 9
const PUBLISHES = 3
const TIMEOUTS = 2

type Step = (state: State) => void

interface Protocol {
  readonly raise: Step
  /** may the reader sleep now? */
  readonly sleeps: (state: State) => boolean
  readonly lower: Step
  /** after the writer saw `writerSaw` in PARKED: changes PARKED, returns whether to notify */
  readonly claim: (state: State) => boolean
  readonly isParked: (parked: number) => boolean
}

const COUNTED: Protocol = {
  raise: (s) => {
    s.parked = (s.parked | 1) + 2
    s.readerSaw = s.parked
  },
  sleeps: (s) => s.parked === s.readerSaw,
  lower: (s) => {
    s.parked = s.readerSaw + 1
  },
  claim: (s) => {
    if (s.parked !== s.writerSaw) return false
    s.parked++
    return true
  },
  isParked: (parked) => (parked & 1) === 1,
}

/** The wait is on TAIL; both sides clear a flag of 0 and 1. */
const PLAIN_FLAG: Protocol = {
  raise: (s) => {
    s.parked = 1
    s.readerSaw = s.tail
  },
  sleeps: (s) => s.tail === s.readerSaw,
  lower: (s) => {
    s.parked = 0
  },
  claim: (s) => {
    s.parked = 0
    return true
  },
  isParked: (parked) => parked !== 0,
}

/** Writer: 0 move TAIL, 1 look at PARKED, 2 claim and notify; then the next publish. */
function writerStep(s: State, protocol: Protocol): State {
  const next = { ...s }
  if (s.writer % 3 === 0) next.tail++
  if (s.writer % 3 === 1) {
    next.writerSaw = s.parked
    if (!protocol.isParked(s.parked)) next.writer++ // nothing to wake
  }
  if (s.writer % 3 === 2 && protocol.claim(next) && s.reader === ASLEEP) next.reader = 4
  next.writer++
  return next
}

/** Reader: 0 drain, 1 raise, 2 look again, 3 sleep, 4 lower. */
function readerStep(s: State, protocol: Protocol): State {
  const next = { ...s }
  if (s.reader === 0) {
    next.head = s.tail
    next.reader = s.head === s.tail ? 1 : 0
  }
  if (s.reader === 1) {
    protocol.raise(next)
    next.reader = 2
  }
  if (s.reader === 2) next.reader = s.head === s.tail ? 3 : 4
  if (s.reader === 3) next.reader = protocol.sleeps(s) ? ASLEEP : 4
  if (s.reader === 4) {
    protocol.lower(next)
    next.reader = 0
  }
  return next
}

/** @returns how many states there are, and how many of them are lost wake-ups. */
function explore(protocol: Protocol): { states: number; lost: number } {
  const seen = new Set<string>()
  const open: State[] = [{ tail: 0, parked: 0, head: 0, writer: 0, writerSaw: 0, reader: 0, readerSaw: 0, timeouts: 0 }]
  let lost = 0
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    const key = Object.values(state).join()
    if (seen.has(key)) continue
    seen.add(key)
    const isWriterDone = state.writer >= PUBLISHES * 3
    if (isWriterDone && state.reader === ASLEEP && state.head !== state.tail) lost++
    if (!isWriterDone) open.push(writerStep(state, protocol))
    if (state.reader !== ASLEEP) {
      // Once all is seen and the writer is done, further parks only make more numbers.
      if (!isWriterDone || state.head !== state.tail || state.reader !== 0) open.push(readerStep(state, protocol))
    } else if (state.timeouts < TIMEOUTS) open.push({ ...state, reader: 4, timeouts: state.timeouts + 1 })
    assert.ok(seen.size < 500_000, 'the model does not end')
  }
  return { states: seen.size, lost }
}

test('park should lose no wake-up in any interleaving', () => {
  const { states, lost } = explore(COUNTED)
  assert.ok(states > 300, `only ${states} states were seen`)
  assert.equal(lost, 0)
})

test('park model should find the wake-ups that a plain flag loses (canary)', () => {
  assert.ok(explore(PLAIN_FLAG).lost > 0)
})
