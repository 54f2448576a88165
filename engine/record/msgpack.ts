/**
 * Writes msgpack straight into given memory (a ring), in the forms that this product uses. Reading is msgpackr's.
 */
const ENCODER = new TextEncoder()

export class MsgpackWriter {
  #bytes: Uint8Array
  #view: DataView
  /** Where the next byte goes. */
  at: number

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.at = at
  }

  fixMap(entries: number): this {
    this.#bytes[this.at++] = 0x80 | entries
    return this
  }

  map(entries: number): this {
    return entries < 16 ? this.fixMap(entries) : this.#head16(0xde, entries)
  }

  array(length: number): this {
    if (length < 16) {
      this.#bytes[this.at++] = 0x90 | length
      return this
    }
    if (length < 65_536) return this.#head16(0xdc, length)
    this.#bytes[this.at] = 0xdd
    this.#view.setUint32(this.at + 1, length)
    this.at += 5
    return this
  }

  nil(): this {
    this.#bytes[this.at++] = 0xc0
    return this
  }

  text(text: string): this {
    // Names and ids are short ASCII, which is quicker by hand; the rest goes through the encoder.
    const { length } = text
    const start = this.at
    if (length < 32) {
      let at = start
      this.#bytes[at++] = 0xa0 | length
      let index = 0
      for (; index < length; index++) {
        const code = text.charCodeAt(index)
        if (code > 127) break
        this.#bytes[at++] = code
      }
      if (index === length) {
        this.at = at
        return this
      }
    }
    const encoded = ENCODER.encode(text)
    this.#bytes[start] = 0xda
    this.#view.setUint16(start + 1, encoded.length)
    this.#bytes.set(encoded, start + 3)
    this.at = start + 3 + encoded.length
    return this
  }

  /** Copies something that is encoded already. */
  raw(encoded: Uint8Array): this {
    this.#bytes.set(encoded, this.at)
    this.at += encoded.length
    return this
  }

  bin(payload: Uint8Array): this {
    this.#bytes[this.at] = 0xc6
    this.#view.setUint32(this.at + 1, payload.length)
    this.#bytes.set(payload, this.at + 5)
    this.at += 5 + payload.length
    return this
  }

  u32(value: number): this {
    this.#bytes[this.at] = 0xce
    this.#view.setUint32(this.at + 1, value)
    this.at += 5
    return this
  }

  u64(value: bigint): this {
    this.#bytes[this.at] = 0xcf
    this.#view.setBigUint64(this.at + 1, value)
    this.at += 9
    return this
  }

  i64(value: bigint): this {
    this.#bytes[this.at] = 0xd3
    this.#view.setBigInt64(this.at + 1, value)
    this.at += 9
    return this
  }

  /** A 64-bit integer given as words: in the shortest of the forms that readers take for a plain number, else int64. */
  words(hi: number, lo: number): this {
    if (hi === 0) return this.uint(lo >>> 0)
    this.#bytes[this.at] = 0xd3
    this.#view.setInt32(this.at + 1, hi)
    this.#view.setInt32(this.at + 5, lo)
    this.at += 9
    return this
  }

  /** A non-negative integer below 2^32 in its shortest form. */
  uint(value: number): this {
    if (value < 128) this.#bytes[this.at++] = value
    else if (value < 256) {
      this.#bytes[this.at] = 0xcc
      this.#bytes[this.at + 1] = value
      this.at += 2
    } else if (value < 65_536) return this.#head16(0xcd, value)
    else return this.u32(value)
    return this
  }

  #head16(head: number, value: number): this {
    this.#bytes[this.at] = head
    this.#view.setUint16(this.at + 1, value)
    this.at += 3
    return this
  }
}
