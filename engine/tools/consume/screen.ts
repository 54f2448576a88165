/**
 * The interactive mode: a table of subjects that is drawn anew some times a second, by the plain escape sequences that
 * every terminal knows. What the keys do is state, what is drawn is a pure function of it (`frameOf`).
 *
 *   q quit   p pause   s sort   f filter   ↑ ↓ choose   Enter newest rows   Esc back
 */
import type { ReadStream, WriteStream } from 'node:tty'
import colors from 'picocolors'
import { contentLine } from './lines.ts'
import type { Meter, SubjectLine } from './meter.ts'

const DRAW_MS = 250
const ESCAPE = '\u001b'
const ENTER_SCREEN = `${ESCAPE}[?1049h${ESCAPE}[?25l`
const LEAVE_SCREEN = `${ESCAPE}[?25h${ESCAPE}[?1049l`
const HOME = `${ESCAPE}[H`
const CLEAR_LINE = `${ESCAPE}[K`
const CLEAR_REST = `${ESCAPE}[J`
const KEYS: Readonly<Record<string, Key>> = {
  '\u0003': 'quit',
  q: 'quit',
  p: 'pause',
  s: 'sort',
  f: 'filter',
  '/': 'filter',
  '\r': 'enter',
  '\n': 'enter',
  [ESCAPE]: 'back',
  '\u007f': 'back',
  '\b': 'back',
  [`${ESCAPE}[A`]: 'up',
  k: 'up',
  [`${ESCAPE}[B`]: 'down',
  j: 'down',
}
type Key = 'quit' | 'pause' | 'sort' | 'filter' | 'enter' | 'back' | 'up' | 'down'

export const SORTS = ['rate', 'name', 'rows', 'latency'] as const
type Sort = (typeof SORTS)[number]

const ORDERS: Readonly<Record<Sort, (a: SubjectLine, b: SubjectLine) => number>> = {
  rate: (a, b) => b.rate - a.rate || b.rows - a.rows,
  name: (a, b) => (a.name < b.name ? -1 : 1),
  rows: (a, b) => b.rows - a.rows,
  latency: (a, b) => (Number.isNaN(b.latencyMs) ? -1 : b.latencyMs) - (Number.isNaN(a.latencyMs) ? -1 : a.latencyMs),
}

export interface ScreenState {
  sort: Sort
  filter: string
  /** keys are letters of the filter */
  isTyping: boolean
  isPaused: boolean
  /** name of the chosen subject */
  chosen: string
  /** its newest rows are shown */
  isOpen: boolean
}

export const newState = (): ScreenState => ({
  sort: 'rate',
  filter: '',
  isTyping: false,
  isPaused: false,
  chosen: '',
  isOpen: false,
})

/** Subjects that pass the filter, in their order. */
export function shownLines(meter: Meter, { filter, sort }: ScreenState): SubjectLine[] {
  const wanted = filter.toLowerCase()
  return [...meter.subjects.values()].filter(({ name }) => name.toLowerCase().includes(wanted)).sort(ORDERS[sort])
}

/** What a key does. @returns false when it ends the screen */
export function press(key: string, state: ScreenState, meter: Meter): boolean {
  if (state.isTyping) {
    if (key === '\r' || key === '\n' || key === ESCAPE) state.isTyping = false
    else if (key === '\u007f' || key === '\b') state.filter = state.filter.slice(0, -1)
    else if (key === '\u0003') return false
    else if (/^[\p{L}\p{N}\p{P}\p{S}]+$/u.test(key)) state.filter += key
    return true
  }
  switch (KEYS[key]) {
    case 'quit':
      return false
    case 'pause':
      state.isPaused = !state.isPaused
      return true
    case 'sort':
      state.sort = SORTS[(SORTS.indexOf(state.sort) + 1) % SORTS.length] as Sort
      return true
    case 'filter':
      state.isTyping = true
      state.isOpen = false
      return true
    case 'enter':
      state.isOpen = !state.isOpen
      return true
    case 'back':
      if (state.isOpen) state.isOpen = false
      else state.filter = ''
      return true
    case 'up':
    case 'down':
      choose(state, meter, KEYS[key] === 'up' ? -1 : 1)
      return true
    default:
      return true
  }
}

