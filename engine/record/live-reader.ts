/**
 * Reads live messages (live.ts) where they lie: no objects, no texts. A message is a map with its rows behind its head, a
 * row is a map of columns; `offsets` says where the value of each column of the row in hand begins:
 *
 *   {type, exchange, market, symbol, run, number, rows: [ {key value key value …}, {key value …} ]}
 *                                                         │         │
 *                                             layout.names[0]   layout.names[1], value at offsets[1]
 *
 * All messages of one type from one version of the collector have one layout, so a row is read by comparing its keys with
 * those of the row before it. Other layouts are learnt as they come. What is in none of the forms that live.ts writes is not
 * read at all (`open` or `next` say false): the caller then decodes it by the library.
 *
 * Arithmetic: 14 columns of 15 bytes of key are 210 comparisons of 1 ns, and 14 values 5 ns each: 0.3 µs a row, where
 * objects take 3 to 4 µs and as much again to become text.
 */
const TWO32 = 2 ** 32
/** |hi| below this: the integer is exact as a double. */
const EXACT_HI = 2 ** 21

/** The columns of a row, in their order. */
export interface RowLayout {
  readonly names: readonly string[]
  /** as they stand in the message, with their heads */
  readonly keys: readonly Uint8Array[]
}

const NO_LAYOUT: RowLayout = { names: [], keys: [] }

export class LiveReader {
  bytes: Uint8Array = new Uint8Array(0)
  run = ''
  number = 0
  rowCount = 0
  layout = NO_LAYOUT
  /** Of the values of the row in hand, each at its head. */
  offsets = new Int32Array(64)
  /** Words of the last `read64`. */
  hi = 0
  lo = 0
  #at = 0
  #rowsLeft = 0
  #runBytes: Uint8Array = new Uint8Array(0)

