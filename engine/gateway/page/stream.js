// @ts-check
/**
 * The live stream: one WebSocket that comes back by itself, with everything that is still wanted.
 *
 *   connecting ──open──► live ──close, 15 s without a frame──► waiting ──► connecting …
 */
import { keyOf, wantKey } from './rest.js'

const SILENCE_MS_MAX = 25_000 // the gateway sends a heartbeat every 10 s
const RETRY_MS_MIN = 500
const RETRY_MS_MAX = 10_000
const CLOSE_POLICY = 1008 // what a gateway says to a key that is not good

/** @typedef {{ type?: string, op?: string, exchange?: string, market?: string, symbol?: string, rows?: any[], [key: string]: any }} Message */

export class Stream {
  /** @type {WebSocket | undefined} */
  #socket
  /** pattern → how many want it @type {Map<string, number>} */
  #wanted = new Map()
  /** @type {Map<string, Set<(message: Message) => void>>} */
  #listeners = new Map()
  /** @type {Set<() => void>} */
  #watchers = new Set()
  #lastId = 0
  #retryMs = RETRY_MS_MIN
  #heardMs = 0
  #frames = 0
  state = 'connecting'
  sinceMs = Date.now()
  reason = ''

  start() {
    this.#connect()
    setInterval(() => this.#watch(), 1_000)
    addEventListener('online', () => this.again())
  }

  /** How many frames came since the last call. */
  takeFrames() {
    const frames = this.#frames
    this.#frames = 0
    return frames
  }

  /** @param {string} type of a message, or `op:…` @param {(message: Message) => void} listener */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set()
    this.#listeners.set(type, listeners.add(listener))
  }

  /** @param {() => void} watcher told when the state changed */
  watch(watcher) {
    this.#watchers.add(watcher)
  }

  /** @param {readonly string[]} patterns @returns {() => void} no longer wanted */
  want(patterns) {
    const fresh = patterns.filter((pattern) => !this.#wanted.has(pattern))
    for (const pattern of patterns) this.#wanted.set(pattern, (this.#wanted.get(pattern) ?? 0) + 1)
    this.#say('subscribe', fresh)
    return () => {
      const gone = patterns.filter((pattern) => this.#wanted.get(pattern) === 1)
      for (const pattern of patterns) this.#wanted.set(pattern, (this.#wanted.get(pattern) ?? 1) - 1)
      for (const pattern of gone) this.#wanted.delete(pattern)
      this.#say('unsubscribe', gone)
    }
  }

  /** Asks for the same anew: what follows begins with a snapshot. @param {string} pattern */
  renew(pattern) {
    this.#say('unsubscribe', [pattern])
    this.#say('subscribe', [pattern])
  }

  /** Tries at once. */
  again() {
    if (this.state !== 'waiting') return
    this.#retryMs = RETRY_MS_MIN
    this.#connect()
  }

  #connect() {
    if (this.#socket !== undefined) return
    this.#become('connecting')
    const socket = new WebSocket(new URL('/v1/stream?format=json', location.origin.replace(/^http/, 'ws')))
    this.#socket = socket
    this.#heardMs = Date.now()
    socket.onopen = () => {
      const key = keyOf()
      if (key !== null) socket.send(JSON.stringify({ op: 'auth', key }))
      this.#retryMs = RETRY_MS_MIN
      this.#become('live')
      this.#say('subscribe', [...this.#wanted.keys()])
    }
    socket.onmessage = ({ data }) => this.#take(data)
    socket.onclose = ({ code, reason }) => this.#lose(socket, code, reason)
  }

  /** @param {WebSocket} socket @param {number} code @param {string} reason */
  #lose(socket, code, reason) {
    if (this.#socket !== socket) return
    this.#socket = undefined
    this.#become('waiting', reason === '' ? `closed (${code})` : `${reason} (${code})`)
    if (code === CLOSE_POLICY) wantKey(reason)
    setTimeout(() => this.#connect(), this.#retryMs * (0.75 + Math.random() / 2))
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_MAX)
  }

  /** @param {string} data */
  #take(data) {
    this.#heardMs = Date.now()
    this.#frames++
    /** @type {Message} */
    const message = JSON.parse(data)
    const name = message.op === undefined ? (message.type ?? '') : `op:${message.op}`
    for (const listener of this.#listeners.get(name) ?? []) listener(message)
  }

  #watch() {
    const socket = this.#socket
    if (socket === undefined || Date.now() - this.#heardMs < SILENCE_MS_MAX) return
    this.#lose(socket, 1006, 'nothing came for 25 s')
    socket.close()
  }

  /** @param {string} op @param {readonly string[]} patterns */
  #say(op, patterns) {
    if (patterns.length === 0 || this.#socket?.readyState !== WebSocket.OPEN) return
    this.#socket.send(JSON.stringify({ op, id: ++this.#lastId, patterns }))
  }

  /** @param {string} state @param {string} [reason] */
  #become(state, reason = '') {
    if (state !== this.state) this.sinceMs = Date.now()
    this.state = state
    this.reason = reason
    for (const watcher of this.#watchers) watcher()
  }
}
