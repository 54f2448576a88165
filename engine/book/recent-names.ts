import type { ShortText } from '../scan/short-text.ts'

/**
 * The names that were seen last, whole: a hash only finds where to look, all bytes are compared. A ring of places, and
 * a chain of places for each hash; what is oldest leaves both.
 *
 * Arithmetic: a UUID is nine words, hashed and compared in 25 ns; 512 places of 16 words are 32 KiB.
 */
const PLACES = 512
const CHAINS_BITS = 10
const NOBODY = -1

export class RecentNames {
  #count = 0
  #wordsEach = 16
  #words = new Int32Array(PLACES * this.#wordsEach)
  readonly #lengths = new Int32Array(PLACES)
  readonly #hashes = new Int32Array(PLACES)
  /** By the first bits of a hash: the place of the newest name of the chain; then, by place, the next older one. */
  readonly #newest = new Int16Array(1 << CHAINS_BITS).fill(NOBODY)
  readonly #older = new Int16Array(PLACES).fill(NOBODY)

  /** @returns whether it was not among them; it is now. */
  tryAdd(name: ShortText): boolean {
    const hash = hashOf(name)
    const chain = chainOf(hash)
    for (let place = this.#newest[chain] as number; place !== NOBODY; place = this.#older[place] as number)
      if (this.#hashes[place] === hash && this.#isAt(place, name)) return false
    if (name.wordCount > this.#wordsEach) this.#widen(name.wordCount)
    const place = this.#count % PLACES
    if (this.#count >= PLACES) this.#forget(place)
    this.#count++
    this.#hashes[place] = hash
    this.#lengths[place] = name.length
    const first = place * this.#wordsEach
    for (let word = 0; word < name.wordCount; word++) this.#words[first + word] = name.words[word] as number
    this.#older[place] = this.#newest[chain] as number
    this.#newest[chain] = place
    return true
  }

  #isAt(place: number, { words, wordCount, length }: ShortText): boolean {
    if (this.#lengths[place] !== length) return false
    const first = place * this.#wordsEach
    for (let word = 0; word < wordCount; word++) if (this.#words[first + word] !== words[word]) return false
    return true
  }

  /** The oldest of all is the last of its chain. */
  #forget(oldest: number): void {
    const chain = chainOf(this.#hashes[oldest] as number)
    let place = this.#newest[chain] as number
    if (place === oldest) {
      this.#newest[chain] = NOBODY
      return
    }
    while (this.#older[place] !== oldest) place = this.#older[place] as number
    this.#older[place] = NOBODY
  }

  #widen(words: number): void {
    const before = this.#words
    const wordsBefore = this.#wordsEach
    this.#wordsEach = 2 ** Math.ceil(Math.log2(words))
    this.#words = new Int32Array(PLACES * this.#wordsEach)
    for (let place = 0; place < PLACES; place++)
      this.#words.set(before.subarray(place * wordsBefore, (place + 1) * wordsBefore), place * this.#wordsEach)
  }
}

function hashOf({ words, wordCount, length }: ShortText): number {
  let hash = length
  for (let word = 0; word < wordCount; word++) hash = Math.imul(hash ^ (words[word] as number), 0x9e3779b1)
  return hash ^ (hash >>> 15)
}

function chainOf(hash: number): number {
  return Math.imul(hash, 0x85ebca6b) >>> (32 - CHAINS_BITS)
}