function choose(state: ScreenState, meter: Meter, step: 1 | -1): void {
  const lines = shownLines(meter, state)
  const at = lines.findIndex(({ name }) => name === state.chosen)
  const next = at < 0 ? 0 : Math.min(lines.length - 1, Math.max(0, at + step))
  state.chosen = lines[next]?.name ?? ''
}

export interface FrameInput {
  readonly source: string
  readonly seconds: number
  /** rows and bytes a second, of the last look */
  readonly rates: { readonly rows: number; readonly bytes: number }
}

const HEAD_LINES = 3
const FOOT_LINES = 1
const NAME_WIDTH = 38

/** The lines of the screen, each at most `columns` wide, `rows` of them. */
export function frameOf(meter: Meter, state: ScreenState, input: FrameInput, columns: number, rows: number): string[] {
  const lines = shownLines(meter, state)
  const chosen = lines.find(({ name }) => name === state.chosen) ?? lines[0]
  const room = Math.max(1, rows - HEAD_LINES - FOOT_LINES)
  const body = state.isOpen && chosen !== undefined ? openLines(chosen, room) : tableLines(lines, chosen, state, room)
  while (body.length < room) body.push('')
  return [...headLines(meter, input), body[0] ?? '', ...body.slice(1), footLine(state, lines.length)]
    .slice(0, rows)
    .map((line) => fit(line, columns))
}

function headLines({ latency, lost, errors, notices }: Meter, { source, seconds, rates }: FrameInput): string[] {
  const ms = (share: number): string => (latency.count === 0 ? '–' : (latency.percentileNs(share) / 1e6).toFixed(2))
  const wrong = `lost ${lost}, unreadable ${errors}`
  return [
    `${colors.bold('marketprism consume')}  ${source}  ${seconds.toFixed(0)} s`,
    `${rates.rows.toFixed(0)} rows/s  ${(rates.bytes / 1024).toFixed(0)} KiB/s  p50 ${ms(0.5)} ms  p99 ${ms(0.99)} ms  ${lost + errors > 0 ? colors.red(wrong) : wrong}`,
    notices.length === 0 ? '' : colors.yellow(notices.at(-1) as string),
  ]
}

function tableLines(
  lines: readonly SubjectLine[],
  chosen: SubjectLine | undefined,
  { sort }: ScreenState,
  room: number,
): string[] {
  const mark = (name: Sort, text: string): string => (name === sort ? colors.underline(text) : text)
  const head = `  ${mark('name', 'subject'.padEnd(NAME_WIDTH))} ${mark('rate', 'rows/s'.padStart(8))} ${mark('rows', 'rows'.padStart(10))} ${mark('latency', 'ms'.padStart(8))}  newest`
  const first = firstShown(lines, chosen, room - 1)
  return [
    head,
    ...lines.slice(first, first + room - 1).map((line) => {
      const { name, type, rate, rows, latencyMs, last } = line
      const newest = last.at(-1)
      const late = Number.isNaN(latencyMs) ? '–' : latencyMs.toFixed(1)
      const text = `${fit(name, NAME_WIDTH).padEnd(NAME_WIDTH)} ${rate.toFixed(0).padStart(8)} ${String(rows).padStart(10)} ${late.padStart(8)}`
      return `${line === chosen ? colors.inverse(`> ${text}`) : `  ${text}`}  ${newest === undefined ? '' : contentLine(type, newest)}`
    }),
  ]
}

/** The chosen line stays on the screen. */
function firstShown(lines: readonly SubjectLine[], chosen: SubjectLine | undefined, room: number): number {
  const at = chosen === undefined ? 0 : lines.indexOf(chosen)
  return Math.max(0, Math.min(at - Math.floor(room / 2), lines.length - room))
}

function openLines({ name, type, last }: SubjectLine, room: number): string[] {
  return [colors.bold(name), ...last.slice(-(room - 1)).map((row) => contentLine(type, row))]
}

