import { idOf, type Pattern, type Subject } from './subject.ts'
import { BOOK_TYPE, type Receiver, Topic } from './topic.ts'

/** A pattern that somebody subscribed to, in one depth. */
interface Interest {
  readonly pattern: Pattern
  readonly depth: number
  readonly receivers: Set<Receiver>
}

export interface RegistryEvents {
  /** a book has a receiver more, or one less */
  onJoin(topic: Topic, receiver: Receiver): void
  onLeave(topic: Topic, receiver: Receiver): void
}

/**
 * Which subjects there are, and who wants which. A subject is known from its first message on, an instrument's books from
 * the first word about them; whoever asked before is joined then.
 *
 * Arithmetic: 1,000 instruments of 12 types are 12,000 topics. A pattern without wildcard is one look into a map; one with
 * wildcards is held against all topics once (3 ms), and against every new topic later.
 */
export class Registry {
  /** subject → topic, books aside */
  readonly topics = new Map<string, Topic>()
  /** instrument → its book topics by depth */
  readonly #books = new Map<string, { readonly subject: Subject; readonly byDepth: Map<number, Topic> }>()
  readonly #interests = new Map<string, Interest>()
  readonly #exact = new Map<string, Set<Interest>>()
  readonly #globs = new Set<Interest>()
  readonly #events: RegistryEvents

  constructor(events: RegistryEvents) {
    this.#events = events
  }

  addTopic(text: string, subject: Subject): Topic {
    const topic = new Topic(subject)
    this.topics.set(text, topic)
    for (const interest of this.#interestsIn(text, subject)) this.#joinAll(topic, interest)
    return topic
  }

  /** An instrument with a book. */
  addBook(subject: Subject): void {
    const id = idOf(subject)
    if (this.#books.has(id)) return
    this.#books.set(id, { subject, byDepth: new Map() })
    for (const interest of this.#interestsIn(`${BOOK_TYPE}.${id}`, subject))
      this.#joinAll(this.#bookTopic(id, interest.depth) as Topic, interest)
  }

  removeBook(id: string): void {
    this.#books.delete(id)
  }

  /** Book topics that have receivers. */
  *bookTopics(id: string): Generator<Topic> {
    for (const topic of this.#books.get(id)?.byDepth.values() ?? []) if (topic.receivers.length > 0) yield topic
  }

  /** @returns the topics that the pattern matches now. */
  subscribe(receiver: Receiver, pattern: Pattern, depth: number): readonly Topic[] {
    const interest = this.#interest(pattern, depth)
    interest.receivers.add(receiver)
    const matched = this.#topicsOf(interest)
    for (const topic of matched) this.#join(topic, receiver)
    return matched
  }

  /** @returns what it gets no more. */
  unsubscribe(receiver: Receiver, pattern: Pattern, depth: number): readonly Topic[] {
    const interest = this.#interests.get(keyOf(pattern, depth))
    if (interest === undefined || !interest.receivers.delete(receiver)) return []
    const left = this.#topicsOf(interest).filter((topic) => topic.leave(receiver))
    for (const topic of left) if (topic.subject.type === BOOK_TYPE) this.#events.onLeave(topic, receiver)
    if (interest.receivers.size === 0) this.#forget(interest)
    return left
  }

  /** Instruments of which there is something to get under this pattern now. */
  instrumentsOf(pattern: Pattern): readonly string[] {
    if (pattern.typeWord !== BOOK_TYPE)
      return this.#topicsOf({ pattern, depth: 0, receivers: new Set() }).map(({ id }) => id)
    return [...this.#booksOf(pattern)]
  }

  #interest(pattern: Pattern, depth: number): Interest {
    const key = keyOf(pattern, depth)
    const known = this.#interests.get(key)
    if (known !== undefined) return known
    const interest: Interest = { pattern, depth, receivers: new Set() }
    this.#interests.set(key, interest)
    if (!pattern.isExact) this.#globs.add(interest)
    else {
      const others = this.#exact.get(pattern.text)
      if (others === undefined) this.#exact.set(pattern.text, new Set([interest]))
      else others.add(interest)
    }
    return interest
  }

  #forget(interest: Interest): void {
    const { pattern, depth } = interest
    this.#interests.delete(keyOf(pattern, depth))
    this.#globs.delete(interest)
    const others = this.#exact.get(pattern.text)
    others?.delete(interest)
    if (others?.size === 0) this.#exact.delete(pattern.text)
  }

  *#interestsIn(text: string, subject: Subject): Generator<Interest> {
    yield* this.#exact.get(text) ?? []
    for (const interest of this.#globs) if (matches(interest, subject)) yield interest
  }

  #topicsOf(interest: Interest): readonly Topic[] {
    const { pattern, depth } = interest
    if (pattern.typeWord === BOOK_TYPE) {
      return [...this.#booksOf(pattern)].map((id) => this.#bookTopic(id, depth) as Topic)
    }
    if (pattern.isExact) {
      const topic = this.topics.get(pattern.text)
      return topic === undefined ? [] : [topic]
    }
    return [...this.topics.values()].filter(({ subject }) => pattern.matches(subject))
  }

  *#booksOf(pattern: Pattern): Generator<string> {
    const ids = pattern.isExact ? [pattern.text.slice(BOOK_TYPE.length + 1)] : this.#books.keys()
    for (const id of ids) {
      const book = this.#books.get(id)
      if (book !== undefined && pattern.matches(book.subject)) yield id
    }
  }

  #bookTopic(id: string, depth: number): Topic | undefined {
    const book = this.#books.get(id)
    if (book === undefined) return undefined
    let topic = book.byDepth.get(depth)
    if (topic === undefined) {
      topic = new Topic(book.subject, depth)
      book.byDepth.set(depth, topic)
    }
    return topic
  }

  #joinAll(topic: Topic, interest: Interest): void {
    for (const receiver of interest.receivers) this.#join(topic, receiver)
  }

  #join(topic: Topic, receiver: Receiver): void {
    if (topic.join(receiver) && topic.subject.type === BOOK_TYPE) this.#events.onJoin(topic, receiver)
  }
}

const keyOf = (pattern: Pattern, depth: number): string => `${pattern.text}@${depth}`

/** Books are made for those who name them: `>` or `*` in the place of the type means live messages only. */
function matches({ pattern }: Interest, subject: Subject): boolean {
  return (pattern.typeWord === BOOK_TYPE) === (subject.type === BOOK_TYPE) && pattern.matches(subject)
}
