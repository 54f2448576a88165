// @ts-check
/**
 * The page put together: what is chosen, which view is seen, who is told of which message.
 *
 *   #/market/{instrument}    #/engine
 */
import { Book } from './book.js'
import { Candles } from './candles.js'
import { Connections } from './connections.js'
import { grouped } from './decimal.js'
import { Delivery } from './delivery.js'
import { Depth } from './depth.js'
import { byId, paced, setText } from './dom.js'
import { clockText, compact, tickTexts } from './format.js'
import { Gaps } from './gaps.js'
import { instrumentOf, instruments, isIndex, nameOf, readInstruments } from './instruments.js'
import { startKeyForm } from './key-form.js'
import { startKeys } from './keys.js'
import { Ladder } from './ladder.js'
import { ask } from './rest.js'
import { startSearch } from './search.js'
import { Series } from './series.js'
import { Shards } from './shards.js'
import { StateMap } from './state-map.js'
import { bookNames, followStates, noteState, readStates, stateOf } from './states.js'
import { StatusFeed } from './status.js'
import { Stream } from './stream.js'
import { percentText, Strip } from './strip.js'
import { Summary } from './summary.js'
import { Tape } from './tape.js'
import { startTheme, switchTheme } from './theme.js'

const BOOK_DRAW_MS = 100
const TAPE_DRAW_MS = 120
const DEPTH_DRAW_MS = 250
const TITLE_DRAW_MS = 1_000
const BOOKS_MS = 5_000
const LIST_MS = 300_000
const TRADES_FIRST = 60
const CHOSEN = 'marketprism.instrument'
/** what a chosen instrument is followed by; the gateway ignores types that an instrument does not have */
const TYPES = ['book', 'trade', 'ticker', 'mark_price', 'index_price', 'funding_rate', 'open_interest']

const stream = new Stream()
const status = new StatusFeed()
const book = new Book()
let chosen = ''
/** @type {() => void} */
let letGo = () => {}

startTheme()
const strip = new Strip()
const ladder = new Ladder(() => drawBook())
const tape = new Tape()
const candles = new Candles()
const depth = new Depth()
const interest = new Series({
  id: 'interest',
  path: '/v1/open-interests',
  type: 'open_interest',
  column: 'open_interest',
  colour: 's4',
  read: grouped,
  tick: compact,
  ticks: tickTexts,
  noneTitle: 'No open interest',
  noneText: 'Spot markets have none. Of others it comes when the collector takes the channel open_interests.',
})
const funding = new Series({
  id: 'funding',
  path: '/v1/funding-rates',
  type: 'funding_rate',
  column: 'funding_rate',
  colour: 's3',
  read: percentText,
  tick: (value) => `${(value * 100).toFixed(4)} %`,
  ticks: (ticks) =>
    tickTexts(
      ticks.map((tick) => tick * 100),
      ' %',
    ),
  noneTitle: 'No funding',
  noneText: 'Only perpetuals have it, where the collector takes mark_prices or funding_rates.',
})
new StateMap((name) => goTo(name))
const shards = new Shards()
const connections = new Connections()
const delivery = new Delivery()
const gaps = new Gaps()
const summary = new Summary()

const isOnline = () => stream.state === 'live'
const drawBook = paced(BOOK_DRAW_MS, () => {
  ladder.draw(book, tape.last, isOnline())
  strip.showBook(book, isOnline())
})
const drawDepth = paced(DEPTH_DRAW_MS, () => depth.draw(book, isOnline()))
const drawTape = paced(TAPE_DRAW_MS, () => {
  tape.draw()
  strip.showPrice(tape.last)
})
const drawTitle = paced(TITLE_DRAW_MS, () => {
  if (tape.last !== undefined) document.title = `${tape.last.price} ${instrumentOf(chosen).symbol} · MarketPrism`
})

/** @param {string} name */
const isChosen = (name) => name === chosen

/** @param {string} type @param {(message: any) => void} take messages of the chosen instrument only */
function follow(type, take) {
  stream.on(type, (message) => {
    if (isChosen(nameOf(message))) take(message)
  })
}