  /** @returns false when it is no message with rows as live.ts writes them. */
  open(bytes: Uint8Array): boolean {
    this.bytes = bytes
    this.#at = 0
    const entries = this.#mapLength()
    let found = 0
    for (let entry = 0; entry < entries; entry++) {
      const key = this.#at
      if (!this.#skip()) return false
      if (isText(bytes, key, 'number')) {
        this.number = this.integer(this.#at)
        if (Number.isNaN(this.number) || !this.#skip()) return false
        found++
      } else if (isText(bytes, key, 'run')) {
        if (!this.#readRun()) return false
        found++
      } else if (isText(bytes, key, 'rows')) {
        this.rowCount = this.arrayLength(this.#at)
        this.#rowsLeft = this.rowCount
        this.#at = this.#afterHead(this.#at)
        // rows are the last: they are read as they are asked for
        return found === 2 && entry === entries - 1 && this.rowCount >= 0
      } else if (!this.#skip()) return false
    }
    return false
  }

  get hasRows(): boolean {
    return this.#rowsLeft > 0
  }

  /** After the last row: nothing stands behind it. */
  get isAtEnd(): boolean {
    return this.#at === this.bytes.length
  }

  /** Goes to the next row. @returns false when it cannot be read. */
  next(): boolean {
    this.#rowsLeft--
    const start = this.#at
    if (this.#row(this.layout)) return true
    this.#at = start
    const learnt = this.#learn()
    this.#at = start
    return learnt !== undefined && this.#row(learnt)
  }

  /** @returns false when the keys are not those of the layout, or a value is in no known form. */
  #row(layout: RowLayout): boolean {
    const { keys } = layout
    const { bytes, offsets } = this
    if (this.#mapLength() !== keys.length || keys.length === 0) return false
    for (let column = 0; column < keys.length; column++) {
      const key = keys[column] as Uint8Array
      let at = this.#at
      for (let index = 0; index < key.length; index++) if (bytes[at++] !== key[index]) return false
      offsets[column] = at
      this.#at = at
      if (!this.#skip()) return false
    }
    return true
  }

  #learn(): RowLayout | undefined {
    const length = this.#mapLength()
    if (length <= 0) return undefined
    const keys: Uint8Array[] = []
    const names: string[] = []
    for (let column = 0; column < length; column++) {
      const start = this.#at
      if (!this.isTextAt(start) || !this.#skip()) return undefined
      keys.push(this.bytes.slice(start, this.#at))
      names.push(this.text(start))
      if (!this.#skip()) return undefined
    }
    if (this.offsets.length < length) this.offsets = new Int32Array(length)
    this.layout = { names, keys }
    return this.layout
  }

  #readRun(): boolean {
    const start = this.#at
    if (!this.isTextAt(start) || !this.#skip()) return false
    const known = this.#runBytes
    const length = this.#at - start
    let isKnown = known.length === length
    for (let index = 0; isKnown && index < length; index++) isKnown = known[index] === this.bytes[start + index]
    if (isKnown) return true
    this.#runBytes = this.bytes.slice(start, this.#at)
    this.run = this.text(start)
    return true
  }

  #mapLength(): number {
    const head = this.bytes[this.#at] as number
    if ((head & 0xf0) === 0x80) {
      this.#at++
      return head & 0x0f
    }
    if (head !== 0xde) return -1
    this.#at += 3
    return word16(this.bytes, this.#at - 2)
  }

  // --- values

  isNil(offset: number): boolean {
    return this.bytes[offset] === 0xc0
  }

  isTextAt(offset: number): boolean {
    const head = this.bytes[offset] as number
    return (head & 0xe0) === 0xa0 || head === 0xd9 || head === 0xda
  }

  text(offset: number): string {
    const start = this.#afterHead(offset)
    return textOf(this.bytes, start, start + this.textLength(offset))
  }

  /** In bytes. */
  textLength(offset: number): number {
    const head = this.bytes[offset] as number
    if ((head & 0xe0) === 0xa0) return head & 0x1f
    return head === 0xd9 ? (this.bytes[offset + 1] as number) : word16(this.bytes, offset + 1)
  }

  /** Where the bytes of a text, or the members of a list, begin. */
  inside(offset: number): number {
    return this.#afterHead(offset)
  }

  /** @returns −1 when it is no list. */
  arrayLength(offset: number): number {
    const head = this.bytes[offset] as number
    if ((head & 0xf0) === 0x90) return head & 0x0f
    if (head === 0xdc) return word16(this.bytes, offset + 1)
    return head === 0xdd ? word32(this.bytes, offset + 1) : -1
  }

  /** @returns NaN when it is no integer, or none that a double holds. */
  integer(offset: number): number {
    const head = this.bytes[offset] as number
    if (head < 0x80) return head
    if (!this.read64(offset)) return Number.NaN
    const { hi } = this
    return hi < EXACT_HI && hi >= -EXACT_HI ? hi * TWO32 + this.lo : Number.NaN
  }

  /** Reads an integer into `hi` (signed) and `lo` (unsigned). @returns false when it is none. */
  read64(offset: number): boolean {
    const { bytes } = this
    const head = bytes[offset] as number
    this.hi = 0
    if (head < 0x80) this.lo = head
    else if (head === 0xcc) this.lo = bytes[offset + 1] as number
    else if (head === 0xcd) this.lo = word16(bytes, offset + 1)
    else if (head === 0xce) this.lo = word32(bytes, offset + 1)
    else if (head === 0xd3) {
      this.hi = word32(bytes, offset + 1) | 0
      this.lo = word32(bytes, offset + 5)
    } else return false
    return true
  }

  /** Copies the integers of a list. @returns how many there are, −1 when it is no list of integers that a double holds. */
  integers(offset: number, into: number[]): number {
    const length = this.arrayLength(offset)
    let at = this.#afterHead(offset)
    for (let index = 0; index < length; index++) {
      const value = this.integer(at)
      if (Number.isNaN(value)) return -1
      into[index] = value
      at += integerBytes(this.bytes[at] as number)
    }
    return length
  }

  #afterHead(offset: number): number {
    switch (this.bytes[offset]) {
      case 0xd9:
        return offset + 2
      case 0xda:
      case 0xdc:
        return offset + 3
      case 0xdd:
        return offset + 5
      default:
        return offset + 1
    }
  }

  /** Goes past the value in hand. @returns false when it is in no form that live.ts writes, or ends behind the message. */
  #skip(): boolean {
    const { bytes } = this
    const at = this.#at
    const head = bytes[at] as number
    const count = this.arrayLength(at)
    if (count >= 0) {
      let member = this.#afterHead(at)
      for (let index = 0; index < count; index++) {
        const size = integerBytes(bytes[member] as number)
        if (size === 0) return false
        member += size
      }
      this.#at = member
    } else if (head === 0xc0) this.#at = at + 1
    else if (this.isTextAt(at)) this.#at = this.#afterHead(at) + this.textLength(at)
    else {
      const size = integerBytes(head)
      if (size === 0) return false
      this.#at = at + size
    }
    return this.#at <= bytes.length
  }
}

/** With its head; 0 when this is not the head of an integer. */
function integerBytes(head: number): number {
  if (head < 0x80) return 1
  switch (head) {
    case 0xcc:
      return 2
    case 0xcd:
      return 3
    case 0xce:
      return 5
    case 0xd3:
      return 9
    default:
      return 0
  }
}

function word16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
}

function word32(bytes: Uint8Array, at: number): number {
  return (word16(bytes, at) * 65_536 + word16(bytes, at + 2)) >>> 0
}

/** Whether a short text stands here. */
function isText(bytes: Uint8Array, at: number, text: string): boolean {
  if (bytes[at] !== (0xa0 | text.length)) return false
  for (let index = 0; index < text.length; index++) if (bytes[at + 1 + index] !== text.charCodeAt(index)) return false
  return true
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('utf8')
}
