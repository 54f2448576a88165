import type { Level } from '../../record/rows.ts'
import { type BookChange, RowChange } from './book-change.ts'
import type { BookRow } from './book-row.ts'
import { BookView, changeOf, contentOf, difference, scalesOf } from './book-view.ts'
import type { LateBook, Standing } from './followed-book.ts'
import { type LiveBook, noLevels } from './live-book.ts'
import { Outgoing, type Receiver, type Topic } from './topic.ts'

/** What is particular to a book topic: where its whole comes from, and what of it its readers have. */
interface Shelf {
  readonly held: () => LiveBook | undefined
  /** of topics with a depth */
  readonly view: BookView | undefined
  whole: Whole | undefined
}

/** A whole book that was made into a message, and the changes since: together they are the book as it is now. */
interface Whole {
  readonly live: LiveBook
  readonly message: Outgoing
  readonly since: Outgoing[]
  /** of the book, or of the view of it, up to the last of these changes */
  version: number
}

/** With more changes than this behind it a whole book is made anew. */
const SINCE_MAX = 100

/** Books as messages: the whole for whoever joins, changes for all, the best levels for those who asked for a depth. */
export class BookTopics {
  readonly #shelves = new Map<Topic, Shelf>()
  readonly #changed = new Map<Topic, LiveBook>()
  readonly #seq: () => string

  constructor(seq: () => string) {
    this.#seq = seq
  }

  /** Topics with a depth have something to send. */
  get hasChanged(): boolean {
    return this.#changed.size > 0
  }

  /** @param held the book while it is true */
  give(topic: Topic, held: () => LiveBook | undefined): void {
    if (this.#shelves.has(topic)) return
    this.#shelves.set(topic, {
      held,
      view: topic.depth === 0 ? undefined : new BookView(topic.depth),
      whole: undefined,
    })
    topic.current = () => this.#whole(topic)
    topic.begin = () => this.#begin(topic)
  }

  forget(topic: Topic): void {
    this.#shelves.delete(topic)
    this.#changed.delete(topic)
  }

  /** The whole for one who just came. */
  greet(topic: Topic, receiver: Receiver): void {
    for (const message of this.#begin(topic)) receiver.push(message)
  }

  anchor(topics: Iterable<Topic>, live: LiveBook): void {
    for (const topic of topics) this.#sendWhole(topic, live)
  }

  #sendWhole(topic: Topic, live: LiveBook): void {
    const shelf = this.#shelves.get(topic)
    if (shelf !== undefined) shelf.whole = undefined
    shelf?.view?.show(live)
    const whole = this.#whole(topic)
    if (whole !== undefined) topic.send(whole)
  }

  /** Readers of a book that was behind get what changed meanwhile as one change: a whole book for each is hundreds of times as much. */
  catchUp(topics: Iterable<Topic>, live: LiveBook, late: LateBook): void {
    if (live.lastSeq === late.lastSeq) return // they have it
    const firstSeq = late.lastSeq + 1
    let change: BookChange | undefined
    for (const topic of topics) {
      const shelf = this.#shelves.get(topic)
      if (shelf?.view?.isShown) {
        shelf.view.noteChange(firstSeq)
        this.#changed.set(topic, live)
      } else if (shelf?.view !== undefined || scalesOf(live) !== scalesOf(late)) this.#sendWhole(topic, live)
      else {
        change ??= changeOf(live, firstSeq, ...missed(live, late))
        if (shelf !== undefined) shelf.whole = undefined
        topic.send(new Outgoing(topic, this.#seq(), { kind: 'update', change }))
      }
    }
  }

  change(topics: Iterable<Topic>, live: LiveBook, row: BookRow): void {
    for (const topic of topics) {
      const shelf = this.#shelves.get(topic)
      const view = shelf?.view
      if (view !== undefined) {
        view.noteChange(row.firstSeq)
        this.#changed.set(topic, live)
        continue
      }
      const message = new Outgoing(topic, this.#seq(), { kind: 'update', change: new RowChange(row) })
      follow(shelf, live, live.version - 1, live.version, message)
      topic.send(message)
    }
  }

  reset(topics: Iterable<Topic>, told: Standing): void {
    for (const topic of topics) {
      const shelf = this.#shelves.get(topic)
      if (shelf !== undefined) shelf.whole = undefined
      shelf?.view?.reset()
      this.#changed.delete(topic)
      topic.send(this.resetOf(topic, told))
    }
  }

  resetOf(topic: Topic, { state, reason, sinceNs }: Standing): Outgoing {
    return new Outgoing(topic, this.#seq(), { kind: 'reset', reset: { state, reason, since_ns: sinceNs } })
  }

  /** Whole books in every form are megabytes; who comes in the next second needs newer ones anyway. */
  forgetWholes(): void {
    for (const shelf of this.#shelves.values()) shelf.whole = undefined
  }

  /** What changed in views since the last time. */
  sendChanges(): void {
    for (const [topic, live] of this.#changed) {
      const shelf = this.#shelves.get(topic)
      const before = shelf?.view?.version ?? 0
      const change = shelf?.view?.change(live)
      if (change === 'anew') {
        this.#sendWhole(topic, live)
        continue
      }
      const message = change && new Outgoing(topic, this.#seq(), { kind: 'update', change })
      follow(shelf, live, before, shelf?.view?.version ?? 0, message)
      if (message !== undefined) topic.send(message)
    }
    this.#changed.clear()
  }

  /**
   * What one who comes now gets first: the book as it was made for another some moments ago, and the changes since. When
   * hundreds come at once, each making its own of a book of thousands of levels would keep everything else waiting.
   */
  #begin(topic: Topic): readonly Outgoing[] {
    const shelf = this.#shelves.get(topic)
    const live = shelf?.held()
    const whole = shelf?.whole
    if (live !== undefined && whole?.live === live && whole.version === (shelf?.view?.version ?? live.version))
      return [whole.message, ...whole.since]
    const message = this.#whole(topic)
    return message === undefined ? [] : [message]
  }

  /** The book as it is now: the same message for all who need it of the same version. */
  #whole(topic: Topic): Outgoing | undefined {
    const shelf = this.#shelves.get(topic)
    const live = shelf?.held()
    if (shelf === undefined || live === undefined) return undefined
    const { view, whole } = shelf
    if (view !== undefined && !view.isShown) view.show(live)
    const version = view?.version ?? live.version
    if (whole?.live === live && whole.version === version && whole.since.length === 0) return whole.message
    const book = view?.content(live) ?? contentOf(live, 0)
    const message = new Outgoing(topic, this.#seq(), { kind: 'snapshot', book })
    shelf.whole = { live, version, message, since: [] }
    return message
  }
}

/** What changed since readers were told the last time. */
function missed(live: LiveBook, late: LateBook): [bids: Level[], asks: Level[]] {
  const [bid, ask] = [noLevels(), noLevels()]
  live.copyTop('bid', 0, bid)
  live.copyTop('ask', 0, ask)
  return [difference(live, late.bid, bid, 1), difference(live, late.ask, ask, -1)]
}

/** Notes a change behind the whole that was made. @param from the version that it changes. @param message undefined: nothing that its readers see */
function follow(
  shelf: Shelf | undefined,
  live: LiveBook,
  from: number,
  to: number,
  message: Outgoing | undefined,
): void {
  const whole = shelf?.whole
  if (shelf === undefined || whole === undefined) return
  if (whole.live !== live || whole.version !== from || whole.since.length >= SINCE_MAX) {
    shelf.whole = undefined
    return
  }
  whole.version = to
  if (message !== undefined) whole.since.push(message)
}