follow('book', (message) => {
  if (message.kind === 'snapshot') {
    book.anchor(message)
    noteState(chosen, book.state, '', book.sinceMs)
  } else if (!book.tryApply(message)) stream.renew(`book.${chosen}`)
  drawBook()
  drawDepth()
})
follow('book_reset', ({ state, reason, since_ns: since }) => {
  book.suspend(state, reason ?? '', since === undefined ? undefined : Number(BigInt(since) / 1_000_000n))
  drawBook()
  drawDepth()
})
follow('trade', ({ rows }) => {
  const taken = rows.filter((row) => tape.takes(row))
  tape.add(taken, true)
  candles.add(taken)
  drawTape()
  drawTitle()
  drawBook()
})
follow('ticker', ({ rows }) => strip.showTicker(rows.at(-1)))
follow('mark_price', ({ rows }) => strip.showMark(rows.at(-1)))
follow('index_price', ({ rows }) => strip.showIndex(rows.at(-1)))
follow('funding_rate', ({ rows }) => {
  strip.showFunding(rows.at(-1))
  funding.add(rows)
})
follow('open_interest', ({ rows }) => {
  strip.showInterest(rows.at(-1))
  interest.add(rows)
})
followStates(stream)
stream.on('op:error', ({ message }) => {
  if (book.state === 'NONE') book.reason = message
  drawBook()
})

/** @param {string} name */
function choose(name) {
  if (name === chosen) return
  chosen = name
  const instrument = instrumentOf(name)
  const known = stateOf(name)
  book.suspend('NONE', '', Number.NaN)
  if (isIndex(instrument)) book.reason = 'an index has no book'
  if (known !== undefined && known.state !== 'LIVE') book.suspend(known.state, known.reason, known.sinceMs)
  letGo()
  letGo = stream.want(TYPES.map((type) => `${type}.${name}`))
  strip.begin(instrument)
  ladder.begin(instrument.tick_size)
  tape.begin()
  candles.begin(name, instrument.tick_size)
  funding.begin(name)
  interest.begin(name)
  drawBook()
  drawDepth()
  document.title = `${instrument.symbol} · MarketPrism`
  try {
    localStorage.setItem(CHOSEN, name)
  } catch {
    // storage is switched off
  }
  void firstTrades(name)
  void firstFigures(name)
}

/** The tape begins with what the store has. @param {string} name */
async function firstTrades(name) {
  try {
    const { rows } = await ask(`/v1/trades/${name}`, { limit: TRADES_FIRST })
    if (isChosen(name)) tape.add(rows.toReversed(), false)
    drawTape()
  } catch {
    // the stream brings the next ones; the candles say what is wrong with the store
  }
}

/** Figures that come rarely: the last ones that are stored. @param {string} name */
async function firstFigures(name) {
  const wanted = /** @type {const} */ ([
    ['tickers', (row) => strip.showTicker(row)],
    ['mark-prices', (row) => strip.showMark(row)],
    ['funding-rates', (row) => strip.showFunding(row)],
    ['open-interests', (row) => strip.showInterest(row)],
  ])
  for (const [path, show] of wanted) {
    try {
      const { rows } = await ask(`/v1/${path}/${name}`, { limit: 1 })
      if (isChosen(name) && rows.length > 0) show(rows[0])
    } catch {
      return // no store: figures come with the stream
    }
  }
}

const goToEngine = () => location.assign('#/engine')

/** @param {string} name */
function goTo(name) {
  location.hash = `#/market/${name}`
}

function route() {
  const [, view, name] = location.hash.split('/')
  const isEngine = view === 'engine'
  byId('market').hidden = isEngine
  byId('engine').hidden = !isEngine
  for (const [id, isHere] of [
    ['view-market', !isEngine],
    ['view-engine', isEngine],
  ])
    if (isHere) byId(id).setAttribute('aria-current', 'page')
    else byId(id).removeAttribute('aria-current')
  gaps.show(isEngine)
  if (!isEngine && name !== undefined && name !== '') choose(decodeURIComponent(name))
  if (isEngine) drawEngine()
}

function drawEngine() {
  if (!book.isLive) drawBook() // it says since when
  const frames = stream.takeFrames()
  const nowMs = performance.now()
  framesPerSecond = (frames * 1000) / Math.max(1, nowMs - framesSinceMs)
  framesSinceMs = nowMs
  summary.draw(status, gaps, framesPerSecond)
  drawAge()
  if (byId('engine').hidden) return
  shards.draw(status)
  connections.draw(status)
  delivery.draw(status)
}
let framesPerSecond = 0
let framesSinceMs = performance.now()

