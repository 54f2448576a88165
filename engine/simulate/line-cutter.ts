const NEWLINE = 10
const CARRIAGE_RETURN = 13

export type OnLine = (line: Uint8Array, lineNumber: number, reason: string | null) => void

/** Cuts chunks into lines; a line across chunks is joined, one that grows too long is dropped as it comes. */
export class LineCutter {
  readonly #lineBytesMax: number
  #parts: Uint8Array[] = []
  #partBytes = 0
  lineNumber = 0

  constructor(lineBytesMax: number) {
    this.#lineBytesMax = lineBytesMax
  }

  cut(chunk: Uint8Array, onLine: OnLine): void {
    let from = 0
    for (let to = chunk.indexOf(NEWLINE); to >= 0; to = chunk.indexOf(NEWLINE, from)) {
      this.#finish(chunk.subarray(from, to), onLine)
      from = to + 1
    }
    this.#keep(chunk.subarray(from))
  }

  end(onLine: OnLine): void {
    if (this.#partBytes > 0) this.#finish(new Uint8Array(0), onLine)
  }

  #keep(part: Uint8Array): void {
    this.#partBytes += part.length
    if (this.#partBytes > this.#lineBytesMax) this.#parts = []
    else if (part.length > 0) this.#parts.push(part)
  }

  #finish(tail: Uint8Array, onLine: OnLine): void {
    this.lineNumber++
    const length = this.#partBytes + tail.length
    if (length > this.#lineBytesMax) {
      onLine(tail, this.lineNumber, `line of ${length} bytes is longer than ${this.#lineBytesMax}`)
    } else if (length > 0) {
      const line = this.#partBytes === 0 ? tail : Buffer.concat([...this.#parts, tail])
      onLine(line.at(-1) === CARRIAGE_RETURN ? line.subarray(0, -1) : line, this.lineNumber, null)
    }
    this.#parts = []
    this.#partBytes = 0
  }
}
