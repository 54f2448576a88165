import { type Level, LIVE_COLUMNS, type LiveRow, publicRow } from '../../record/rows.ts'
import { BookView, changeOf, contentOf } from './book-view.ts'
import type { Standing } from './followed-book.ts'
import type { LiveBook } from './live-book.ts'
import { Outgoing, type Receiver, type Topic } from './topic.ts'

interface SideTexts {
  readonly bids: readonly Level[]
  readonly asks: readonly Level[]
}

const LEVEL_COLUMNS = (LIVE_COLUMNS.get('book_delta') ?? []).filter(({ form }) => form === 'levels')

/** What is particular to a book topic: where its whole comes from, and what of it its readers have. */
interface Shelf {
  readonly held: () => LiveBook | undefined
  /** of topics with a depth */
  readonly view: BookView | undefined
  whole: { readonly live: LiveBook; readonly version: number; readonly message: Outgoing } | undefined
}

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
  }

  forget(topic: Topic): void {
    this.#shelves.delete(topic)
    this.#changed.delete(topic)
  }

  /** The whole for one who just came. */
  greet(topic: Topic, receiver: Receiver): void {
    const whole = this.#whole(topic)
    if (whole !== undefined) receiver.push(whole)
  }

  anchor(topics: Iterable<Topic>, live: LiveBook): void {
    for (const topic of topics) this.#sendWhole(topic, live)
  }

  #sendWhole(topic: Topic, live: LiveBook): void {
    this.#shelves.get(topic)?.view?.show(live)
    const whole = this.#whole(topic)
    if (whole !== undefined) topic.send(whole)
  }

  change(topics: Iterable<Topic>, live: LiveBook, row: LiveRow): void {
    let all: SideTexts | undefined
    const firstSeq = Number(row['first_seq'])
    for (const topic of topics) {
      const view = this.#shelves.get(topic)?.view
      if (view !== undefined) {
        view.noteChange(firstSeq)
        this.#changed.set(topic, live)
        continue
      }
      all ??= publicRow(LEVEL_COLUMNS, row) as unknown as SideTexts
      const change = changeOf(live, firstSeq, all.bids, all.asks)
      topic.send(new Outgoing(topic, this.#seq(), { kind: 'update', change }))
    }
  }

  reset(topics: Iterable<Topic>, told: Standing): void {
    for (const topic of topics) {
      this.#shelves.get(topic)?.view?.reset()
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
      const change = this.#shelves.get(topic)?.view?.change(live)
      if (change === 'anew') this.#sendWhole(topic, live)
      else if (change !== undefined) topic.send(new Outgoing(topic, this.#seq(), { kind: 'update', change }))
    }
    this.#changed.clear()
  }

  /** The same message for all who need it of the same version. */
  #whole(topic: Topic): Outgoing | undefined {
    const shelf = this.#shelves.get(topic)
    const live = shelf?.held()
    if (shelf === undefined || live === undefined) return undefined
    const { view, whole } = shelf
    if (view !== undefined && !view.isShown) view.show(live)
    const version = view?.version ?? live.version
    if (whole?.live === live && whole.version === version) return whole.message
    const book = view?.content(live) ?? contentOf(live, 0)
    const message = new Outgoing(topic, this.#seq(), { kind: 'snapshot', book })
    shelf.whole = { live, version, message }
    return message
  }
}