/** What nobody confirms any more looks like it, and says of when it is. */
function drawAge() {
  const { at, error } = status.now
  const isOld = error !== '' || (!isOnline() && at > 0)
  byId('engine').toggleAttribute('data-old', isOld)
  byId('engine-old').hidden = !isOld
  const why = error === '' ? 'The stream is interrupted' : error.replace(/\.$/, '')
  setText(byId('engine-old'), at === 0 ? `${why}.` : `${why}: what is seen here is of ${clockText(at)}.`)
}

function drawLink() {
  const link = byId('link')
  const words = { connecting: 'connecting', live: 'live', waiting: `reconnecting: ${stream.reason}` }
  link.dataset.state = stream.state
  setText(link.lastElementChild, words[stream.state])
  drawAge()
  if (stream.state !== 'live') book.suspend('NONE', '', Number.NaN)
  drawBook()
  drawDepth()
}

/** The states of all books; the first of them is chosen when nobody chose. */
async function readBooks() {
  try {
    if (!document.hidden) await readStates()
    chooseFirst()
  } catch {
    // the health line says what is wrong
  }
  setTimeout(readBooks, BOOKS_MS)
}

/** What the venues say of their instruments: more than books, but only where something is stored. */
async function readList() {
  let count = 0
  try {
    count = await readInstruments()
    chooseFirst()
    if (chosen !== '') strip.showName(instrumentOf(chosen))
  } catch {
    // without a store the names of the books have to do
  }
  setTimeout(readList, count === 0 ? BOOKS_MS : LIST_MS)
}

function chooseFirst() {
  if (chosen !== '') return
  let kept = null
  try {
    kept = localStorage.getItem(CHOSEN)
  } catch {
    // storage is switched off
  }
  const names = bookNames().length > 0 ? bookNames() : instruments().map(({ instrument }) => instrument)
  const first =
    names.find((name) => name === kept) ??
    names.find((name) => /BTC/i.test(name) && /usdm|swap|linear|perp/.test(name)) ??
    names[0]
  if (first === undefined) return
  if (location.hash.startsWith('#/engine')) choose(first)
  else goTo(first)
}

startSearch(goTo)
startKeyForm(() => location.reload())
startKeys(
  [
    {
      keys: ['/'],
      shown: ['/'],
      what: 'Search an instrument; arrows choose, Enter opens',
      run: () => byId('search-input').focus(),
    },
    { keys: ['1'], shown: ['1'], what: 'Market', run: () => goTo(chosen) },
    { keys: ['2'], shown: ['2'], what: 'Engine', run: goToEngine },
    { keys: ['['], shown: ['['], what: 'Finer candles', run: () => candles.zoom(-1) },
    { keys: [']'], shown: [']'], what: 'Coarser candles', run: () => candles.zoom(1) },
    { keys: ['-'], shown: ['−'], what: 'Finer price steps in the book', run: () => ladder.zoom(-1) },
    { keys: ['+', '='], shown: ['+'], what: 'Coarser price steps in the book', run: () => ladder.zoom(1) },
    { keys: ['t'], shown: ['t'], what: 'Light or dark', run: switchTheme },
    { keys: ['r'], shown: ['r'], what: 'Connect again at once', run: () => stream.again() },
  ],
  [
    [['?'], 'This list'],
    [['Tab'], 'Next control; arrows move inside maps and choices'],
    [['Esc'], 'Close'],
  ],
)
stream.watch(drawLink)
status.watch(drawEngine)
addEventListener('hashchange', route)
addEventListener('visibilitychange', () => void (document.hidden || stream.again()))

/** One question before all others: a gateway that wants a key is not knocked at ten times. */
async function begin() {
  try {
    await ask('/v1/status')
  } catch (error) {
    if ([401, 403].includes(/** @type {import('./rest.js').Refusal} */ (error).status)) return // the form asks for a key
  }
  stream.start()
  status.start()
  route()
  void readBooks()
  void readList()
  gaps.start()
}
void begin()