function footLine({ isTyping, filter, isPaused, sort }: ScreenState, count: number): string {
  if (isTyping) return `filter: ${filter}_  (Enter: done)`
  const filtered = filter === '' ? '' : `  filter ${filter}`
  const paused = isPaused ? colors.yellow('  paused') : ''
  return (
    colors.dim(`${count} subjects by ${sort}${filtered}`) +
    paused +
    colors.dim('   q quit  p pause  s sort  f filter  ↑↓ choose  Enter rows  Esc back')
  )
}

/** Colours: escape, bracket, numbers, m. */
const PIECES = new RegExp(`${ESCAPE}\\[[0-9;]*m|.`, 'gsu')

/** Cut to so many columns; colours cost none, wide characters two. */
export function fit(text: string, columns: number): string {
  let width = 0
  let cut = ''
  let isColoured = false
  for (const [piece] of text.matchAll(PIECES)) {
    if (piece.length > 1 && piece.startsWith(ESCAPE)) {
      cut += piece
      isColoured = true
      continue
    }
    const wide = (piece.codePointAt(0) as number) >= 0x1100 && !/[\u2000-\u2fff]/.test(piece) ? 2 : 1
    if (width + wide > columns) return isColoured ? `${cut}${ESCAPE}[0m` : cut
    width += wide
    cut += piece
  }
  return cut
}

export class Screen {
  readonly #meter: Meter
  readonly #source: string
  readonly #input: ReadStream
  readonly #output: WriteStream
  readonly #onQuit: () => void
  readonly #state = newState()
  readonly #startedMs = performance.now()
  #timer: NodeJS.Timeout | undefined
  #lookedMs = performance.now()
  #seen = { rows: 0, bytes: 0 }
  #rates = { rows: 0, bytes: 0 }
  #frame: readonly string[] = []

  constructor(meter: Meter, source: string, input: ReadStream, output: WriteStream, onQuit: () => void) {
    this.#meter = meter
    this.#source = source
    this.#input = input
    this.#output = output
    this.#onQuit = onQuit
  }

  start(): void {
    this.#output.write(ENTER_SCREEN)
    this.#input.setRawMode?.(true)
    this.#input.setEncoding('utf8')
    this.#input.on('data', this.#onKeys)
    this.#input.resume()
    this.#output.on('resize', this.#redraw)
    this.#timer = setInterval(() => this.#draw(), DRAW_MS)
    this.#draw()
  }

  /** The terminal is as it was. */
  stop(): void {
    clearInterval(this.#timer)
    this.#input.off('data', this.#onKeys)
    this.#input.setRawMode?.(false)
    this.#input.pause()
    this.#output.off('resize', this.#redraw)
    this.#output.write(LEAVE_SCREEN)
  }

  readonly #onKeys = (text: string | Buffer): void => {
    for (const key of keysOf(String(text))) if (!press(key, this.#state, this.#meter)) return this.#onQuit()
    this.#redraw()
  }

  #draw(): void {
    const nowMs = performance.now()
    const seconds = (nowMs - this.#lookedMs) / 1000
    if (seconds >= 1) {
      const { rows, bytes } = this.#meter.total
      this.#meter.look(seconds)
      this.#rates = { rows: (rows - this.#seen.rows) / seconds, bytes: (bytes - this.#seen.bytes) / seconds }
      this.#seen = { rows, bytes }
      this.#lookedMs = nowMs
    }
    if (!this.#state.isPaused) this.#redraw()
  }

  readonly #redraw = (): void => {
    const { columns = 80, rows = 24 } = this.#output
    const input = { source: this.#source, seconds: (performance.now() - this.#startedMs) / 1000, rates: this.#rates }
    const frame = frameOf(this.#meter, this.#state, input, columns, rows)
    // paused, the lines stay and only the foot says so
    this.#frame =
      this.#state.isPaused && this.#frame.length === frame.length
        ? [...this.#frame.slice(0, -1), frame.at(-1) as string]
        : frame
    this.#output.write(`${HOME}${this.#frame.map((line) => `${line}${CLEAR_LINE}`).join('\r\n')}${CLEAR_REST}`)
  }
}

/** Several keys may come at once. */
export function keysOf(text: string): string[] {
  return text.match(new RegExp(`${ESCAPE}\\[[A-Z]|.`, 'gsu')) ?? []
}
